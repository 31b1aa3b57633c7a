//! AF_XDP: a queue of a network interface as a port.
//!
//! # AF_XDP on one page
//!
//! Packet memory (the *UMEM*) is ordinary memory of this process, cut into chunks (*frames*) of 2048 or 4096 bytes
//! and registered with the kernel. A *socket* is bound to one queue of one interface. An XDP program on that
//! interface decides for each received packet whether it goes to the socket (`bpf_redirect_map` into an XSKMAP)
//! or to the kernel's own stack. Between the socket and the kernel there are four rings in shared memory, which
//! carry no packet, only who owns which frame now:
//!
//! ```text
//!             us                                                    kernel
//!   pool ──► FILL ring       "receive into these"     ──────────►  owns the frame, writes into it
//!   stack ◄── RX ring        "addr, len: received"    ◄──────────  gives it back
//!   stack ──► TX ring        "addr, len: send this"   ──────────►  owns it, reads it
//!   pool ◄── COMPLETION ring "addr: sent, yours"      ◄──────────  gives it back
//! ```
//!
//! - **Who owns a frame when**: whoever was told last. We don't touch a frame between FILL and RX (the kernel may
//!   be writing) and don't write to one between TX and COMPLETION (the kernel may be reading; reading it ourselves
//!   is fine, so TCP keeps it for retransmission). [`Pool`] has a state byte a frame and refuses
//!   otherwise; a socket also remembers which frames it lent to its kernel half ([`Xsk`], `lent.rs`), so a
//!   descriptor for any other frame is an invalid one, counted and ignored.
//! - **Received packets** begin 256 bytes into their chunk (XDP headroom), so headers can be pushed in front.
//! - **Copy mode** (any driver): the kernel copies each packet between its own buffer and the frame. Sending *is* the
//!   system call: `sendto()` on the socket walks the TX ring, 32 descriptors a call unless XDP_MAX_TX_SKB_BUDGET
//!   (kernel 6.18) says more. Receiving needs no system call.
//! - **Zero-copy mode** (driver support): the NIC does DMA to and from the frames. The driver may stop looking at a
//!   ring to save work; it then sets XDP_RING_NEED_WAKEUP in the ring's flags word, and only then a system call is
//!   due: `sendto()` for TX, `recvfrom()` for FILL.
//! - **Lost packets** are counted by the kernel: no frame in the FILL ring (`fill_ring_empty`), no slot in the RX ring
//!   (`rx_ring_full`), packet longer than a chunk (`rx_dropped`).
//! - **Several queues**: one socket each, all on one UMEM (XDP_SHARED_UMEM), each with its own four rings, used by
//!   one core each. A frame may leave by another socket than it came by; its completion comes to the socket that
//!   sent it.

mod bind;
mod completion;
mod lent;
mod rx;
mod socket;
mod tx;

use std::os::fd::{AsFd, BorrowedFd};

use linerate_frame::{Batch, Burst, Pool};
use rustix::net::sockopt::xdp_statistics;

pub use bind::{BindMode, XskMode};
pub use socket::{Xsk, XskConfig};

use crate::error::PortError;
use crate::port::{Caps, Port};
use crate::stats::{KernelStats, PortStats};

impl Port for Xsk {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn rx_burst(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        self.receive(pool, burst)
    }

    fn tx_burst(&mut self, pool: &mut Pool, batch: &mut Batch) -> usize {
        self.transmit(pool, batch)
    }

    fn wake(&mut self) -> Result<(), PortError> {
        self.kick()
    }

    fn reap(&mut self, pool: &mut Pool) -> usize {
        self.complete(pool)
    }

    fn refill(&mut self, pool: &mut Pool) {
        self.top_up(pool);
    }

    /// POLLIN: the RX ring has something. poll(2) itself also does what `wake` does (xsk_poll in net/xdp/xsk.c).
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    fn needs_poll_wake(&self) -> bool {
        self.socket.is_some() && self.unsent && self.tx.in_flight() > 0
    }

    fn stats(&mut self) -> PortStats {
        if let Some(k) = self.socket.as_ref().and_then(|fd| xdp_statistics(fd).ok()) {
            self.stats.kernel = KernelStats {
                rx_dropped: k.rx_dropped,
                rx_invalid_descs: k.rx_invalid_descs,
                tx_invalid_descs: k.tx_invalid_descs,
                rx_ring_full: k.rx_ring_full.unwrap_or(0),
                fill_ring_empty: k.rx_fill_ring_empty_descs.unwrap_or(0),
                tx_ring_empty: k.tx_ring_empty_descs.unwrap_or(0),
            };
        }
        self.stats.ring_invalid =
            self.rx.0.invalid() + self.tx.0.invalid() + self.fill.0.invalid() + self.done.0.invalid();
        self.stats
    }

    fn close(&mut self, pool: &mut Pool) {
        self.bring_home(pool);
    }
}

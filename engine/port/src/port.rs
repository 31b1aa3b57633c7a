//! What every port is to the engine.

use std::os::fd::BorrowedFd;

use linerate_frame::{Batch, Burst, Pool, RxCsum, TxFrame};

use crate::error::PortError;
use crate::stats::PortStats;

/// Bytes of an Ethernet header (no FCS: AF_XDP and AF_PACKET never show it).
pub const ETHERNET_HEADER_BYTES: u32 = 14;
/// Bytes of one 802.1Q tag, which a frame may carry on top of the MTU.
pub const VLAN_TAG_BYTES: u32 = 4;

/// What stands in front of the network header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// An Ethernet header; this end's address.
    Ethernet {
        /// This end's hardware address.
        mac: [u8; 6],
    },
    /// Nothing: frames begin with the IP header.
    RawIp,
}

/// All the stack knows of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Largest network-layer packet in bytes (IP header included, link header not).
    pub mtu: u16,
    /// Largest frame that [`Port::tx_burst`] takes, in bytes, link header and one VLAN tag included.
    pub frame_bytes_max: u32,
    /// What received frames are marked with.
    pub rx_csum: RxCsum,
    /// Ethernet or bare IP.
    pub link: Link,
}

impl Caps {
    /// An Ethernet port: frames of up to `mtu` + 14 + 4 bytes.
    pub fn ethernet(mtu: u16, mac: [u8; 6], rx_csum: RxCsum) -> Self {
        let frame_bytes_max = u32::from(mtu) + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES;
        Self { mtu, frame_bytes_max, rx_csum, link: Link::Ethernet { mac } }
    }

    /// A port of bare IP packets of up to `mtu` bytes.
    pub fn raw_ip(mtu: u16, rx_csum: RxCsum) -> Self {
        Self { mtu, frame_bytes_max: mtu.into(), rx_csum, link: Link::RawIp }
    }
}

/// A link endpoint of one core. One turn of the engine calls, in this order: [`reap`](Self::reap),
/// [`rx_burst`](Self::rx_burst), ..., [`tx_burst`](Self::tx_burst), [`wake`](Self::wake),
/// [`refill`](Self::refill).
///
/// The pool is the calling core's, and for AF_XDP one over the port's own UMEM (checked once a call).
pub trait Port {
    /// What the stack may know.
    fn caps(&self) -> &Caps;

    /// Adds received frames, oldest first, as many as the burst has room for. Returns how many.
    fn rx_burst(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize;

    /// Takes transmissions off the front of the batch until it is empty or the port is full; returns how many
    /// went in. What is left stays in the batch, in order. A transmission that no port could carry (no bytes,
    /// or more than [`Caps::frame_bytes_max`]) is taken off too, completed at once and counted in
    /// [`PortStats::tx_refused`], not in the result.
    fn tx_burst(&mut self, pool: &mut Pool, batch: &mut Batch) -> usize;

    /// Tells the other side that there are frames, if there are and it asked to be told: once a turn, after
    /// all `tx_burst`s. What the kernel couldn't take now stays in the ring for the next turn's call.
    fn wake(&mut self) -> Result<(), PortError>;

    /// Hands ended transmissions to [`Pool::complete`]; returns how many.
    fn reap(&mut self, pool: &mut Pool) -> usize;

    /// Gives the port free frames to receive into. Ports that copy need none.
    fn refill(&mut self, pool: &mut Pool);

    /// What to sleep on (`POLLIN`), for ports that have something.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Frames are waiting in the TX ring for another [`wake`](Self::wake) (the kernel was busy): do not sleep
    /// for long.
    fn needs_poll_wake(&self) -> bool {
        false
    }

    /// When the next frame arrives, in ns of virtual time; `None` in real time or when nothing is under way.
    fn next_event(&self) -> Option<u64> {
        None
    }

    /// What it did so far. For AF_XDP one system call: not for every turn.
    fn stats(&mut self) -> PortStats;

    /// Ends it: every frame it still has comes home to `pool`. Later calls move nothing.
    fn close(&mut self, pool: &mut Pool);
}

/// Ends a transmission that no port can carry.
#[cfg_attr(loom, allow(dead_code))]
pub(crate) fn refuse(pool: &mut Pool, tx: TxFrame, stats: &mut PortStats) {
    stats.tx_refused += 1;
    let ended = pool.complete(tx.into_index());
    debug_assert!(ended, "a TxFrame's state says TX");
}

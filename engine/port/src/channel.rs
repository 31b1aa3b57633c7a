//! A pair of ports in one process: what one sends, the other receives.
//!
//! Each side has a pool (and region) of its own and may live on its own thread; bytes are copied through a fixed set
//! of buffers, half of them a direction, which circulate between the two sides:
//!
//! ```text
//!   A: empty ──pop──► copy in ──push──► full ──pop──► copy out :B
//!        ▲                                               │
//!        └───────────────────────push────────────────────┘
//! ```
//!
//! A transmission completes at once. When the buffers of a direction are all full, `tx_burst` takes no more
//! (back-pressure): nothing is ever lost on a channel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Relaxed};

use linerate_frame::{Batch, Burst, FrameIndex, HEADROOM_BYTES, Pool};
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

use crate::error::PortError;
use crate::port::{Caps, Port, refuse};
use crate::stats::PortStats;

/// A packet between the two sides: its room is allocated once.
struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
}

/// Wakes a sleeping receiver, with one write a burst, and none while an earlier one is unread.
struct Bell {
    fd: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    fn new() -> Result<Arc<Self>, PortError> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| PortError::Eventfd { errno })?;
        Ok(Arc::new(Self { fd, rung: AtomicBool::new(false) }))
    }

    fn ring(&self) -> Result<bool, Errno> {
        // AcqRel: a receiver that clears the flag after this sees the packets pushed before it.
        if self.rung.swap(true, AcqRel) {
            return Ok(false);
        }
        write(&self.fd, &1u64.to_ne_bytes())?;
        Ok(true)
    }

    /// Before the receiver looks for packets. The flag is cleared only after the eventfd was: cleared first, a ring in
    /// between could be read away and the next one not written.
    fn hush(&self) {
        if self.rung.load(Relaxed) && read(&self.fd, &mut [0u8; 8]).is_ok() {
            self.rung.swap(false, AcqRel);
        }
    }
}

/// One side of the pair.
pub struct ChannelPort {
    caps: Caps,
    /// To send: buffers to fill, and where they go.
    empty: Consumer<Buffer>,
    to_peer: Producer<Buffer>,
    /// To receive: filled buffers, and where they go back.
    from_peer: Consumer<Buffer>,
    emptied: Producer<Buffer>,
    own_bell: Option<Arc<Bell>>,
    peer_bell: Option<Arc<Bell>>,
    unrung: bool,
    open: bool,
    stats: PortStats,
}

impl ChannelPort {
    /// A pair with room for `depth` frames under way in each direction. Both sides have the same `caps`; see
    /// [`set_mac`](Self::set_mac).
    ///
    /// # Panics
    /// If `depth` is zero.
    pub fn pair(depth: usize, caps: Caps) -> (Self, Self) {
        Self::connect(depth, caps, [None, None])
    }

    /// The same with an eventfd a side ([`Port::fd`]) that becomes readable when frames come: at the price of one
    /// write and one read a burst.
    ///
    /// # Panics
    /// If `depth` is zero.
    pub fn pair_with_wakeup(depth: usize, caps: Caps) -> Result<(Self, Self), PortError> {
        Ok(Self::connect(depth, caps, [Some(Bell::new()?), Some(Bell::new()?)]))
    }

    fn connect(depth: usize, caps: Caps, [bell_a, bell_b]: [Option<Arc<Bell>>; 2]) -> (Self, Self) {
        assert!(depth > 0, "a channel of no frames");
        let direction = || {
            let (full_in, full_out) = RingBuffer::new(depth);
            let (mut empty_in, empty_out) = RingBuffer::new(depth);
            for _ in 0..depth {
                let bytes = vec![0; caps.frame_bytes_max as usize].into();
                let fits = empty_in.push(Buffer { bytes, len: 0 });
                assert!(fits.is_ok(), "a ring of depth takes depth buffers");
            }
            (full_in, full_out, empty_in, empty_out)
        };
        let (ab_in, ab_out, ab_emptied, ab_empty) = direction();
        let (ba_in, ba_out, ba_emptied, ba_empty) = direction();
        let side = |empty, to_peer, from_peer, emptied, own_bell, peer_bell| Self {
            caps,
            empty,
            to_peer,
            from_peer,
            emptied,
            own_bell,
            peer_bell,
            unrung: false,
            open: true,
            stats: PortStats::default(),
        };
        (
            side(ab_empty, ab_in, ba_out, ba_emptied, bell_a.clone(), bell_b.clone()),
            side(ba_empty, ba_in, ab_out, ab_emptied, bell_b, bell_a),
        )
    }

    /// Gives this side a hardware address of its own.
    pub fn set_mac(&mut self, mac: [u8; 6]) {
        self.caps.link = crate::Link::Ethernet { mac };
    }
}

impl Port for ChannelPort {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn rx_burst(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        if !self.open {
            return 0;
        }
        if let Some(bell) = &self.own_bell {
            bell.hush();
        }
        let mut got = 0;
        while burst.room() > 0 {
            let Ok(len) = self.from_peer.peek().map(|b| b.len) else { break };
            let fits = len <= pool.payload_bytes();
            // The pool is dry: what is under way stays there, and holds the sender back.
            if fits && pool.free_len() == 0 {
                self.stats.refill_short += 1;
                break;
            }
            let Ok(buffer) = self.from_peer.pop() else { break };
            if fits && let Some(mut frame) = pool.alloc() {
                let at = HEADROOM_BYTES as usize;
                if let Some(chunk) = pool.writable(&mut frame) {
                    chunk[at..at + len].copy_from_slice(&buffer.bytes[..len]);
                }
                pool.set_range(&mut frame, at, len);
                frame.csum = self.caps.rx_csum;
                burst.push(frame);
                self.stats.rx_bytes += len as u64;
                got += 1;
            } else {
                self.stats.rx_oversize += 1;
            }
            // As many buffers as the ring has slots: there is room.
            let _ = self.emptied.push(buffer);
        }
        self.stats.rx_packets += got as u64;
        got
    }

    fn tx_burst(&mut self, pool: &mut Pool, batch: &mut Batch) -> usize {
        if !self.open {
            return 0;
        }
        let mut room = self.empty.slots();
        let mut put = 0;
        while room > 0 {
            let Some(tx) = batch.pop() else { break };
            let len = tx.len();
            if len == 0 || len > self.caps.frame_bytes_max as usize {
                refuse(pool, tx, &mut self.stats);
                continue;
            }
            let Ok(mut buffer) = self.empty.pop() else { unreachable!("room was counted") };
            buffer.bytes[..len].copy_from_slice(pool.tx_bytes(&tx));
            buffer.len = len;
            let _ = self.to_peer.push(buffer);
            let index: FrameIndex = tx.into_index();
            let ended = pool.complete(index);
            debug_assert!(ended, "a TxFrame's state says TX");
            self.stats.tx_bytes += len as u64;
            put += 1;
            room -= 1;
        }
        self.stats.tx_packets += put as u64;
        self.stats.tx_ring_full += u64::from(!batch.is_empty());
        self.unrung |= put > 0;
        put
    }

    fn wake(&mut self) -> Result<(), PortError> {
        if std::mem::take(&mut self.unrung)
            && let Some(bell) = &self.peer_bell
        {
            let rang = bell.ring();
            let rang = rang.map_err(|errno| PortError::Wake { step: "write to the eventfd", errno })?;
            self.stats.wakeups += u64::from(rang);
        }
        Ok(())
    }

    fn reap(&mut self, _pool: &mut Pool) -> usize {
        0
    }

    fn refill(&mut self, _pool: &mut Pool) {}

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.own_bell.as_ref().map(|b| b.fd.as_fd())
    }

    fn stats(&mut self) -> PortStats {
        self.stats
    }

    fn close(&mut self, _pool: &mut Pool) {
        self.open = false;
    }
}

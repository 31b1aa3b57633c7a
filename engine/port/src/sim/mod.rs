//! Two ports with a simulated link between them, in virtual time.
//!
//! Nothing here reads a clock: the runner moves a [`SimClock`] to the next of [`SimPort`]'s `next_event` and the stacks'
//! own deadlines. The same seed, configuration and calls give the same run, bit for bit. Single-threaded.

mod ecn;
mod link;
mod rng;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use linerate_frame::{Batch, Burst, HEADROOM_BYTES, Pool, RxCsum};

pub use link::{Fate, GilbertElliott, SimConfig, SimStats, Wire};
pub use rng::SplitMix64;

use crate::error::PortError;
use crate::port::{Caps, Port, refuse};
use crate::stats::PortStats;

/// Virtual time, shared by whoever has a clone: every port of a simulated network.
#[derive(Clone, Debug, Default)]
pub struct SimClock(Rc<Cell<u64>>);

impl SimClock {
    /// Nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.0.get()
    }

    /// Moves it.
    ///
    /// # Panics
    /// If it would go back.
    pub fn set_ns(&self, now_ns: u64) {
        assert!(now_ns >= self.0.get(), "virtual time goes back from {} to {now_ns} ns", self.0.get());
        self.0.set(now_ns);
    }
}

/// Makes pairs of [`SimPort`]s.
pub struct SimLink;

impl SimLink {
    /// A link that does the same both ways, with an MTU of 1500 and the addresses 02:00:00:00:00:01 and ...:02, and a clock
    /// of its own.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(seed: u64, config: SimConfig) -> (SimPort, SimPort) {
        let caps = |last| Caps::ethernet(1500, [2, 0, 0, 0, 0, last], RxCsum::Unknown);
        Self::with(seed, SimClock::default(), [caps(1), caps(2)], [config, config])
    }

    /// A link by its parts: the ends' capabilities, what each end's frames go through, and a clock, which the other
    /// links of a network may share.
    pub fn with(
        seed: u64,
        clock: SimClock,
        [caps_a, caps_b]: [Caps; 2],
        [a_to_b, b_to_a]: [SimConfig; 2],
    ) -> (SimPort, SimPort) {
        // A sequence a direction, so that traffic one way doesn't change the fate of frames the other way.
        let mut seeds = SplitMix64::new(seed);
        let mut way = |config| Rc::new(RefCell::new(Wire::new(seeds.next_u64(), config)));
        let (ab, ba) = (way(a_to_b), way(b_to_a));
        let port = |caps, out: &Rc<_>, inward: &Rc<_>| SimPort {
            caps,
            clock: clock.clone(),
            out: Rc::clone(out),
            inward: Rc::clone(inward),
            open: true,
            stats: PortStats::default(),
        };
        (port(caps_a, &ab, &ba), port(caps_b, &ba, &ab))
    }
}

/// One end of a simulated link. A transmission completes at once: its bytes are copied into the link. A frame that
/// arrives when the pool is dry is dropped, as on a NIC whose fill ring is empty (`kernel.fill_ring_empty`).
pub struct SimPort {
    caps: Caps,
    clock: SimClock,
    out: Rc<RefCell<Wire>>,
    inward: Rc<RefCell<Wire>>,
    open: bool,
    stats: PortStats,
}

impl SimPort {
    /// Moves the clock (of both ends, and of all that share it).
    ///
    /// # Panics
    /// If it would go back.
    pub fn set_now(&self, now_ns: u64) {
        self.clock.set_ns(now_ns);
    }

    /// The clock.
    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// What the link does, from now on, to frames that this end sends; those under way are not touched.
    pub fn set_egress(&self, config: SimConfig) {
        self.out.borrow_mut().config = config;
    }

    /// What the link does to frames that this end sends.
    pub fn egress(&self) -> SimConfig {
        self.out.borrow().config
    }

    /// What became of the frames that this end sent.
    pub fn egress_stats(&self) -> SimStats {
        self.out.borrow().stats
    }
}

impl Port for SimPort {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn rx_burst(&mut self, pool: &mut Pool, burst: &mut Burst) -> usize {
        let now_ns = self.clock.now_ns();
        let mut inward = self.inward.borrow_mut();
        let before = burst.len();
        while self.open && burst.room() > 0 {
            let stats = &mut self.stats;
            let arrived = inward.receive(now_ns, |bytes| {
                if bytes.len() > pool.payload_bytes() {
                    stats.rx_oversize += 1;
                    return false;
                }
                let Some(mut frame) = pool.alloc() else {
                    stats.kernel.fill_ring_empty += 1;
                    return false;
                };
                let at = HEADROOM_BYTES as usize;
                if let Some(chunk) = pool.writable(&mut frame) {
                    chunk[at..at + bytes.len()].copy_from_slice(bytes);
                }
                pool.set_range(&mut frame, at, bytes.len());
                frame.csum = self.caps.rx_csum;
                stats.rx_bytes += bytes.len() as u64;
                burst.push(frame);
                true
            });
            if !arrived {
                break;
            }
        }
        let got = burst.len() - before;
        self.stats.rx_packets += got as u64;
        got
    }

    fn tx_burst(&mut self, pool: &mut Pool, batch: &mut Batch) -> usize {
        let mut put = 0;
        while self.open
            && let Some(tx) = batch.pop()
        {
            let len = tx.len();
            if len == 0 || len > self.caps.frame_bytes_max as usize {
                refuse(pool, tx, &mut self.stats);
                continue;
            }
            self.out.borrow_mut().send(self.clock.now_ns(), pool.tx_bytes(&tx));
            let ended = pool.complete(tx.into_index());
            debug_assert!(ended, "a TxFrame's state says TX");
            self.stats.tx_bytes += len as u64;
            put += 1;
        }
        self.stats.tx_packets += put as u64;
        put
    }

    fn wake(&mut self) -> Result<(), PortError> {
        Ok(())
    }

    fn reap(&mut self, _pool: &mut Pool) -> usize {
        0
    }

    fn refill(&mut self, _pool: &mut Pool) {}

    fn next_event(&self) -> Option<u64> {
        if self.open { self.inward.borrow().next_due_ns() } else { None }
    }

    fn stats(&mut self) -> PortStats {
        self.stats
    }

    /// Also drops what is under way to this end.
    fn close(&mut self, _pool: &mut Pool) {
        self.open = false;
        self.inward.borrow_mut().cut();
    }
}

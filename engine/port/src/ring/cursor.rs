//! One cursor under all four rings: cached indices, many entries, one release store a burst.

use super::raw::{Entry, Ring};

/// One side of a ring. `own` is the index of the next entry we put or take, `limit` the index we may go up to as
/// far as we know; reading the other side's index again costs a cache miss, so it is done only when the known
/// room doesn't do.
///
/// ```text
///  producer: limit = consumer + size          consumer: limit = producer
/// ```
pub struct Cursor<T: Entry, const PRODUCER: bool> {
    ring: Ring<T>,
    own: u32,
    limit: u32,
    published: u32,
    invalid: u64,
}

/// The side that puts entries in.
pub type Producer<T> = Cursor<T, true>;
/// The side that takes entries out.
pub type Consumer<T> = Cursor<T, false>;

impl<T: Entry, const PRODUCER: bool> Cursor<T, PRODUCER> {
    pub(crate) fn new(ring: Ring<T>) -> Self {
        let own = ring.load_own::<PRODUCER>();
        Self { ring, own, limit: own, published: own, invalid: 0 }
    }

    /// Entries of the ring.
    pub fn descs(&self) -> u32 {
        self.ring.descs()
    }

    /// How many entries may be put (producer) or taken (consumer) now, at most `want`.
    ///
    /// The other side's index is input from outside: one that leaves more room than the ring has (it jumped past
    /// us, or fell behind by more than the ring) is counted in [`invalid`](Self::invalid) and gives nothing. Not
    /// clamped to the ring's size: the entries would be stale, and a stale RX descriptor may name a frame that
    /// the kernel may be writing to.
    #[inline]
    pub fn usable(&mut self, want: u32) -> u32 {
        let known = self.limit.wrapping_sub(self.own);
        if known >= want { want } else { self.look_again().min(want) }
    }

    #[inline]
    fn look_again(&mut self) -> u32 {
        let peer = self.ring.load_peer::<PRODUCER>();
        let limit = if PRODUCER { peer.wrapping_add(self.descs()) } else { peer };
        let usable = limit.wrapping_sub(self.own);
        if usable > self.descs() {
            self.invalid += 1;
            self.limit = self.own;
            return 0;
        }
        self.limit = limit;
        usable
    }

    /// Times the other side's index was impossible.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// Lets the other side see everything put, or have back everything taken.
    #[inline]
    pub fn publish(&mut self) {
        if self.published != self.own {
            self.published = self.own;
            self.ring.store_own::<PRODUCER>(self.own);
        }
    }

    #[inline]
    fn step(&mut self) -> u32 {
        debug_assert!(self.own != self.limit, "ring cursor past its limit");
        let at = self.own;
        self.own = at.wrapping_add(1);
        at
    }
}

impl<T: Entry> Producer<T> {
    /// Writes the next entry; seen by the other side after [`publish`](Self::publish). Call it no more often than
    /// [`usable`](Self::usable) said.
    #[inline]
    pub fn put(&mut self, entry: T) {
        let at = self.step();
        self.ring.write(at, entry);
    }

    /// Entries that the other side has not consumed yet, by its own word (`descs` when its index is impossible).
    pub fn in_flight(&self) -> u32 {
        self.published.wrapping_sub(self.ring.load_peer::<true>()).min(self.descs())
    }

    /// The kernel wants a system call after entries were put.
    #[inline]
    pub fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

impl<T: Entry> Consumer<T> {
    /// Takes the next entry. Call it no more often than [`usable`](Self::usable) said.
    #[inline]
    pub fn take(&mut self) -> T {
        let at = self.step();
        self.ring.read(at)
    }
}

#[cfg(all(test, not(loom)))]
impl<T: Entry, const PRODUCER: bool> Cursor<T, PRODUCER> {
    /// Moves an empty ring's indices, both sides' the same (call it on both).
    pub(crate) fn start_at(&mut self, index: u32) {
        (self.own, self.limit, self.published) = (index, index, index);
        self.ring.store_own::<PRODUCER>(index);
    }

    /// What a broken other side does.
    pub(crate) fn forge_peer(&self, index: u32) {
        let peer = if PRODUCER { self.ring.consumer() } else { self.ring.producer() };
        peer.store(index, std::sync::atomic::Ordering::Relaxed);
    }

    /// The same from its own side.
    pub(crate) fn forge_own(&self, index: u32) {
        self.ring.store_own::<PRODUCER>(index);
    }

    pub(crate) fn set_needs_wakeup(&self, on: bool) {
        self.ring.set_needs_wakeup(on);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::raw::{Desc, memory_pair};

    #[test]
    fn keeps_order_and_its_bound() {
        let (mut p, mut c) = memory_pair::<u64>(8);
        assert_eq!((p.usable(100), c.usable(100)), (8, 0));
        for i in 0..8 {
            p.put(i);
        }
        assert_eq!(c.usable(1), 0, "not published");
        p.publish();
        assert_eq!((p.usable(1), c.usable(100), p.in_flight()), (0, 8, 8));
        assert!((0..3).all(|i| c.take() == i));
        assert_eq!(p.usable(8), 0, "taken, not given back");
        c.publish();
        assert_eq!((p.usable(8), p.in_flight()), (3, 5));
    }

    #[test]
    fn wraps_around_at_u32_max() {
        let (mut p, mut c) = memory_pair::<Desc>(4);
        p.start_at(u32::MAX - 5);
        c.start_at(u32::MAX - 5);
        let (mut put, mut taken) = (0u32, 0u32);
        while taken < 20 {
            for _ in 0..p.usable(3) {
                p.put(Desc { addr: put.into(), len: put, options: !put });
                put += 1;
            }
            p.publish();
            for _ in 0..c.usable(2) {
                assert_eq!(c.take(), Desc { addr: taken.into(), len: taken, options: !taken });
                taken += 1;
            }
            c.publish();
        }
        assert_eq!((p.invalid(), c.invalid()), (0, 0));
    }

    #[test]
    fn impossible_peer_index_gives_nothing_and_is_counted() {
        for start in [0, u32::MAX - 1] {
            let (mut p, mut c) = memory_pair::<u64>(8);
            p.start_at(start);
            c.start_at(start);
            for jump in [9, 1 << 20, 1 << 31, u32::MAX] {
                c.forge_peer(start.wrapping_add(jump));
                assert_eq!(c.usable(64), 0, "producer jumped by {jump}");
            }
            assert_eq!(c.invalid(), 4);
            c.forge_peer(start.wrapping_add(8));
            assert_eq!(c.usable(64), 8, "possible again");
            for jump in [1, 1 << 31, 9u32.wrapping_neg()] {
                p.forge_peer(start.wrapping_add(jump));
                assert_eq!(p.usable(64), 0, "consumer jumped by {jump}");
            }
            assert_eq!(p.invalid(), 3);
        }
    }

    #[test]
    fn two_threads() {
        const N: u64 = 200_000;
        let (mut p, mut c) = memory_pair::<Desc>(64);
        let t = std::thread::spawn(move || {
            let mut i = 0;
            while i < N {
                let n = p.usable(32).min((N - i) as u32);
                for _ in 0..n {
                    p.put(Desc { addr: i, len: i as u32, options: !(i as u32) });
                    i += 1;
                }
                p.publish();
                if n == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut i = 0;
        while i < N {
            let n = c.usable(32);
            for _ in 0..n {
                assert_eq!(c.take(), Desc { addr: i, len: i as u32, options: !(i as u32) });
                i += 1;
            }
            c.publish();
            if n == 0 {
                std::thread::yield_now();
            }
        }
        t.join().unwrap();
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p linerate-port --lib --release loom`
#[cfg(all(test, loom))]
mod loom_tests {
    use super::super::raw::{Desc, memory_pair};

    /// Every interleaving, and every stale value the memory model allows a load, of three entries through a ring of
    /// two: none is lost, repeated, or read before it was written. Fails when the producer's release or the consumer's
    /// acquire is made relaxed. What loom can't model is a load that is delayed past a later store, so it would not miss
    /// the release with which a consumer gives slots back.
    #[test]
    fn loom_entries_arrive_whole_and_in_order() {
        loom::model(|| {
            let (mut p, mut c) = memory_pair::<Desc>(2);
            let t = loom::thread::spawn(move || {
                let mut i = 1;
                while i <= 3 {
                    for _ in 0..p.usable(2).min(4 - i) {
                        p.put(Desc { addr: i.into(), len: i, options: !i });
                        i += 1;
                    }
                    p.publish();
                    loom::thread::yield_now();
                }
            });
            let mut i = 1;
            while i <= 3 {
                for _ in 0..c.usable(2) {
                    assert_eq!(c.take(), Desc { addr: i.into(), len: i, options: !i });
                    i += 1;
                }
                c.publish();
                loom::thread::yield_now();
            }
            t.join().unwrap();
        });
    }
}

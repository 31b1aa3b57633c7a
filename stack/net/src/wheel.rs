//! Hierarchical timer wheel over dense keys (connection slots): arm and cancel in O(1) without allocating.
//!
//! ```text
//!  level 7        ...        level 1            level 0
//!  64 slots of 64^7 ticks    64 slots of 64     64 slots of 1 tick = 65.5 us
//!  ┌─┬─┬─┬─┬─┐               ┌─┬─┬─┬─┬─┐        ┌─┬─┬─┬─┬─┐
//!  └─┴─┴─┴─┴─┘               └─┴─┴┼┴─┴─┘        └─┴─┴─┼─┴─┘
//!                     cursor's digit            cursor's digit ──► due list, by exact deadline
//! ```
//!
//! The cursor is a tick read as eight digits in base 64. A key sits at the level of the highest digit in which
//! its tick differs from the cursor's, in the slot of that digit; so occupied slots are always ahead of the
//! cursor's digit, never wrap, and a bitmap a level finds the next one. When the cursor enters a slot of level
//! n > 0, its keys move down (*cascade*): each key at most seven times in its life. Eight digits of 6 bits on
//! ticks of 2^16 ns are the whole of `u64`, so no deadline is out of range.
//!
//! Within the cursor's own tick keys are compared by their exact deadline: a timer fires at its nanosecond,
//! not at the end of its tick (pacing cares).

use alloc::vec::Vec;

/// A tick is 2^16 ns = 65.5 us: finer than any TCP timer that isn't pacing (the shortest, RACK's reordering
/// timer, is a fraction of an RTT), coarse enough that a day is five cascades.
pub const TICK_SHIFT: u32 = 16;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// (64 - TICK_SHIFT) / SLOT_BITS: covers every `u64` deadline.
const LEVELS: usize = 8;

const NIL: u32 = u32::MAX;
/// `Node::list` of a key that is not armed.
const IDLE: u16 = u16::MAX;
/// `Node::list` of a key whose deadline has passed and that waits to be popped.
const DUE: u16 = (LEVELS * SLOTS) as u16;

/// A key's place in the circular list of its slot.
#[derive(Clone, Copy)]
struct Node {
    deadline_ns: u64,
    prev: u32,
    next: u32,
    /// level * 64 + slot, `DUE` or `IDLE`.
    list: u16,
}

const UNARMED: Node = Node { deadline_ns: 0, prev: NIL, next: NIL, list: IDLE };

/// Timers of dense `u32` keys, one a key. Times are nanoseconds since an arbitrary start and never go back.
pub struct Wheel {
    /// No key is due before this, and nothing needs to cascade: the compare that a turn without timers costs.
    /// `u64::MAX` when nothing is armed.
    earliest_ns: u64,
    /// The tick up to which slots have been emptied.
    cursor: u64,
    armed: u32,
    occupied: [u64; LEVELS],
    /// First key of each slot's list; the last one is its `prev`. The due list comes after the slots'.
    heads: [u32; LEVELS * SLOTS + 1],
    nodes: Vec<Node>,
}

impl Wheel {
    /// An empty wheel that starts at `now_ns`.
    pub fn new(now_ns: u64) -> Self {
        Self {
            earliest_ns: u64::MAX,
            cursor: now_ns >> TICK_SHIFT,
            armed: 0,
            occupied: [0; LEVELS],
            heads: [NIL; LEVELS * SLOTS + 1],
            nodes: Vec::new(),
        }
    }

    /// Makes `key` known (24 bytes a key, for all keys up to it). The only call that allocates.
    ///
    /// # Panics
    /// If `key` is `u32::MAX`.
    pub fn ensure(&mut self, key: u32) {
        assert!(key != NIL, "u32::MAX is not a key");
        if key as usize >= self.nodes.len() {
            // An eighth more at a time: doubling would weigh on each connection with up to a node that nobody uses.
            self.nodes.reserve_exact((self.nodes.len() / 8).max(64));
            self.nodes.resize(key as usize + 1, UNARMED);
        }
    }

    /// Keys armed now.
    pub fn len(&self) -> usize {
        self.armed as usize
    }

    /// Nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Arms `key`'s timer, or moves it if it is armed. A deadline in the past is due at once; `u64::MAX` means
    /// never, and cancels.
    ///
    /// # Panics
    /// If `key` was not made known by [`Wheel::ensure`].
    pub fn arm(&mut self, key: u32, deadline_ns: u64) {
        self.cancel(key);
        if deadline_ns == u64::MAX {
            return;
        }
        self.nodes[key as usize].deadline_ns = deadline_ns;
        self.armed += 1;
        self.place(key);
        self.earliest_ns = self.earliest_ns.min(deadline_ns);
    }

    /// Disarms `key`'s timer; nothing if it isn't armed.
    pub fn cancel(&mut self, key: u32) {
        if self.nodes.get(key as usize).is_none_or(|n| n.list == IDLE) {
            return;
        }
        self.unlink(key);
        self.armed -= 1;
        if self.armed == 0 {
            self.earliest_ns = u64::MAX;
        }
    }

    /// When `key`'s timer fires, if it is armed.
    pub fn deadline(&self, key: u32) -> Option<u64> {
        self.nodes.get(key as usize).filter(|n| n.list != IDLE).map(|n| n.deadline_ns)
    }

    /// The time until which there is nothing to do, or `None` if nothing is armed.
    ///
    /// Never later than the earliest deadline. It may be earlier: the time of a cascade, or the deadline of a
    /// timer that was cancelled since. But once [`Wheel::expire`]`(now)` has said `None` it is later than `now`, so
    /// a loop that sleeps until it and then expires goes forward: a lone timer costs at most one wake a level.
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        (self.earliest_ns != u64::MAX).then_some(self.earliest_ns)
    }

    /// Takes out one key whose deadline is at or before `now_ns`; `None` when there are no more. Keys come in the
    /// order of their ticks (not sorted within one).
    #[inline]
    pub fn expire(&mut self, now_ns: u64) -> Option<u32> {
        if now_ns < self.earliest_ns {
            return None;
        }
        self.advance(now_ns)
    }

    fn advance(&mut self, now_ns: u64) -> Option<u32> {
        let now_tick = now_ns >> TICK_SHIFT;
        loop {
            let key = self.heads[DUE as usize];
            if key != NIL {
                self.cancel(key);
                return Some(key);
            }
            let rest_ns = self.collect_due(now_ns);
            if self.heads[DUE as usize] != NIL {
                continue;
            }
            if rest_ns != u64::MAX {
                // Something of the cursor's own tick is still to come, so the cursor has nothing to skip.
                self.earliest_ns = rest_ns;
                return None;
            }
            match self.next_slot() {
                Some((level, tick)) if tick <= now_tick => {
                    self.cursor = tick;
                    if level > 0 {
                        self.cascade(level);
                    }
                }
                next => {
                    self.cursor = self.cursor.max(now_tick);
                    self.earliest_ns = next.map_or(u64::MAX, |(_, tick)| tick << TICK_SHIFT);
                    return None;
                }
            }
        }
    }

    /// Moves what is due in the cursor's tick to the due list; the earliest deadline of the rest, or `u64::MAX`.
    ///
    /// One pass a call that has something due (not one a key), so k keys of one tick cost k a turn at most.
    fn collect_due(&mut self, now_ns: u64) -> u64 {
        let head = self.heads[self.cursor as usize % SLOTS];
        let mut rest_ns = u64::MAX;
        let (mut key, mut last) = (head, head == NIL);
        while !last {
            let Node { deadline_ns, next, .. } = self.nodes[key as usize];
            last = next == self.heads[self.cursor as usize % SLOTS];
            if deadline_ns <= now_ns {
                self.unlink(key);
                self.link(key, DUE);
            } else {
                rest_ns = rest_ns.min(deadline_ns);
            }
            key = next;
        }
        rest_ns
    }

    /// The first occupied slot ahead of the cursor: its level and first tick.
    fn next_slot(&self) -> Option<(usize, u64)> {
        // A slot of a lower level is ahead of every slot of a higher one: it lies within the cursor's own.
        (0..LEVELS).find_map(|level| {
            let shift = level as u32 * SLOT_BITS;
            let digit = (self.cursor >> shift) as usize % SLOTS;
            let ahead = self.occupied[level] & (u64::MAX << digit << 1);
            if ahead == 0 {
                return None;
            }
            let above = self.cursor >> shift >> SLOT_BITS << SLOT_BITS;
            Some((level, (above | u64::from(ahead.trailing_zeros())) << shift))
        })
    }

    /// Spreads the slot that the cursor has just entered over the levels below.
    fn cascade(&mut self, level: usize) {
        let list = level * SLOTS + (self.cursor >> (level as u32 * SLOT_BITS)) as usize % SLOTS;
        while self.heads[list] != NIL {
            let key = self.heads[list];
            self.unlink(key);
            self.place(key);
        }
    }

    /// Links a key into the slot of its deadline, as seen from the cursor.
    fn place(&mut self, key: u32) {
        let tick = (self.nodes[key as usize].deadline_ns >> TICK_SHIFT).max(self.cursor);
        let level = (63 - ((tick ^ self.cursor) | 1).leading_zeros()) / SLOT_BITS;
        let slot = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
        self.occupied[level as usize] |= 1 << slot;
        self.link(key, (level as usize * SLOTS + slot) as u16);
    }

    /// Appends a key that is in no list.
    fn link(&mut self, key: u32, list: u16) {
        let head = self.heads[list as usize];
        let (prev, next) = if head == NIL {
            self.heads[list as usize] = key;
            (key, key)
        } else {
            (self.nodes[head as usize].prev, head)
        };
        self.nodes[prev as usize].next = key;
        self.nodes[next as usize].prev = key;
        let node = &mut self.nodes[key as usize];
        (node.prev, node.next, node.list) = (prev, next, list);
    }

    /// Takes a key out of its list.
    fn unlink(&mut self, key: u32) {
        let Node { prev, next, list, .. } = self.nodes[key as usize];
        self.nodes[key as usize].list = IDLE;
        if next == key {
            self.heads[list as usize] = NIL;
            if list != DUE {
                self.occupied[list as usize / SLOTS] &= !(1 << (list as usize % SLOTS));
            }
            return;
        }
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
        if self.heads[list as usize] == key {
            self.heads[list as usize] = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;

    const TICK_NS: u64 = 1 << TICK_SHIFT;
    const MS: u64 = 1_000_000;
    const HOUR: u64 = 3_600_000 * MS;

    fn wheel(now_ns: u64, keys: u32) -> Wheel {
        let mut w = Wheel::new(now_ns);
        w.ensure(keys - 1);
        w
    }

    fn drain(w: &mut Wheel, now_ns: u64) -> Vec<u32> {
        core::iter::from_fn(|| w.expire(now_ns)).collect()
    }

    #[test]
    fn fires_at_its_nanosecond() {
        let mut w = wheel(5, 2);
        w.arm(0, 1_000);
        w.arm(1, 1_001);
        assert_eq!(w.next_deadline(), Some(1_000));
        assert_eq!(drain(&mut w, 999), []);
        assert_eq!(drain(&mut w, 1_000), [0]);
        assert_eq!(w.next_deadline(), Some(1_001));
        assert_eq!(drain(&mut w, 1_001), [1]);
        assert_eq!(w.next_deadline(), None);
    }

    #[test]
    fn rearm_cancel_and_deadline() {
        let mut w = wheel(0, 3);
        assert_eq!(w.deadline(0), None);
        w.arm(0, MS);
        w.arm(0, 2 * MS);
        w.arm(1, MS);
        w.cancel(1);
        w.cancel(1);
        w.cancel(99);
        assert_eq!((w.deadline(0), w.deadline(1), w.len()), (Some(2 * MS), None, 1));
        assert_eq!(drain(&mut w, 2 * MS - 1), []);
        assert_eq!(drain(&mut w, 2 * MS), [0]);
        assert_eq!((w.deadline(0), w.is_empty()), (None, true));
        w.arm(2, 3);
        assert_eq!(drain(&mut w, 2 * MS), [2], "a deadline in the past is due at once");
        w.arm(2, u64::MAX);
        assert_eq!((w.deadline(2), w.next_deadline()), (None, None));
    }

    #[test]
    fn a_due_key_can_be_cancelled_or_moved_before_it_is_popped() {
        let mut w = wheel(0, 3);
        for key in 0..3 {
            w.arm(key, 10);
        }
        assert_eq!(w.expire(10), Some(0));
        w.cancel(1);
        w.arm(2, HOUR);
        assert_eq!(drain(&mut w, HOUR - 1), []);
        assert_eq!(drain(&mut w, HOUR), [2]);
    }

    #[test]
    fn far_jumps_and_far_deadlines() {
        let mut w = wheel(0, 4);
        w.arm(0, u64::MAX - 1);
        w.arm(1, 1 << 60);
        w.arm(2, HOUR);
        w.arm(3, MS);
        assert_eq!(drain(&mut w, 50 * HOUR), [3, 2]);
        w.arm(3, 50 * HOUR + 1);
        assert_eq!(drain(&mut w, 50 * HOUR + TICK_NS), [3]);
        assert_eq!(drain(&mut w, (1 << 60) - 1), []);
        assert_eq!(drain(&mut w, u64::MAX - 1), [1, 0]);
        assert_eq!(w.next_deadline(), None);
    }

    /// Sleeping until `next_deadline` reaches a lone timer in at most a wake a level, and never oversleeps.
    #[test]
    fn a_sleeper_wakes_rarely() {
        for deadline_ns in [1, TICK_NS, 3 * MS, 200 * MS, 30_000 * MS, 2 * HOUR + 7, 1 << 61] {
            let mut w = wheel(0, 2);
            w.arm(0, deadline_ns);
            w.arm(1, deadline_ns / 2);
            w.cancel(1);
            let mut wakes = 0;
            loop {
                let at_ns = w.next_deadline().unwrap();
                wakes += 1;
                assert!(at_ns <= deadline_ns);
                match w.expire(at_ns) {
                    Some(_) => break,
                    None => assert!(w.next_deadline().unwrap() > at_ns),
                }
            }
            assert!(wakes <= LEVELS + 2, "{wakes} wakes to {deadline_ns}");
        }
    }

    #[test]
    fn agrees_with_a_map() {
        for seed in 1..=150u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut rng = move || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state
            };
            // Spans from nanoseconds to the end of u64, so that every level is met.
            let max_shift = 8 + seed % 54;
            let span = |r: u64, s: u64| r >> (63 - s % max_shift).min(63);
            let mut now_ns = span(rng(), rng());
            let mut w = wheel(now_ns, 64);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for _ in 0..400 {
                let key = (rng() % 64) as u32;
                match rng() % 8 {
                    0..=3 => {
                        let deadline_ns = match rng() % 10 {
                            0 => now_ns.saturating_sub(span(rng(), rng())),
                            // Whole ticks, to meet the edges of slots.
                            1 | 2 => now_ns.saturating_add(span(rng(), rng())) & !(TICK_NS - 1),
                            _ => now_ns.saturating_add(span(rng(), rng())),
                        };
                        let deadline_ns = deadline_ns.min(u64::MAX - 1);
                        w.arm(key, deadline_ns);
                        model.insert(key, deadline_ns);
                    }
                    4 => {
                        w.cancel(key);
                        model.remove(&key);
                    }
                    5 => assert_eq!(w.deadline(key), model.get(&key).copied()),
                    op => {
                        now_ns = match w.next_deadline() {
                            Some(at_ns) if op == 6 => now_ns.max(at_ns),
                            _ => now_ns.saturating_add(span(rng(), rng())),
                        };
                        // Sometimes popping stops half way, as a turn with a budget does.
                        let budget = if rng() % 4 == 0 { 2 } else { usize::MAX };
                        let mut popped = 0;
                        let mut last_tick = 0;
                        while popped < budget {
                            let Some(key) = w.expire(now_ns) else {
                                assert!(model.values().all(|d| *d > now_ns), "seed {seed}: a timer is late");
                                assert!(w.next_deadline().is_none_or(|at_ns| at_ns > now_ns));
                                break;
                            };
                            let deadline_ns = model.remove(&key).expect("popped a key that was not armed");
                            assert!(deadline_ns <= now_ns, "seed {seed}: a timer is early");
                            last_tick = last_tick.max(deadline_ns >> TICK_SHIFT);
                            popped += 1;
                        }
                    }
                }
                assert_eq!(w.len(), model.len());
                let earliest = model.values().min();
                assert!(w.next_deadline().unwrap_or(u64::MAX) <= earliest.copied().unwrap_or(u64::MAX));
            }
            let mut left: Vec<u32> = drain(&mut w, u64::MAX);
            left.sort_unstable();
            assert_eq!(left, model.into_keys().collect::<Vec<_>>(), "seed {seed}");
            assert_eq!((w.len(), w.next_deadline(), w.occupied), (0, None, [0; LEVELS]));
        }
    }
}

//! One direction of the simulated link: a queue at a bottleneck, then a wire that loses, doubles, delays, reorders and
//! damages.
//!
//! ```text
//!  send ─► drop-tail queue (CE mark) ─► rate_bps ─► loss ─► duplicate ─► corrupt ─► delay + jitter (+ reorder) ─► receive
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::ecn::mark_ce;
use super::rng::SplitMix64;

/// Losses that come in bursts: a two-state Markov chain stepped once a frame (Gilbert, Elliott).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GilbertElliott {
    /// Probability a frame to turn from good to bad.
    pub good_to_bad: f64,
    /// Probability a frame to turn back.
    pub bad_to_good: f64,
    /// Probability of loss in the bad state.
    pub bad_loss: f64,
}

/// What a direction of the link does to frames. Off is 0 everywhere; the default is a perfect wire without delay.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct SimConfig {
    /// One-way delay.
    pub delay_ns: u64,
    /// Added to the delay, evenly from 0 to this. Never reorders by itself.
    pub jitter_ns: u64,
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Losses in bursts, on top.
    pub burst_loss: Option<GilbertElliott>,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// Probability that a frame is held back, so that later ones overtake it.
    pub reorder: f64,
    /// For how long such a frame is held back.
    pub reorder_ns: u64,
    /// Probability that one bit of a frame is flipped.
    pub corrupt: f64,
    /// Bottleneck rate in bits of frame a second; 0: no bottleneck, no queue.
    pub rate_bps: u64,
    /// Bytes that the queue before the bottleneck holds, the frame on the wire included; 0: no limit. A frame that
    /// finds an empty queue is always taken.
    pub queue_bytes: u64,
    /// Frames that it holds, likewise.
    pub queue_pkts: u32,
    /// An ECN-capable packet that finds more than this many bytes queued is marked CE (the step marking of RFC 8257
    /// section 3.1); 0: no marking. Ethernet frames only.
    pub ecn_mark_bytes: u64,
}

/// What a direction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SimStats {
    /// Frames sent into it.
    pub sent: u64,
    /// Arrivals at the other end (duplicates included).
    pub delivered: u64,
    /// Found the queue full.
    pub queue_dropped: u64,
    /// Marked CE.
    pub ecn_marked: u64,
    /// Lost on the wire.
    pub lost: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
    /// One bit flipped.
    pub corrupted: u64,
    /// Arrived, but the receiver's pool had no frame, or none so large: dropped.
    pub no_frame: u64,
}

/// What the wire decided about one frame that was sent into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fate {
    /// The queue was full.
    pub queue_full: bool,
    /// Lost behind the queue.
    pub lost: bool,
    /// Marked CE in the queue.
    pub marked: bool,
    /// Arrives twice.
    pub duplicated: bool,
    /// Held back.
    pub reordered: bool,
    /// One bit flipped.
    pub corrupted: bool,
}

impl Fate {
    /// Arrives as it was sent, in order, once.
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// It never arrives.
    pub fn is_dropped(self) -> bool {
        self.queue_full || self.lost
    }
}

/// Words for a capture's comment.
impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = [
            (self.queue_full, "queue full"),
            (self.lost, "lost"),
            (self.marked, "marked CE"),
            (self.duplicated, "duplicated"),
            (self.reordered, "held back"),
            (self.corrupted, "one bit flipped"),
        ];
        let mut said = words.iter().filter(|w| w.0).map(|w| w.1);
        f.write_str(said.next().unwrap_or("passed"))?;
        said.try_for_each(|w| write!(f, ", {w}"))
    }
}

struct Flying {
    due_ns: u64,
    /// Breaks ties: first sent, first there.
    order: u64,
    bytes: Vec<u8>,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.order).cmp(&(other.due_ns, other.order))
    }
}

/// One direction by itself, bytes in and bytes out: a [`SimPort`](super::SimPort) pair has two, and a topology of more
/// than two hosts is made of many.
pub struct Wire {
    /// What it does to frames sent from now on.
    pub config: SimConfig,
    /// What it did.
    pub stats: SimStats,
    rng: SplitMix64,
    bad: bool,
    /// (leaves the queue at, bytes), oldest first.
    queue: VecDeque<(u64, u64)>,
    queued_bytes: u64,
    last_due_ns: u64,
    order: u64,
    flying: BinaryHeap<Reverse<Flying>>,
    spare: Vec<Vec<u8>>,
}

impl Wire {
    /// A wire with nothing under way; `seed` decides the fate of every frame.
    pub fn new(seed: u64, config: SimConfig) -> Self {
        Self {
            config,
            stats: SimStats::default(),
            rng: SplitMix64::new(seed),
            bad: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            last_due_ns: 0,
            order: 0,
            flying: BinaryHeap::new(),
            spare: Vec::new(),
        }
    }

    /// A frame enters the queue. Times of successive calls must not go back.
    pub fn send(&mut self, now_ns: u64, bytes: &[u8]) -> Fate {
        let mut fate = Fate::default();
        self.stats.sent += 1;
        let Some(left_ns) = self.through_queue(now_ns, bytes.len() as u64) else {
            self.stats.queue_dropped += 1;
            fate.queue_full = true;
            return fate;
        };
        if self.is_lost() {
            self.stats.lost += 1;
            fate.lost = true;
            return fate;
        }
        fate.duplicated = self.rng.chance(self.config.duplicate);
        self.stats.duplicated += u64::from(fate.duplicated);
        let mark = self.config.ecn_mark_bytes > 0
            && self.queued_bytes > self.config.ecn_mark_bytes + bytes.len() as u64;
        for _ in 0..1 + u32::from(fate.duplicated) {
            self.fly(left_ns, bytes, mark, &mut fate);
        }
        self.stats.ecn_marked += u64::from(fate.marked);
        fate
    }

    /// When the frame has left the bottleneck; `None`: the queue is full.
    fn through_queue(&mut self, now_ns: u64, bytes: u64) -> Option<u64> {
        let SimConfig { rate_bps, queue_bytes, queue_pkts, .. } = self.config;
        if rate_bps == 0 {
            return Some(now_ns);
        }
        while let Some(&(left_ns, bytes)) = self.queue.front() {
            if left_ns > now_ns {
                break;
            }
            self.queue.pop_front();
            self.queued_bytes -= bytes;
        }
        let full = !self.queue.is_empty()
            && ((queue_bytes > 0 && self.queued_bytes + bytes > queue_bytes)
                || (queue_pkts > 0 && self.queue.len() >= queue_pkts as usize));
        if full {
            return None;
        }
        let starts_ns = self.queue.back().map_or(now_ns, |&(left_ns, _)| left_ns);
        let takes_ns = (u128::from(bytes) * 8 * 1_000_000_000).div_ceil(u128::from(rate_bps)) as u64;
        let left_ns = starts_ns.saturating_add(takes_ns);
        self.queue.push_back((left_ns, bytes));
        self.queued_bytes += bytes;
        Some(left_ns)
    }

    fn is_lost(&mut self) -> bool {
        let mut lost = self.rng.chance(self.config.loss);
        if let Some(g) = self.config.burst_loss {
            let turns = self.rng.chance(if self.bad { g.bad_to_good } else { g.good_to_bad });
            self.bad ^= turns;
            lost |= self.bad && self.rng.chance(g.bad_loss);
        }
        lost
    }

    fn fly(&mut self, left_ns: u64, bytes: &[u8], mark: bool, fate: &mut Fate) {
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        fate.marked |= mark && mark_ce(&mut copy);
        if self.rng.chance(self.config.corrupt) {
            let bit = self.rng.below(bytes.len() as u64 * 8);
            copy[bit as usize / 8] ^= 1 << (bit % 8);
            self.stats.corrupted += 1;
            fate.corrupted = true;
        }
        let jitter_ns = match self.config.jitter_ns {
            0 => 0,
            j => self.rng.below(j.saturating_add(1)),
        };
        let mut due_ns = left_ns.saturating_add(self.config.delay_ns).saturating_add(jitter_ns);
        due_ns = due_ns.max(self.last_due_ns);
        if self.rng.chance(self.config.reorder) {
            due_ns = due_ns.saturating_add(self.config.reorder_ns);
            self.stats.reordered += 1;
            fate.reordered = true;
        } else {
            self.last_due_ns = due_ns;
        }
        let order = self.order;
        self.order += 1;
        self.flying.push(Reverse(Flying { due_ns, order, bytes: copy }));
    }

    /// Bytes in the queue, the frame on the wire included, as of the last [`send`](Self::send).
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Memory for what is under way and for frames to come, in bytes.
    pub fn held_bytes(&self) -> u64 {
        let bytes = |v: &Vec<u8>| v.capacity() as u64;
        let entry = size_of::<Flying>() as u64;
        self.flying.iter().map(|Reverse(f)| bytes(&f.bytes) + entry).sum::<u64>()
            + self.spare.iter().map(bytes).sum::<u64>()
    }

    /// When the next frame arrives.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.flying.peek().map(|Reverse(f)| f.due_ns)
    }

    /// The next frame that has arrived by `now_ns`, given to `take`, which says whether it could be taken; `false`: none.
    pub fn receive(&mut self, now_ns: u64, take: impl FnOnce(&[u8]) -> bool) -> bool {
        if self.next_due_ns().is_none_or(|due_ns| due_ns > now_ns) {
            return false;
        }
        let Some(Reverse(f)) = self.flying.pop() else { return false };
        if take(&f.bytes) {
            self.stats.delivered += 1;
        } else {
            self.stats.no_frame += 1;
        }
        self.spare.push(f.bytes);
        true
    }

    /// Nothing is under way any more.
    pub fn cut(&mut self) {
        self.flying.clear();
        self.queue.clear();
        self.queued_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(d: &mut Wire) -> Vec<(u64, u8)> {
        let mut out = Vec::new();
        while let Some(due) = d.next_due_ns() {
            assert!(d.receive(due, |b| {
                out.push((due, b[0]));
                true
            }));
        }
        out
    }

    #[test]
    fn rate_and_delay_add_up() {
        // 1000 bytes at 8 Mbit/s take 1 ms.
        let config = SimConfig { rate_bps: 8_000_000, delay_ns: 5_000_000, ..SimConfig::default() };
        let mut d = Wire::new(1, config);
        for i in 0..3 {
            d.send(0, &[i; 1000]);
        }
        d.send(10_000_000, &[3; 500]);
        assert_eq!(arrivals(&mut d), [(6_000_000, 0), (7_000_000, 1), (8_000_000, 2), (15_500_000, 3)]);
    }

    #[test]
    fn queue_drops_its_tail_by_bytes_and_by_packets() {
        for (queue_bytes, queue_pkts) in [(3000, 0), (0, 3)] {
            let config = SimConfig { rate_bps: 8_000_000, queue_bytes, queue_pkts, ..SimConfig::default() };
            let mut d = Wire::new(1, config);
            for i in 0..5 {
                d.send(0, &[i; 1000]);
            }
            d.send(1_000_000, &[5; 1000]);
            assert_eq!(d.stats.queue_dropped, 2);
            assert_eq!(arrivals(&mut d).iter().map(|a| a.1).collect::<Vec<_>>(), [0, 1, 2, 5]);
        }
        let config = SimConfig { rate_bps: 8_000_000, queue_bytes: 100, ..SimConfig::default() };
        let mut d = Wire::new(1, config);
        d.send(0, &[0; 1000]);
        assert_eq!(d.stats.queue_dropped, 0, "larger than the queue, but it is empty");
    }

    #[test]
    fn jitter_keeps_order_and_reorder_breaks_it() {
        let config = SimConfig { delay_ns: 100, jitter_ns: 1000, ..SimConfig::default() };
        let mut d = Wire::new(7, config);
        (0..100).for_each(|i| assert!(d.send(u64::from(i) * 10, &[i]).is_plain()));
        let got = arrivals(&mut d);
        assert!(got.iter().enumerate().all(|(i, a)| a.1 == i as u8));
        assert!(got.iter().enumerate().any(|(i, a)| a.0 > i as u64 * 10 + 100));
        d.config = SimConfig { reorder: 0.1, reorder_ns: 35, ..SimConfig::default() };
        let held = (0..100).filter(|i| d.send(1_000_000 + u64::from(*i) * 10, &[*i]).reordered).count();
        assert_eq!(held as u64, d.stats.reordered);
        let got = arrivals(&mut d);
        let overtaken = got.windows(2).filter(|w| w[0].1 > w[1].1).count();
        assert!(d.stats.reordered > 3 && overtaken > 2, "{:?} {overtaken}", d.stats);
    }

    #[test]
    fn losses_come_alone_or_in_bursts() {
        let runs = |config| {
            let mut d = Wire::new(3, config);
            for i in 0..20_000u32 {
                d.send(u64::from(i), &[0]);
            }
            d.stats.lost
        };
        let lost = runs(SimConfig { loss: 0.05, ..SimConfig::default() });
        assert!((900..1100).contains(&lost), "{lost}");
        // A fifth of the time bad (0.01 / (0.01 + 0.04)), half lost there: a tenth.
        let g = GilbertElliott { good_to_bad: 0.01, bad_to_good: 0.04, bad_loss: 0.5 };
        let lost = runs(SimConfig { burst_loss: Some(g), ..SimConfig::default() });
        assert!((1600..2400).contains(&lost), "{lost}");
    }

    /// An Ethernet frame of 1000 bytes with an IPv4 header of these ECN bits.
    fn ipv4(ecn: u8) -> Vec<u8> {
        let mut f = vec![0; 1000];
        f[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
        f[15] = ecn;
        f
    }

    #[test]
    fn a_long_queue_marks_what_is_ecn_capable() {
        let config = SimConfig { rate_bps: 8_000_000, ecn_mark_bytes: 2000, ..SimConfig::default() };
        let mut d = Wire::new(1, config);
        let fates: Vec<_> = (0..5).map(|_| d.send(0, &ipv4(2)).marked).collect();
        assert_eq!(fates, [false, false, false, true, true], "finds 0, 1000, 2000, 3000, 4000 bytes queued");
        assert!(d.send(0, &ipv4(0)).is_plain(), "not ECN-capable: only a full queue drops it");
        let mut seen = Vec::new();
        while d.receive(u64::MAX, |b| {
            seen.push(b[15]);
            true
        }) {}
        assert_eq!((seen, d.stats.ecn_marked), (vec![2, 2, 2, 3, 3, 0], 2));
    }

    #[test]
    fn fates_have_words() {
        assert_eq!(Fate::default().to_string(), "passed");
        let f = Fate { marked: true, duplicated: true, ..Fate::default() };
        assert_eq!(f.to_string(), "marked CE, duplicated");
        let mut d = Wire::new(1, SimConfig { loss: 1.0, ..SimConfig::default() });
        assert!(d.send(0, &[0; 60]).lost && d.stats.lost == 1);
    }

    #[test]
    fn duplicates_and_damage_are_counted() {
        let mut d = Wire::new(9, SimConfig { duplicate: 1.0, ..SimConfig::default() });
        d.send(0, &[42]);
        assert_eq!(arrivals(&mut d), [(0, 42), (0, 42)]);
        d.config = SimConfig { corrupt: 1.0, ..SimConfig::default() };
        d.send(0, &[0; 100]);
        let mut ones = 0;
        d.receive(0, |b| {
            ones = b.iter().map(|b| b.count_ones()).sum();
            true
        });
        assert_eq!((ones, d.stats.corrupted, d.stats.duplicated), (1, 1, 1));
    }
}

//! Fragments become a datagram again: RFC 791 section 3.2, RFC 8200 section 4.5, with the rules that attacks taught
//! (RFC 1858, 3128, 5722, 6946).
//!
//! Payload is copied to the heap, piece by piece, and its frame goes home: fragments that never become whole must not
//! starve the pool. What they may hold is bounded by bytes, pieces and queues, all told and for each source; where it is
//! full the oldest datagram goes (of the source, or of all), for the pieces of an honest one come close together.
//!
//! The core that receives the fragments puts them together. NICs spread fragments by addresses alone, so those of one
//! datagram meet on one core.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use linerate_tcp::Instant;

use crate::limits::{
    FRAG_BYTES_MAX, FRAG_PIECE_OVERHEAD, FRAG_PIECES_MAX, FRAG_QUEUE_OVERHEAD, FRAG_QUEUES_MAX,
    FRAG_SOURCE_SHARE,
};

/// Which datagram a fragment belongs to: RFC 791 section 3.2 (with the protocol), RFC 8200 section 4.5 (without: 0).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct FragKey {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub id: u32,
    pub protocol: u8,
}

/// One fragment, checked as far as it can be by itself.
pub(crate) struct Piece<'a> {
    pub offset: u32,
    pub more: bool,
    pub payload: &'a [u8],
    /// What stands in front of the payload; kept of the fragment at offset 0.
    pub header: &'a [u8],
    /// The ECN field.
    pub ecn: u8,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It waits for the others.
    Held,
    /// It was there already, exactly.
    Duplicate,
    /// It overlaps another, or contradicts it: the datagram is lost, and so is what follows of it.
    Overlap,
    /// The datagram has too many pieces, or is more than its source may hold.
    Refused,
    /// The last one: the header of the first fragment, the payload, the ECN field of the whole.
    Whole { header: Box<[u8]>, payload: Vec<u8>, ecn: u8 },
}

struct Held {
    start: u32,
    bytes: Box<[u8]>,
}

impl Held {
    fn end(&self) -> u32 {
        self.start + self.bytes.len() as u32
    }
}

struct Queue {
    /// Sorted by start; none overlap.
    held: Vec<Held>,
    /// Of the first fragment, once it came.
    header: Option<Box<[u8]>>,
    /// Payload bytes of the whole, once the last fragment came.
    total: Option<u32>,
    /// Payload bytes held.
    got: u32,
    /// Memory charged.
    charged: usize,
    /// One bit an ECN codepoint seen.
    ecn_seen: u8,
    /// Lost already: later fragments are dropped as they come (RFC 5722 section 3).
    dead: bool,
    /// Its place in the order of ends.
    place: (Instant, u64),
}

/// What one source holds.
#[derive(Default)]
struct Source {
    charged: usize,
    /// Its datagrams, in the order of their end.
    places: BTreeSet<(Instant, u64)>,
}

/// A datagram whose time is over.
pub(crate) struct Expired {
    pub key: FragKey,
    /// The first fragment, headers and all, if it came: an error may be owed.
    pub first: Option<Vec<u8>>,
}

/// See the module. One a family.
pub(crate) struct Reassembly {
    queues: BTreeMap<FragKey, Queue>,
    /// In the order of their end.
    order: BTreeMap<(Instant, u64), FragKey>,
    made: u64,
    sources: BTreeMap<IpAddr, Source>,
    charged: usize,
    timeout_ns: u64,
    /// Datagrams that were pushed out by younger ones.
    pub evicted: u64,
}

impl Reassembly {
    pub fn new(timeout_ns: u64) -> Self {
        Self {
            queues: BTreeMap::new(),
            order: BTreeMap::new(),
            made: 0,
            sources: BTreeMap::new(),
            charged: 0,
            timeout_ns,
            evicted: 0,
        }
    }

    /// Bytes charged: payload and headers held, and what keeping them costs.
    pub fn charged(&self) -> usize {
        self.charged
    }

    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.order.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes a fragment in.
    pub fn insert(&mut self, key: FragKey, piece: &Piece<'_>, now: Instant) -> Taken {
        let header_len = if piece.offset == 0 { piece.header.len() } else { 0 };
        let known = self.queues.contains_key(&key);
        let cost = piece.payload.len()
            + FRAG_PIECE_OVERHEAD
            + header_len
            + if known { 0 } else { FRAG_QUEUE_OVERHEAD };
        if !self.make_room_for(&key, cost) {
            return Taken::Refused;
        }
        let place = (now + self.timeout_ns, self.made);
        if !known {
            self.made += 1;
            self.order.insert(place, key);
            self.sources.entry(source(key.src)).or_default().places.insert(place);
        }
        let queue = self.queues.entry(key).or_insert_with(|| Queue::new(place));
        let taken = queue.insert(piece);
        match taken {
            Taken::Held => self.charge(key, cost),
            Taken::Overlap => self.kill(key),
            Taken::Whole { .. } => {
                self.remove(&key);
            }
            Taken::Duplicate | Taken::Refused => {}
        }
        while self.charged > FRAG_BYTES_MAX || self.queues.len() > FRAG_QUEUES_MAX {
            if !self.evict_oldest() {
                break;
            }
        }
        taken
    }

    fn charge(&mut self, key: FragKey, cost: usize) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.charged += cost;
        self.charged += cost;
        self.sources.entry(source(key.src)).or_default().charged += cost;
    }

    /// A source has its share; beyond it its own oldest datagrams go.
    fn make_room_for(&mut self, key: &FragKey, cost: usize) -> bool {
        while let Some(s) = self.sources.get(&source(key.src)) {
            if s.charged + cost <= FRAG_BYTES_MAX / FRAG_SOURCE_SHARE {
                return true;
            }
            let Some(oldest) = s.places.iter().filter_map(|p| self.order.get(p)).find(|k| *k != key) else {
                return false;
            };
            let oldest = *oldest;
            self.evict(&oldest);
        }
        true
    }

    fn refund(&mut self, key: &FragKey, cost: usize) {
        self.charged -= cost;
        let source = source(key.src);
        if let Some(s) = self.sources.get_mut(&source) {
            s.charged -= cost;
            if s.places.is_empty() {
                self.sources.remove(&source);
            }
        }
    }

    /// The datagram is lost; its name stays, so that what follows of it is dropped, too.
    fn kill(&mut self, key: FragKey) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        let refund = queue.charged.saturating_sub(FRAG_QUEUE_OVERHEAD);
        let charged = queue.charged - refund;
        *queue = Queue { dead: true, charged, ..Queue::new(queue.place) };
        self.refund(&key, refund);
    }

    fn remove(&mut self, key: &FragKey) -> Option<Queue> {
        let queue = self.queues.remove(key)?;
        self.order.remove(&queue.place);
        if let Some(s) = self.sources.get_mut(&source(key.src)) {
            s.places.remove(&queue.place);
        }
        self.refund(key, queue.charged);
        Some(queue)
    }

    fn evict_oldest(&mut self) -> bool {
        let Some(key) = self.order.first_key_value().map(|(_, key)| *key) else { return false };
        self.evict(&key);
        true
    }

    fn evict(&mut self, key: &FragKey) {
        self.evicted += u64::from(self.remove(key).is_some_and(|q| !q.dead));
    }

    /// The next datagram whose time is over by `now`, if any.
    pub fn expire(&mut self, now: Instant) -> Option<Expired> {
        loop {
            let key = *self.order.first_key_value().filter(|((at, _), _)| *at <= now)?.1;
            let queue = self.remove(&key)?;
            if queue.dead {
                continue;
            }
            let first = queue.header.as_ref().map(|h| {
                let piece = queue.held.first().map_or(&[][..], |p| &p.bytes);
                [h, piece].concat()
            });
            return Some(Expired { key, first });
        }
    }
}

impl Queue {
    fn new(place: (Instant, u64)) -> Self {
        Self {
            held: Vec::new(),
            header: None,
            total: None,
            got: 0,
            charged: 0,
            ecn_seen: 0,
            dead: false,
            place,
        }
    }

    fn insert(&mut self, piece: &Piece<'_>) -> Taken {
        if self.dead {
            return Taken::Overlap;
        }
        let (start, end) = (piece.offset, piece.offset + piece.payload.len() as u32);
        let last_end = self.held.last().map_or(0, Held::end);
        // The end of the whole is where the last fragment says, and nobody may say otherwise.
        let contradicts = match (piece.more, self.total) {
            (true, Some(total)) => end > total,
            (false, Some(total)) => end != total,
            (false, None) => end < last_end,
            (true, None) => false,
        };
        if contradicts {
            return Taken::Overlap;
        }
        let at = self.held.partition_point(|h| h.start < start);
        if let Some(same) = self.held.get(at)
            && (same.start, same.end()) == (start, end)
        {
            // RFC 8200 section 4.5 lets an exact duplicate pass; one with other bytes is an attack.
            let exact = *same.bytes == *piece.payload;
            return if exact { Taken::Duplicate } else { Taken::Overlap };
        }
        let before = at.checked_sub(1).and_then(|i| self.held.get(i));
        //= RFC 5722 section 3
        //= RFC 8200 section 4.5
        if before.is_some_and(|h| h.end() > start) || self.held.get(at).is_some_and(|h| h.start < end) {
            return Taken::Overlap;
        }
        if self.held.len() >= FRAG_PIECES_MAX {
            return Taken::Refused;
        }
        self.held.insert(at, Held { start, bytes: piece.payload.into() });
        self.got += end - start;
        self.ecn_seen |= 1 << (piece.ecn & 3);
        if start == 0 {
            self.header = Some(piece.header.into());
        }
        if !piece.more {
            self.total = Some(end);
        }
        self.whole()
    }

    fn whole(&mut self) -> Taken {
        if self.total != Some(self.got) {
            return Taken::Held;
        }
        let Some(ecn) = joint_ecn(self.ecn_seen) else { return Taken::Overlap };
        let Some(header) = self.header.take() else { return Taken::Held };
        let mut payload = Vec::with_capacity(self.got as usize);
        for h in &self.held {
            payload.extend_from_slice(&h.bytes);
        }
        Taken::Whole { header, payload, ecn }
    }
}

/// One mark makes the whole marked, unless a piece was not ECN-capable: `None`, drop it.
//= RFC 3168 section 5.3
fn joint_ecn(seen: u8) -> Option<u8> {
    const NOT_ECT: u8 = 1 << 0;
    const ECT_1: u8 = 1 << 1;
    const ECT_0: u8 = 1 << 2;
    const CE: u8 = 1 << 3;
    match seen {
        s if s & CE != 0 && s & NOT_ECT != 0 => None,
        s if s & CE != 0 => Some(3),
        s if s & NOT_ECT != 0 => Some(0),
        s if s & ECT_0 != 0 => Some(2),
        s if s & ECT_1 != 0 => Some(1),
        _ => Some(0),
    }
}

/// Who is charged: an address, or in IPv6 its /64, which one host can fill by itself.
fn source(src: IpAddr) -> IpAddr {
    match src {
        IpAddr::V4(_) => src,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
#[path = "reassembly_tests.rs"]
mod tests;

//! What ICMP taught of the MTU of paths: RFC 1191, RFC 8201. One entry a destination, for ten minutes.
//!
//! Each core learns for itself, of its own flows: an error is handed to the core that owns the flow it quotes.

use alloc::collections::{BTreeMap, VecDeque};
use core::net::IpAddr;

use linerate_tcp::Instant;
use linerate_tcp::time::SEC;

use crate::limits::{PMTU_ENTRIES_MAX, PMTU_MIN_V4, PMTU_MIN_V6, PMTU_TTL_NS};

/// MTUs in use, for routers that don't say theirs: RFC 1191 section 7.1.
const PLATEAUS: [u16; 10] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296, 68];

/// What is known of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathMtu {
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// The path carries less than we go down to: packets are left to be fragmented on it (IPv4 without DF).
    pub may_fragment: bool,
}

struct Entry {
    path: PathMtu,
    expires: Instant,
}

/// See the module.
#[derive(Default)]
pub(crate) struct PmtuCache {
    entries: BTreeMap<IpAddr, Entry>,
    /// In the order of their end: all live equally long.
    order: VecDeque<(IpAddr, Instant)>,
    generation: u32,
}

impl PmtuCache {
    /// Moves whenever an answer changes.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub fn get(&self, dst: IpAddr) -> Option<PathMtu> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&dst).map(|e| e.path)
    }

    /// A router could not forward a packet of `packet_len` bytes and says that its next hop takes `told` (0: it is
    /// older than RFC 1191). `now_mtu`: what we believe so far. Returns whether anything was learned; the caller has
    /// made sure that the packet was ours.
    pub fn too_big(&mut self, dst: IpAddr, told: u32, packet_len: u32, now_mtu: u16, now: Instant) -> bool {
        let Some(path) = judge(dst, told, packet_len, now_mtu) else { return false };
        let expires = now + PMTU_TTL_NS;
        let old = self.entries.get(&dst);
        if old.is_none_or(|e| e.path != path) {
            self.generation = self.generation.wrapping_add(1);
        } else if old.is_some_and(|e| expires.since(e.expires) < SEC) {
            return true;
        }
        if old.is_none() && self.entries.len() >= PMTU_ENTRIES_MAX {
            self.drop_oldest();
        }
        self.entries.insert(dst, Entry { path, expires });
        self.order.push_back((dst, expires));
        true
    }

    fn drop_oldest(&mut self) {
        while let Some((dst, expires)) = self.order.pop_front() {
            if self.forget(dst, expires) {
                return;
            }
        }
    }

    /// The queue may name entries that have begun anew since.
    fn forget(&mut self, dst: IpAddr, expires: Instant) -> bool {
        let current = self.entries.get(&dst).is_some_and(|e| e.expires == expires);
        if current {
            self.entries.remove(&dst);
            self.generation = self.generation.wrapping_add(1);
        }
        current
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.order.front().map(|(_, at)| *at)
    }

    /// Paths may have got wider: what is older than ten minutes is forgotten.
    //= RFC 1191 section 6.3
    //= RFC 8201 section 5.3
    pub fn expire(&mut self, now: Instant) {
        while let Some((dst, expires)) = self.order.front().copied().filter(|(_, at)| *at <= now) {
            self.order.pop_front();
            self.forget(dst, expires);
        }
    }
}

/// The estimate that follows from a message, if it is believable: it never raises one, and what is too low to be true
/// of today's networks goes no further down than a bound.
fn judge(dst: IpAddr, told: u32, packet_len: u32, now_mtu: u16) -> Option<PathMtu> {
    if dst.is_ipv6() {
        //= RFC 8201 section 4
        let told = u16::try_from(told).ok().filter(|m| (PMTU_MIN_V6..now_mtu).contains(m))?;
        return Some(PathMtu { mtu: told, may_fragment: false });
    }
    //= RFC 1191 section 5
    let told = match told {
        0 => PLATEAUS.into_iter().find(|p| u32::from(*p) < packet_len.min(now_mtu.into()))?,
        told => u16::try_from(told).ok()?,
    };
    // RFC 1191 section 3: below 68 nothing is an MTU. Equal to what is known: it is still so.
    if told < crate::limits::MTU_MIN || told > now_mtu || u32::from(told) >= packet_len {
        return None;
    }
    Some(PathMtu { mtu: told.max(PMTU_MIN_V4.min(now_mtu)), may_fragment: told < PMTU_MIN_V4 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    #[test]
    fn learned_bounded_and_forgotten() {
        let mut c = PmtuCache::default();
        for n in 0..2 * PMTU_ENTRIES_MAX as u32 {
            assert!(c.too_big(v4(n), 1400, 1500, 1500, Instant(u64::from(n))));
            assert!(c.entries.len() <= PMTU_ENTRIES_MAX);
        }
        assert_eq!(c.get(v4(0)), None, "the oldest made room");
        let last = v4(2 * PMTU_ENTRIES_MAX as u32 - 1);
        assert_eq!(c.get(last), Some(PathMtu { mtu: 1400, may_fragment: false }));
        let generation = c.generation();
        // Again and again the same: no news, and no queue that grows.
        for n in 0..100_000 {
            c.too_big(last, 1400, 1500, 1400, Instant(SEC + n));
        }
        assert!(c.generation() == generation && c.order.len() <= 2 * PMTU_ENTRIES_MAX + 2);
        c.expire(Instant(PMTU_TTL_NS + SEC / 2));
        assert!(c.get(last).is_some() && c.entries.len() == 1);
        c.expire(c.next_deadline().unwrap());
        assert!(c.entries.is_empty() && c.order.is_empty() && c.generation() != generation);
    }

    #[test]
    fn what_is_believed() {
        let mtu = |told, len, now| judge(v4(1), told, len, now).map(|p| (p.mtu, p.may_fragment));
        assert_eq!(mtu(1400, 1500, 1500), Some((1400, false)));
        assert_eq!(mtu(1600, 1500, 1500), None, "never up");
        assert_eq!(mtu(1400, 1400, 1500), None, "the packet would have fitted");
        assert_eq!(mtu(67, 1500, 1500), None);
        assert_eq!(mtu(68, 1500, 1500), Some((552, true)));
        assert_eq!(mtu(551, 1500, 1500), Some((552, true)));
        assert_eq!(mtu(0, 1500, 1500), Some((1492, false)), "the next plateau");
        assert_eq!(mtu(0, 1492, 1500), Some((1006, false)));
        assert_eq!(mtu(0, 1500, 1006), Some((552, true)), "508 is below the bound");
        assert_eq!(mtu(0, 68, 1500), None);
        let v6 = |told| judge(Ipv6Addr::LOCALHOST.into(), told, 1500, 1500).map(|p| p.mtu);
        assert_eq!((v6(1280), v6(1279), v6(0)), (Some(1280), None, None));
        assert_eq!((v6(1500), v6(70_000)), (None, None));
    }
}

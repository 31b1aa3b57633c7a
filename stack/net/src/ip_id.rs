//! The identification of packets that may be fragmented: RFC 6864, RFC 7739.
//!
//! What can't be fragmented (DF set) may carry any value. For the rest a counter is picked by a keyed hash of source,
//! destination and protocol, and moves by a random step: values repeat late, and tell nobody how much we send to others.

use alloc::boxed::Box;
use core::net::IpAddr;

use linerate_wire::FlowKey;
use linerate_wire::flow_key::HashKey;

use crate::limits::IP_ID_COUNTERS;

/// See the module.
pub(crate) struct IpIds {
    key: HashKey,
    counters: Box<[u32]>,
    rng: u64,
}

impl IpIds {
    pub fn new(key: HashKey, seed: u64) -> Self {
        let mut ids = Self { key, counters: alloc::vec![0; IP_ID_COUNTERS].into(), rng: seed };
        for i in 0..IP_ID_COUNTERS {
            ids.counters[i] = ids.random();
        }
        ids
    }

    /// Unique as long as it can be: of 16 bits in IPv4, of 32 in IPv6.
    //= RFC 6864 section 4.3
    pub fn next(&mut self, src: IpAddr, dst: IpAddr, protocol: u8) -> u32 {
        let pair = FlowKey { local: src, remote: dst, local_port: 0, remote_port: protocol.into() };
        let i = pair.hash_keyed(&self.key) as usize % IP_ID_COUNTERS;
        // 1 to 8: an observer of one pair learns little of the others that share its counter.
        let step = 1 + self.random() % 8;
        self.counters[i] = self.counters[i].wrapping_add(step);
        self.counters[i]
    }

    // SplitMix64.
    pub fn random(&mut self) -> u32 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.rng ^ (self.rng >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use core::net::Ipv4Addr;

    //= RFC 6864 section 4.3
    #[test]
    fn values_repeat_late_and_pairs_differ() {
        let mut ids = IpIds::new(HashKey([1, 2]), 3);
        let ip = |n| Ipv4Addr::new(10, 0, 0, n).into();
        let seen: BTreeSet<u16> = (0..7_000).map(|_| ids.next(ip(1), ip(2), 17) as u16).collect();
        assert_eq!(seen.len(), 7_000, "8 at most a step: no value twice in 65,536 / 8 packets");
        let starts: BTreeSet<u32> = (0..100).map(|n| ids.next(ip(1), ip(n), 17)).collect();
        assert_eq!(starts.len(), 100);
    }
}

//! The Toeplitz hash of receive-side scaling, so that software steers exactly as the NIC does.

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use crate::flow_key::{FlowKey, octets_v6};

// Longest RSS input: two IPv6 addresses and two ports.
const INPUT_LEN: usize = 36;

/// The key 6d5a repeated: both directions of a flow hash alike. Its price: the key's period of 16 bits leaves
/// 16 bits of entropy in the hash, and collisions are trivial to build. Steer with it, never index a table of
/// connections with it ([`FlowKey::hash_keyed`] is for that).
pub const SYMMETRIC_KEY: [u8; 40] = {
    let mut key = [0; 40];
    let mut i = 0;
    while i < 40 {
        key[i] = if i % 2 == 0 { 0x6d } else { 0x5a };
        i += 1;
    }
    key
};

/// A Toeplitz key expanded to one table of 256 words for each byte of input (36 KiB), or to two tables (2 KiB)
/// where the key repeats every 16 bits: then the input may be folded to 16 bits first.
#[derive(Clone, Debug)]
pub struct Toeplitz {
    tables: Box<[[u32; 256]]>,
}

impl Toeplitz {
    /// The symmetric hash: see [`SYMMETRIC_KEY`].
    pub fn symmetric() -> Self {
        Self::new(&SYMMETRIC_KEY)
    }

    /// Expands a key in the order `ethtool -x` prints it.
    pub fn new(key: &[u8; 40]) -> Self {
        let periodic = key.iter().zip(&key[2..]).all(|(a, b)| a == b);
        let mut tables = vec![[0u32; 256]; if periodic { 2 } else { INPUT_LEN }];
        for (at, table) in tables.iter_mut().enumerate() {
            // The 39 key bits that a byte at this offset can select windows from.
            let bits = key[at..].iter().take(5).fold(0u64, |acc, &b| acc << 8 | u64::from(b));
            for (value, word) in table.iter_mut().enumerate() {
                for bit in (0..8).filter(|bit| value & (0x80 >> bit) != 0) {
                    *word ^= (bits >> (8 - bit)) as u32;
                }
            }
        }
        Self { tables: tables.into_boxed_slice() }
    }

    /// Hash of a packet that comes in on this flow: source (remote), destination (local), source port,
    /// destination port, as in the Microsoft RSS specification for TCP and UDP.
    #[inline]
    pub fn hash(&self, flow: &FlowKey) -> u32 {
        let ports = u32::from(flow.remote_port) << 16 | u32::from(flow.local_port);
        if let [high, low] = &*self.tables {
            let addresses = match (&flow.remote, &flow.local) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => src.to_bits() ^ dst.to_bits(),
                (src, dst) => fold_to_u32(octets_v6(src), octets_v6(dst)),
            };
            let folded = addresses ^ ports;
            let [h, l] = (((folded >> 16) ^ folded) as u16).to_be_bytes();
            return high[usize::from(h)] ^ low[usize::from(l)];
        }
        match (&flow.remote, &flow.local) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.lookup(0, &src.octets())
                    ^ self.lookup(4, &dst.octets())
                    ^ self.lookup(8, &ports.to_be_bytes())
            }
            (src, dst) => {
                self.lookup(0, &octets_v6(src))
                    ^ self.lookup(16, &octets_v6(dst))
                    ^ self.lookup(32, &ports.to_be_bytes())
            }
        }
    }

    #[inline]
    fn lookup(&self, at: usize, input: &[u8]) -> u32 {
        let tables = self.tables.get(at..).unwrap_or(&[]);
        input.iter().zip(tables).fold(0, |acc, (&byte, table)| acc ^ table[usize::from(byte)])
    }
}

#[inline]
fn fold_to_u32(src: [u8; 16], dst: [u8; 16]) -> u32 {
    let x = u128::from_ne_bytes(src) ^ u128::from_ne_bytes(dst);
    let x = (x >> 64) as u64 ^ x as u64;
    u32::from_be((x >> 32) as u32 ^ x as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSOFT_KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    fn flow(remote: &str, remote_port: u16, local: &str, local_port: u16) -> FlowKey {
        FlowKey { local: local.parse().unwrap(), remote: remote.parse().unwrap(), local_port, remote_port }
    }

    // "Verifying the RSS hash calculation", Microsoft NDIS documentation.
    #[test]
    fn microsoft_vectors() {
        let t = Toeplitz::new(&MICROSOFT_KEY);
        let vectors = [
            (flow("66.9.149.187", 2794, "161.142.100.80", 1766), 0x51cc_c178),
            (flow("199.92.111.2", 14230, "65.69.140.83", 4739), 0xc626_b0ea),
            (flow("24.19.198.95", 12898, "12.22.207.184", 38024), 0x5c2b_394a),
            (flow("38.27.205.30", 48228, "209.142.163.6", 2217), 0xafc7_327f),
            (flow("153.39.163.191", 44251, "202.188.127.2", 1303), 0x10e8_28a2),
            (flow("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766), 0x4020_7d3d),
            (flow("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739), 0xdde5_1bbf),
            (
                flow("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024),
                0x02d1_feef,
            ),
        ];
        for (flow, hash) in vectors {
            assert_eq!(t.hash(&flow), hash, "{flow:?}");
        }
    }

    // The folded way must be the long way: one bit at a time over the whole key.
    #[test]
    fn symmetric_is_toeplitz_and_symmetric() {
        let t = Toeplitz::symmetric();
        for f in
            [flow("10.1.2.3", 40000, "10.9.8.7", 443), flow("2001:db8::7", 55555, "2001:db8:ffff::1", 80)]
        {
            let mut input = std::vec::Vec::new();
            for address in [f.remote, f.local] {
                match address {
                    IpAddr::V4(a) => input.extend(a.octets()),
                    IpAddr::V6(a) => input.extend(a.octets()),
                }
            }
            input.extend(f.remote_port.to_be_bytes());
            input.extend(f.local_port.to_be_bytes());
            let mut expected = 0u32;
            for bit in (0..input.len() * 8).filter(|b| input[b / 8] & (0x80 >> (b % 8)) != 0) {
                for k in 0..32 {
                    let at = bit + k;
                    let key_bit = SYMMETRIC_KEY[at / 8] >> (7 - at % 8) & 1;
                    expected ^= u32::from(key_bit) << (31 - k);
                }
            }
            assert_eq!(t.hash(&f), expected);
            assert_eq!(t.hash(&f.reversed()), expected);
        }
    }
}

//! The Internet checksum, RFC 1071: sums that are taken once, kept, moved and added later.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::parse::protocol;

/// A one's-complement sum of 16-bit words, folded. Two bytes, so that a queue can keep one with each chunk it
/// will send again. Held in the machine's byte order (RFC 1071 2(B): the sum does not care which).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u16);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of one 16-bit word given in host order.
    #[inline]
    pub const fn from_word(word: u16) -> Self {
        Self(word.to_be())
    }

    // Sums words that stand in host order, e.g. header fields before they are written: reading them back
    // from the buffer as wider words would stall on store forwarding.
    #[inline]
    pub(crate) const fn from_host_words(total: u64) -> Self {
        Self(fold_u64(total).to_be())
    }

    /// Adds a sum over bytes that begin at an even offset.
    #[inline]
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        let (total, carry) = self.0.overflowing_add(other.0);
        Self(total.wrapping_add(carry as u16))
    }

    /// The sum in host order, not complemented: what Linux leaves in the field for CHECKSUM_PARTIAL.
    #[inline]
    pub const fn fold(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The complement in host order: what stands in a checksum field.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }
}

#[inline]
const fn fold_u64(total: u64) -> u16 {
    let x = (total >> 32) + (total & 0xffff_ffff);
    let x = (x >> 32) + (x & 0xffff_ffff);
    let x = (x >> 16) + (x & 0xffff);
    let x = (x >> 16) + (x & 0xffff);
    x as u16
}

// Eight lanes of 32-bit halves: no carry to follow, so the compiler keeps them in vector registers. A lane
// holds 2^31 blocks of 64 bytes before it overflows.
#[inline(always)]
fn add_block(lanes: &mut [u64; 8], block: &[u8; 64]) {
    let (words, _) = block.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        let word = u64::from_ne_bytes(*word);
        *lane += (word & 0xffff_ffff) + (word >> 32);
    }
}

#[inline(always)]
fn sum_tail(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total = words.iter().map(|w| u64::from(u32::from_ne_bytes(*w))).sum::<u64>();
    // RFC 1071: an odd last byte is padded with zero behind it.
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    total += u64::from(u32::from_ne_bytes(last));
    total
}

/// Sum over `bytes`, any alignment, any length; an odd last byte counts as if a zero followed.
#[inline]
pub fn sum(bytes: &[u8]) -> Sum {
    let (blocks, tail) = bytes.as_chunks::<64>();
    let mut total = sum_tail(tail);
    if !blocks.is_empty() {
        let mut lanes = [0u64; 8];
        for block in blocks {
            add_block(&mut lanes, block);
        }
        total += lanes.iter().sum::<u64>();
    }
    Sum(fold_u64(total))
}

/// Copies `src` to the start of `dst` and sums it in the same pass. Where the lengths differ the shorter one
/// counts: the sum is that of the bytes copied.
#[inline]
pub fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> Sum {
    let len = dst.len().min(src.len());
    let (to_blocks, to_tail) = dst[..len].as_chunks_mut::<64>();
    let (from_blocks, from_tail) = src[..len].as_chunks::<64>();
    let mut lanes = [0u64; 8];
    for (to, from) in to_blocks.iter_mut().zip(from_blocks) {
        let block = *from;
        add_block(&mut lanes, &block);
        *to = block;
    }
    to_tail.copy_from_slice(from_tail);
    Sum(fold_u64(sum_tail(from_tail) + lanes.iter().sum::<u64>()))
}

/// Joins the sums of two pieces that lie one behind the other; `b_is_at_odd_offset` where the bytes before
/// `b` are odd in number (RFC 1071 2(B): its bytes then count swapped).
#[inline]
pub const fn combine(a: Sum, b: Sum, b_is_at_odd_offset: bool) -> Sum {
    a.add(if b_is_at_odd_offset { Sum(b.0.swap_bytes()) } else { b })
}

/// Checksum after one 16-bit word of the covered bytes changed (RFC 1624 eqn. 3); all in host order.
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::from_word(!checksum).add(Sum::from_word(!old)).add(Sum::from_word(new)).checksum()
}

/// Sum of the IPv4 pseudo-header (RFC 9293 3.1); `l4_len` in bytes.
#[inline]
pub fn pseudo_header_v4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, l4_len: u32) -> Sum {
    let words = u64::from(src.to_bits()) + u64::from(dst.to_bits());
    Sum::from_host_words(words + u64::from(protocol) + u64::from(l4_len))
}

/// Sum of the IPv6 pseudo-header (RFC 8200 8.1); `l4_len` in bytes.
#[inline]
pub fn pseudo_header_v6(src: Ipv6Addr, dst: Ipv6Addr, protocol: u8, l4_len: u32) -> Sum {
    let mut words = 0;
    for octets in [src.octets(), dst.octets()] {
        let x = u128::from_ne_bytes(octets);
        let (low, high) = (x as u64, (x >> 64) as u64);
        words += (low & 0xffff_ffff) + (low >> 32) + (high & 0xffff_ffff) + (high >> 32);
    }
    Sum(fold_u64(words)).add(Sum::from_host_words(u64::from(protocol) + u64::from(l4_len)))
}

/// Sum of the pseudo-header of either family. Mixed families, which no packet has, count as IPv6.
#[inline]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, l4_len: u32) -> Sum {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => pseudo_header_v4(src, dst, protocol, l4_len),
        (IpAddr::V6(src), IpAddr::V6(dst)) => pseudo_header_v6(src, dst, protocol, l4_len),
        (src, dst) => pseudo_header_v6(
            crate::flow_key::octets_v6(&src).into(),
            crate::flow_key::octets_v6(&dst).into(),
            protocol,
            l4_len,
        ),
    }
}

/// What a look at an L4 checksum found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CsumStatus {
    /// It fits, or UDP over IPv4 came without one (RFC 768).
    Good,
    /// The field holds the folded pseudo-header sum only: a peer on this host left the rest to hardware that
    /// is not there. Acceptable from a veth or virtio peer, damage from anywhere else.
    PartialPseudo,
    /// It does not fit.
    Bad,
}

// Offset of the checksum field, for the protocols whose sender may leave it partial.
#[inline]
const fn partial_field_at(protocol: u8) -> Option<usize> {
    match protocol {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        _ => None,
    }
}

/// Whether the checksum field of this TCP segment or UDP datagram holds just the pseudo-header sum. Reads two
/// bytes of `l4`; call it before [`verify_l4`] where the port's peer may leave checksums partial. One valid
/// checksum in 65,536 looks the same.
#[inline]
pub fn is_partial(src: IpAddr, dst: IpAddr, protocol: u8, l4: &[u8]) -> bool {
    let Some(field) = partial_field_at(protocol).and_then(|at| l4.get(at..at + 2)) else {
        return false;
    };
    let expected = pseudo_header(src, dst, protocol, l4.len() as u32).fold();
    field == expected.to_be_bytes()
}

/// Verifies the checksum of TCP, UDP, ICMP or ICMPv6. `l4` is the header and payload, as long as the
/// pseudo-header says (for UDP: its length field). Protocols without a checksum known here are `Good`.
#[inline]
pub fn verify_l4(src: IpAddr, dst: IpAddr, protocol: u8, l4: &[u8]) -> CsumStatus {
    let pseudo = match protocol {
        protocol::TCP | protocol::ICMPV6 => pseudo_header(src, dst, protocol, l4.len() as u32),
        protocol::UDP => {
            if l4.get(6..8) == Some(&[0, 0]) {
                // RFC 8200 8.1: over IPv6 a UDP checksum of zero is discarded.
                return if src.is_ipv4() { CsumStatus::Good } else { CsumStatus::Bad };
            }
            pseudo_header(src, dst, protocol, l4.len() as u32)
        }
        protocol::ICMP => Sum::ZERO,
        _ => return CsumStatus::Good,
    };
    if sum(l4).add(pseudo).fold() == 0xffff {
        CsumStatus::Good
    } else if is_partial(src, dst, protocol, l4) {
        CsumStatus::PartialPseudo
    } else {
        CsumStatus::Bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::SmallRng};
    use std::vec::Vec;

    fn reference(bytes: &[u8]) -> u16 {
        let mut total = 0u64;
        for pair in bytes.chunks(2) {
            total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        while total > 0xffff {
            total = (total >> 16) + (total & 0xffff);
        }
        total as u16
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut rng = SmallRng::seed_from_u64(1);
        let bytes: Vec<u8> = (0..70_000).map(|_| rng.random()).collect();
        for len in (0..300).chain([1448, 1460, 9000, 65535, 65536, 69_990]) {
            for start in 0..9 {
                let piece = &bytes[start..start + len];
                assert_eq!(sum(piece).fold(), reference(piece), "{start}+{len}");
                let mut to = std::vec![0; len + 3];
                assert_eq!(copy_and_sum(&mut to, piece), sum(piece));
                assert_eq!(&to[..len], piece);
                assert_eq!(to[len..], [0; 3]);
            }
        }
        assert_eq!(sum(&[0xff; 4096]).fold(), 0xffff);
        assert_eq!(sum(&[0; 4096]).fold(), 0);
    }

    #[test]
    fn copy_takes_the_shorter_length() {
        let mut to = [0; 3];
        assert_eq!(copy_and_sum(&mut to, &[1, 2, 3, 4]), sum(&[1, 2, 3]));
        assert_eq!(to, [1, 2, 3]);
    }

    #[test]
    fn combine_at_every_split() {
        let mut rng = SmallRng::seed_from_u64(2);
        let bytes: Vec<u8> = (0..151).map(|_| rng.random()).collect();
        for split in 0..bytes.len() {
            let (a, b) = bytes.split_at(split);
            assert_eq!(combine(sum(a), sum(b), split % 2 == 1).fold(), reference(&bytes));
        }
    }

    #[test]
    fn rfc_1624_update() {
        // The example of RFC 1624 section 4.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn good_partial_bad() {
        for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("fe80::1", "2001:db8::2")] {
            let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            for (proto, at) in [(protocol::TCP, 16), (protocol::UDP, 6)] {
                let mut l4 = [0x5a; 41];
                let pseudo = pseudo_header(src, dst, proto, 41);
                l4[at..at + 2].copy_from_slice(&pseudo.fold().to_be_bytes());
                assert!(is_partial(src, dst, proto, &l4));
                assert_eq!(verify_l4(src, dst, proto, &l4), CsumStatus::PartialPseudo);
                // What the hardware would do with a partial checksum: sum from the L4 header on, complement.
                let full = sum(&l4).checksum();
                l4[at..at + 2].copy_from_slice(&full.to_be_bytes());
                assert_eq!(verify_l4(src, dst, proto, &l4), CsumStatus::Good);
                l4[40] ^= 1;
                assert_eq!(verify_l4(src, dst, proto, &l4), CsumStatus::Bad);
            }
            let mut udp = [1; 9];
            udp[6..8].fill(0);
            let expected = if src.is_ipv4() { CsumStatus::Good } else { CsumStatus::Bad };
            assert_eq!(verify_l4(src, dst, protocol::UDP, &udp), expected);
        }
    }
}

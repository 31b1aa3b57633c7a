//! IPv4 header, RFC 791.

use core::net::Ipv4Addr;

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::{self, Sum};
use crate::parse::ParseError;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Most bytes of options a header can carry.
pub const MAX_OPTIONS_LEN: usize = 40;

/// View of the fixed 20 bytes, in place and unaligned.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (high nibble) and header length in 32-bit words (low nibble).
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Bytes of header and payload.
    pub total_length: U16,
    /// Identification, unique only for what may be fragmented (RFC 6864).
    pub id: U16,
    /// Flags (3 bits) and fragment offset in units of 8 bytes.
    pub flags_fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: U16,
    /// Source address.
    pub src: [u8; 4],
    /// Destination address.
    pub dst: [u8; 4],
}

/// Don't-fragment bit of `flags_fragment`.
pub const DF: u16 = 0x4000;
/// More-fragments bit of `flags_fragment`.
pub const MF: u16 = 0x2000;
/// Offset part of `flags_fragment`, units of 8 bytes.
pub const OFFSET_MASK: u16 = 0x1fff;

/// What [`Ipv4Header::check`] found: lengths in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lengths {
    pub header_len: usize,
    pub total_len: usize,
}

impl Ipv4Header {
    /// The view on the first 20 bytes.
    ///
    /// # Errors
    /// `TooShort`. Nothing in it is judged yet.
    #[inline]
    pub fn view(packet: &[u8]) -> Result<&Self, ParseError> {
        Self::ref_from_prefix(packet).map(|(h, _)| h).map_err(|_| ParseError::TooShort)
    }

    /// Header length in bytes as the field says, 0-60, unchecked.
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Whether the packet must not be fragmented.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.flags_fragment.get() & DF != 0
    }

    // RFC 1122 3.2.1.1-3.2.1.2: version and header checksum MUST be verified; bad ones silently discarded.
    #[inline(always)]
    pub(crate) fn check(&self, packet: &[u8]) -> Result<Lengths, ParseError> {
        let header_len = if self.version_ihl == 0x45 {
            if add_words(self.as_bytes()) != 0xffff {
                return Err(ParseError::Ipv4Checksum);
            }
            HEADER_LEN
        } else {
            self.check_options(packet)?
        };
        let total_len = usize::from(self.total_length.get());
        if total_len < header_len || total_len > packet.len() {
            return Err(ParseError::Ipv4TotalLength);
        }
        Ok(Lengths { header_len, total_len })
    }

    #[cold]
    //= RFC 9293 section 3.9.2, MUST-50
    fn check_options(&self, packet: &[u8]) -> Result<usize, ParseError> {
        if self.version_ihl >> 4 != 4 {
            return Err(ParseError::Ipv4Version);
        }
        let header_len = self.header_len();
        let header = packet.get(..header_len).ok_or(ParseError::Ipv4HeaderLength)?;
        if header_len < HEADER_LEN {
            return Err(ParseError::Ipv4HeaderLength);
        }
        if checksum::sum(header).fold() != 0xffff {
            return Err(ParseError::Ipv4Checksum);
        }
        Ok(header_len)
    }
}

#[inline(always)]
fn add_words(header: &[u8]) -> u16 {
    let (words, _) = header.as_chunks::<4>();
    Sum::from_host_words(words.iter().map(|w| u64::from(u32::from_be_bytes(*w))).sum()).fold()
}

/// Whether the options of a header hold a source route (loose 131 or strict 137). RFC 7126 4.3-4.4: such
/// packets are dropped by default.
pub fn has_source_route(options: &[u8]) -> bool {
    let mut rest = options;
    loop {
        match rest {
            [131 | 137, ..] => return true,
            [1, after @ ..] => rest = after,
            [] | [0, ..] | [_] => return false,
            [_, len, ..] => match rest.get(usize::from(*len)..) {
                Some(after) if *len >= 2 => rest = after,
                _ => return false,
            },
        }
    }
}

/// The fields of a header to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Emit<'a> {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Time to live; 0 is never sent (RFC 1122 3.2.1.7), and that is the caller's duty.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Don't fragment.
    pub dont_fragment: bool,
    /// More fragments follow.
    pub more_fragments: bool,
    /// Offset of this fragment in bytes, a multiple of 8.
    pub offset_bytes: u16,
    /// Options, a multiple of 4 bytes, at most 40; mostly empty (router alert: 94 04 00 00).
    pub options: &'a [u8],
}

impl Ipv4Emit<'_> {
    // The caller has checked the option length (multiple of 4, at most 40) and that the total fits 16 bits.
    #[inline(always)]
    pub(crate) fn fixed_bytes(&self, total_len: u16) -> [u8; HEADER_LEN] {
        let version_ihl = 0x45 + (self.options.len() / 4) as u32;
        let flags = if self.dont_fragment { DF } else { 0 } | if self.more_fragments { MF } else { 0 };
        let flags_fragment = flags | (self.offset_bytes >> 3);
        let w0 = version_ihl << 24 | u32::from(self.tos) << 16 | u32::from(total_len);
        let w1 = u32::from(self.id) << 16 | u32::from(flags_fragment);
        let w2 = u32::from(self.ttl) << 24 | u32::from(self.protocol) << 16;
        let (src, dst) = (self.src.to_bits(), self.dst.to_bits());
        let total = [w0, w1, w2, src, dst].iter().map(|w| u64::from(*w)).sum();
        let mut sum = Sum::from_host_words(total);
        if !self.options.is_empty() {
            sum = sum.add(checksum::sum(self.options));
        }
        let w2 = w2 | u32::from(sum.checksum());
        let mut bytes = [0; HEADER_LEN];
        let (words, _) = bytes.as_chunks_mut::<4>();
        for (to, word) in words.iter_mut().zip([w0, w1, w2, src, dst]) {
            *to = word.to_be_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::ipv4;

    const PLAIN: Ipv4Emit<'static> = Ipv4Emit {
        src: Ipv4Addr::new(192, 0, 2, 1),
        dst: Ipv4Addr::new(198, 51, 100, 7),
        protocol: 6,
        ttl: 64,
        tos: 0xb8,
        id: 0xbeef,
        dont_fragment: true,
        more_fragments: false,
        offset_bytes: 0,
        options: &[],
    };

    #[test]
    fn emitted_header_is_what_pnet_reads() {
        let b = PLAIN.fixed_bytes(20);
        let p = ipv4::Ipv4Packet::new(&b).unwrap();
        assert_eq!(p.get_checksum(), ipv4::checksum(&p));
        assert_eq!((p.get_source(), p.get_destination()), (PLAIN.src, PLAIN.dst));
        assert_eq!((p.get_ttl(), p.get_identification(), p.get_flags()), (64, 0xbeef, 2));
        assert_eq!((p.get_dscp() << 2 | p.get_ecn(), p.get_total_length()), (0xb8, 20));
        let h = Ipv4Header::view(&b).unwrap();
        assert_eq!(h.check(&b), Ok(Lengths { header_len: 20, total_len: 20 }));
        assert!(h.dont_fragment());
        let fragment = Ipv4Emit { offset_bytes: 1480, more_fragments: true, dont_fragment: false, ..PLAIN };
        let b = fragment.fixed_bytes(20);
        let p = ipv4::Ipv4Packet::new(&b).unwrap();
        assert_eq!((p.get_fragment_offset(), p.get_flags()), (185, 1));
    }

    #[test]
    fn each_fault_has_its_name() {
        let good = PLAIN.fixed_bytes(20);
        let check = |at: usize, value: u8, fix_checksum: bool| {
            let mut b = good;
            b[at] = value;
            if fix_checksum {
                b[10..12].fill(0);
                let c = checksum::sum(&b).checksum();
                b[10..12].copy_from_slice(&c.to_be_bytes());
            }
            Ipv4Header::view(&b).unwrap().check(&b)
        };
        assert_eq!(check(0, 0x55, true), Err(ParseError::Ipv4Version));
        assert_eq!(check(0, 0x44, true), Err(ParseError::Ipv4HeaderLength));
        assert_eq!(check(0, 0x46, true), Err(ParseError::Ipv4HeaderLength));
        assert_eq!(check(3, 19, true), Err(ParseError::Ipv4TotalLength));
        assert_eq!(check(3, 21, true), Err(ParseError::Ipv4TotalLength));
        assert_eq!(check(8, 63, false), Err(ParseError::Ipv4Checksum));
        assert!(Ipv4Header::view(&good[..19]).is_err());
    }

    #[test]
    fn source_routes() {
        assert!(has_source_route(&[1, 131, 7, 4, 1, 2, 3, 4]));
        assert!(has_source_route(&[148, 4, 0, 0, 137, 3, 4, 0]));
        assert!(!has_source_route(&[148, 4, 0, 0]));
        assert!(!has_source_route(&[7, 0, 131, 3]));
        assert!(!has_source_route(&[0, 131, 3, 4]));
    }
}

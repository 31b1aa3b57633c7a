//! TCP header, RFC 9293 3.1. Options are in `tcp_options`.

use core::fmt;
use core::ops::{BitAnd, BitOr, BitOrAssign, Not};

use crate::parse::ParseError;

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Bytes of the longest header.
pub const MAX_HEADER_LEN: usize = 60;

/// Control bits, the nine lowest of the 13th and 14th byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(u16);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x001);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x002);
    /// Reset the connection.
    pub const RST: Self = Self(0x004);
    /// Push.
    pub const PSH: Self = Self(0x008);
    /// The acknowledgment field counts.
    pub const ACK: Self = Self(0x010);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x020);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x040);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x080);
    /// Accurate ECN (RFC 9768); once NS.
    pub const AE: Self = Self(0x100);
    /// No bit set.
    pub const EMPTY: Self = Self(0);

    /// From the low nine bits; others are dropped.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x1ff)
    }

    /// As they stand in the header.
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no bit is set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both together; `|` in a const.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the bits of `other`.
    #[inline]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for TcpFlags {
    type Output = Self;
    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for TcpFlags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for TcpFlags {
    type Output = Self;
    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for TcpFlags {
    type Output = Self;
    #[inline]
    fn not(self) -> Self {
        Self::from_bits(!self.0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // tcpdump's letters.
        const LETTERS: [char; 9] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W', 'e'];
        if self.is_empty() {
            return f.write_str("none");
        }
        LETTERS
            .iter()
            .enumerate()
            .filter(|(bit, _)| self.0 >> bit & 1 != 0)
            .try_for_each(|(_, c)| write!(f, "{c}"))
    }
}

/// The fixed part of a TCP header, host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number of the first byte (of the SYN, if there is one).
    pub seq: u32,
    /// Acknowledgment number; counts only with ACK.
    pub ack: u32,
    /// Bytes of the header with options, 20-60: options are `l4[20..data_off_bytes]`.
    pub data_off_bytes: u8,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window as in the field, not scaled.
    pub window: u16,
    /// Checksum as in the field.
    pub checksum: u16,
    /// Urgent pointer; counts only with URG.
    pub urgent: u16,
}

/// Reads the header at the start of `l4`, which ends with the segment.
///
/// # Errors
/// `TcpTruncated`; `TcpDataOffset` where the offset is below 20 bytes or past the end.
#[inline]
pub fn parse_tcp(l4: &[u8]) -> Result<TcpHeader, ParseError> {
    let Some(h) = l4.first_chunk::<HEADER_LEN>() else {
        return Err(ParseError::TcpTruncated);
    };
    let data_off_bytes = (h[12] >> 4) * 4;
    if usize::from(data_off_bytes) < HEADER_LEN || usize::from(data_off_bytes) > l4.len() {
        return Err(ParseError::TcpDataOffset);
    }
    Ok(TcpHeader {
        src_port: u16::from_be_bytes([h[0], h[1]]),
        dst_port: u16::from_be_bytes([h[2], h[3]]),
        seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
        data_off_bytes,
        flags: TcpFlags::from_bits(u16::from_be_bytes([h[12], h[13]])),
        window: u16::from_be_bytes([h[14], h[15]]),
        checksum: u16::from_be_bytes([h[16], h[17]]),
        urgent: u16::from_be_bytes([h[18], h[19]]),
    })
}

/// Bytes of the header at the start of `l4`, options included.
///
/// # Errors
/// `TcpTruncated`, `TcpDataOffset`.
#[inline(always)]
pub fn header_len(l4: &[u8]) -> Result<usize, ParseError> {
    parse_tcp(l4).map(|h| usize::from(h.data_off_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        let f = TcpFlags::SYN | TcpFlags::ACK;
        assert!(f.contains(TcpFlags::SYN) && !f.contains(TcpFlags::SYN | TcpFlags::FIN));
        assert!(f.intersects(TcpFlags::SYN | TcpFlags::FIN) && !f.intersects(TcpFlags::RST));
        assert_eq!(std::format!("{f:?} {:?} {:?}", TcpFlags::AE, TcpFlags::EMPTY), "S. e none");
        assert_eq!((!f & TcpFlags::SYN, f.without(TcpFlags::ACK)), (TcpFlags::EMPTY, TcpFlags::SYN));
    }

    #[test]
    fn fields_and_bounds() {
        let mut b: [u8; 24] = core::array::from_fn(|i| i as u8);
        b[12] = 0x61;
        b[13] = 0xff;
        let h = parse_tcp(&b).unwrap();
        assert_eq!((h.src_port, h.dst_port, h.seq, h.ack), (0x0001, 0x0203, 0x0405_0607, 0x0809_0a0b));
        assert_eq!((h.data_off_bytes, h.flags.bits(), h.window), (24, 0x1ff, 0x0e0f));
        assert_eq!((h.checksum, h.urgent), (0x1011, 0x1213));
        assert_eq!(parse_tcp(&b[..23]), Err(ParseError::TcpDataOffset));
        assert_eq!(parse_tcp(&b[..19]), Err(ParseError::TcpTruncated));
        b[12] = 0x4f;
        assert_eq!(parse_tcp(&b), Err(ParseError::TcpDataOffset));
    }
}

//! UDP header, RFC 768.

use crate::parse::ParseError;

/// Bytes of a UDP header.
pub const HEADER_LEN: usize = 8;

/// A UDP header, host order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpHeader {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of header and payload.
    pub length: u16,
    /// Checksum; 0 means none (IPv4 only).
    pub checksum: u16,
}

/// Reads the header at the start of `l4`.
///
/// # Errors
/// `UdpTruncated`; `UdpLength` where the length field is below 8 or past the end of `l4`.
#[inline]
pub fn parse_udp(l4: &[u8]) -> Result<UdpHeader, ParseError> {
    let Some(&[s0, s1, d0, d1, l0, l1, c0, c1]) = l4.first_chunk::<HEADER_LEN>() else {
        return Err(ParseError::UdpTruncated);
    };
    let length = u16::from_be_bytes([l0, l1]);
    if usize::from(length) < HEADER_LEN || usize::from(length) > l4.len() {
        return Err(ParseError::UdpLength);
    }
    Ok(UdpHeader {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        length,
        checksum: u16::from_be_bytes([c0, c1]),
    })
}

#[inline]
pub(crate) fn datagram_len(l4: &[u8]) -> Result<usize, ParseError> {
    parse_udp(l4).map(|h| usize::from(h.length))
}

/// The 8 bytes of a header; the checksum as it shall stand in the field.
#[inline]
pub(crate) fn to_bytes(h: UdpHeader) -> [u8; HEADER_LEN] {
    let high = u64::from(h.src_port) << 48 | u64::from(h.dst_port) << 32;
    (high | u64::from(h.length) << 16 | u64::from(h.checksum)).to_be_bytes()
}

/// Writes a header at the start of `out`; returns 8, or 0 (nothing written) where `out` is shorter.
#[inline]
pub fn emit_udp(header: &UdpHeader, out: &mut [u8]) -> usize {
    match out.first_chunk_mut::<HEADER_LEN>() {
        Some(to) => {
            *to = to_bytes(*header);
            HEADER_LEN
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::udp::UdpPacket;

    #[test]
    fn round_trip_and_pnet_agrees() {
        let h = UdpHeader { src_port: 53, dst_port: 40001, length: 11, checksum: 0xbeef };
        let mut b = [0; 11];
        assert_eq!(emit_udp(&h, &mut b), 8);
        assert_eq!(parse_udp(&b), Ok(h));
        let p = UdpPacket::new(&b).unwrap();
        assert_eq!((p.get_source(), p.get_destination()), (53, 40001));
        assert_eq!((p.get_length(), p.get_checksum()), (11, 0xbeef));
        assert_eq!(parse_udp(&b[..10]), Err(ParseError::UdpLength));
        assert_eq!(parse_udp(&b[..7]), Err(ParseError::UdpTruncated));
        assert_eq!(emit_udp(&h, &mut b[..7]), 0);
    }
}

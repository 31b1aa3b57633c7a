//! Ethernet II header, with at most one VLAN tag (`vlan`).

use crate::parse::ParseError;
use crate::vlan;

/// A 48-bit link-layer address in the order it stands on the wire.
pub type MacAddr = [u8; 6];

/// Bytes of an untagged Ethernet header (no preamble, no FCS).
pub const HEADER_LEN: usize = 14;
/// Ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethertype of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// Ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The broadcast address.
pub const BROADCAST: MacAddr = [0xff; 6];

/// The link layer of a frame. All zero (but for the ethertype) where the packet came without one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct L2 {
    /// Sender.
    pub src: MacAddr,
    /// Receiver.
    pub dst: MacAddr,
    /// TCI of the VLAN tag (PCP, DEI, VID), if the frame has one.
    pub vlan: Option<u16>,
    /// Ethertype of what follows the header and its tag, host order.
    pub ethertype: u16,
}

/// Whether `mac` is a group address (multicast or broadcast).
#[inline]
pub const fn is_group(mac: MacAddr) -> bool {
    mac[0] & 1 != 0
}

/// Reads the header and its tag; returns them with the offset of the network header in bytes.
///
/// # Errors
/// `TooShort` or `VlanTruncated`. Ethertypes are not judged here.
#[inline]
pub fn parse_eth(bytes: &[u8]) -> Result<(L2, usize), ParseError> {
    let Some((&header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(ParseError::TooShort);
    };
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = header;
    let (dst, src) = ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]);
    let ethertype = u16::from_be_bytes([t0, t1]);
    if !vlan::is_tag(ethertype) {
        return Ok((L2 { src, dst, vlan: None, ethertype }, HEADER_LEN));
    }
    let (tci, ethertype) = vlan::parse_tag(rest)?;
    Ok((L2 { src, dst, vlan: Some(tci), ethertype }, HEADER_LEN + vlan::TAG_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_tagged() {
        assert_eq!(parse_eth(&[0; 13]), Err(ParseError::TooShort));
        let mut f = [0u8; 18];
        f[..6].copy_from_slice(&BROADCAST);
        f[6] = 2;
        f[12..18].copy_from_slice(&[0x81, 0x00, 0x60, 0x05, 0x08, 0x06]);
        let (l2, off) = parse_eth(&f).unwrap();
        assert_eq!((off, l2.vlan, l2.ethertype), (18, Some(0x6005), ETHERTYPE_ARP));
        assert!(is_group(l2.dst) && !is_group(l2.src));
        assert_eq!(parse_eth(&f[..17]), Err(ParseError::VlanTruncated));
    }
}

//! One 802.1Q or 802.1ad tag. Two tags are a provider's business: such frames are left to the kernel.

use crate::parse::ParseError;

/// TPID of a customer tag.
pub const TPID_8021Q: u16 = 0x8100;
/// TPID of a service tag.
pub const TPID_8021AD: u16 = 0x88a8;
/// Bytes a tag adds to the Ethernet header.
pub const TAG_LEN: usize = 4;

/// Whether this ethertype announces a tag.
#[inline]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, TPID_8021Q | TPID_8021AD)
}

/// VLAN identifier (12 bits) of a TCI; 0 means priority only, 802.1Q 9.6.
#[inline]
pub const fn vid(tci: u16) -> u16 {
    tci & 0x0fff
}

/// Priority code point (0-7) of a TCI.
#[inline]
pub const fn pcp(tci: u16) -> u8 {
    (tci >> 13) as u8
}

/// TCI and inner ethertype from the bytes after the TPID.
#[inline]
pub(crate) fn parse_tag(after_tpid: &[u8]) -> Result<(u16, u16), ParseError> {
    let Some(&[a, b, c, d]) = after_tpid.first_chunk::<4>() else {
        return Err(ParseError::VlanTruncated);
    };
    Ok((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tci_parts() {
        assert_eq!((vid(0x6005), pcp(0x6005)), (5, 3));
        assert_eq!((vid(0xefff), pcp(0xefff)), (0xfff, 7));
        assert!(is_tag(0x8100) && is_tag(0x88a8) && !is_tag(0x9100));
    }
}

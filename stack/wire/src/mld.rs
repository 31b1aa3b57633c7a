//! Multicast listener discovery: MLDv1 (RFC 2710) and MLDv2 (RFC 3810), as bodies of ICMPv6.

use core::net::Ipv6Addr;

use crate::icmpv6;
use crate::igmp::{RecordType, Version};
use crate::parse::ParseError;

/// Multicast listener query, both versions.
pub const QUERY: u8 = 130;
/// Report of version 1.
pub const REPORT_V1: u8 = 131;
/// Done of version 1.
pub const DONE: u8 = 132;
/// Report of version 2.
pub const REPORT_V2: u8 = 143;
/// Where version 2 reports go: all MLDv2-capable routers (RFC 3810 5.2.14).
pub const ALL_V2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// The hop-by-hop header that every message carries, next header ICMPv6: Router Alert for MLD (RFC 2711), PadN.
pub const ROUTER_ALERT: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];

/// A message that concerns a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mld {
    /// A router wants to know. [`Version::V2`] is MLDv1, [`Version::V3`] MLDv2, after their IGMP equals.
    Query {
        /// Of the querier.
        version: Version,
        /// Answer within this time, milliseconds.
        max_resp_ms: u32,
        /// About this group, or all.
        group: Option<Ipv6Addr>,
    },
    /// Another listener reports (version 1): it spares us ours.
    Report(Ipv6Addr),
    /// What concerns routers only.
    Other,
}

/// Reads a message whose checksum is verified already.
///
/// # Errors
/// `IcmpTruncated`: too short, or a query of a length that no version has.
pub fn parse(l4: &[u8]) -> Result<Mld, ParseError> {
    let message = icmpv6::Icmpv6::parse(l4)?;
    let group = || {
        let octets = message.body.first_chunk::<16>().ok_or(ParseError::IcmpTruncated)?;
        Ok(Ipv6Addr::from_octets(*octets))
    };
    Ok(match message.ty {
        QUERY => {
            let code = u16::from_be_bytes([message.rest[0], message.rest[1]]);
            // RFC 3810 section 8.1 tells them apart.
            let (version, max_resp_ms) = match l4.len() {
                24 => (Version::V2, u32::from(code)),
                28.. => (Version::V3, float16(code)),
                _ => return Err(ParseError::IcmpTruncated),
            };
            let group = group()?;
            Mld::Query { version, max_resp_ms, group: (!group.is_unspecified()).then_some(group) }
        }
        REPORT_V1 => Mld::Report(group()?),
        _ => Mld::Other,
    })
}

/// RFC 3810 section 5.1.3: a float of 3 exponent and 12 mantissa bits from 32768 on.
const fn float16(code: u16) -> u32 {
    if code < 0x8000 { code as u32 } else { (code as u32 & 0xfff | 0x1000) << ((code >> 12 & 7) + 3) }
}

/// Writes a version 2 report of `records`, each without sources, at the start of `out`. Returns its length and how
/// many records found room.
pub fn emit_report(
    records: impl Iterator<Item = (RecordType, Ipv6Addr)>,
    src: Ipv6Addr,
    out: &mut [u8],
) -> (usize, usize) {
    let mut len = 8;
    let mut n = 0;
    for (ty, group) in records {
        let Some(record) = out.get_mut(len..len + 20) else { break };
        record[..4].copy_from_slice(&[ty as u8, 0, 0, 0]);
        record[4..].copy_from_slice(&group.octets());
        len += 20;
        n += 1;
    }
    let Some(header) = out.get_mut(..8) else { return (0, 0) };
    header.copy_from_slice(&[REPORT_V2, 0, 0, 0, 0, 0, (n >> 8) as u8, n as u8]);
    icmpv6::fill_checksum(&mut out[..len], src, ALL_V2_ROUTERS);
    (len, n)
}

/// Writes a report or a done of version 1 about `group` to `dst`; returns its length.
pub fn emit_v1(ty: u8, group: Ipv6Addr, src: Ipv6Addr, dst: Ipv6Addr, out: &mut [u8]) -> usize {
    icmpv6::emit((ty, 0), [0; 4], &group.octets(), src, dst, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 9);
    const SRC: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    //= RFC 3810 section 8.1
    #[test]
    fn versions_are_told_by_length() {
        let mut q = [0; 32];
        q[0] = QUERY;
        q[4..6].copy_from_slice(&1000u16.to_be_bytes());
        let all = |version, max_resp_ms| Ok(Mld::Query { version, max_resp_ms, group: None });
        assert_eq!(parse(&q[..24]), all(Version::V2, 1000));
        assert_eq!(parse(&q[..28]), all(Version::V3, 1000));
        assert_eq!(parse(&q[..26]), Err(ParseError::IcmpTruncated));
        assert_eq!(parse(&q[..20]), Err(ParseError::IcmpTruncated));
        q[4..6].copy_from_slice(&0x8001u16.to_be_bytes());
        q[8..24].copy_from_slice(&GROUP.octets());
        let want = Mld::Query { version: Version::V3, max_resp_ms: 0x1001 << 3, group: Some(GROUP) };
        assert_eq!(parse(&q[..28]), Ok(want));
    }

    #[test]
    fn reports_have_a_checksum() {
        let mut b = [0; 64];
        let records = [(RecordType::ChangeToExclude, GROUP), (RecordType::ModeIsExclude, SRC)];
        assert_eq!(emit_report(records.into_iter(), SRC, &mut b), (48, 2));
        assert_eq!((b[0], b[7], b[8], b[28]), (143, 2, 4, 2));
        let good = crate::verify_l4(SRC.into(), ALL_V2_ROUTERS.into(), 58, &b[..48]);
        assert_eq!(good, crate::CsumStatus::Good);
        assert_eq!(emit_report(records.into_iter(), SRC, &mut b[..47]).1, 1);
        assert_eq!(emit_v1(REPORT_V1, GROUP, SRC, GROUP, &mut b), 24);
        assert_eq!(parse(&b[..24]), Ok(Mld::Report(GROUP)));
    }
}

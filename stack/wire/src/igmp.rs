//! IGMP: what routers ask and hosts report of IPv4 groups, versions 1 (RFC 1112), 2 (RFC 2236) and 3 (RFC 3376).

use core::net::Ipv4Addr;

use crate::checksum::{Sum, sum};
use crate::parse::ParseError;

/// Membership query, all versions.
pub const QUERY: u8 = 0x11;
/// Membership report, version 1.
pub const REPORT_V1: u8 = 0x12;
/// Membership report, version 2.
pub const REPORT_V2: u8 = 0x16;
/// Leave group, version 2.
pub const LEAVE: u8 = 0x17;
/// Membership report, version 3.
pub const REPORT_V3: u8 = 0x22;
/// Where version 3 reports go: all capable routers (RFC 3376 4.2.14).
pub const ALL_V3_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
/// Where version 2 leaves go: all routers (RFC 2236 3).
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// The Router Alert option that every message but version 1's carries (RFC 2113, RFC 3376 4).
pub const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];

/// Which version a message speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// RFC 1112; for IPv6 there is none.
    V1,
    /// RFC 2236; MLDv1 (RFC 2710) is its equal.
    V2,
    /// RFC 3376; MLDv2 (RFC 3810) is its equal.
    V3,
}

/// What a record of a version 3 report says of its group (RFC 3376 4.2.12, RFC 3810 5.2.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RecordType {
    /// Answer: only from the listed sources. With none listed: nothing at all.
    ModeIsInclude = 1,
    /// Answer: from everywhere but the listed sources.
    ModeIsExclude = 2,
    /// Change to "only from the listed sources": with none, the group is left.
    ChangeToInclude = 3,
    /// Change to "from everywhere but the listed": with none, the group is joined.
    ChangeToExclude = 4,
}

/// A message that concerns a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Igmp {
    /// A router wants to know.
    Query {
        /// Of the querier.
        version: Version,
        /// Answer within this time, milliseconds.
        max_resp_ms: u32,
        /// About this group, or all.
        group: Option<Ipv4Addr>,
    },
    /// Another member reports (versions 1 and 2): it spares us ours.
    Report(Ipv4Addr),
    /// What concerns routers only.
    Other,
}

/// Reads a message with its checksum.
///
/// # Errors
/// `IcmpTruncated`: shorter than 8 bytes, a query of a length that no version has, or a wrong checksum.
pub fn parse(l4: &[u8]) -> Result<Igmp, ParseError> {
    let &[ty, code, _, _, a, b, c, d] = l4.first_chunk::<8>().ok_or(ParseError::IcmpTruncated)?;
    if sum(l4).fold() != 0xffff {
        return Err(ParseError::IcmpTruncated);
    }
    let group = Ipv4Addr::new(a, b, c, d);
    Ok(match ty {
        QUERY => {
            // RFC 3376 section 7.1 tells them apart.
            let (version, tenths) = match (l4.len(), code) {
                (8, 0) => (Version::V1, 100),
                (8, _) => (Version::V2, u32::from(code)),
                (12.., _) => (Version::V3, float8(code)),
                _ => return Err(ParseError::IcmpTruncated),
            };
            let group = (!group.is_unspecified()).then_some(group);
            Igmp::Query { version, max_resp_ms: tenths * 100, group }
        }
        REPORT_V1 | REPORT_V2 => Igmp::Report(group),
        _ => Igmp::Other,
    })
}

/// RFC 3376 section 4.1.1: a float of 3 exponent and 4 mantissa bits from 128 on.
const fn float8(code: u8) -> u32 {
    if code < 128 { code as u32 } else { (code as u32 & 0xf | 0x10) << ((code >> 4 & 7) + 3) }
}

/// Writes a version 3 report of `records`, each without sources, at the start of `out`. Returns its length and
/// how many records found room.
pub fn emit_report(records: impl Iterator<Item = (RecordType, Ipv4Addr)>, out: &mut [u8]) -> (usize, usize) {
    let mut len = 8;
    let mut n = 0;
    for (ty, group) in records {
        let Some(record) = out.get_mut(len..len + 8) else { break };
        record[..4].copy_from_slice(&[ty as u8, 0, 0, 0]);
        record[4..].copy_from_slice(&group.octets());
        len += 8;
        n += 1;
    }
    let Some(header) = out.get_mut(..8) else { return (0, 0) };
    header.copy_from_slice(&[REPORT_V3, 0, 0, 0, 0, 0, (n >> 8) as u8, n as u8]);
    fill_checksum(&mut out[..len]);
    (len, n)
}

/// Writes a report of version 1 or 2, or a leave, about `group`; returns its length.
pub fn emit_old(ty: u8, group: Ipv4Addr, out: &mut [u8]) -> usize {
    let Some(message) = out.get_mut(..8) else { return 0 };
    message[..4].copy_from_slice(&[ty, 0, 0, 0]);
    message[4..].copy_from_slice(&group.octets());
    fill_checksum(message);
    8
}

fn fill_checksum(message: &mut [u8]) {
    let csum = Sum::ZERO.add(sum(message)).checksum();
    message[2..4].copy_from_slice(&csum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);

    fn query(code: u8, group: Ipv4Addr, len: usize) -> std::vec::Vec<u8> {
        let mut q = std::vec![0; len];
        q[0] = QUERY;
        q[1] = code;
        q[4..8].copy_from_slice(&group.octets());
        fill_checksum(&mut q);
        q
    }

    //= RFC 3376 section 7.1
    #[test]
    fn versions_are_told_by_length_and_code() {
        let any = Ipv4Addr::UNSPECIFIED;
        let of = |q: &[u8]| match parse(q) {
            Ok(Igmp::Query { version, max_resp_ms, group }) => Some((version, max_resp_ms, group)),
            _ => None,
        };
        assert_eq!(of(&query(0, any, 8)), Some((Version::V1, 10_000, None)));
        assert_eq!(of(&query(20, GROUP, 8)), Some((Version::V2, 2_000, Some(GROUP))));
        assert_eq!(of(&query(100, any, 12)), Some((Version::V3, 10_000, None)));
        // 0x8f: exponent 0, mantissa 15: 31 << 3.
        assert_eq!(of(&query(0x8f, any, 16)), Some((Version::V3, 24_800, None)));
        assert_eq!(of(&query(1, any, 10)), None);
        let mut bad = query(1, any, 8);
        bad[7] ^= 1;
        assert_eq!(parse(&bad), Err(ParseError::IcmpTruncated));
        assert_eq!(parse(&bad[..7]), Err(ParseError::IcmpTruncated));
    }

    #[test]
    fn reports() {
        let mut b = [0; 32];
        let records = [(RecordType::ChangeToExclude, GROUP), (RecordType::ChangeToInclude, ALL_ROUTERS)];
        assert_eq!(emit_report(records.into_iter(), &mut b), (24, 2));
        assert_eq!(b[..2], [0x22, 0]);
        assert_eq!(b[6..16], [0, 2, 4, 0, 0, 0, 239, 1, 2, 3]);
        assert_eq!(parse(&b[..24]), Ok(Igmp::Other));
        assert_eq!(emit_report(records.into_iter(), &mut b[..23]), (16, 1), "what fits");
        assert_eq!(emit_old(REPORT_V2, GROUP, &mut b), 8);
        assert_eq!(parse(&b[..8]), Ok(Igmp::Report(GROUP)));
        assert_eq!(emit_old(LEAVE, GROUP, &mut b[..7]), 0);
    }
}

//! Default source address selection, RFC 6724 section 5. (Destination addresses, section 6, are the resolver's to
//! sort: names are resolved elsewhere.)

use core::cmp::Ordering;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::{AddrState, Held, Origin};

/// The default policy table (RFC 6724 2.1): prefix, its length, label. Precedences are for destinations.
const POLICY: [(Ipv6Addr, u32, u8); 9] = [
    (Ipv6Addr::LOCALHOST, 128, 0),
    (Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96, 4),
    (Ipv6Addr::UNSPECIFIED, 96, 3),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, 5),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 2),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, 12),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, 11),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, 13),
    (Ipv6Addr::UNSPECIFIED, 0, 1),
];

/// Scopes as in multicast addresses (RFC 4291 2.7); RFC 6724 3.1 and 3.2 for unicast.
const SCOPE_LINK: u8 = 2;
const SCOPE_SITE: u8 = 5;
const SCOPE_GLOBAL: u8 = 14;

fn scope(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(v4) if v4.is_link_local() || v4.is_loopback() => SCOPE_LINK,
        // RFC 2365: 224.0.0.0/24 never leaves the link.
        IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => SCOPE_LINK,
        IpAddr::V4(_) => SCOPE_GLOBAL,
        IpAddr::V6(v6) if v6.is_multicast() => v6.octets()[1] & 0xf,
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_loopback() => SCOPE_LINK,
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfec0 => SCOPE_SITE,
        IpAddr::V6(_) => SCOPE_GLOBAL,
    }
}

fn mapped(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    (mapped(a) ^ mapped(b)).leading_zeros()
}

fn label(ip: IpAddr) -> u8 {
    let matches = POLICY.iter().filter(|(prefix, len, _)| common_bits(ip, (*prefix).into()) >= *len);
    matches.max_by_key(|(_, len, _)| *len).map_or(1, |(_, _, label)| *label)
}

/// The best of `ours` to send from to `dst`; of equals the first. `None`: none is of the family.
pub(crate) fn select<'a>(ours: impl Iterator<Item = &'a Held>, dst: IpAddr) -> Option<IpAddr> {
    let of_family = ours.filter(|a| a.if_addr.addr.is_ipv4() == dst.is_ipv4());
    let best = of_family.reduce(|a, b| if compare(a, b, dst) == Ordering::Less { b } else { a })?;
    Some(best.if_addr.addr)
}

/// Greater: `a` is better. Rule 1 is the caller's; rules 4 (home addresses), 5 (one interface) and 5.5 don't apply.
//= RFC 6724 section 5
fn compare(a: &Held, b: &Held, dst: IpAddr) -> Ordering {
    let (sa, sb, d) = (a.if_addr.addr, b.if_addr.addr, scope(dst));
    // Rule 2: the smallest scope that reaches `dst`, else the largest.
    let by_scope = match scope(sa).cmp(&scope(sb)) {
        Ordering::Equal => Ordering::Equal,
        Ordering::Less if scope(sa) < d => Ordering::Less,
        Ordering::Less => Ordering::Greater,
        Ordering::Greater if scope(sb) < d => Ordering::Greater,
        Ordering::Greater => Ordering::Less,
    };
    // Rule 3.
    let fresh = |x: &Held| x.state == AddrState::Preferred;
    // Rule 6.
    let labelled = |ip| label(ip) == label(dst);
    // Rule 7: RFC 8981 prefers temporary addresses, so does RFC 6724.
    let temporary = |x: &Held| x.origin == Origin::Temporary;
    by_scope
        .then_with(|| fresh(a).cmp(&fresh(b)))
        .then_with(|| labelled(sa).cmp(&labelled(sb)))
        .then_with(|| temporary(a).cmp(&temporary(b)))
        .then_with(|| matching(a, dst).cmp(&matching(b, dst)))
}

/// Rule 8 (and section 2.2): bits in common, as far as the source's prefix goes. For IPv4, whose addresses of one
/// subnet share nothing by design, only whether `dst` is in the subnet, and how narrow that is.
fn matching(a: &Held, dst: IpAddr) -> u32 {
    let prefix_len = u32::from(a.if_addr.prefix_len);
    match dst {
        IpAddr::V4(_) if a.if_addr.contains(dst) => prefix_len + 1,
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => common_bits(a.if_addr.addr, dst).min(prefix_len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::IfAddr;
    use AddrState::{Deprecated, Preferred};
    use Origin::{Manual, Stable, Temporary};
    use alloc::vec::Vec;

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    fn pick(ours: &[(&str, AddrState, Origin)], dst: &str) -> Option<usize> {
        let held: Vec<Held> = ours
            .iter()
            .map(|(a, state, origin)| {
                let (addr, len) = a.split_once('/').unwrap_or((a, "64"));
                let if_addr = IfAddr { addr: ip(addr), prefix_len: len.parse().unwrap() };
                Held { if_addr, state: *state, origin: *origin }
            })
            .collect();
        let best = select(held.iter(), ip(dst))?;
        held.iter().position(|h| h.if_addr.addr == best)
    }

    fn plain(ours: &[&str], dst: &str) -> Option<usize> {
        pick(&ours.iter().map(|a| (*a, Preferred, Manual)).collect::<Vec<_>>(), dst)
    }

    /// The examples of RFC 6724 section 10.1, and one case a rule.
    //= RFC 6724 section 5
    #[test]
    fn rule_by_rule() {
        // Rule 2.
        assert_eq!(plain(&["2001:db8:3::1", "fe80::1"], "2001:db8:1::1"), Some(0));
        assert_eq!(plain(&["2001:db8:3::1", "fe80::1"], "ff05::1"), Some(0));
        assert_eq!(plain(&["2001:db8:3::1", "fe80::1"], "fe80::2"), Some(1));
        assert_eq!(plain(&["2001:db8:3::1", "fe80::1"], "ff02::1"), Some(1));
        assert_eq!(plain(&["fe80::1"], "2001:db8::1"), Some(0), "a scope too small is better than none");
        assert_eq!(plain(&["fe80::1", "fec0::1", "2001:db8::1"], "fec0::9"), Some(1));
        // Rule 3.
        let states = [("2001:db8:1::2", Deprecated, Stable), ("2001:db8:3::2", Preferred, Stable)];
        assert_eq!(pick(&states, "2001:db8:1::1"), Some(1));
        // Rule 6.
        assert_eq!(plain(&["2002:c633:6401::d5e3", "2001:db8:1::2"], "2002:c633:6401::1"), Some(0));
        assert_eq!(plain(&["fd00::5", "2001:db8::5"], "2001:4860::1"), Some(1));
        assert_eq!(plain(&["2001:db8::5", "fd00::5"], "fd12::1"), Some(1));
        // Rule 7.
        let kinds = [("2001:db8:1::2", Preferred, Stable), ("2001:db8:1::d5e3", Preferred, Temporary)];
        assert_eq!(pick(&kinds, "2001:db8:1::1"), Some(1));
        // Rule 8, no further than the prefix.
        assert_eq!(plain(&["2001:db8:3::2", "2001:db8:1::2"], "2001:db8:1::1"), Some(1));
        assert_eq!(
            plain(&["2001:db8:1::8", "2001:db8:1::2"], "2001:db8:1::3"),
            Some(0),
            "the first of equals"
        );
    }

    #[test]
    fn ipv4_goes_by_subnet() {
        let ours = ["10.0.0.5/24", "10.0.0.6/16", "169.254.0.9/16"];
        assert_eq!(plain(&ours, "10.0.0.9"), Some(0));
        assert_eq!(plain(&ours, "10.0.7.9"), Some(1));
        assert_eq!(plain(&ours, "8.8.8.8"), Some(0));
        assert_eq!(plain(&ours, "169.254.3.3"), Some(2));
        assert_eq!(plain(&ours, "fe80::1"), None);
    }

    #[test]
    fn labels() {
        for (addr, want) in [
            ("::1", 0),
            ("2001:db8::1", 1),
            ("2002::1", 2),
            ("::7", 3),
            ("10.0.0.1", 4),
            ("2001::1", 5),
            ("fec0::1", 11),
            ("3ffe::1", 12),
            ("fd00::1", 13),
        ] {
            assert_eq!(label(ip(addr)), want, "{addr}");
        }
    }
}

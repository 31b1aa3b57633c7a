//! Our addresses: what is for us, what nobody can have sent, which of ours to send from.

use crate::route::{mask, max_len};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All nodes of the link (RFC 4291 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of the link (RFC 4291 2.7.1): where router solicitations go.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All nodes, interface-local (RFC 4291 2.7.1, 2.8).
const ALL_NODES_INTERFACE: Ipv6Addr = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1);
/// The group that every IPv4 host is a member of (RFC 1112 4).
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// One of our addresses and the prefix that is on the link with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IfAddr {
    /// The address.
    pub addr: IpAddr,
    /// Leading bits shared with its neighbours: 0..=32 or 0..=128.
    pub prefix_len: u8,
}

impl IfAddr {
    /// Is `ip` on the link with this address?
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.addr.is_ipv4() && mask(ip, self.prefix_len) == mask(self.addr, self.prefix_len)
    }

    /// The subnet's broadcast address; none in IPv6, nor on a link of two or one (RFC 3021 2.2).
    pub fn broadcast_v4(&self) -> Option<Ipv4Addr> {
        match self.addr {
            IpAddr::V4(v4) if self.prefix_len <= 30 => {
                Some((v4.to_bits() | u32::MAX >> self.prefix_len).into())
            }
            _ => None,
        }
    }
}

/// An address that can't be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddrError {
    /// Longer than an address of the family: 32 or 128 bits.
    PrefixLen(u8),
    /// Unspecified, multicast or broadcast: no host can have it.
    NotUnicast,
    /// It is ours already.
    Exists,
}

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrefixLen(len) => write!(f, "a prefix of {len} bits is longer than the address"),
            Self::NotUnicast => {
                f.write_str("not the address of a host (unspecified, multicast or broadcast)")
            }
            Self::Exists => f.write_str("the address is there already"),
        }
    }
}

impl core::error::Error for AddrError {}

/// The addresses of a stack, and the multicast groups that come with them.
#[derive(Default)]
pub struct AddrSet {
    /// As added: of equals the first is the source that packets leave with.
    addrs: Vec<IfAddr>,
    /// The same, sorted, for the check that every packet goes through.
    local: Vec<IpAddr>,
    broadcasts: Vec<Ipv4Addr>,
    groups: Vec<Ipv6Addr>,
}

impl AddrSet {
    /// No addresses.
    pub const fn new() -> Self {
        Self { addrs: Vec::new(), local: Vec::new(), broadcasts: Vec::new(), groups: Vec::new() }
    }

    /// Adds an address and joins the groups that come with it.
    pub fn add(&mut self, addr: IfAddr) -> Result<(), AddrError> {
        if addr.prefix_len > max_len(addr.addr) {
            return Err(AddrError::PrefixLen(addr.prefix_len));
        }
        let broadcast = match addr.addr {
            IpAddr::V4(v4) => v4.is_broadcast() || addr.broadcast_v4() == Some(v4),
            IpAddr::V6(_) => false,
        };
        if addr.addr.is_unspecified() || addr.addr.is_multicast() || broadcast {
            return Err(AddrError::NotUnicast);
        }
        if self.is_local(addr.addr) {
            return Err(AddrError::Exists);
        }
        self.addrs.push(addr);
        self.rebuild();
        Ok(())
    }

    /// Takes out an address; `false` if it wasn't ours.
    pub fn remove(&mut self, ip: IpAddr) -> bool {
        let before = self.addrs.len();
        self.addrs.retain(|a| a.addr != ip);
        self.rebuild();
        self.addrs.len() != before
    }

    /// Our addresses, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &IfAddr> {
        self.addrs.iter()
    }

    /// Is it an address of ours?
    #[inline]
    pub fn is_local(&self, ip: IpAddr) -> bool {
        self.local.binary_search(&ip).is_ok()
    }

    /// Is `ip` on the link with one of our addresses?
    pub fn is_on_link(&self, ip: IpAddr) -> bool {
        self.addrs.iter().any(|a| a.contains(ip))
    }

    /// The limited broadcast address, or the broadcast address of one of our subnets (RFC 1122 3.3.6).
    #[inline]
    pub fn is_broadcast_v4(&self, ip: Ipv4Addr) -> bool {
        ip.is_broadcast() || self.broadcasts.contains(&ip)
    }

    /// Groups whose packets are for us: all nodes, and the solicited-node group of each IPv6 address.
    pub fn groups(&self) -> &[Ipv6Addr] {
        &self.groups
    }

    /// Is `ip` a group whose packets are for us?
    pub fn is_for_us_multicast(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(v4) => v4 == ALL_HOSTS,
            IpAddr::V6(v6) => self.groups.binary_search(&v6).is_ok(),
        }
    }

    /// A source address that no packet from a link can have: "this network", loopback, multicast, broadcast
    /// (RFC 1122 3.2.1.3, RFC 6890 2.2.2). Class E passes: parts of it are in use as unicast.
    pub fn is_martian_source_v4(&self, src: Ipv4Addr) -> bool {
        src.octets()[0] == 0 || src.is_loopback() || src.is_multicast() || self.is_broadcast_v4(src)
    }

    /// A source address that no packet from a link can have: unspecified, loopback, multicast (RFC 4291 2.5.2,
    /// 2.5.3, 2.7), IPv4-mapped (RFC 6890 2.2.3).
    ///
    /// The unspecified source is right in neighbour and router solicitations (RFC 4862 5.4.2, RFC 4861 4.1) and
    /// MLD (RFC 3590): ask for those before.
    pub fn is_martian_source_v6(&self, src: Ipv6Addr) -> bool {
        src.is_unspecified() || src.is_loopback() || src.is_multicast() || src.to_ipv4_mapped().is_some()
    }

    /// [`AddrSet::is_martian_source_v4`] or [`AddrSet::is_martian_source_v6`].
    pub fn is_martian_source(&self, src: IpAddr) -> bool {
        match src {
            IpAddr::V4(v4) => self.is_martian_source_v4(v4),
            IpAddr::V6(v6) => self.is_martian_source_v6(v6),
        }
    }

    /// The address to send from to `dst`: `dst` itself if it is ours, else one of `dst`'s scope before others, then
    /// the longest prefix around `dst`, then the one added first (rules 1, 2 and, for on-link destinations,
    /// 8 of RFC 6724 5). `None` without an address of the family.
    pub fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        if self.is_local(dst) {
            return Some(dst);
        }
        let rank = |a: &IfAddr| (scope_matches(a.addr, dst), a.contains(dst).then_some(a.prefix_len));
        let of_family = self.addrs.iter().filter(|a| a.addr.is_ipv4() == dst.is_ipv4());
        // max_by_key keeps the last of equals; the first is wanted.
        of_family.rev().max_by_key(|a| rank(a)).map(|a| a.addr)
    }

    fn rebuild(&mut self) {
        self.local = self.addrs.iter().map(|a| a.addr).collect();
        self.local.sort_unstable();
        self.broadcasts = self.addrs.iter().filter_map(IfAddr::broadcast_v4).collect();
        self.broadcasts.sort_unstable();
        self.broadcasts.dedup();
        let v6 = self.addrs.iter().filter_map(|a| match a.addr {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        });
        self.groups = v6.map(solicited_node).collect();
        if !self.groups.is_empty() {
            self.groups.extend([ALL_NODES, ALL_NODES_INTERFACE]);
        }
        self.groups.sort_unstable();
        self.groups.dedup();
    }
}

/// Do link-local sources go with link-local destinations, and others with others (RFC 6724 3.1)?
fn scope_matches(src: IpAddr, dst: IpAddr) -> bool {
    let link_local = |ip| match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        // Multicast of interface-local (1) and link-local (2) scope never leaves the link either.
        IpAddr::V6(v6) => v6.is_unicast_link_local() || matches!(v6.segments()[0] & 0xff0f, 0xff01 | 0xff02),
    };
    link_local(src) == link_local(dst)
}

/// The group that solicitations for `ip` are sent to: ff02::1:ff and its last 24 bits (RFC 4291 2.7.1).
pub fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits();
    (PREFIX | ip.to_bits() & 0xff_ffff).into()
}

/// The Ethernet group address of an IP group (RFC 1112 6.4, RFC 2464 7); `None` if `ip` isn't multicast.
pub fn multicast_mac(ip: IpAddr) -> Option<[u8; 6]> {
    match ip {
        IpAddr::V4(v4) if v4.is_multicast() => {
            let [_, b, c, d] = v4.octets();
            Some([0x01, 0x00, 0x5e, b & 0x7f, c, d])
        }
        IpAddr::V6(v6) if v6.is_multicast() => {
            let [.., a, b, c, d] = v6.octets();
            Some([0x33, 0x33, a, b, c, d])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    fn v4(s: &str) -> Ipv4Addr {
        s.parse().unwrap()
    }

    fn v6(s: &str) -> Ipv6Addr {
        s.parse().unwrap()
    }

    fn set(addrs: &[(&str, u8)]) -> AddrSet {
        let mut set = AddrSet::new();
        for (addr, prefix_len) in addrs {
            set.add(IfAddr { addr: ip(addr), prefix_len: *prefix_len }).unwrap();
        }
        set
    }

    #[test]
    fn addresses_come_and_go() {
        let mut s = set(&[("10.0.0.5", 24), ("fd00::5", 64)]);
        assert!(s.is_local(ip("10.0.0.5")) && s.is_local(ip("fd00::5")) && !s.is_local(ip("10.0.0.6")));
        assert!(s.is_on_link(ip("10.0.0.6")) && !s.is_on_link(ip("10.0.1.6")) && !s.is_on_link(ip("fd01::")));
        let add = |s: &mut AddrSet, addr, prefix_len| s.add(IfAddr { addr: ip(addr), prefix_len });
        assert_eq!(add(&mut s, "10.0.0.5", 8), Err(AddrError::Exists));
        assert_eq!(add(&mut s, "10.0.0.6", 33), Err(AddrError::PrefixLen(33)));
        for bad in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "10.1.2.255", "::", "ff02::1"] {
            assert_eq!(add(&mut s, bad, 24), Err(AddrError::NotUnicast), "{bad}");
        }
        assert!(s.remove(ip("10.0.0.5")) && !s.remove(ip("10.0.0.5")));
        assert!(!s.is_local(ip("10.0.0.5")) && !s.is_broadcast_v4(v4("10.0.0.255")));
        assert_eq!(s.iter().count(), 1);
    }

    #[test]
    fn broadcasts() {
        let s = set(&[("10.0.0.5", 24), ("10.9.0.0", 31), ("10.9.1.1", 32)]);
        assert!(s.is_broadcast_v4(v4("255.255.255.255")) && s.is_broadcast_v4(v4("10.0.0.255")));
        assert!(!s.is_broadcast_v4(v4("10.9.0.1")), "RFC 3021: both addresses of a /31 are hosts");
        assert!(!s.is_broadcast_v4(v4("10.9.1.1")) && !s.is_broadcast_v4(v4("10.0.1.255")));
        let zero = IfAddr { addr: ip("10.0.0.5"), prefix_len: 0 };
        assert_eq!(zero.broadcast_v4(), Some(Ipv4Addr::BROADCAST));
    }

    #[test]
    fn martians() {
        let s = set(&[("10.0.0.5", 24), ("fd00::5", 64)]);
        for bad in
            ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255", "10.0.0.255"]
        {
            assert!(s.is_martian_source(ip(bad)), "{bad}");
        }
        for good in
            ["1.1.1.1", "10.0.0.6", "10.0.1.255", "240.0.0.1", "169.254.0.1", "fe80::1", "2001:db8::1"]
        {
            assert!(!s.is_martian_source(ip(good)), "{good}");
        }
        for bad in ["::", "::1", "ff02::1", "::ffff:10.0.0.1"] {
            assert!(s.is_martian_source(ip(bad)), "{bad}");
        }
    }

    #[test]
    fn groups_follow_addresses() {
        let mut s = set(&[("fd00::12:3456", 64), ("fe80::12:3456", 64), ("10.0.0.5", 24)]);
        assert_eq!(s.groups(), [v6("ff01::1"), v6("ff02::1"), v6("ff02::1:ff12:3456")]);
        assert!(s.is_for_us_multicast(ip("ff02::1:ff12:3456")) && s.is_for_us_multicast(ip("224.0.0.1")));
        assert!(!s.is_for_us_multicast(ip("ff02::2")) && !s.is_for_us_multicast(ip("224.0.0.251")));
        assert!(!s.is_for_us_multicast(ip("fd00::12:3456")));
        s.remove(ip("fd00::12:3456"));
        assert_eq!(s.groups().len(), 3, "the other address still needs the group");
        s.remove(ip("fe80::12:3456"));
        assert_eq!(s.groups().len(), 0);
    }

    #[test]
    fn sources() {
        let s =
            set(&[("10.0.0.5", 24), ("10.0.0.6", 16), ("fe80::5", 64), ("fd00::5", 48), ("2001:db8::5", 64)]);
        for (dst, src) in [
            ("10.0.0.9", "10.0.0.5"),
            ("10.0.7.9", "10.0.0.6"),
            ("10.0.0.6", "10.0.0.6"),
            ("8.8.8.8", "10.0.0.5"),
            ("fe80::9", "fe80::5"),
            ("ff02::1", "fe80::5"),
            ("fd00:0:0:1::9", "fd00::5"),
            ("2001:db8::9", "2001:db8::5"),
            ("2001:4860::1", "fd00::5"),
        ] {
            assert_eq!(s.source_for(ip(dst)), Some(ip(src)), "to {dst}");
        }
        assert_eq!(set(&[("10.0.0.5", 24)]).source_for(ip("fe80::1")), None);
        assert_eq!(set(&[("fe80::5", 64)]).source_for(ip("2001:db8::1")), Some(ip("fe80::5")));
    }

    #[test]
    fn multicast_macs() {
        assert_eq!(multicast_mac(ip("239.129.2.3")), Some([1, 0, 0x5e, 1, 2, 3]));
        assert_eq!(multicast_mac(ip("ff02::1:ff12:3456")), Some([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
        assert_eq!(multicast_mac(ip("10.0.0.1")), None);
    }
}

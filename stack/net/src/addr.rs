//! Our addresses: what is for us, what nobody can have sent, which of ours to send from.

use crate::limits::GROUPS_MAX;
use crate::route::{mask, max_len};
use crate::source;
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

/// How far an address has got (RFC 4862 2; IPv4 has the first two by RFC 5227).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddrState {
    /// Being probed: not ours yet, nothing is received for it or sent from it.
    Tentative,
    /// Ours.
    Preferred,
    /// Still ours, but new connections had better leave from another (RFC 4862 5.5.4).
    Deprecated,
}

/// Where an address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Somebody set it.
    Manual,
    /// Formed of a prefix and a stable opaque identifier (RFC 7217).
    Stable,
    /// Formed of a prefix and a short-lived random identifier (RFC 8981).
    Temporary,
}

/// An address of ours with what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// The address.
    pub if_addr: IfAddr,
    /// Its state.
    pub state: AddrState,
    /// Its origin.
    pub origin: Origin,
}

/// The addresses of a stack, and the multicast groups that come with them or were joined.
#[derive(Default)]
pub struct AddrSet {
    /// As added: of equals the first is the source that packets leave with.
    addrs: Vec<Held>,
    /// Those that are ours, sorted, for the check that every packet goes through.
    local: Vec<IpAddr>,
    broadcasts: Vec<Ipv4Addr>,
    /// Groups that somebody asked for, and how often.
    joined: Vec<(IpAddr, u32)>,
    groups: Vec<IpAddr>,
}

impl AddrSet {
    /// No addresses.
    pub const fn new() -> Self {
        Self {
            addrs: Vec::new(),
            local: Vec::new(),
            broadcasts: Vec::new(),
            joined: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Adds an address that is ours, and joins the groups that come with it.
    pub fn add(&mut self, addr: IfAddr) -> Result<(), AddrError> {
        self.add_held(Held { if_addr: addr, state: AddrState::Preferred, origin: Origin::Manual })
    }

    /// Adds an address in whatever state, and joins the groups that come with it.
    pub fn add_held(&mut self, held: Held) -> Result<(), AddrError> {
        let addr = held.if_addr;
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
        if self.get(addr.addr).is_some() {
            return Err(AddrError::Exists);
        }
        self.addrs.push(held);
        self.rebuild();
        Ok(())
    }

    /// Takes out an address; `false` if it wasn't ours.
    pub fn remove(&mut self, ip: IpAddr) -> bool {
        let before = self.addrs.len();
        self.addrs.retain(|a| a.if_addr.addr != ip);
        self.rebuild();
        self.addrs.len() != before
    }

    /// Puts an address into another state; `false` if it isn't there.
    pub fn set_state(&mut self, ip: IpAddr, state: AddrState) -> bool {
        let Some(held) = self.addrs.iter_mut().find(|a| a.if_addr.addr == ip) else { return false };
        held.state = state;
        self.rebuild();
        true
    }

    /// An address of the set, tentative ones included.
    pub fn get(&self, ip: IpAddr) -> Option<&Held> {
        self.addrs.iter().find(|a| a.if_addr.addr == ip)
    }

    /// Is this address being probed?
    pub fn is_tentative(&self, ip: IpAddr) -> bool {
        self.get(ip).is_some_and(|a| a.state == AddrState::Tentative)
    }

    /// Everything in the set, in the order in which it was added.
    pub fn held(&self) -> &[Held] {
        &self.addrs
    }

    /// Our addresses, in the order in which they were added; tentative ones are none.
    pub fn iter(&self) -> impl Iterator<Item = &IfAddr> {
        self.ours().map(|a| &a.if_addr)
    }

    fn ours(&self) -> impl Iterator<Item = &Held> + Clone {
        self.addrs.iter().filter(|a| a.state != AddrState::Tentative)
    }

    /// Joins a group, as often as asked; `false` if there is no room for another.
    pub fn join(&mut self, group: IpAddr) -> bool {
        match self.joined.iter().position(|(g, _)| *g == group) {
            Some(at) => self.joined[at].1 += 1,
            None if self.joined.len() >= GROUPS_MAX => return false,
            None => self.joined.push((group, 1)),
        }
        self.rebuild();
        true
    }

    /// Takes back one [`join`](Self::join); `false` if there was none.
    pub fn leave(&mut self, group: IpAddr) -> bool {
        let Some(at) = self.joined.iter().position(|(g, _)| *g == group) else { return false };
        self.joined[at].1 -= 1;
        if self.joined[at].1 == 0 {
            self.joined.swap_remove(at);
        }
        self.rebuild();
        true
    }

    /// Is it an address of ours?
    #[inline]
    pub fn is_local(&self, ip: IpAddr) -> bool {
        self.local.binary_search(&ip).is_ok()
    }

    /// Is `ip` on the link with one of our addresses?
    pub fn is_on_link(&self, ip: IpAddr) -> bool {
        self.iter().any(|a| a.contains(ip))
    }

    /// The limited broadcast address, or the broadcast address of one of our subnets (RFC 1122 3.3.6).
    #[inline]
    pub fn is_broadcast_v4(&self, ip: Ipv4Addr) -> bool {
        ip.is_broadcast() || self.broadcasts.contains(&ip)
    }

    /// Groups whose packets are for us: all hosts, all nodes, the solicited-node group of each IPv6 address (RFC 4862
    /// 5.4.2: of tentative ones, too), and those that were joined.
    pub fn groups(&self) -> &[IpAddr] {
        &self.groups
    }

    /// Is `ip` a group whose packets are for us?
    pub fn is_for_us_multicast(&self, ip: IpAddr) -> bool {
        self.groups.binary_search(&ip).is_ok()
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

    /// The address to send from to `dst` (RFC 6724): `dst` itself if it is ours. `None` without an address of the
    /// family.
    pub fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        if self.is_local(dst) {
            return Some(dst);
        }
        source::select(self.ours(), dst)
    }

    fn rebuild(&mut self) {
        self.local = self.iter().map(|a| a.addr).collect();
        self.local.sort_unstable();
        self.broadcasts = self.iter().filter_map(IfAddr::broadcast_v4).collect();
        self.broadcasts.sort_unstable();
        self.broadcasts.dedup();
        self.groups = self.joined.iter().map(|(group, _)| *group).collect();
        self.groups.push(ALL_HOSTS.into());
        let v6 = self.addrs.iter().filter_map(|a| match a.if_addr.addr {
            IpAddr::V6(v6) => Some(IpAddr::V6(solicited_node(v6))),
            IpAddr::V4(_) => None,
        });
        let before = self.groups.len();
        self.groups.extend(v6);
        if self.groups.len() > before {
            self.groups.extend([IpAddr::V6(ALL_NODES), IpAddr::V6(ALL_NODES_INTERFACE)]);
        }
        self.groups.sort_unstable();
        self.groups.dedup();
    }
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
        let all_hosts = ip("224.0.0.1");
        let mut s = set(&[("fd00::12:3456", 64), ("fe80::12:3456", 64), ("10.0.0.5", 24)]);
        assert_eq!(s.groups(), [all_hosts, ip("ff01::1"), ip("ff02::1"), ip("ff02::1:ff12:3456")]);
        assert!(s.is_for_us_multicast(ip("ff02::1:ff12:3456")) && s.is_for_us_multicast(all_hosts));
        assert!(!s.is_for_us_multicast(ip("ff02::2")) && !s.is_for_us_multicast(ip("224.0.0.251")));
        assert!(!s.is_for_us_multicast(ip("fd00::12:3456")));
        s.remove(ip("fd00::12:3456"));
        assert_eq!(s.groups().len(), 4, "the other address still needs the group");
        s.remove(ip("fe80::12:3456"));
        assert_eq!(s.groups(), [all_hosts]);
    }

    #[test]
    fn groups_are_joined_and_left_as_often() {
        let mut s = set(&[("10.0.0.5", 24)]);
        let group = ip("239.1.2.3");
        assert!(s.join(group) && s.join(group) && s.is_for_us_multicast(group));
        assert!(s.leave(group) && s.is_for_us_multicast(group));
        assert!(s.leave(group) && !s.is_for_us_multicast(group) && !s.leave(group));
        let many = (0..GROUPS_MAX as u32).map(|n| Ipv4Addr::from(0xe800_0000 + n).into());
        assert!(many.clone().all(|g| s.join(g)) && !s.join(group));
    }

    //= RFC 4862 section 5.4
    #[test]
    fn a_tentative_address_is_not_ours() {
        let mut s = set(&[("fe80::1", 64)]);
        let if_addr = IfAddr { addr: ip("fd00::5"), prefix_len: 64 };
        s.add_held(Held { if_addr, state: AddrState::Tentative, origin: Origin::Stable }).unwrap();
        assert!(!s.is_local(if_addr.addr) && s.is_tentative(if_addr.addr) && !s.is_on_link(ip("fd00::6")));
        assert!(s.is_for_us_multicast(ip("ff02::1:ff00:5")), "to hear of duplicates");
        assert_eq!((s.source_for(ip("fd00::6")), s.iter().count()), (Some(ip("fe80::1")), 1));
        assert_eq!(s.add(if_addr), Err(AddrError::Exists));
        assert!(s.set_state(if_addr.addr, AddrState::Preferred));
        assert_eq!(s.source_for(ip("fd00::6")), Some(if_addr.addr));
    }

    #[test]
    fn multicast_macs() {
        assert_eq!(multicast_mac(ip("239.129.2.3")), Some([1, 0, 0x5e, 1, 2, 3]));
        assert_eq!(multicast_mac(ip("ff02::1:ff12:3456")), Some([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
        assert_eq!(multicast_mac(ip("10.0.0.1")), None);
    }
}

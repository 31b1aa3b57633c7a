//! Routes: longest prefix first, then lowest metric (RFC 1122 3.3.1, RFC 1812 5.2.4.3).
//!
//! A family's routes stand in one sorted `Vec` a prefix length that is in use; a lookup is a binary search for each
//! such length, longest first. Real tables use few lengths (a host a handful, a full Internet table 25), so
//! ten routes and ten thousand both cost well under a microsecond, and connections keep the answer until
//! [`RouteTable::generation`] moves.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

/// Where packets for `dst/prefix_len` go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The destination prefix; the table clears its host bits.
    pub dst: IpAddr,
    /// Leading bits of `dst` that count: 0..=32 or 0..=128.
    pub prefix_len: u8,
    /// The next hop, or `None` where destinations are on the link.
    pub gateway: Option<IpAddr>,
    /// Of routes to the same prefix the lowest wins; then the one added first.
    pub metric: u32,
    /// Largest IP packet, header included, if smaller than the link's.
    pub mtu: Option<u16>,
    /// The source address that packets of this route prefer.
    pub prefsrc: Option<IpAddr>,
}

impl Route {
    /// The address to resolve for a packet to `dst`: the gateway, or `dst` itself on the link.
    #[inline]
    pub fn next_hop(&self, dst: IpAddr) -> IpAddr {
        self.gateway.unwrap_or(dst)
    }
}

/// A route that can't be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteError {
    /// Longer than an address of the family: 32 or 128 bits.
    PrefixLen(u8),
    /// The gateway is not of the destination's family.
    GatewayFamily,
    /// The gateway is an address that no host can have: unspecified, multicast or broadcast.
    GatewayInvalid,
    /// The preferred source is not of the destination's family.
    PrefsrcFamily,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrefixLen(len) => write!(f, "a prefix of {len} bits is longer than the address"),
            Self::GatewayFamily => f.write_str("gateway and destination are of different families"),
            Self::GatewayInvalid => f.write_str("the gateway is not the address of a host"),
            Self::PrefsrcFamily => f.write_str("preferred source and destination are of different families"),
        }
    }
}

impl core::error::Error for RouteError {}

/// Routes of one prefix length, sorted by (prefix, metric), older ones first.
struct Level {
    prefix_len: u8,
    routes: Vec<Route>,
}

/// All routes of a stack.
#[derive(Default)]
pub struct RouteTable {
    /// Longest prefix first; no level is empty.
    v4: Vec<Level>,
    v6: Vec<Level>,
    generation: u32,
}

impl RouteTable {
    /// An empty table.
    pub const fn new() -> Self {
        Self { v4: Vec::new(), v6: Vec::new(), generation: 0 }
    }

    /// Adds a route. One with the same prefix, metric and gateway is replaced.
    pub fn add(&mut self, mut route: Route) -> Result<(), RouteError> {
        if route.prefix_len > max_len(route.dst) {
            return Err(RouteError::PrefixLen(route.prefix_len));
        }
        if let Some(gateway) = route.gateway {
            if gateway.is_ipv4() != route.dst.is_ipv4() {
                return Err(RouteError::GatewayFamily);
            }
            let broadcast = matches!(gateway, IpAddr::V4(v4) if v4.is_broadcast());
            if gateway.is_unspecified() || gateway.is_multicast() || broadcast {
                return Err(RouteError::GatewayInvalid);
            }
        }
        if route.prefsrc.is_some_and(|src| src.is_ipv4() != route.dst.is_ipv4()) {
            return Err(RouteError::PrefsrcFamily);
        }
        route.dst = mask(route.dst, route.prefix_len);
        self.generation = self.generation.wrapping_add(1);
        let levels = self.family_mut(route.dst);
        let at = match levels.binary_search_by(|level| route.prefix_len.cmp(&level.prefix_len)) {
            Ok(at) => at,
            Err(at) => {
                levels.insert(at, Level { prefix_len: route.prefix_len, routes: Vec::new() });
                at
            }
        };
        let routes = &mut levels[at].routes;
        let key = (route.dst, route.metric);
        let start = routes.partition_point(|r| (r.dst, r.metric) < key);
        let end = start + routes[start..].partition_point(|r| (r.dst, r.metric) == key);
        match routes[start..end].iter_mut().find(|r| r.gateway == route.gateway) {
            Some(same) => *same = route,
            None => routes.insert(end, route),
        }
        Ok(())
    }

    /// Takes out the route with this prefix, gateway and metric.
    pub fn remove(
        &mut self,
        dst: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
        metric: u32,
    ) -> Option<Route> {
        if prefix_len > max_len(dst) {
            return None;
        }
        let dst = mask(dst, prefix_len);
        let levels = self.family_mut(dst);
        let level = levels.iter().position(|level| level.prefix_len == prefix_len)?;
        let routes = &mut levels[level].routes;
        let start = routes.partition_point(|r| (r.dst, r.metric) < (dst, metric));
        let same = routes[start..].iter().take_while(|r| (r.dst, r.metric) == (dst, metric));
        let at = start + same.map(|r| r.gateway).position(|g| g == gateway)?;
        let route = routes.remove(at);
        if routes.is_empty() {
            levels.remove(level);
        }
        self.generation = self.generation.wrapping_add(1);
        Some(route)
    }

    /// The route for packets to `dst`; of several equal ones the oldest.
    pub fn lookup(&self, dst: IpAddr) -> Option<&Route> {
        self.lookup_all(dst).first()
    }

    /// All routes for packets to `dst` that are equally good: the same prefix and metric, several gateways. Empty
    /// if there is none.
    pub fn lookup_all(&self, dst: IpAddr) -> &[Route] {
        let levels = if dst.is_ipv4() { &self.v4 } else { &self.v6 };
        let found = levels.iter().find_map(|level| {
            let prefix = mask(dst, level.prefix_len);
            let routes = &level.routes[level.routes.partition_point(|r| r.dst < prefix)..];
            let best = routes.first().filter(|r| r.dst == prefix)?;
            let equal = routes.iter().take_while(|r| (r.dst, r.metric) == (prefix, best.metric));
            Some(&routes[..equal.count()])
        });
        found.unwrap_or(&[])
    }

    /// The routes of [`lookup_all`](Self::lookup_all), best first for a flow with this hash: highest random weight, so
    /// that a gateway which comes or goes moves only its own share of the flows (RFC 2992 compares the ways).
    pub fn rank(routes: &[Route], flow_hash: u64) -> impl Iterator<Item = &Route> {
        let weight = move |r: &Route| {
            let mut h = siphasher::sip::SipHasher13::new_with_keys(flow_hash, 0);
            core::hash::Hash::hash(&r.gateway, &mut h);
            core::hash::Hasher::finish(&h)
        };
        // Few gateways: each step looks for the best one below the last.
        let mut last = None;
        core::iter::from_fn(move || {
            let below = routes.iter().filter(|r| last.is_none_or(|last| weight(r) < last));
            let next = below.max_by_key(|r| weight(r))?;
            last = Some(weight(next));
            Some(next)
        })
    }

    /// Every route, IPv4 first, in the order in which lookup prefers them.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.v4.iter().chain(&self.v6).flat_map(|level| &level.routes)
    }

    /// Moves whenever a route is added or removed: an answer kept from another generation is looked up again.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    fn family_mut(&mut self, ip: IpAddr) -> &mut Vec<Level> {
        if ip.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

/// Bits of an address of `ip`'s family.
pub(crate) const fn max_len(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// `ip` with all but its first `prefix_len` bits cleared.
pub(crate) fn mask(ip: IpAddr, prefix_len: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & bits).into())
        }
        IpAddr::V6(v6) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & bits).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    fn route(dst: &str, prefix_len: u8, gateway: Option<&str>, metric: u32) -> Route {
        Route { dst: ip(dst), prefix_len, gateway: gateway.map(ip), metric, mtu: None, prefsrc: None }
    }

    #[test]
    fn longest_prefix_then_lowest_metric_then_oldest() {
        let mut t = RouteTable::new();
        t.add(route("0.0.0.0", 0, Some("10.0.0.1"), 100)).unwrap();
        t.add(route("10.0.0.7", 24, None, 0)).unwrap();
        t.add(route("10.0.0.9", 32, Some("10.0.0.2"), 50)).unwrap();
        t.add(route("10.0.0.9", 32, Some("10.0.0.4"), 20)).unwrap();
        t.add(route("10.0.0.9", 32, Some("10.0.0.3"), 20)).unwrap();
        let hop = |t: &RouteTable, dst: &str| t.lookup(ip(dst)).map(|r| r.next_hop(ip(dst)));
        assert_eq!(hop(&t, "10.0.0.9"), Some(ip("10.0.0.4")));
        assert_eq!(hop(&t, "10.0.0.8"), Some(ip("10.0.0.8")));
        assert_eq!(hop(&t, "10.0.1.1"), Some(ip("10.0.0.1")));
        assert_eq!(hop(&t, "fe80::1"), None);
        assert_eq!(t.lookup(ip("10.0.0.1")).unwrap().dst, ip("10.0.0.0"));
        assert!(t.remove(ip("10.0.0.9"), 32, Some(ip("10.0.0.4")), 20).is_some());
        assert_eq!(hop(&t, "10.0.0.9"), Some(ip("10.0.0.3")));
        assert!(t.remove(ip("10.0.0.9"), 32, Some(ip("10.0.0.4")), 20).is_none());
    }

    #[test]
    fn the_same_route_is_replaced() {
        let mut t = RouteTable::new();
        t.add(route("fd00::", 64, None, 1)).unwrap();
        let before = t.generation();
        t.add(Route { mtu: Some(1400), ..route("fd00::5", 64, None, 1) }).unwrap();
        assert_eq!(t.iter().count(), 1);
        assert_eq!(t.lookup(ip("fd00::9")).unwrap().mtu, Some(1400));
        assert_ne!(t.generation(), before);
    }

    #[test]
    fn equal_routes_share_flows_evenly_and_steadily() {
        let mut t = RouteTable::new();
        let gateways = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
        for g in gateways {
            t.add(route("0.0.0.0", 0, Some(g), 5)).unwrap();
        }
        t.add(route("0.0.0.0", 0, Some("10.0.0.9"), 6)).unwrap();
        let pick = |t: &RouteTable, hash: u64| {
            RouteTable::rank(t.lookup_all(ip("8.8.8.8")), hash)
                .map(|r| r.gateway.unwrap())
                .collect::<Vec<_>>()
        };
        let before: Vec<_> = (0..4000).map(|h| pick(&t, h)).collect();
        for g in gateways {
            let share = before.iter().filter(|p| p[0] == ip(g)).count();
            assert!((850..1150).contains(&share), "{g}: {share}");
        }
        assert!(before.iter().all(|p| p.len() == 4));
        t.remove(ip("0.0.0.0"), 0, Some(ip("10.0.0.2")), 5);
        for (h, b) in (0..).zip(&before) {
            let first = b.iter().find(|g| **g != ip("10.0.0.2")).unwrap();
            assert_eq!(pick(&t, h)[0], *first, "only the flows of the lost gateway move");
        }
        assert!(t.lookup_all(ip("fd00::1")).is_empty());
    }

    #[test]
    fn bad_routes_are_refused() {
        let mut t = RouteTable::new();
        assert_eq!(t.add(route("10.0.0.0", 33, None, 0)), Err(RouteError::PrefixLen(33)));
        assert_eq!(t.add(route("fd00::", 129, None, 0)), Err(RouteError::PrefixLen(129)));
        assert_eq!(t.add(route("0.0.0.0", 0, Some("fe80::1"), 0)), Err(RouteError::GatewayFamily));
        assert_eq!(t.add(route("::", 0, Some("ff02::1"), 0)), Err(RouteError::GatewayInvalid));
        assert_eq!(t.add(route("0.0.0.0", 0, Some("255.255.255.255"), 0)), Err(RouteError::GatewayInvalid));
        let prefsrc = Route { prefsrc: Some(ip("::1")), ..route("0.0.0.0", 0, None, 0) };
        assert_eq!(t.add(prefsrc), Err(RouteError::PrefsrcFamily));
        assert_eq!((t.iter().count(), t.generation()), (0, 0));
        assert_eq!(t.remove(ip("10.0.0.0"), 200, None, 0), None);
    }

    #[test]
    fn agrees_with_a_scan() {
        for seed in 1..=20u64 {
            let mut state = seed;
            let mut rng = move || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as u32
            };
            // Few distinct bits, so that prefixes nest and collide.
            let mut addr = move || match rng() % 2 {
                0 => IpAddr::V4((rng() & 0xc000_0103).into()),
                _ => IpAddr::V6((u128::from(rng() & 3) << 126 | u128::from(rng() & 7)).into()),
            };
            let mut state = !seed;
            let mut rng = move || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as u32
            };
            let mut table = RouteTable::new();
            let mut model: Vec<Route> = Vec::new();
            for _ in 0..300 {
                let dst = addr();
                let len = [0, 1, 2, 24, 31, 32][rng() as usize % 6] * if dst.is_ipv4() { 1 } else { 4 };
                let metric = rng() % 3;
                let prefix = mask(dst, len);
                let at = model.iter().position(|r| (r.dst, r.prefix_len, r.metric) == (prefix, len, metric));
                if rng() % 3 == 0 {
                    let removed = table.remove(dst, len, None, metric);
                    assert_eq!(removed, at.map(|at| model.remove(at)));
                } else {
                    let route = Route {
                        dst,
                        prefix_len: len,
                        gateway: None,
                        metric,
                        mtu: Some(rng() as u16),
                        prefsrc: None,
                    };
                    table.add(route).unwrap();
                    let route = Route { dst: prefix, ..route };
                    match at {
                        Some(at) => model[at] = route,
                        None => model.push(route),
                    }
                }
                let dst = addr();
                let best = model
                    .iter()
                    .filter(|r| r.dst.is_ipv4() == dst.is_ipv4() && mask(dst, r.prefix_len) == r.dst)
                    .min_by_key(|r| (core::cmp::Reverse(r.prefix_len), r.metric));
                assert_eq!(table.lookup(dst), best, "seed {seed}");
                assert_eq!(table.iter().count(), model.len());
            }
        }
    }
}

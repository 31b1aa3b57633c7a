//! Default routers, and what else an advertisement says: RFC 4861 section 6.3.4, RFC 8106.

use core::net::{IpAddr, Ipv6Addr};

use alloc::vec::Vec;
use linerate_wire::nd::{NdOption, PrefixInfo, RouterAdvert};

use super::prefix::{RA_METRIC, until};
use super::{AddrEvent, Auto, Change, NEVER, SEC};
use crate::limits::{PREFIXES_MAX, RDNSS_MAX, ROUTERS_MAX};
use crate::route::Route;

/// How long a redirect holds: as long as a path MTU by RFC 8201 (RFC 4861 names no time).
pub(super) const REDIRECT_NS: u64 = 600 * SEC;
/// IPv6's smallest MTU: what an MTU option says below is ignored (RFC 8200 5).
const MIN_MTU: u32 = 1280;

/// A router advertisement, as plain data: other cores hear of it, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouterInfo {
    /// Its link-local address.
    pub router: Ipv6Addr,
    /// Seconds that it is a default router.
    pub lifetime_s: u16,
    /// ReachableTime, ms; 0: not said.
    pub reachable_ms: u32,
    /// RetransTimer, ms; 0: not said.
    pub retrans_ms: u32,
    /// The link's MTU.
    pub mtu: Option<u32>,
    /// Prefixes, at most [`PREFIXES_MAX`].
    pub prefixes: Vec<PrefixInfo>,
    /// DNS servers and their lifetime, at most [`RDNSS_MAX`].
    pub dns: Vec<(u32, Vec<Ipv6Addr>)>,
}

impl RouterInfo {
    /// Of a message that has passed RFC 4861 section 6.1.2.
    pub fn new(router: Ipv6Addr, ra: &RouterAdvert<'_>) -> Self {
        let mut info = Self {
            router,
            lifetime_s: ra.lifetime_s,
            reachable_ms: ra.reachable_ms,
            retrans_ms: ra.retrans_ms,
            mtu: None,
            prefixes: Vec::new(),
            dns: Vec::new(),
        };
        for option in ra.options.iter() {
            match option {
                NdOption::Prefix(p) if info.prefixes.len() < PREFIXES_MAX => info.prefixes.push(p),
                NdOption::Mtu(mtu) if mtu >= MIN_MTU => info.mtu = Some(mtu),
                NdOption::Rdnss(r) if info.dns.len() < RDNSS_MAX => {
                    info.dns.push((r.lifetime_s, r.servers().take(RDNSS_MAX).collect()));
                }
                _ => {}
            }
        }
        info
    }
}

/// A default router.
pub(super) struct Router {
    route: Route,
    until: u64,
}

impl Auto {
    /// A valid router advertisement.
    //= RFC 4861 section 6.3.4
    pub fn on_router(&mut self, info: &RouterInfo, now_ns: u64) {
        self.search.at = NEVER;
        let mtu = info.mtu.and_then(|m| u16::try_from(m).ok());
        let gateway = IpAddr::V6(info.router);
        let known = self.routers.iter().position(|r| r.route.gateway == Some(gateway));
        match (known, info.lifetime_s) {
            (Some(i), 0) => {
                let gone = self.routers.swap_remove(i);
                self.change(Change::RemoveRoute(gone.route));
            }
            (None, 0) => {}
            (Some(i), s) => {
                let r = &mut self.routers[i];
                r.until = until(now_ns, u32::from(s));
                if mtu.is_some() && mtu != r.route.mtu {
                    r.route.mtu = mtu;
                    let route = r.route;
                    self.change(Change::AddRoute(route));
                }
            }
            (None, _) if self.routers.len() >= ROUTERS_MAX => {}
            (None, s) => {
                let dst = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
                let gateway = Some(gateway);
                let route = Route { dst, prefix_len: 0, gateway, metric: RA_METRIC, mtu, prefsrc: None };
                self.routers.push(Router { route, until: until(now_ns, u32::from(s)) });
                self.change(Change::AddRoute(route));
            }
        }
        for prefix in &info.prefixes {
            self.on_prefix(prefix, now_ns);
        }
        for (lifetime_s, servers) in &info.dns {
            let servers = servers.clone();
            self.tell(AddrEvent::DnsServers { router: info.router, servers, lifetime_s: *lifetime_s });
        }
    }

    /// A neighbour that was a router says that it is none any more (RFC 4861 7.2.5).
    pub fn on_no_router(&mut self, router: Ipv6Addr) {
        let gateway = Some(IpAddr::V6(router));
        if let Some(i) = self.routers.iter().position(|r| r.route.gateway == gateway) {
            let gone = self.routers.swap_remove(i);
            self.change(Change::RemoveRoute(gone.route));
        }
    }

    pub(super) fn router_deadline(&self) -> u64 {
        self.routers.iter().map(|r| r.until).min().unwrap_or(NEVER)
    }

    pub(super) fn expire_routers(&mut self, now_ns: u64) {
        while let Some(i) = self.routers.iter().position(|r| r.until <= now_ns) {
            let gone = self.routers.swap_remove(i);
            self.change(Change::RemoveRoute(gone.route));
        }
    }
}

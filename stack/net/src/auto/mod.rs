//! What a host that is alone on its link does for its addresses: it makes sure that nobody else has them (RFC 5227,
//! RFC 4862 5.4), forms them itself where routers say so (SLAAC), and remembers what else routers say.
//!
//! With several cores one of them does all this; what comes of it the others hear as [`Change`]s.

pub(crate) mod duplicate;
mod iid;
mod packets;
mod prefix;
mod router;
mod solicit;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_wire::MacAddr;

use crate::addr::{AddrSet, AddrState, Held, IfAddr, Origin};
use crate::group::Listener;
use crate::group::report::Groups;
use crate::limits::{AUTO_EVENTS_MAX, REDIRECTS_MAX};
use crate::route::{Route, RouteTable};
use duplicate::Probe;
use prefix::Prefix;
use router::Router;
use solicit::RouterSearch;

pub use router::RouterInfo;

/// What a stack does by itself on its link. The default is all of it, but temporary addresses.
#[derive(Clone, Debug)]
pub struct AutoConfig {
    /// Probe an address before it is used (RFC 5227 2.1; RFC 4862 5.4).
    pub probe: bool,
    /// Announce the addresses that are there already (RFC 5227 2.3, RFC 9131): the link may remember another's.
    pub announce: bool,
    /// DupAddrDetectTransmits (RFC 4862 5.1): solicitations that must stay unanswered.
    pub dad_transmits: u8,
    /// Form a link-local address, and what routers advertise prefixes for (RFC 4862).
    pub slaac: bool,
    /// Form temporary addresses, too (RFC 8981).
    pub temporary: bool,
    /// Tell routers which groups we are members of (RFC 3376, RFC 3810).
    pub reports: bool,
    /// Believe redirects of the first hop (RFC 4861 8.3).
    pub redirects: bool,
    /// What makes stable identifiers differ from network to network (RFC 7217 Network_ID): an SSID, an interface's name.
    pub network_id: u64,
}

impl Default for AutoConfig {
    fn default() -> Self {
        Self {
            probe: true,
            announce: true,
            dad_transmits: 1,
            slaac: true,
            temporary: false,
            reports: true,
            redirects: true,
            network_id: 0,
        }
    }
}

/// What happened to addresses by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddrEvent {
    /// Nobody else has it: it is ours from now on.
    Ready(IfAddr),
    /// Somebody else has it: it was given up before it was used.
    Duplicate {
        /// The address.
        addr: IpAddr,
        /// Who has it, if the packet says so.
        mac: Option<MacAddr>,
    },
    /// Somebody else claims an address of ours. We keep it and say so, at most every ten seconds (RFC 5227 2.4 c).
    Conflict {
        /// The address.
        addr: IpAddr,
        /// Who claims it.
        mac: MacAddr,
    },
    /// Its preferred lifetime is over (RFC 4862 5.5.4).
    Deprecated(IpAddr),
    /// Its valid lifetime is over, or it was replaced.
    Removed(IpAddr),
    /// Routers name these recursive DNS servers, for so many seconds; 0: not any more (RFC 8106).
    DnsServers {
        /// The router.
        router: Ipv6Addr,
        /// The servers.
        servers: Vec<Ipv6Addr>,
        /// Seconds.
        lifetime_s: u32,
    },
}

/// A change of the tables that every core makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new address.
    AddAddr(Held),
    /// Another state.
    SetState(IpAddr, AddrState),
    /// An address is gone.
    RemoveAddr(IpAddr),
    /// A route.
    AddRoute(Route),
    /// A route is gone.
    RemoveRoute(Route),
}

impl Change {
    /// Makes it. What can't be done (it is there, it is gone) is done already.
    pub(crate) fn apply(&self, addrs: &mut AddrSet, routes: &mut RouteTable) {
        match *self {
            Self::AddAddr(held) => {
                let _ = addrs.add_held(held);
            }
            Self::SetState(ip, state) => {
                addrs.set_state(ip, state);
            }
            Self::RemoveAddr(ip) => {
                addrs.remove(ip);
            }
            Self::AddRoute(route) => {
                let _ = routes.add(route);
            }
            Self::RemoveRoute(r) => {
                routes.remove(r.dst, r.prefix_len, r.gateway, r.metric);
            }
        }
    }
}

/// A packet that [`Auto::poll`] wants sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packet {
    /// RFC 5227 2.1.1: who has it, from nobody.
    ArpProbe(Ipv4Addr),
    /// RFC 5227 2.3.
    ArpAnnounce(Ipv4Addr),
    /// RFC 4862 5.4.2, RFC 7527.
    DadSolicit(Ipv6Addr, [u8; 6]),
    /// RFC 9131: routers learn of a new address before its first packet.
    Advertise(Ipv6Addr),
    /// RFC 4861 6.3.7.
    RouterSolicit,
}

/// Never.
pub(crate) const NEVER: u64 = u64::MAX;
/// A second in ns.
pub(crate) const SEC: u64 = 1_000_000_000;

/// State of autoconfiguration.
pub(crate) struct Auto {
    pub cfg: AutoConfig,
    pub groups: Groups,
    mac: MacAddr,
    secret: [u64; 2],
    rng: u64,
    probes: Vec<Probe>,
    /// When each of our IPv4 addresses was defended last.
    defended: Vec<(Ipv4Addr, u64)>,
    prefixes: Vec<Prefix>,
    routers: Vec<Router>,
    /// Hosts that are reached by another first hop, and until when.
    redirects: Vec<(Route, u64)>,
    search: RouterSearch,
    events: VecDeque<AddrEvent>,
    changes: VecDeque<Change>,
    /// Temporary identifiers drawn so far.
    temporaries: u64,
}

impl Auto {
    /// Begins: the addresses that are there already are ours without probing.
    pub fn new(cfg: AutoConfig, mac: MacAddr, secret: [u64; 2], ours: &AddrSet, now_ns: u64) -> Self {
        let rng = secret[0] ^ secret[1].rotate_left(32);
        let groups = Groups { v4: Listener::new(rng), v6: Listener::new(!rng) };
        let mut auto = Self {
            cfg,
            groups,
            mac,
            secret,
            rng,
            probes: Vec::new(),
            defended: Vec::new(),
            prefixes: Vec::new(),
            routers: Vec::new(),
            redirects: Vec::new(),
            search: RouterSearch::default(),
            events: VecDeque::new(),
            changes: VecDeque::new(),
            temporaries: 0,
        };
        if auto.cfg.announce {
            auto.probes.extend(ours.iter().map(|a| Probe::announcing(*a, now_ns)));
        }
        if auto.cfg.slaac {
            auto.form_link_local(now_ns);
        }
        auto
    }

    /// Uniform in [0, span).
    fn random(&mut self, span: u64) -> u64 {
        self.rng = self.rng.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.rng >> 16) % span.max(1)
    }

    fn tell(&mut self, event: AddrEvent) {
        if self.events.len() == AUTO_EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn change(&mut self, change: Change) {
        self.changes.push_back(change);
    }

    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<AddrEvent> {
        self.events.pop_front()
    }

    /// The next change to make, here and on the other cores.
    pub fn next_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Somebody wants this address: it is probed, and ours if nobody objects.
    pub fn add(&mut self, if_addr: IfAddr, origin: Origin, now_ns: u64) {
        if !self.cfg.probe {
            self.change(Change::AddAddr(Held { if_addr, state: AddrState::Preferred, origin }));
            return self.tell(AddrEvent::Ready(if_addr));
        }
        self.change(Change::AddAddr(Held { if_addr, state: AddrState::Tentative, origin }));
        let delay_ns = self.random(SEC);
        let probe = Probe::new(if_addr, &self.cfg, delay_ns, now_ns);
        self.probes.push(probe);
    }

    /// Nobody wants it any more.
    pub fn remove(&mut self, ip: IpAddr) {
        self.probes.retain(|p| p.if_addr.addr != ip);
        self.forget_formed(ip);
        self.change(Change::RemoveAddr(ip));
    }

    /// When [`poll`](Self::poll) is needed next.
    pub fn next_deadline(&self) -> Option<u64> {
        let probes = self.probes.iter().map(|p| p.at).min().unwrap_or(NEVER);
        let redirects = self.redirects.iter().map(|r| r.1).min().unwrap_or(NEVER);
        let own = probes.min(redirects).min(self.search.at).min(self.prefix_deadline());
        let at = own.min(self.router_deadline());
        let groups = [self.groups.v4.next_deadline(), self.groups.v6.next_deadline()];
        let groups = groups.into_iter().flatten().min().filter(|_| self.cfg.reports).unwrap_or(NEVER);
        Some(at.min(groups)).filter(|at| *at != NEVER)
    }

    /// Does what is due; returns a packet to send, one a call.
    pub fn poll(&mut self, now_ns: u64) -> Option<Packet> {
        self.expire_prefixes(now_ns);
        self.expire_routers(now_ns);
        while let Some(at) = self.redirects.iter().position(|r| r.1 <= now_ns) {
            let (route, _) = self.redirects.swap_remove(at);
            self.change(Change::RemoveRoute(route));
        }
        self.poll_probes(now_ns).or_else(|| self.poll_search(now_ns))
    }

    /// RFC 4861 section 8.3: `destination` is better reached by `target` (itself, or another router).
    pub fn on_redirect(&mut self, destination: Ipv6Addr, target: Ipv6Addr, now_ns: u64) {
        let gateway = (target != destination).then_some(IpAddr::V6(target));
        let dst = IpAddr::V6(destination);
        if let Some(at) = self.redirects.iter().position(|r| r.0.dst == dst) {
            let (old, _) = self.redirects.swap_remove(at);
            self.change(Change::RemoveRoute(old));
        } else if self.redirects.len() >= REDIRECTS_MAX {
            return;
        }
        let route = Route { dst, prefix_len: 128, gateway, metric: 0, mtu: None, prefsrc: None };
        self.redirects.push((route, now_ns + router::REDIRECT_NS));
        self.change(Change::AddRoute(route));
    }
}

//! Addresses formed of advertised prefixes, and prefixes that are on the link: RFC 4862 section 5.5, RFC 8981,
//! RFC 4861 section 6.3.4.

use core::net::{IpAddr, Ipv6Addr};

use alloc::vec::Vec;
use linerate_wire::nd::PrefixInfo;

use super::iid::Seed;
use super::{AddrEvent, Auto, Change, NEVER, SEC};
use crate::addr::{AddrState, IfAddr, Origin};
use crate::limits::PREFIXES_MAX;
use crate::route::{Route, mask};

/// RFC 4862 5.5.3 (e): nobody unauthenticated shortens a valid lifetime below two hours.
const TWO_HOURS_NS: u64 = 2 * 3600 * SEC;
/// IDGEN_RETRIES (RFC 7217 7) and TEMP_IDGEN_RETRIES (RFC 8981 3.8).
const IDGEN_RETRIES: u8 = 3;
/// TEMP_VALID_LIFETIME (RFC 8981 3.8).
const TEMP_VALID_NS: u64 = 2 * 86_400 * SEC;
/// TEMP_PREFERRED_LIFETIME.
const TEMP_PREFERRED_NS: u64 = 86_400 * SEC;
/// MAX_DESYNC_FACTOR: 0.4 of it, so that the hosts of a link do not change addresses together.
const MAX_DESYNC_NS: u64 = TEMP_PREFERRED_NS / 10 * 4;
/// Metric of what routers advertise, as Linux has it: what an administrator sets comes first.
pub(super) const RA_METRIC: u32 = 1024;

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);

struct Formed {
    addr: Ipv6Addr,
    temporary: bool,
    retries: u8,
    preferred_until: u64,
    valid_until: u64,
    /// What the prefix may not extend: a temporary address's own end, preferred and valid.
    caps: (u64, u64),
    deprecated: bool,
    /// A temporary address whose successor exists.
    succeeded: bool,
}

/// An advertised prefix.
pub(super) struct Prefix {
    prefix: Ipv6Addr,
    prefix_len: u8,
    on_link_until: Option<u64>,
    /// As the prefix was advertised last.
    preferred_until: u64,
    valid_until: u64,
    formed: Vec<Formed>,
}

/// A lifetime in seconds as a time; all ones mean for ever.
pub(super) fn until(now_ns: u64, lifetime_s: u32) -> u64 {
    if lifetime_s == u32::MAX { NEVER } else { now_ns + u64::from(lifetime_s) * SEC }
}

impl Auto {
    fn seed(&self) -> Seed {
        Seed { secret: self.secret, mac: self.mac, network_id: self.cfg.network_id }
    }

    /// REGEN_ADVANCE (RFC 8981 3.8), ns: a successor is ready when a temporary address is deprecated.
    fn regen_advance_ns(&self) -> u64 {
        (2 + u64::from(IDGEN_RETRIES) * u64::from(self.cfg.dad_transmits)) * SEC
    }

    pub(super) fn form_link_local(&mut self, now_ns: u64) {
        let prefix = Prefix {
            prefix: LINK_LOCAL,
            prefix_len: 64,
            on_link_until: Some(NEVER),
            preferred_until: NEVER,
            valid_until: NEVER,
            formed: Vec::new(),
        };
        self.change(Change::AddRoute(on_link_route(LINK_LOCAL, 64)));
        self.prefixes.push(prefix);
        self.form(self.prefixes.len() - 1, false, 0, now_ns);
    }

    /// Forms an address in a prefix and begins to probe it.
    fn form(&mut self, i: usize, temporary: bool, retries: u8, now_ns: u64) {
        let counter = if temporary { self.temporaries } else { u64::from(retries) };
        self.temporaries += u64::from(temporary);
        let desync = self.random(MAX_DESYNC_NS);
        let addr = self.seed().address(self.prefixes[i].prefix, temporary, counter);
        let p = &mut self.prefixes[i];
        let caps = match temporary {
            true => (now_ns + TEMP_PREFERRED_NS - desync, now_ns + TEMP_VALID_NS),
            false => (NEVER, NEVER),
        };
        p.formed.push(Formed {
            addr,
            temporary,
            retries,
            preferred_until: p.preferred_until.min(caps.0),
            valid_until: p.valid_until.min(caps.1),
            caps,
            deprecated: false,
            succeeded: false,
        });
        let if_addr = IfAddr { addr: addr.into(), prefix_len: p.prefix_len };
        self.add(if_addr, if temporary { Origin::Temporary } else { Origin::Stable }, now_ns);
    }

    /// A formed address was a duplicate: another is drawn, a few times.
    //= RFC 7217 section 6
    pub(super) fn form_another(&mut self, ip: IpAddr, now_ns: u64) {
        let of = |f: &Formed| IpAddr::V6(f.addr) == ip;
        let Some(i) = self.prefixes.iter().position(|p| p.formed.iter().any(of)) else { return };
        let Some(at) = self.prefixes[i].formed.iter().position(of) else { return };
        let old = self.prefixes[i].formed.swap_remove(at);
        if old.retries < IDGEN_RETRIES {
            self.form(i, old.temporary, old.retries + 1, now_ns);
        }
    }

    pub(super) fn forget_formed(&mut self, ip: IpAddr) {
        for p in &mut self.prefixes {
            p.formed.retain(|f| IpAddr::V6(f.addr) != ip);
        }
    }

    /// A prefix information option of a router advertisement.
    //= RFC 4862 section 5.5.3
    //= RFC 4861 section 6.3.4
    pub(super) fn on_prefix(&mut self, info: &PrefixInfo, now_ns: u64) {
        let IpAddr::V6(prefix) = mask(info.prefix.into(), info.prefix_len) else { return };
        if prefix.is_unicast_link_local() || prefix.is_multicast() || info.preferred_s > info.valid_s {
            return;
        }
        let known = self.prefixes.iter().position(|p| (p.prefix, p.prefix_len) == (prefix, info.prefix_len));
        let i = match known {
            Some(i) => i,
            None if info.valid_s == 0 || self.prefixes.len() >= PREFIXES_MAX => return,
            None => {
                self.prefixes.push(Prefix {
                    prefix,
                    prefix_len: info.prefix_len,
                    on_link_until: None,
                    preferred_until: 0,
                    valid_until: 0,
                    formed: Vec::new(),
                });
                self.prefixes.len() - 1
            }
        };
        if info.on_link {
            self.on_link(i, until(now_ns, info.valid_s), now_ns);
        }
        if info.autonomous && self.cfg.slaac {
            self.on_autonomous(i, info, now_ns);
        }
    }

    fn on_link(&mut self, i: usize, until_ns: u64, now_ns: u64) {
        let p = &mut self.prefixes[i];
        let route = on_link_route(p.prefix, p.prefix_len);
        if until_ns > now_ns {
            if p.on_link_until.replace(until_ns).is_none() {
                self.change(Change::AddRoute(route));
            }
        } else if p.on_link_until.take().is_some() {
            self.change(Change::RemoveRoute(route));
        }
    }

    fn on_autonomous(&mut self, i: usize, info: &PrefixInfo, now_ns: u64) {
        let p = &mut self.prefixes[i];
        let (preferred, valid) = (until(now_ns, info.preferred_s), until(now_ns, info.valid_s));
        if !p.formed.is_empty() {
            // (e): the valid lifetime may grow, or shrink to two hours.
            let remaining = p.valid_until.saturating_sub(now_ns);
            if valid > now_ns + TWO_HOURS_NS || valid > p.valid_until {
                p.valid_until = valid;
            } else if remaining > TWO_HOURS_NS {
                p.valid_until = now_ns + TWO_HOURS_NS;
            }
            p.preferred_until = preferred;
            let (preferred, valid) = (p.preferred_until, p.valid_until);
            let mut again = Vec::new();
            for f in &mut p.formed {
                (f.preferred_until, f.valid_until) = (preferred.min(f.caps.0), valid.min(f.caps.1));
                if f.deprecated && f.preferred_until > now_ns {
                    f.deprecated = false;
                    again.push(Change::SetState(f.addr.into(), AddrState::Preferred));
                }
            }
            self.changes.extend(again);
            return;
        }
        // (d): 64 bits of identifier make an address of a 64-bit prefix only.
        if info.prefix_len != 64 || info.valid_s == 0 {
            return;
        }
        (p.preferred_until, p.valid_until) = (preferred, valid);
        self.form(i, false, 0, now_ns);
        if self.cfg.temporary && preferred.saturating_sub(now_ns) > self.regen_advance_ns() {
            self.form(i, true, 0, now_ns);
        }
    }

    pub(super) fn prefix_deadline(&self) -> u64 {
        let advance = self.regen_advance_ns();
        let of = |f: &Formed| {
            let preferred = if f.deprecated { NEVER } else { f.preferred_until };
            let regen = if f.temporary && !f.succeeded { f.preferred_until - advance } else { NEVER };
            preferred.min(f.valid_until).min(regen)
        };
        let each = self.prefixes.iter().map(|p| {
            let formed = p.formed.iter().map(of).min().unwrap_or(NEVER);
            formed.min(p.on_link_until.unwrap_or(NEVER))
        });
        each.min().unwrap_or(NEVER)
    }

    pub(super) fn expire_prefixes(&mut self, now_ns: u64) {
        if self.prefix_deadline() > now_ns {
            return;
        }
        let advance = self.regen_advance_ns();
        let mut successors = Vec::new();
        for i in 0..self.prefixes.len() {
            if self.prefixes[i].on_link_until.is_some_and(|at| at <= now_ns) {
                self.on_link(i, 0, now_ns);
            }
            let p = &mut self.prefixes[i];
            for f in &mut p.formed {
                let ip = IpAddr::V6(f.addr);
                if f.temporary && !f.succeeded && f.preferred_until - advance <= now_ns {
                    f.succeeded = true;
                    // RFC 8981 section 3.4: not for a prefix that is about to be deprecated itself.
                    if p.preferred_until.saturating_sub(now_ns) > advance {
                        successors.push(i);
                    }
                }
                if !f.deprecated && f.preferred_until <= now_ns {
                    f.deprecated = true;
                    self.changes.push_back(Change::SetState(ip, AddrState::Deprecated));
                    self.events.push_back(AddrEvent::Deprecated(ip));
                }
                if f.valid_until <= now_ns {
                    self.probes.retain(|p| p.if_addr.addr != ip);
                    self.changes.push_back(Change::RemoveAddr(ip));
                    self.events.push_back(AddrEvent::Removed(ip));
                }
            }
            p.formed.retain(|f| f.valid_until > now_ns);
        }
        for i in successors {
            self.form(i, true, 0, now_ns);
        }
        self.prefixes.retain(|p| p.on_link_until.is_some() || !p.formed.is_empty());
    }
}

fn on_link_route(prefix: Ipv6Addr, prefix_len: u8) -> Route {
    Route { dst: prefix.into(), prefix_len, gateway: None, metric: RA_METRIC, mtu: None, prefsrc: None }
}

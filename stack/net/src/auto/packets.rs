//! Autoconfiguration's glue to the stack: what it hears, what it sends, what it changes.

use core::net::{IpAddr, Ipv6Addr};

use linerate_tcp::Instant;
use linerate_wire::nd::{self, NaFlags};
use linerate_wire::{ArpOp, eth};

use super::{AddrEvent, Auto, AutoConfig, Change, Packet};
use crate::addr::{ALL_ROUTERS, AddrError, AddrState, Held, IfAddr, Origin, multicast_mac, solicited_node};
use crate::arp_nd::Lesson;
use crate::config::Link;
use crate::limits::LESSONS_MAX;
use crate::stack::Stack;

impl Stack {
    /// From now on the stack looks after its addresses on an Ethernet link: what is added is probed first, routers are
    /// asked and believed, groups are reported. What it has already stays as it is. On one core of several.
    pub fn autoconfigure(&mut self, cfg: AutoConfig, now: Instant) {
        let Link::Ethernet(mac) = self.link else { return };
        // RFC 7217: a secret of its own use, drawn from the stack's.
        let secret = [self.secret[0].rotate_left(17), self.secret[1] ^ self.secret[3]];
        self.auto = Some(alloc::boxed::Box::new(Auto::new(cfg, mac, secret, &self.addrs, now.0)));
        self.flush_changes(now);
        self.sync_groups(now);
    }

    /// Adds an address: at once, or, with [`autoconfigure`](Self::autoconfigure), when nobody else turns out to have it
    /// ([`AddrEvent::Ready`], [`AddrEvent::Duplicate`]). Its prefix is on the link.
    ///
    /// # Errors
    /// If no host can have it, or we have it already.
    pub fn add_address(&mut self, if_addr: IfAddr, now: Instant) -> Result<(), AddrError> {
        // Whether it is possible is seen by adding it; the state it is to have comes by a `Change`.
        let held = Held { if_addr, state: AddrState::Tentative, origin: Origin::Manual };
        self.addrs.add_held(held)?;
        match &mut self.auto {
            Some(auto) => {
                self.addrs.remove(if_addr.addr);
                auto.add(if_addr, Origin::Manual, now.0);
                self.flush_changes(now);
            }
            None => {
                self.addrs.set_state(if_addr.addr, AddrState::Preferred);
            }
        }
        Ok(())
    }

    /// Gives up an address; `false` if it isn't ours. Its connections end by their own timers.
    pub fn remove_address(&mut self, ip: IpAddr, now: Instant) -> bool {
        let ours = self.addrs.get(ip).is_some();
        match &mut self.auto {
            Some(auto) => {
                auto.remove(ip);
                self.flush_changes(now);
            }
            None => {
                self.addrs.remove(ip);
            }
        }
        ours
    }

    /// Everything that autoconfiguration and configuration know of our addresses, tentative ones included.
    pub fn held_addresses(&self) -> &[Held] {
        self.addrs.held()
    }

    /// The address that packets to `dst` leave from (RFC 6724); `None` without one of the family.
    pub fn source_address(&self, dst: IpAddr) -> Option<IpAddr> {
        self.addrs.source_for(dst)
    }

    /// The next thing that happened to our addresses by itself.
    pub fn next_addr_event(&mut self) -> Option<AddrEvent> {
        self.auto.as_mut()?.next_event()
    }

    /// Makes the changes that are decided, here and, by lessons, on the other cores.
    pub(crate) fn flush_changes(&mut self, now: Instant) {
        let Some(auto) = &mut self.auto else { return };
        let mut any = false;
        while let Some(change) = auto.next_change() {
            change.apply(&mut self.addrs, &mut self.routes);
            any = true;
            // A lost change would make cores differ for good: the bound is for what neighbours can cause.
            if self.owners.is_some() && self.lessons.len() < 2 * LESSONS_MAX {
                self.lessons.push_back(Lesson::Change(change));
            }
        }
        if any {
            self.sync_groups(now);
        }
    }

    /// What another core's autoconfiguration has changed.
    pub(crate) fn on_change(&mut self, change: &Change) {
        change.apply(&mut self.addrs, &mut self.routes);
    }

    /// Does what is due: probes, announcements, solicitations, reports.
    pub(crate) fn poll_auto(&mut self, now: Instant) {
        while let Some(auto) = &mut self.auto {
            let packet = auto.poll(now.0);
            self.flush_changes(now);
            match packet {
                Some(packet) => self.send_auto(packet),
                None => break,
            }
        }
        if self.auto.as_ref().is_some_and(|a| a.cfg.reports) {
            self.poll_groups(now);
        }
    }

    fn send_auto(&mut self, packet: Packet) {
        let Link::Ethernet(mac) = self.link else { return };
        match packet {
            Packet::ArpProbe(ip) => {
                self.send_arp(ArpOp::Request, core::net::Ipv4Addr::UNSPECIFIED, [0; 6], ip, eth::BROADCAST);
            }
            Packet::ArpAnnounce(ip) => self.send_arp(ArpOp::Request, ip, [0; 6], ip, eth::BROADCAST),
            Packet::DadSolicit(target, nonce) => {
                let (src, dst) = (Ipv6Addr::UNSPECIFIED, solicited_node(target));
                let to = multicast_mac(dst.into()).unwrap_or(eth::BROADCAST);
                self.send_nd(src, dst, to, |out| nd::emit_ns(out, src, dst, target, None, Some(nonce)));
            }
            Packet::Advertise(ip) => {
                let to = multicast_mac(ALL_ROUTERS.into()).unwrap_or(eth::BROADCAST);
                // RFC 9131 section 6.1.2: the override flag is clear.
                let flags = NaFlags::default();
                self.send_nd(ip, ALL_ROUTERS, to, |out| {
                    nd::emit_na(out, ip, ALL_ROUTERS, ip, flags, Some(mac))
                });
            }
            Packet::RouterSolicit => {
                let to = multicast_mac(ALL_ROUTERS.into()).unwrap_or(eth::BROADCAST);
                let src = match self.addrs.source_for(ALL_ROUTERS.into()) {
                    Some(IpAddr::V6(src)) if src.is_unicast_link_local() => src,
                    _ => Ipv6Addr::UNSPECIFIED,
                };
                let slla = (!src.is_unspecified()).then_some(mac);
                self.send_nd(src, ALL_ROUTERS, to, |out| nd::emit_rs(out, src, ALL_ROUTERS, slla));
            }
        }
    }
}

//! Who has which address: ARP (RFC 826) and neighbour discovery (RFC 4861), as packets. The decisions are in
//! [`neigh`](crate::neigh).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use alloc::boxed::Box;
use linerate_frame::{Frame, HEADROOM_BYTES};
use linerate_tcp::Instant;
use linerate_wire::emit::Push;
use linerate_wire::nd::{self, NdMessage};
use linerate_wire::parse::{NetInfo, Parsed};
use linerate_wire::{ArpOp, ArpPacket, MacAddr, eth};

use crate::addr::{multicast_mac, solicited_node};
use crate::auto::{Change, RouterInfo};
use crate::config::Link;
use crate::drop_reason::DropReason;
use crate::limits::LESSONS_MAX;
use crate::neigh::{self, NeighAction, Resolver};
use crate::stack::Stack;

/// What an ARP or ND packet teaches of a neighbour. With several cores every one must hear it: the answer to one core's
/// question may arrive on another's queue.
#[derive(Clone, Debug)]
pub enum Lesson {
    /// An ARP packet.
    Arp {
        /// What it is.
        op: neigh::arp::ArpOp,
        /// Its sender.
        ip: Ipv4Addr,
        /// Its sender's address.
        mac: MacAddr,
        /// Whom it asks for.
        target: Ipv4Addr,
        /// Is that one of ours?
        for_us: bool,
    },
    /// Somebody else sends from an address of ours.
    Conflict {
        /// The address.
        ip: Ipv4Addr,
        /// Who.
        mac: MacAddr,
    },
    /// Somebody probes an address that we probe.
    DadSolicit {
        /// The address.
        target: Ipv6Addr,
        /// RFC 7527.
        nonce: Option<[u8; 6]>,
        /// Who.
        mac: MacAddr,
    },
    /// A router advertisement, with its sender's link-layer address.
    Router(Box<RouterInfo>, Option<MacAddr>),
    /// A redirect by `src`.
    Redirect {
        /// The router.
        src: Ipv6Addr,
        /// What for.
        destination: Ipv6Addr,
        /// The better hop.
        target: Ipv6Addr,
        /// Its address.
        mac: Option<MacAddr>,
    },
    /// What the core that looks after addresses has decided.
    Change(Change),
    /// An ND message with its sender's link-layer address.
    Source {
        /// Its sender.
        ip: Ipv6Addr,
        /// The option.
        mac: Option<MacAddr>,
    },
    /// A neighbour advertisement.
    Advert {
        /// Of whom.
        target: Ipv6Addr,
        /// The option.
        mac: Option<MacAddr>,
        /// R, S and O.
        flags: neigh::nd::NaFlags,
    },
}

impl Stack {
    /// Learns, and remembers the lesson for the other cores if there are any.
    fn take_lesson(&mut self, lesson: Lesson, now: Instant) {
        self.learn(lesson.clone(), now);
        if self.owners.is_some() && self.lessons.len() < LESSONS_MAX {
            self.lessons.push_back(lesson);
        }
    }

    /// What this core has learned and the others have not heard yet.
    pub fn next_lesson(&mut self) -> Option<Lesson> {
        self.lessons.pop_front()
    }

    /// Learns what a packet taught, here or on another core.
    pub fn learn(&mut self, lesson: Lesson, now: Instant) {
        match lesson {
            Lesson::Arp { op, ip, mac, target, for_us } => {
                let probed = self.auto.as_mut().is_some_and(|a| a.on_arp(ip, mac, target, now.0));
                if !probed {
                    self.neigh.on_arp(op, ip, mac, for_us, now.0);
                }
            }
            Lesson::Conflict { ip, mac } => {
                if self.auto.as_mut().is_some_and(|a| a.on_conflict(ip, mac, now.0)) {
                    self.send_arp(ArpOp::Request, ip, [0; 6], ip, eth::BROADCAST);
                }
            }
            Lesson::Source { ip, mac } => self.neigh.on_ns(ip, mac, now.0),
            Lesson::DadSolicit { target, nonce, mac } => {
                if let Some(auto) = &mut self.auto {
                    auto.on_dad_solicit(target, nonce, mac, now.0);
                }
            }
            Lesson::Advert { target, mac, flags } => {
                let no_router = self.neigh.on_na(target, mac, flags, now.0);
                if let Some(auto) = &mut self.auto {
                    auto.on_advert(target, mac, now.0);
                    if no_router {
                        auto.on_no_router(target);
                    }
                }
            }
            Lesson::Router(info, mac) => {
                self.neigh.on_ns(info.router, mac, now.0);
                self.neigh.on_router(&info);
                if let Some(auto) = &mut self.auto {
                    auto.on_router(&info, now.0);
                }
            }
            Lesson::Redirect { src, destination, target, mac } => {
                self.on_redirect(src, destination, target, mac, now);
            }
            Lesson::Change(change) => self.on_change(&change),
        }
        self.flush_changes(now);
    }

    /// RFC 4861 section 8.1: from the router that we use for that destination, and from no other.
    fn on_redirect(
        &mut self,
        src: Ipv6Addr,
        destination: Ipv6Addr,
        target: Ipv6Addr,
        mac: Option<MacAddr>,
        now: Instant,
    ) {
        let Some(auto) = self.auto.as_mut().filter(|a| a.cfg.redirects) else { return };
        let hop = self.routes.lookup(destination.into()).map(|r| r.next_hop(destination.into()));
        if hop == Some(src.into()) {
            auto.on_redirect(destination, target, now.0);
            self.neigh.on_ns(target, mac, now.0);
        }
    }

    pub(crate) fn on_arp(&mut self, frame: Frame, parsed: &Parsed, now: Instant) {
        let arp = ArpPacket::parse(&self.pool.bytes(&frame)[parsed.l3_off as usize..]);
        self.pool.free(frame);
        let Ok(arp) = arp else { return self.counters.drop(DropReason::ParseArp) };
        let Link::Ethernet(mac) = self.link else { return self.counters.drop(DropReason::ArpIgnored) };
        let for_us = self.addrs.is_local(arp.target_ip.into());
        let known = self.neigh.state(arp.sender_ip.into()).is_some();
        let ours = self.addrs.is_local(arp.sender_ip.into());
        let probed = [arp.sender_ip, arp.target_ip].iter().any(|ip| self.addrs.is_tentative((*ip).into()));
        // Our own packet, come back; or others' business, of which RFC 826 merges only what we know already.
        if arp.sender_mac == mac || !(for_us || known || ours || probed) {
            return self.counters.drop(DropReason::ArpIgnored);
        }
        // RFC 5227 section 2.4 (c): somebody claims our address. We keep it and say so.
        if ours {
            self.counters.drop(DropReason::ArpIgnored);
            if self.auto.is_some() || self.owners.is_some() {
                self.take_lesson(Lesson::Conflict { ip: arp.sender_ip, mac: arp.sender_mac }, now);
            } else if self.icmp_limit.allow(now) {
                self.send_arp(ArpOp::Request, arp.sender_ip, [0; 6], arp.sender_ip, eth::BROADCAST);
            }
            return;
        }
        self.counters.arp_in += 1;
        let op = match arp.op {
            ArpOp::Request => neigh::arp::ArpOp::Request,
            ArpOp::Reply => neigh::arp::ArpOp::Reply,
        };
        let (ip, target) = (arp.sender_ip, arp.target_ip);
        self.take_lesson(Lesson::Arp { op, ip, mac: arp.sender_mac, target, for_us }, now);
        if for_us && arp.op == ArpOp::Request && self.neigh.resolver() == Resolver::Own {
            self.send_arp(ArpOp::Reply, arp.target_ip, arp.sender_mac, arp.sender_ip, arp.sender_mac);
        }
    }

    pub(crate) fn send_arp(
        &mut self,
        op: ArpOp,
        sender_ip: Ipv4Addr,
        target_mac: MacAddr,
        target_ip: Ipv4Addr,
        to: MacAddr,
    ) {
        let Link::Ethernet(mac) = self.link else { return };
        let arp = ArpPacket { op, sender_mac: mac, sender_ip, target_mac, target_ip };
        let Some(mut frame) = self.pool.alloc() else { return self.counters.drop(DropReason::NoFrame) };
        let at = HEADROOM_BYTES as usize;
        let start = self.pool.writable(&mut frame).and_then(|chunk| {
            let mut p = Push::new(chunk, at, at);
            p.arp(&arp).ok()?;
            p.eth(mac, to, None).ok()?;
            Some(p.start())
        });
        let Some(start) = start else { return self.drop_frame(frame, DropReason::TxRefused) };
        self.pool.set_range(&mut frame, start, at - start);
        self.counters.arp_out += 1;
        self.transmit(frame);
    }

    /// What the neighbour table wants done.
    pub(crate) fn poll_neighbours(&mut self, now: Instant) {
        while let Some(action) = self.neigh.poll(now.0) {
            match action {
                NeighAction::Solicit { ip, unicast } => self.solicit(ip, unicast),
                NeighAction::Ask { ip } => self.asked.push_back(ip),
                NeighAction::Failed { .. } => {}
                NeighAction::Drop { frame, reason, .. } => self.drop_frame(frame, reason),
            }
        }
    }

    /// A neighbour that the host's kernel is to resolve for us ([`Resolver::Kernel`]); the answer goes to
    /// [`NeighTable::set`](crate::neigh::NeighTable::set).
    pub fn next_asked(&mut self) -> Option<IpAddr> {
        self.asked.pop_front()
    }

    fn solicit(&mut self, ip: IpAddr, unicast: Option<MacAddr>) {
        let Some(source) = self.addrs.source_for(ip) else { return };
        match (ip, source) {
            (IpAddr::V4(target), IpAddr::V4(source)) => {
                let to = unicast.unwrap_or(eth::BROADCAST);
                self.send_arp(ArpOp::Request, source, unicast.unwrap_or([0; 6]), target, to);
            }
            (IpAddr::V6(target), IpAddr::V6(source)) => {
                let dst = if unicast.is_some() { target } else { solicited_node(target) };
                let to = unicast.or_else(|| multicast_mac(dst.into()));
                let Link::Ethernet(mac) = self.link else { return };
                let to = to.unwrap_or(eth::BROADCAST);
                self.send_nd(source, dst, to, |out| nd::emit_ns(out, source, dst, target, Some(mac), None));
            }
            _ => {}
        }
    }

    pub(crate) fn send_nd(
        &mut self,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        to: MacAddr,
        emit: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let Link::Ethernet(mac) = self.link else { return };
        let Some(mut frame) = self.pool.alloc() else { return self.counters.drop(DropReason::NoFrame) };
        let at = HEADROOM_BYTES as usize;
        let range = self.pool.writable(&mut frame).and_then(|chunk| {
            let len = emit(&mut chunk[at..]);
            let mut p = Push::new(chunk, at, at + len);
            let icmp = linerate_wire::protocol::ICMPV6;
            p.ip(src.into(), dst.into(), icmp, nd::HOP_LIMIT, 0, 0, true, 0).ok()?;
            p.eth(mac, to, None).ok()?;
            Some((p.start(), p.end() - p.start()))
        });
        let Some((start, len)) = range else { return self.drop_frame(frame, DropReason::TxRefused) };
        self.pool.set_range(&mut frame, start, len);
        self.counters.icmp_out += 1;
        self.transmit(frame);
    }

    /// RFC 4861 sections 6.1 and 7.1 decide what is looked at, 7.2 what is done.
    pub(crate) fn on_nd(&mut self, frame: Frame, parsed: &Parsed, net: &NetInfo, now: Instant) {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (net.src, net.dst) else {
            return self.drop_frame(frame, DropReason::NdInvalid);
        };
        // A fragment header hides what is asked from those who watch the link.
        //= RFC 6980 section 5
        if net.fragment.is_some() {
            return self.drop_frame(frame, DropReason::NdInvalid);
        }
        let reply = self.nd_reply(&frame, parsed, net.ttl, src, dst, now);
        self.pool.free(frame);
        let (Ok(reply), Link::Ethernet(mac)) = (reply, self.link) else {
            return self.counters.drop(DropReason::NdInvalid);
        };
        if let Some((target, to_ip, to_mac)) = reply {
            let solicited = !to_ip.is_multicast();
            let flags = nd::NaFlags { router: false, solicited, override_: true };
            self.send_nd(target, to_ip, to_mac, |out| {
                nd::emit_na(out, target, to_ip, target, flags, Some(mac))
            });
        }
    }

    /// Takes in what the message teaches; for a solicitation of our address, the advertisement to send: (our
    /// address, to whom, at which MAC address).
    fn nd_reply(
        &mut self,
        frame: &Frame,
        parsed: &Parsed,
        hop_limit: u8,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        now: Instant,
    ) -> Result<Option<(Ipv6Addr, Ipv6Addr, MacAddr)>, DropReason> {
        let l4 = &self.pool.bytes(frame)[parsed.l4_off as usize..parsed.end as usize];
        let message = NdMessage::parse(l4).map_err(|_| DropReason::NdInvalid)?;
        if !nd::hop_limit_ok(hop_limit) || !message.is_valid(src, dst) {
            return Err(DropReason::NdInvalid);
        }
        match message {
            NdMessage::NeighborSolicit { target, options } => {
                if self.addrs.is_tentative(target.into()) {
                    // RFC 4862 section 5.4.3: not ours to answer for yet; another's probe is what we look for.
                    if src.is_unspecified() {
                        let mac = parsed.l2.src;
                        self.take_lesson(Lesson::DadSolicit { target, nonce: options.nonce(), mac }, now);
                    }
                    return Ok(None);
                }
                if !self.addrs.is_local(target.into()) {
                    return Err(DropReason::NdInvalid);
                }
                let slla = options.source_link_layer();
                self.take_lesson(Lesson::Source { ip: src, mac: slla }, now);
                if self.neigh.resolver() == Resolver::Kernel {
                    return Ok(None);
                }
                // 7.2.4: duplicate address detection asks from nowhere and is answered to all nodes.
                let to_ip = if src.is_unspecified() { crate::addr::ALL_NODES } else { src };
                let to_mac = match src.is_unspecified() {
                    true => multicast_mac(to_ip.into()).unwrap_or(eth::BROADCAST),
                    false => slla.unwrap_or(parsed.l2.src),
                };
                Ok(Some((target, to_ip, to_mac)))
            }
            NdMessage::NeighborAdvert { target, flags, options } => {
                let flags = neigh::nd::NaFlags {
                    router: flags.router,
                    solicited: flags.solicited,
                    override_: flags.override_,
                };
                self.take_lesson(Lesson::Advert { target, mac: options.target_link_layer(), flags }, now);
                Ok(None)
            }
            NdMessage::RouterAdvert(ra) => {
                let mac = ra.options.source_link_layer();
                self.take_lesson(Lesson::Router(Box::new(RouterInfo::new(src, &ra)), mac), now);
                Ok(None)
            }
            NdMessage::Redirect { target, destination, options } => {
                let mac = options.target_link_layer();
                self.take_lesson(Lesson::Redirect { src, destination, target, mac }, now);
                Ok(None)
            }
            NdMessage::RouterSolicit { .. } => Ok(None),
        }
    }
}

//! Who has which address: ARP (RFC 826) and neighbour discovery (RFC 4861), as packets. The decisions are in
//! [`neigh`](crate::neigh).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_frame::{Frame, HEADROOM_BYTES};
use linerate_tcp::Instant;
use linerate_wire::emit::Push;
use linerate_wire::nd::{self, NdMessage};
use linerate_wire::parse::{NetInfo, Parsed};
use linerate_wire::{ArpOp, ArpPacket, MacAddr, eth};

use crate::addr::{multicast_mac, solicited_node};
use crate::config::Link;
use crate::drop_reason::DropReason;
use crate::limits::LESSONS_MAX;
use crate::neigh::{self, NeighAction, Resolver};
use crate::stack::Stack;

/// What an ARP or ND packet teaches of a neighbour. With several cores every one must hear it: the answer to one core's
/// question may arrive on another's queue.
#[derive(Clone, Copy, Debug)]
pub enum Lesson {
    /// An ARP packet.
    Arp {
        /// What it is.
        op: neigh::arp::ArpOp,
        /// Its sender.
        ip: Ipv4Addr,
        /// Its sender's address.
        mac: MacAddr,
        /// Is its target one of ours?
        for_us: bool,
    },
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
        self.learn(lesson, now);
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
            Lesson::Arp { op, ip, mac, for_us } => self.neigh.on_arp(op, ip, mac, for_us, now.0),
            Lesson::Source { ip, mac } => self.neigh.on_ns(ip, mac, now.0),
            Lesson::Advert { target, mac, flags } => {
                self.neigh.on_na(target, mac, flags, now.0);
            }
        }
    }

    pub(crate) fn on_arp(&mut self, frame: Frame, parsed: &Parsed, now: Instant) {
        let arp = ArpPacket::parse(&self.pool.bytes(&frame)[parsed.l3_off as usize..]);
        self.pool.free(frame);
        let Ok(arp) = arp else { return self.counters.drop(DropReason::ParseArp) };
        let Link::Ethernet(mac) = self.link else { return self.counters.drop(DropReason::ArpIgnored) };
        let for_us = self.addrs.is_local(arp.target_ip.into());
        let known = self.neigh.state(arp.sender_ip.into()).is_some();
        // Our own packet, come back; or others' business, of which RFC 826 merges only what we know already.
        if arp.sender_mac == mac || !(for_us || known || self.addrs.is_local(arp.sender_ip.into())) {
            return self.counters.drop(DropReason::ArpIgnored);
        }
        // RFC 5227 section 2.4: somebody claims our address. We keep it and say so, at most as often as ARP errors
        // are allowed.
        let conflict = self.addrs.is_local(arp.sender_ip.into()) && arp.sender_mac != mac;
        if conflict {
            self.counters.drop(DropReason::ArpIgnored);
            if self.icmp_limit.allow(now) {
                self.send_arp(ArpOp::Request, arp.sender_ip, [0; 6], arp.sender_ip, eth::BROADCAST);
            }
            return;
        }
        self.counters.arp_in += 1;
        let op = match arp.op {
            ArpOp::Request => neigh::arp::ArpOp::Request,
            ArpOp::Reply => neigh::arp::ArpOp::Reply,
        };
        self.take_lesson(Lesson::Arp { op, ip: arp.sender_ip, mac: arp.sender_mac, for_us }, now);
        if for_us && arp.op == ArpOp::Request && self.neigh.resolver() == Resolver::Own {
            self.send_arp(ArpOp::Reply, arp.target_ip, arp.sender_mac, arp.sender_ip, arp.sender_mac);
        }
    }

    fn send_arp(
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

    fn send_nd(&mut self, src: Ipv6Addr, dst: Ipv6Addr, to: MacAddr, emit: impl FnOnce(&mut [u8]) -> usize) {
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
                // Autoconfiguration is not done yet; what it teaches about the router's address is.
                self.take_lesson(Lesson::Source { ip: src, mac: ra.options.source_link_layer() }, now);
                Ok(None)
            }
            NdMessage::RouterSolicit { .. } | NdMessage::Redirect { .. } => Ok(None),
        }
    }
}

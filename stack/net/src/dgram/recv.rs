//! Datagrams arrive: RFC 768, RFC 1122 section 4.1, RFC 8085.

use alloc::boxed::Box;
use alloc::vec::Vec;

use linerate_frame::{Frame, RxCsum};
use linerate_tcp::Instant;
use linerate_wire::parse::{NetInfo, Parsed, protocol};
use linerate_wire::{CsumStatus, FlowKey, parse_udp, udp, verify_l4};

use super::{DgramKind, DgramMeta, Payload, Socket};
use crate::drop_reason::DropReason;
use crate::icmp_out::{Original, Owed};
use crate::ingress::Ingress;
use crate::stack::Stack;

impl Stack {
    pub(crate) fn udp_in(
        &mut self,
        mut frame: Frame,
        parsed: Parsed,
        net: &NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        //= RFC 8085 section 3.4
        let Ok(header) = parse_udp(parsed.l4(self.pool.bytes(&frame))) else {
            return self.dropped(frame, DropReason::ParseUdp);
        };
        let key = FlowKey {
            local: net.dst,
            remote: net.src,
            local_port: header.dst_port,
            remote_port: header.src_port,
        };
        let unicast = self.addrs.is_local(net.dst);
        let slot = if unicast { self.dgrams.find_udp(&key) } else { None };
        if unicast
            && slot.is_none()
            && !handed
            && let Some(owner) = self.owners.as_ref().and_then(|o| o.other(&key))
        {
            return Ingress::Handoff { frame, parsed, owner };
        }
        //= RFC 8200 section 8.1
        let none_in_v6 = header.checksum == 0 && net.src.is_ipv6();
        if none_in_v6 || (frame.csum != RxCsum::Verified && !self.l4_sum_ok(&frame, &parsed, net)) {
            return self.dropped(frame, DropReason::CsumL4);
        }
        self.counters.udp_in += 1;
        if !unicast {
            return self.udp_to_many(frame, &parsed, net, &key);
        }
        let Some(slot) = slot else {
            //= RFC 1122 section 4.1.3.1
            return self.reported(frame, &parsed, net, Owed::PortUnreachable, DropReason::UdpNoSocket, now);
        };
        frame.truncate(parsed.end as usize);
        frame.advance(parsed.payload_off as usize);
        let len = frame.len();
        let payload = self.keep(frame);
        self.queue_datagram(slot, meta(net, header.src_port), payload, len);
        Ingress::Done
    }

    /// The frame as it came, or a copy where frames run short.
    fn keep(&mut self, frame: Frame) -> Payload {
        if self.pool.free_len() >= self.short_of_frames_below {
            return Payload::Frame(frame);
        }
        let copy: Box<[u8]> = self.pool.bytes(&frame).into();
        self.pool.free(frame);
        Payload::Heap(copy)
    }

    fn queue_datagram(&mut self, slot: u32, meta: DgramMeta, payload: Payload, len: usize) {
        if let Err(payload) = self.dgrams.push(slot, meta, payload, len) {
            self.counters.drop(DropReason::SocketFull);
            payload.free(&mut self.pool);
        }
    }

    /// To a group or a broadcast address: each socket that listens gets a copy. Nobody is told if none does.
    fn udp_to_many(&mut self, frame: Frame, parsed: &Parsed, net: &NetInfo, key: &FlowKey) -> Ingress {
        let slots = self.listening(net, key);
        if slots.is_empty() {
            return self.dropped(frame, DropReason::UdpNoSocket);
        }
        let copy: Box<[u8]> = parsed.payload(self.pool.bytes(&frame)).into();
        self.pool.free(frame);
        for slot in slots {
            let len = copy.len();
            self.queue_datagram(slot, meta(net, key.remote_port), Payload::Heap(copy.clone()), len);
        }
        Ingress::Done
    }

    fn listening(&self, net: &NetInfo, key: &FlowKey) -> Vec<u32> {
        let at_port = self.dgrams.at_port(DgramKind::Udp, key.local_port);
        let from = (key.remote, key.remote_port);
        at_port
            .filter(|(_, s)| s.takes(net.dst) && s.remote.is_none_or(|r| r == from))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// A datagram that came in fragments and fits no frame.
    pub(crate) fn udp_large(&mut self, packet: Vec<u8>, parsed: &Parsed, net: &NetInfo, now: Instant) {
        let l4 = parsed.l4(&packet);
        let Ok(header) = parse_udp(l4) else { return self.counters.drop(DropReason::ParseUdp) };
        if verify_l4(net.src, net.dst, protocol::UDP, l4) != CsumStatus::Good {
            return self.counters.drop(DropReason::CsumL4);
        }
        self.counters.udp_in += 1;
        let key = FlowKey {
            local: net.dst,
            remote: net.src,
            local_port: header.dst_port,
            remote_port: header.src_port,
        };
        let unicast = self.addrs.is_local(net.dst);
        let slots = if unicast {
            self.dgrams.find_udp(&key).into_iter().collect()
        } else {
            self.listening(net, &key)
        };
        if slots.is_empty() {
            let l4_at = parsed.l4_off as usize;
            let limited = self.owe(Owed::PortUnreachable, Original::Bytes(&packet), net, l4_at, now);
            return self.counters.drop(limited.unwrap_or(DropReason::UdpNoSocket));
        }
        let payload = &l4[udp::HEADER_LEN..];
        for slot in slots {
            let copy = Payload::Heap(payload.into());
            self.queue_datagram(slot, meta(net, header.src_port), copy, payload.len());
        }
    }

    /// An echo reply: is somebody waiting for it? `l4` as it lies in `frame`.
    pub(crate) fn ping_in(&mut self, mut frame: Frame, parsed: &Parsed, net: &NetInfo) {
        let l4 = parsed.l4(self.pool.bytes(&frame));
        let Some(slot) = self.pinging(l4, net) else {
            return self.drop_frame(frame, DropReason::IcmpUnhandled);
        };
        frame.truncate(parsed.end as usize);
        frame.advance(parsed.l4_off as usize);
        let len = frame.len();
        let payload = self.keep(frame);
        self.queue_datagram(slot, meta(net, 0), payload, len);
    }

    /// The same for one that fits no frame. `false`: nobody is waiting.
    pub(crate) fn ping_large(&mut self, l4: &[u8], net: &NetInfo) -> bool {
        let Some(slot) = self.pinging(l4, net) else { return false };
        self.queue_datagram(slot, meta(net, 0), Payload::Heap(l4.into()), l4.len());
        true
    }

    fn pinging(&self, l4: &[u8], net: &NetInfo) -> Option<u32> {
        let &[_, _, _, _, i0, i1, ..] = l4 else { return None };
        let waits = |s: &Socket| s.takes(net.dst) && s.remote.is_none_or(|(r, _)| r == net.src);
        let mut at = self.dgrams.at_port(DgramKind::Ping, u16::from_be_bytes([i0, i1]));
        at.find(|(_, s)| waits(s)).map(|(slot, _)| slot)
    }

    /// There are raw sockets: they get their copies, then the packet goes where it would have gone.
    #[cold]
    pub(crate) fn deliver_copies(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        net: NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        let copy: Vec<u8> = self.pool.bytes(&frame).into();
        let taken = self.raw_in(&copy, &parsed, &net);
        let ours = matches!(
            net.protocol,
            protocol::ICMP | protocol::ICMPV6 | protocol::IGMP | protocol::UDP | protocol::TCP
        );
        if taken && !ours {
            self.counters.raw_in += 1;
            self.pool.free(frame);
            return Ingress::Done;
        }
        self.deliver_once(frame, parsed, net, handed, now)
    }

    /// Raw sockets get a copy of each packet of their protocol. `true`: somebody did.
    pub(crate) fn raw_in(&mut self, packet: &[u8], parsed: &Parsed, net: &NetInfo) -> bool {
        let kind = DgramKind::Raw { protocol: net.protocol };
        let from = net.src;
        let slots: Vec<u32> = self
            .dgrams
            .at_port(kind, 0)
            .filter(|(_, s)| s.takes(net.dst) && s.remote.is_none_or(|(r, _)| r == from))
            .map(|(slot, _)| slot)
            .collect();
        // IPv4: with its header, as everywhere; IPv6: without (RFC 3542 section 3).
        let start = if net.src.is_ipv4() { parsed.l3_off } else { parsed.l4_off };
        let Some(bytes) = packet.get(start as usize..parsed.end as usize) else { return false };
        let sum_is_wrong = net.protocol == protocol::ICMPV6
            && verify_l4(net.src, net.dst, net.protocol, bytes) != CsumStatus::Good;
        if sum_is_wrong {
            return false;
        }
        for slot in &slots {
            self.queue_datagram(*slot, meta(net, 0), Payload::Heap(bytes.into()), bytes.len());
        }
        !slots.is_empty()
    }
}

fn meta(net: &NetInfo, src_port: u16) -> DgramMeta {
    DgramMeta { src: net.src, src_port, dst: net.dst, ttl: net.ttl, tos: net.tos }
}

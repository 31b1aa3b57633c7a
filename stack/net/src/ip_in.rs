//! What few packets have: IPv4 options, IPv6 extension headers, fragments (RFC 791, RFC 8200 section 4).

use alloc::boxed::Box;
use alloc::vec::Vec;

use linerate_frame::{Frame, HEADROOM_BYTES};
use linerate_tcp::Instant;
use linerate_wire::ipv4::{self, has_source_route};
use linerate_wire::ipv6::{self, UnknownAction, ext_headers, options, unknown_action};
use linerate_wire::parse::{Kind, NetInfo, ParseError, Parsed, parse_ip, protocol};
use linerate_wire::{Fragment, icmpv6, tcp, udp};

use crate::config::Link;
use crate::drop_reason::DropReason;
use crate::icmp_out::{Original, Owed};
use crate::ingress::{Ingress, parse_drop};
use crate::reassembly::{FragKey, Piece, Taken};
use crate::stack::Stack;

/// What the options and extension headers of a packet ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Go,
    Drop(DropReason),
    Report(DropReason, Owed),
}

impl Stack {
    /// A packet with options, extension headers or a fragment header.
    pub(crate) fn ip_slow(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        net: NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        let packet = parsed.l3(self.pool.bytes(&frame));
        match judge(packet, parsed.kind, &net) {
            Verdict::Go => {}
            Verdict::Drop(reason) => return self.dropped(frame, reason),
            Verdict::Report(reason, error) => return self.reported(frame, &parsed, &net, error, reason, now),
        }
        match net.fragment.filter(|f| !f.is_atomic()) {
            Some(f) => self.fragment_in(frame, parsed, net, f, handed, now),
            // RFC 6946: an atomic fragment is a whole packet, and none of a queue's business.
            //= RFC 6946 section 4
            None => self.deliver(frame, parsed, net, handed, now),
        }
    }

    pub(crate) fn dropped(&mut self, frame: Frame, reason: DropReason) -> Ingress {
        self.drop_frame(frame, reason);
        Ingress::Done
    }

    /// Drops a packet and tells its sender, if it may be told.
    pub(crate) fn reported(
        &mut self,
        frame: Frame,
        parsed: &Parsed,
        net: &NetInfo,
        error: Owed,
        reason: DropReason,
        now: Instant,
    ) -> Ingress {
        let original = Original::Frame(&frame, parsed.l3_off as usize, parsed.end as usize);
        let limited = self.owe(error, original, net, (parsed.l4_off - parsed.l3_off) as usize, now);
        self.dropped(frame, limited.unwrap_or(reason))
    }

    /// Nobody here speaks this protocol.
    pub(crate) fn unknown_protocol(
        &mut self,
        frame: Frame,
        parsed: &Parsed,
        net: &NetInfo,
        now: Instant,
    ) -> Ingress {
        let reason = DropReason::ProtocolUnknown;
        let error = match parsed.kind {
            // RFC 8200 section 4.7: nothing follows, and that is all.
            Kind::Ipv6 if net.protocol == protocol::IPV6_NO_NEXT => return self.dropped(frame, reason),
            //= RFC 8200 section 4
            Kind::Ipv6 => {
                let packet = parsed.l3(self.pool.bytes(&frame));
                let pointer = ipv6::walk(packet).map_or(6, |c| c.next_header_at) as u32;
                Owed::ParamProblem { code: icmpv6::CODE_NEXT_HEADER, pointer, to_groups: false }
            }
            //= RFC 1122 section 3.2.2.1
            _ => Owed::ProtocolUnreachable,
        };
        self.reported(frame, parsed, net, error, reason, now)
    }

    /// A packet that the parser refused: of these only a first fragment with half a header chain is told of.
    //= RFC 7112 section 5
    pub(crate) fn unparsable(&mut self, frame: Frame, error: ParseError, now: Instant) -> Ingress {
        let reason = parse_drop(error);
        if error != ParseError::Ipv6ExtensionTruncated {
            return self.dropped(frame, reason);
        }
        let l3 = if self.link == Link::RawIp { 0 } else { linerate_wire::eth::HEADER_LEN };
        let bytes = self.pool.bytes(&frame);
        let Some((net, end)) = cut_chain(bytes.get(l3..).unwrap_or(&[])) else {
            return self.dropped(frame, reason);
        };
        let for_us = match self.link {
            Link::Ethernet(mac) => bytes.starts_with(&mac),
            Link::RawIp => true,
        };
        if !for_us || self.addrs.is_martian_source(net.src) || self.addrs.is_local(net.src) {
            return self.dropped(frame, reason);
        }
        let owed = Owed::ParamProblem { code: icmpv6::CODE_FIRST_FRAGMENT, pointer: 0, to_groups: false };
        let limited = self.owe(owed, Original::Frame(&frame, l3, l3 + end), &net, end, now);
        self.dropped(frame, limited.unwrap_or(reason))
    }

    fn fragment_in(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        net: NetInfo,
        f: Fragment,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        let packet = parsed.l3(self.pool.bytes(&frame));
        let split = match parsed.kind {
            Kind::Ipv4 => split_v4(packet, f),
            _ => split_v6(packet, f),
        };
        let (header, payload) = match split {
            Ok(split) => split,
            Err(None) => return self.dropped(frame, DropReason::FragInvalid),
            Err(Some(owed)) => {
                return self.reported(frame, &parsed, &net, owed, DropReason::FragInvalid, now);
            }
        };
        let is_v4 = parsed.kind == Kind::Ipv4;
        let protocol = if is_v4 { net.protocol } else { 0 };
        let key = FragKey { src: net.src, dst: net.dst, id: f.id, protocol };
        let piece = Piece {
            offset: f.offset_bytes.into(),
            more: f.more,
            payload: &packet[payload..],
            header: &header,
            ecn: net.tos & 3,
        };
        let queues = if is_v4 { &mut self.frags_v4 } else { &mut self.frags_v6 };
        let before = queues.evicted;
        let taken = queues.insert(key, &piece, now);
        self.counters.drops[DropReason::FragMemory as usize] += queues.evicted - before;
        match taken {
            Taken::Overlap => self.dropped(frame, DropReason::FragOverlap),
            Taken::Refused => self.dropped(frame, DropReason::FragLimit),
            Taken::Held | Taken::Duplicate => {
                self.counters.frags_in += 1;
                self.pool.free(frame);
                Ingress::Done
            }
            Taken::Whole { header, payload, ecn } => {
                self.counters.frags_in += 1;
                self.counters.reassembled += 1;
                self.pool.free(frame);
                self.reassembled(&header, &payload, ecn, handed, now)
            }
        }
    }

    /// A datagram is whole: from here on it goes the way of all others, in a frame if it fits one.
    fn reassembled(&mut self, header: &[u8], payload: &[u8], ecn: u8, handed: bool, now: Instant) -> Ingress {
        let Some(packet) = rebuild(header, payload, ecn) else {
            self.counters.drop(DropReason::FragInvalid);
            return Ingress::Done;
        };
        let mut parsed = match parse_ip(&packet) {
            Ok(p) => p,
            Err(e) => {
                self.counters.drop(parse_drop(e));
                return Ingress::Done;
            }
        };
        if let Link::Ethernet(mac) = self.link {
            parsed.l2.dst = mac;
        }
        let Some(net) = &mut parsed.net else { return Ingress::Done };
        // It came in fragments: neighbour discovery wants to know (RFC 6980).
        net.fragment = Some(Fragment { offset_bytes: 0, more: false, id: 0 });
        let net = *net;
        let verdict = judge(&packet, parsed.kind, &net);
        let (reason, owed) = match verdict {
            Verdict::Go => return self.deliver_bytes(packet, parsed, net, handed, now),
            Verdict::Drop(reason) => (reason, None),
            Verdict::Report(reason, owed) => (reason, Some(owed)),
        };
        let limited =
            owed.and_then(|owed| self.owe(owed, Original::Bytes(&packet), &net, parsed.l4_off as usize, now));
        self.counters.drop(limited.unwrap_or(reason));
        Ingress::Done
    }

    fn deliver_bytes(
        &mut self,
        packet: Vec<u8>,
        parsed: Parsed,
        net: NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        if packet.len() > self.pool.payload_bytes() {
            self.deliver_large(packet, &parsed, &net, now);
            return Ingress::Done;
        }
        let Some(mut frame) = self.pool.alloc() else {
            self.counters.drop(DropReason::NoFrame);
            return Ingress::Done;
        };
        let at = HEADROOM_BYTES as usize;
        if let Some(chunk) = self.pool.writable(&mut frame) {
            chunk[at..at + packet.len()].copy_from_slice(&packet);
        }
        self.pool.set_range(&mut frame, at, packet.len());
        self.deliver(frame, parsed, net, handed, now)
    }

    /// Time is over for datagrams that never became whole.
    //= RFC 1122 section 3.3.2
    //= RFC 8200 section 4.5
    pub(crate) fn expire_fragments(&mut self, now: Instant) {
        while let Some(e) = self.frags_v4.expire(now).or_else(|| self.frags_v6.expire(now)) {
            self.counters.drop(DropReason::FragTimeout);
            let Some(first) = e.first else { continue };
            let Ok(q) = linerate_wire::parse_quoted(&first) else { continue };
            let net = NetInfo {
                src: e.key.src,
                dst: e.key.dst,
                protocol: q.protocol,
                ttl: 0,
                tos: 0,
                fragment: None,
                has_options: false,
            };
            self.owe(Owed::ReassemblyTimeout, Original::Bytes(&first), &net, q.l4_off as usize, now);
        }
    }
}

fn judge(packet: &[u8], kind: Kind, net: &NetInfo) -> Verdict {
    match kind {
        _ if !net.has_options => Verdict::Go,
        // What we don't know is ignored (RFC 1122 section 3.2.1.8); where a route is prescribed, we don't play.
        //= RFC 9293 section 3.9.2.1, MUST-50
        //= RFC 7126 section 4.3
        Kind::Ipv4 => {
            let header_len = usize::from(packet.first().map_or(0, |b| b & 0x0f)) * 4;
            match has_source_route(packet.get(ipv4::HEADER_LEN..header_len).unwrap_or(&[])) {
                true => Verdict::Drop(DropReason::SourceRouted),
                false => Verdict::Go,
            }
        }
        _ => judge_chain(packet, net),
    }
}

/// IPv6 extension headers in front of the fragment header, or of the upper layer, in any order.
//= RFC 8200 section 4.1
fn judge_chain(packet: &[u8], net: &NetInfo) -> Verdict {
    for header in ext_headers(packet) {
        let Ok(header) = header else { return Verdict::Drop(DropReason::ParseIpv6) };
        let verdict = match header.kind {
            protocol::IPV6_ROUTING => judge_routing(header.offset, header.bytes),
            // What stands behind it belongs to the whole datagram.
            protocol::IPV6_FRAGMENT if net.fragment.is_some_and(|f| !f.is_atomic()) => return Verdict::Go,
            protocol::IPV6_FRAGMENT => Verdict::Go,
            _ => judge_options(header.offset, header.bytes),
        };
        if verdict != Verdict::Go {
            return verdict;
        }
    }
    Verdict::Go
}

/// No type of routing header is known here, type 0 least of all: with segments left the packet is not for us.
//= RFC 5095 section 3
//= RFC 8200 section 4.4
fn judge_routing(offset: usize, header: &[u8]) -> Verdict {
    match header.get(3) {
        Some(0) => Verdict::Go,
        _ => Verdict::Report(
            DropReason::Ipv6Routing,
            Owed::ParamProblem { code: 0, pointer: offset as u32 + 2, to_groups: false },
        ),
    }
}

/// No option is known but padding; its type says what is to be done about that. Router alert (5) has the bits to be
/// skipped.
//= RFC 8200 section 4.2
fn judge_options(offset: usize, header: &[u8]) -> Verdict {
    for option in options(header) {
        let Ok(option) = option else { return Verdict::Drop(DropReason::ParseIpv6) };
        let pointer = (offset + option.offset) as u32;
        let report = |to_groups| {
            let owed = Owed::ParamProblem { code: icmpv6::CODE_OPTION, pointer, to_groups };
            Verdict::Report(DropReason::Ipv6Option, owed)
        };
        match unknown_action(option.kind) {
            UnknownAction::Skip => {}
            UnknownAction::Discard => return Verdict::Drop(DropReason::Ipv6Option),
            UnknownAction::Report => return report(true),
            UnknownAction::ReportUnicast => return report(false),
        }
    }
    Verdict::Go
}

type Split = Result<(Box<[u8]>, usize), Option<Owed>>;

/// What stands in front of the fragment's payload, and where that begins.
fn split_v4(packet: &[u8], f: Fragment) -> Split {
    let header_len = usize::from(packet.first().map_or(0, |b| b & 0x0f)) * 4;
    let payload_len = packet.len().saturating_sub(header_len);
    let end = header_len + usize::from(f.offset_bytes) + payload_len;
    // RFC 791 section 3.2; a whole longer than a packet can be is the ping of death.
    if payload_len == 0 || (f.more && !payload_len.is_multiple_of(8)) || end > usize::from(u16::MAX) {
        return Err(None);
    }
    Ok((packet[..header_len].into(), header_len))
}

/// The same for IPv6: the unfragmentable part and the fragment header.
//= RFC 8200 section 4.5
fn split_v6(packet: &[u8], f: Fragment) -> Split {
    for header in ext_headers(packet) {
        let header = header.map_err(|_| None)?;
        if header.kind != protocol::IPV6_FRAGMENT {
            continue;
        }
        let at = header.offset + ipv6::FRAGMENT_HEADER_LEN;
        let payload_len = packet.len() - at;
        let problem = |code, pointer| Err(Some(Owed::ParamProblem { code, pointer, to_groups: false }));
        if f.more && !payload_len.is_multiple_of(8) {
            return problem(0, 4);
        }
        let end = header.offset - ipv6::HEADER_LEN + usize::from(f.offset_bytes) + payload_len;
        if end > usize::from(u16::MAX) {
            return problem(0, header.offset as u32 + 2);
        }
        //= RFC 7112 section 5
        if f.offset_bytes == 0 && !has_upper_header(packet) {
            return problem(icmpv6::CODE_FIRST_FRAGMENT, 0);
        }
        if payload_len == 0 {
            return Err(None);
        }
        return Ok((packet[..at].into(), at));
    }
    Err(None)
}

/// Does a first fragment hold the whole header of its upper layer?
fn has_upper_header(packet: &[u8]) -> bool {
    let Ok(chain) = ipv6::walk(packet) else { return false };
    let len = packet.len() - chain.l4_off;
    match chain.protocol {
        protocol::TCP => tcp::header_len(&packet[chain.l4_off..]).is_ok(),
        protocol::UDP => len >= udp::HEADER_LEN,
        protocol::ICMPV6 => len >= icmpv6::HEADER_LEN,
        protocol::IPV6_NO_NEXT => true,
        _ => len > 0,
    }
}

/// A packet whose chain of extension headers is cut off behind the header of a first fragment: who sent it to whom, and
/// where it ends.
fn cut_chain(packet: &[u8]) -> Option<(NetInfo, usize)> {
    let header = ipv6::Ipv6Header::view(packet).ok()?;
    let end = ipv6::HEADER_LEN + usize::from(header.payload_length.get());
    let first = ext_headers(packet.get(..end)?)
        .filter_map(Result::ok)
        .any(|h| h.kind == protocol::IPV6_FRAGMENT && h.bytes[2..4] == [0, 1]);
    let net = NetInfo {
        src: core::net::Ipv6Addr::from_octets(header.src).into(),
        dst: core::net::Ipv6Addr::from_octets(header.dst).into(),
        protocol: protocol::IPV6_NO_NEXT,
        ttl: header.hop_limit,
        tos: header.traffic_class(),
        fragment: None,
        has_options: true,
    };
    first.then_some((net, end))
}

/// The datagram as if it had come in one packet; `None` if no length field can say it.
fn rebuild(header: &[u8], payload: &[u8], ecn: u8) -> Option<Vec<u8>> {
    let is_v6 = header.first()? >> 4 == 6;
    let kept = if is_v6 { header.len() - ipv6::FRAGMENT_HEADER_LEN } else { header.len() };
    let mut packet = Vec::with_capacity(kept + payload.len());
    packet.extend_from_slice(&header[..kept]);
    packet.extend_from_slice(payload);
    if is_v6 {
        // The header in front of the fragment header now names what that named.
        let before = ext_headers(header).filter_map(Result::ok).take_while(|h| h.offset < kept).last();
        packet[before.map_or(6, |h| h.offset)] = header[kept];
        let len = u16::try_from(packet.len() - ipv6::HEADER_LEN).ok()?;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet[1] = packet[1] & 0xcf | ecn << 4;
        return Some(packet);
    }
    let len = u16::try_from(packet.len()).ok()?;
    packet[1] = packet[1] & 0xfc | ecn;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[6..8].fill(0);
    packet[10..12].fill(0);
    let sum = linerate_wire::sum(&packet[..header.len()]).checksum();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    Some(packet)
}

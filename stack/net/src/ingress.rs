//! The way in: whose is it, is it whole, and which part of the stack takes it.

use core::net::IpAddr;

use linerate_frame::{Frame, RxCsum};
use linerate_tcp::Instant;
use linerate_wire::checksum;
use linerate_wire::parse::{Kind, NetInfo, ParseError, Parsed, parse, parse_ip, protocol};
use linerate_wire::vlan;

use crate::config::Link;
use crate::drop_reason::DropReason;
use crate::stack::Stack;

/// What became of a received frame.
#[derive(Debug)]
pub enum Ingress {
    /// The stack has it, answered it, or dropped and counted it.
    Done,
    /// It belongs to a flow of another core: hand it over.
    Handoff {
        /// The frame, untouched.
        frame: Frame,
        /// What it was parsed to.
        parsed: Parsed,
        /// The core that owns the flow.
        owner: u8,
    },
}

impl Stack {
    /// A frame arrived on this core.
    pub fn ingress(&mut self, frame: Frame, now: Instant) -> Ingress {
        self.counters.rx_packets += 1;
        self.counters.rx_bytes += frame.len() as u64;
        let bytes = self.pool.bytes(&frame);
        let parsed = match self.link {
            Link::Ethernet(_) => parse(bytes),
            Link::RawIp => parse_ip(bytes),
        };
        match parsed {
            Ok(parsed) => self.ingress_parsed(frame, parsed, false, now),
            Err(e) => self.unparsable(frame, e, now),
        }
    }

    /// A frame that another core handed over: it is ours, whatever the table says by now.
    pub fn ingress_handed(&mut self, frame: Frame, parsed: Parsed, now: Instant) {
        match self.ingress_parsed(frame, parsed, true, now) {
            Ingress::Done => {}
            Ingress::Handoff { frame, .. } => self.drop_frame(frame, DropReason::NotLocal),
        }
    }

    fn ingress_parsed(&mut self, frame: Frame, parsed: Parsed, handed: bool, now: Instant) -> Ingress {
        if let Link::Ethernet(mac) = self.link
            && parsed.l2.dst != mac
            && parsed.l2.dst[0] & 1 == 0
        {
            self.drop_frame(frame, DropReason::NotLocal);
            return Ingress::Done;
        }
        // VID 0 is a priority tag; any other VLAN is another link, with addresses of its own.
        if parsed.l2.vlan.is_some_and(|tci| vlan::vid(tci) != 0) {
            self.drop_frame(frame, DropReason::NotLocal);
            return Ingress::Done;
        }
        let Some(net) = parsed.net else {
            self.on_arp(frame, &parsed, now);
            return Ingress::Done;
        };
        if let Some(reason) = self.refuse(&parsed, &net) {
            self.drop_frame(frame, reason);
            return Ingress::Done;
        }
        if net.has_options || net.fragment.is_some() {
            return self.ip_slow(frame, parsed, net, handed, now);
        }
        self.deliver(frame, parsed, net, handed, now)
    }

    /// A whole packet goes to its protocol.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        net: NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        if net.protocol != protocol::TCP && self.dgrams.has_raw() && !handed {
            return self.deliver_copies(frame, parsed, net, handed, now);
        }
        self.deliver_once(frame, parsed, net, handed, now)
    }

    #[inline]
    pub(crate) fn deliver_once(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        net: NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        match net.protocol {
            protocol::TCP => self.tcp_in(frame, parsed, net, handed, now),
            protocol::ICMP if parsed.kind == Kind::Ipv4 => self.icmpv4_in(frame, parsed, &net, handed, now),
            protocol::ICMPV6 if parsed.kind == Kind::Ipv6 => self.icmpv6_in(frame, parsed, &net, handed, now),
            protocol::IGMP if parsed.kind == Kind::Ipv4 => {
                self.igmp_in(frame, &parsed, &net, now);
                Ingress::Done
            }
            protocol::UDP => self.udp_in(frame, parsed, &net, handed, now),
            _ => self.unknown_protocol(frame, &parsed, &net, now),
        }
    }

    /// What IP itself refuses.
    fn refuse(&self, parsed: &Parsed, net: &NetInfo) -> Option<DropReason> {
        // Our own address as source: nobody else has it, and answering would be talking to ourselves (LAND).
        //= RFC 9293 section 3.9.2.3, MUST-63
        if (self.addrs.is_martian_source(net.src) && !is_dad(net)) || self.addrs.is_local(net.src) {
            return Some(DropReason::MartianSource);
        }
        if !self.addrs.is_local(net.dst) && !self.is_group_of_ours(net.dst) {
            return Some(DropReason::NotLocal);
        }
        // RFC 1122 section 3.3.6: what came by link-layer broadcast must be addressed to all by IP, too.
        let unicast_by_broadcast =
            parsed.l2.dst[0] & 1 == 1 && self.link != Link::RawIp && self.addrs.is_local(net.dst);
        unicast_by_broadcast.then_some(DropReason::NotLocal)
    }

    fn is_group_of_ours(&self, dst: IpAddr) -> bool {
        self.addrs.is_for_us_multicast(dst) || matches!(dst, IpAddr::V4(a) if self.addrs.is_broadcast_v4(a))
    }

    /// Is the L4 checksum right, or was it never made because the sender is a local kernel that left it to an
    /// offload (CHECKSUM_PARTIAL over veth, see [`RxCsum::MaybePartial`])?
    //= RFC 9293 section 3.1, MUST-3
    pub(crate) fn l4_sum_ok(&self, frame: &Frame, parsed: &Parsed, net: &NetInfo) -> bool {
        let l4 = &self.pool.bytes(frame)[parsed.l4_off as usize..parsed.end as usize];
        // ICMP has no pseudo-header that a lazy sum could hold.
        let may_be_partial = net.protocol != protocol::ICMP;
        match frame.csum {
            RxCsum::Verified => true,
            RxCsum::MaybePartial
                if may_be_partial && checksum::is_partial(net.src, net.dst, net.protocol, l4) =>
            {
                true
            }
            _ => checksum::verify_l4(net.src, net.dst, net.protocol, l4) == checksum::CsumStatus::Good,
        }
    }
}

/// Duplicate address detection comes from the unspecified address: RFC 4862 section 5.4.2.
fn is_dad(net: &NetInfo) -> bool {
    net.src.is_unspecified() && net.src.is_ipv6() && net.protocol == protocol::ICMPV6
}

pub(crate) fn parse_drop(e: ParseError) -> DropReason {
    use ParseError as E;
    match e {
        E::TooShort | E::VlanTruncated => DropReason::ParseEthernet,
        E::EthertypeUnknown => DropReason::ProtocolUnknown,
        E::ArpMalformed => DropReason::ParseArp,
        E::Ipv4Checksum => DropReason::CsumIpv4,
        E::Ipv4Version | E::Ipv4HeaderLength | E::Ipv4TotalLength => DropReason::ParseIpv4,
        E::Ipv6Version | E::Ipv6PayloadLength | E::Ipv6ExtensionTruncated | E::Ipv6ExtensionLimit => {
            DropReason::ParseIpv6
        }
        E::TcpTruncated | E::TcpDataOffset => DropReason::ParseTcp,
        E::UdpTruncated | E::UdpLength => DropReason::ParseUdp,
        E::IcmpTruncated => DropReason::ParseIcmp,
        E::NdTruncated | E::NdType | E::NdOption => DropReason::NdInvalid,
    }
}

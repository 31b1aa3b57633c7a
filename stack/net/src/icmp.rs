//! ICMP and ICMPv6: echo, and the errors that a host owes.

use alloc::vec::Vec;

use linerate_frame::Frame;
use linerate_tcp::Instant;
use linerate_tcp::time::SEC;
use linerate_wire::parse::{Kind, NetInfo, Parsed, parse_quoted};
use linerate_wire::{CsumStatus, icmpv4, icmpv6, ipv4, ipv6, mld, nd, protocol, verify_l4};

use crate::drop_reason::DropReason;
use crate::icmp_error::Complaint;
use crate::ingress::Ingress;
use crate::ip_out::IpOut;
use crate::limits::{ICMP_ERRORS_BURST, ICMP_ERRORS_PER_SEC};
use crate::stack::Stack;

/// A token bucket for errors: RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateLimit {
    /// When the bucket would be empty: grows by one interval a message.
    used_until: u64,
}

impl RateLimit {
    /// One more, if the rate allows.
    pub fn allow(&mut self, now: Instant) -> bool {
        let interval = SEC / ICMP_ERRORS_PER_SEC;
        let from = self.used_until.max(now.0.saturating_sub(ICMP_ERRORS_BURST * interval));
        if from + interval > now.0 {
            return false;
        }
        self.used_until = from + interval;
        true
    }
}

impl Stack {
    pub(crate) fn icmpv4_in(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        net: &NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        let l4 = parsed.l4(self.pool.bytes(&frame));
        let Ok(message) = icmpv4::Icmpv4::parse(l4) else {
            return self.icmp_done(frame, Some(DropReason::ParseIcmp));
        };
        let complaint = Complaint::of_v4(message.ty, message.code, message.rest);
        let ty = message.ty;
        // ICMP has no pseudo-header: a sender that leaves its sum to an offload can't be told by it, so it is
        // always verified unless the port says it was.
        if !self.l4_sum_ok(&frame, &parsed, net) {
            return self.icmp_done(frame, Some(DropReason::CsumL4));
        }
        if let Some(complaint) = complaint {
            return self.icmp_error_in(frame, parsed, complaint, handed, now);
        }
        self.counters.icmp_in += 1;
        if ty == icmpv4::ECHO_REPLY {
            self.ping_in(frame, &parsed, net);
            return Ingress::Done;
        }
        // RFC 1122 section 3.2.2.6: echo to a broadcast may be discarded, and is (smurf).
        if ty != icmpv4::ECHO_REQUEST || !self.addrs.is_local(net.dst) {
            return self.icmp_done(frame, Some(DropReason::IcmpUnhandled));
        }
        self.echo_reply(frame, &parsed, net, icmpv4::echo_reply_in_place, now);
        Ingress::Done
    }

    pub(crate) fn icmpv6_in(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        net: &NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        let l4 = parsed.l4(self.pool.bytes(&frame));
        let Ok(message) = icmpv6::Icmpv6::parse(l4) else {
            return self.icmp_done(frame, Some(DropReason::ParseIcmp));
        };
        let complaint = Complaint::of_v6(message.ty, message.code, message.rest);
        let ty = message.ty;
        if !self.l4_sum_ok(&frame, &parsed, net) {
            return self.icmp_done(frame, Some(DropReason::CsumL4));
        }
        if let Some(complaint) = complaint {
            return self.icmp_error_in(frame, parsed, complaint, handed, now);
        }
        self.counters.icmp_in += 1;
        match ty {
            nd::ROUTER_SOLICIT..=nd::REDIRECT => self.on_nd(frame, &parsed, net, now),
            mld::QUERY | mld::REPORT_V1 => self.mld_in(frame, &parsed, net, now),
            icmpv6::ECHO_REQUEST if self.addrs.is_local(net.dst) => {
                self.echo_reply(frame, &parsed, net, icmpv6::echo_reply_in_place, now);
            }
            icmpv6::ECHO_REPLY => self.ping_in(frame, &parsed, net),
            _ => self.drop_frame(frame, DropReason::IcmpUnhandled),
        }
        Ingress::Done
    }

    /// An error about one of our packets: the core that owns its flow acts on it.
    fn icmp_error_in(
        &mut self,
        frame: Frame,
        parsed: Parsed,
        complaint: Complaint,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        let l4 = parsed.l4(self.pool.bytes(&frame));
        let quote = l4.get(icmpv4::HEADER_LEN..).unwrap_or(&[]);
        if !handed && let Some(owner) = self.error_owner(quote) {
            return Ingress::Handoff { frame, parsed, owner };
        }
        self.counters.icmp_in += 1;
        let Ok(quoted) = parse_quoted(quote) else {
            return self.icmp_done(frame, Some(DropReason::ParseIcmp));
        };
        let echo = quote.get(quoted.l4_off as usize + 4..).and_then(|b| b.first_chunk::<2>());
        let ident = echo.map(|b| u16::from_be_bytes(*b));
        let dropped = self.on_complaint(complaint, &quoted, ident, now);
        self.icmp_done(frame, dropped)
    }

    fn icmp_done(&mut self, frame: Frame, dropped: Option<DropReason>) -> Ingress {
        match dropped {
            Some(reason) => self.drop_frame(frame, reason),
            None => self.pool.free(frame),
        }
        Ingress::Done
    }

    /// The reply is the request's frame: its data stays where it is, the headers in front are written anew.
    fn echo_reply(
        &mut self,
        mut frame: Frame,
        parsed: &Parsed,
        net: &NetInfo,
        turn_round: fn(&mut [u8]) -> bool,
        now: Instant,
    ) {
        let (at, len) = (frame.start() + parsed.l4_off as usize, (parsed.end - parsed.l4_off) as usize);
        let turned = self.pool.writable(&mut frame).is_some_and(|chunk| turn_round(&mut chunk[at..at + len]));
        if !turned {
            return self.drop_frame(frame, DropReason::IcmpUnhandled);
        }
        self.pool.set_range(&mut frame, at, len);
        self.counters.icmp_out += 1;
        let out = self.echo_out(net);
        if fits(&out, len) {
            return self.send_ip(frame, &out, now);
        }
        let l4: Vec<u8> = self.pool.bytes(&frame).into();
        self.pool.free(frame);
        self.send_echo(&out, &l4, now);
    }

    /// RFC 1122 section 3.2.2: a reply has the type of service of its request.
    fn echo_out(&self, net: &NetInfo) -> IpOut {
        IpOut { tos: net.tos & !3, ..self.ip_out(net.dst, net.src, net.protocol) }
    }

    fn send_echo(&mut self, out: &IpOut, l4: &[u8], now: Instant) {
        if self.send_message(out, &[], l4, now).is_err() {
            self.counters.drop(DropReason::NoFrame);
        }
    }

    /// A datagram that came in fragments and fits no frame.
    pub(crate) fn deliver_large(&mut self, packet: Vec<u8>, parsed: &Parsed, net: &NetInfo, now: Instant) {
        let raw = self.dgrams.has_raw() && self.raw_in(&packet, parsed, net);
        if net.protocol == protocol::UDP {
            return self.udp_large(packet, parsed, net, now);
        }
        let l4 = parsed.l4(&packet);
        if verify_l4(net.src, net.dst, net.protocol, l4) != CsumStatus::Good {
            return self.counters.drop(DropReason::CsumL4);
        }
        let turn_round = match (net.protocol, parsed.kind) {
            (protocol::ICMP, Kind::Ipv4) => icmpv4::echo_reply_in_place,
            (protocol::ICMPV6, Kind::Ipv6) => icmpv6::echo_reply_in_place,
            _ if raw => return,
            _ => return self.counters.drop(DropReason::FragTooLarge),
        };
        self.counters.icmp_in += 1;
        if matches!(l4.first(), Some(&(icmpv4::ECHO_REPLY | icmpv6::ECHO_REPLY))) && self.ping_large(l4, net)
        {
            return;
        }
        let mut l4: Vec<u8> = l4.into();
        if !self.addrs.is_local(net.dst) || !turn_round(&mut l4) {
            return self.counters.drop(DropReason::IcmpUnhandled);
        }
        self.counters.icmp_out += 1;
        let out = self.echo_out(net);
        self.send_echo(&out, &l4, now);
    }
}

fn fits(out: &IpOut, len: usize) -> bool {
    len + if out.dst.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN } <= out.mtu.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut r = RateLimit::default();
        let start = Instant(10 * SEC);
        let burst = (0..1000).filter(|_| r.allow(start)).count();
        assert_eq!(burst as u64, ICMP_ERRORS_BURST);
        let second = (1..=1000).filter(|ms| r.allow(start + ms * 1_000_000)).count();
        assert_eq!(second as u64, ICMP_ERRORS_PER_SEC);
    }
}

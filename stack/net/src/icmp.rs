//! ICMP and ICMPv6: echo, and the errors that a host owes.

use core::net::IpAddr;

use linerate_frame::{Frame, HEADROOM_BYTES};
use linerate_tcp::Instant;
use linerate_tcp::time::SEC;
use linerate_wire::parse::{NetInfo, Parsed, parse_quoted};
use linerate_wire::{icmpv4, icmpv6, mld, nd, protocol};

use crate::drop_reason::DropReason;
use crate::icmp_error::Complaint;
use crate::ingress::Ingress;
use crate::limits::{ICMP_ERRORS_BURST, ICMP_ERRORS_PER_SEC, TTL};
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
        let dropped = self.on_complaint(complaint, &quoted, now);
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
        self.send_ip(frame, net.dst, net.src, net.protocol, TTL, now);
    }

    /// UDP has no sockets yet: port unreachable (RFC 1122 section 4.1.3.1).
    pub(crate) fn udp_in(&mut self, frame: Frame, parsed: &Parsed, net: &NetInfo, now: Instant) {
        if linerate_wire::parse_udp(parsed.l4(self.pool.bytes(&frame))).is_err() {
            return self.drop_frame(frame, DropReason::ParseUdp);
        }
        if !self.l4_sum_ok(&frame, parsed, net) {
            return self.drop_frame(frame, DropReason::CsumL4);
        }
        let why = self.port_unreachable(&frame, parsed, net, now);
        self.drop_frame(frame, why);
    }

    /// Never about a broadcast, multicast or martian (RFC 1122 section 3.2.2), and not faster than the limit.
    fn port_unreachable(
        &mut self,
        frame: &Frame,
        parsed: &Parsed,
        net: &NetInfo,
        now: Instant,
    ) -> DropReason {
        if !self.addrs.is_local(net.dst) {
            return DropReason::UdpNoSocket;
        }
        if !self.icmp_limit.allow(now) {
            return DropReason::IcmpRateLimited;
        }
        let Some(mut reply) = self.pool.alloc() else {
            self.counters.drop(DropReason::NoFrame);
            return DropReason::UdpNoSocket;
        };
        let at = HEADROOM_BYTES as usize;
        let end = parsed.end as usize;
        let Some(chunk) = self.pool.writable(&mut reply) else {
            unreachable!("a fresh frame is not transmitting")
        };
        let original = &self.pool.bytes(frame)[parsed.l3_off as usize..end];
        let (len, protocol) = match (net.dst, net.src) {
            (IpAddr::V6(us), IpAddr::V6(them)) => {
                let error = icmpv6::Icmpv6Error::DestUnreachable { code: icmpv6::CODE_PORT };
                (icmpv6::emit_error(error, original, us, them, &mut chunk[at..]), protocol::ICMPV6)
            }
            _ => {
                let error = icmpv4::Icmpv4Error::DestUnreachable { code: icmpv4::CODE_PORT };
                (icmpv4::emit_error(error, original, &mut chunk[at..]), protocol::ICMP)
            }
        };
        self.pool.set_range(&mut reply, at, len);
        self.counters.icmp_out += 1;
        self.send_ip(reply, net.dst, net.src, protocol, TTL, now);
        DropReason::UdpNoSocket
    }
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

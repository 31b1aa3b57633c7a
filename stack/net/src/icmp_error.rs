//! ICMP errors about packets of ours: whose they are, and what they mean (RFC 1122 section 3.2.2, RFC 4443 section 3,
//! RFC 5927).

use core::net::IpAddr;

use linerate_tcp::{Instant, SeqNum, TcpError};
use linerate_wire::parse::{Quoted, parse_quoted};
use linerate_wire::{icmpv4, icmpv6, protocol};

use crate::dgram::DgramKind;
use crate::drop_reason::DropReason;
use crate::flow::lookup::Found;
use crate::stack::Stack;

/// What an error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Complaint {
    /// The next hop's MTU, as told.
    TooBig(u32),
    /// `hard`: no packet of this kind will ever arrive.
    Unreachable { error: TcpError, hard: bool },
}

impl Complaint {
    /// `None`: not an error, or one that is ignored.
    pub fn of_v4(ty: u8, code: u8, rest: [u8; 4]) -> Option<Self> {
        let [_, _, a, b] = rest;
        Some(match (ty, code) {
            (icmpv4::DEST_UNREACHABLE, icmpv4::CODE_FRAG_NEEDED) => {
                Self::TooBig(u16::from_be_bytes([a, b]).into())
            }
            (icmpv4::DEST_UNREACHABLE, code) => Self::dest_unreachable(code),
            (icmpv4::TIME_EXCEEDED, _) => Self::soft(TcpError::HostUnreachable),
            (icmpv4::PARAM_PROBLEM, _) => Self::soft(TcpError::Protocol),
            // Source quench among them: RFC 6633 section 3.
            //= RFC 9293 section 3.9.2.2, MUST-55
            _ => return None,
        })
    }

    fn soft(error: TcpError) -> Self {
        Self::Unreachable { error, hard: false }
    }

    // RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1.
    fn dest_unreachable(code: u8) -> Self {
        let (error, hard) = match code {
            icmpv4::CODE_PROTOCOL => (TcpError::ProtocolUnreachable, true),
            icmpv4::CODE_PORT => (TcpError::Refused, true),
            9 | 10 | 13 => (TcpError::Prohibited, true),
            0 | 6 | 11 => (TcpError::NetUnreachable, false),
            _ => (TcpError::HostUnreachable, false),
        };
        Self::Unreachable { error, hard }
    }

    /// The same for ICMPv6.
    pub fn of_v6(ty: u8, code: u8, rest: [u8; 4]) -> Option<Self> {
        Some(match (ty, code) {
            (icmpv6::PACKET_TOO_BIG, _) => Self::TooBig(u32::from_be_bytes(rest)),
            (icmpv6::DEST_UNREACHABLE, code) => {
                let (error, hard) = match code {
                    icmpv6::CODE_NO_ROUTE => (TcpError::NetUnreachable, false),
                    icmpv6::CODE_PORT => (TcpError::Refused, true),
                    // Prohibited, source address failed policy, rejected.
                    1 | 5 | 6 => (TcpError::Prohibited, true),
                    _ => (TcpError::HostUnreachable, false),
                };
                Self::Unreachable { error, hard }
            }
            (icmpv6::TIME_EXCEEDED, _) => Self::soft(TcpError::HostUnreachable),
            // The peer does not know TCP: RFC 1122's protocol unreachable under another name.
            (icmpv6::PARAM_PROBLEM, icmpv6::CODE_NEXT_HEADER) => {
                Self::Unreachable { error: TcpError::ProtocolUnreachable, hard: true }
            }
            (icmpv6::PARAM_PROBLEM, _) => Self::soft(TcpError::Protocol),
            _ => return None,
        })
    }
}

impl Stack {
    /// The core that owns the flow which an error quotes, if it is another one.
    pub(crate) fn error_owner(&self, quote: &[u8]) -> Option<u8> {
        let owners = self.owners.as_ref()?;
        let quoted = parse_quoted(quote).ok()?;
        let key = quoted.flow_key()?;
        let ours = match quoted.protocol {
            protocol::UDP => self.dgrams.has_udp(&key),
            _ => self.find(&key).is_some(),
        };
        if ours {
            return None;
        }
        owners.other(&key)
    }

    /// Acts on an error; says why not if not.
    pub(crate) fn on_complaint(
        &mut self,
        complaint: Complaint,
        quoted: &Quoted,
        ident: Option<u16>,
        now: Instant,
    ) -> Option<DropReason> {
        // RFC 5927: it must quote a packet that we may have sent.
        if !self.addrs.is_local(quoted.src) {
            return Some(DropReason::IcmpUnsolicited);
        }
        match quoted.protocol {
            protocol::TCP => self.tcp_complaint(complaint, quoted, now),
            protocol::UDP => {
                let Some(ports) = quoted.ports else { return Some(DropReason::IcmpUnsolicited) };
                self.dgram_complaint(complaint, quoted, DgramKind::Udp, ports, now)
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let Some(ident) = ident else { return Some(DropReason::IcmpUnsolicited) };
                self.dgram_complaint(complaint, quoted, DgramKind::Ping, (ident, 0), now)
            }
            _ => Some(DropReason::IcmpUnsolicited),
        }
    }

    fn tcp_complaint(&mut self, complaint: Complaint, quoted: &Quoted, now: Instant) -> Option<DropReason> {
        let unsolicited = Some(DropReason::IcmpUnsolicited);
        let (Some(key), Some(seq)) = (quoted.flow_key(), quoted.tcp_seq) else { return unsolicited };
        let slot = match self.find(&key) {
            Some(Found::Conn(slot)) => slot,
            Some(Found::HalfOpen(i)) => return self.half_open_complaint(i, complaint, SeqNum(seq)),
            _ => return unsolicited,
        };
        let in_flight = self.flows.conns.get(slot as usize).is_some_and(|c| c.tcb.is_in_flight(SeqNum(seq)));
        if !in_flight {
            return unsolicited;
        }
        match complaint {
            Complaint::TooBig(told) => {
                if !self.learn_pmtu(quoted, told, now) {
                    return unsolicited;
                }
                // The connection's MSS follows as its environment is made.
                let (tcb, mut env, _) = self.conn_env(slot, now)?;
                tcb.resend_oversized(&mut env);
            }
            Complaint::Unreachable { error, hard } => {
                let (tcb, mut env, _) = self.conn_env(slot, now)?;
                tcb.on_icmp_error(error, hard, &mut env);
            }
        }
        self.mark_dirty(slot);
        self.settle(slot, now);
        None
    }

    /// Nobody holds a half-open connection yet: a hard error about its SYN-ACK and it is forgotten, a soft one changes
    /// nothing.
    fn half_open_complaint(&mut self, i: u32, complaint: Complaint, seq: SeqNum) -> Option<DropReason> {
        if self.flows.half_opens.get(i).iss != seq {
            return Some(DropReason::IcmpUnsolicited);
        }
        if let Complaint::Unreachable { hard: true, .. } = complaint {
            self.forget_half_open(i);
        }
        None
    }

    /// A router on the way to the quoted destination says its next hop's MTU.
    pub(crate) fn learn_pmtu(&mut self, quoted: &Quoted, told: u32, now: Instant) -> bool {
        let known = self.path_mtu(quoted.dst).mtu;
        self.pmtu.too_big(quoted.dst, told, quoted.total_len, known, now)
    }

    /// Largest IP packet that the path to `dst` takes, as far as we know.
    pub(crate) fn path_mtu(&self, dst: IpAddr) -> crate::pmtu::PathMtu {
        let route = self.route_mtu(dst);
        match self.pmtu.get(dst) {
            Some(p) => crate::pmtu::PathMtu { mtu: p.mtu.min(route), ..p },
            None => crate::pmtu::PathMtu { mtu: route, may_fragment: false },
        }
    }
}

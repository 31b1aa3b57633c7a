//! ICMP errors that we owe, and when we owe none: RFC 1122 section 3.2.2, RFC 4443 section 2.4.

use core::net::IpAddr;

use linerate_frame::{Frame, HEADROOM_BYTES};
use linerate_tcp::Instant;
use linerate_wire::icmpv4::{self, Icmpv4Error};
use linerate_wire::icmpv6::{self, Icmpv6Error};
use linerate_wire::parse::NetInfo;
use linerate_wire::{nd, protocol};

use crate::drop_reason::DropReason;
use crate::stack::Stack;

/// An error about a received packet, for either family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owed {
    PortUnreachable,
    ProtocolUnreachable,
    /// Some fragments never came.
    ReassemblyTimeout,
    /// RFC 4443 section 3.4; `to_groups`: also about what was sent to a group.
    ParamProblem {
        code: u8,
        pointer: u32,
        to_groups: bool,
    },
}

/// Where the packet that an error is about lies.
#[derive(Clone, Copy)]
pub(crate) enum Original<'a> {
    /// In a frame: its offsets.
    Frame(&'a Frame, usize, usize),
    Bytes(&'a [u8]),
}

impl Stack {
    /// Sends an error about a packet, if one may be sent. Returns `Some(IcmpRateLimited)` if only the rate forbids it.
    pub(crate) fn owe(
        &mut self,
        error: Owed,
        original: Original<'_>,
        net: &NetInfo,
        l4_at: usize,
        now: Instant,
    ) -> Option<DropReason> {
        let src = self.error_source(error, net)?;
        let bytes = match original {
            Original::Frame(frame, from, to) => self.pool.bytes(frame).get(from..to)?,
            Original::Bytes(bytes) => bytes,
        };
        // A later fragment's payload is no header: what it belongs to is unknown, and an error is sent only where the
        // fragment itself is wrong (RFC 8200 section 4.5).
        let is_first = net.fragment.is_none_or(|f| f.offset_bytes == 0);
        if is_first && is_icmp_error(net.protocol, bytes.get(l4_at..).unwrap_or(&[])) {
            return None;
        }
        if !is_first && net.dst.is_ipv4() {
            return None;
        }
        if !self.icmp_limit.allow(now) {
            return Some(DropReason::IcmpRateLimited);
        }
        let Some(mut reply) = self.pool.alloc() else {
            self.counters.drop(DropReason::NoFrame);
            return None;
        };
        let at = HEADROOM_BYTES as usize;
        let Some(chunk) = self.pool.writable(&mut reply) else {
            unreachable!("a fresh frame is not transmitting")
        };
        let bytes = match original {
            Original::Frame(frame, from, to) => &self.pool.bytes(frame)[from..to],
            Original::Bytes(bytes) => bytes,
        };
        let (len, protocol) = match (src, net.src) {
            (IpAddr::V6(us), IpAddr::V6(them)) => {
                (icmpv6::emit_error(error.v6(), bytes, us, them, &mut chunk[at..]), protocol::ICMPV6)
            }
            _ => (icmpv4::emit_error(error.v4(), bytes, &mut chunk[at..]), protocol::ICMP),
        };
        self.pool.set_range(&mut reply, at, len);
        self.counters.icmp_out += 1;
        let out = self.ip_out(src, net.src, protocol);
        self.send_ip(reply, &out, now);
        None
    }

    /// The address to send the error from; `None`: none is owed to this packet's sender.
    //= RFC 4443 section 2.4
    fn error_source(&self, error: Owed, net: &NetInfo) -> Option<IpAddr> {
        if net.src.is_unspecified() || net.src.is_multicast() {
            return None;
        }
        if self.addrs.is_local(net.dst) {
            return Some(net.dst);
        }
        // Never about what was sent to many, but for an option that asks for it.
        let to_groups = matches!(error, Owed::ParamProblem { to_groups: true, .. });
        (net.dst.is_multicast() && to_groups).then(|| self.addrs.source_for(net.src))?
    }
}

impl Owed {
    fn v4(self) -> Icmpv4Error {
        match self {
            Self::PortUnreachable => Icmpv4Error::DestUnreachable { code: icmpv4::CODE_PORT },
            Self::ProtocolUnreachable => Icmpv4Error::DestUnreachable { code: icmpv4::CODE_PROTOCOL },
            Self::ReassemblyTimeout => Icmpv4Error::TimeExceeded { code: 1 },
            Self::ParamProblem { pointer, .. } => Icmpv4Error::ParamProblem { pointer: pointer as u8 },
        }
    }

    fn v6(self) -> Icmpv6Error {
        match self {
            Self::PortUnreachable => Icmpv6Error::DestUnreachable { code: icmpv6::CODE_PORT },
            // ICMPv6 says it by a parameter problem; the pointer is the IPv6 header's own next-header field.
            Self::ProtocolUnreachable => {
                Icmpv6Error::ParamProblem { code: icmpv6::CODE_NEXT_HEADER, pointer: 6 }
            }
            Self::ReassemblyTimeout => Icmpv6Error::TimeExceeded { code: 1 },
            Self::ParamProblem { code, pointer, .. } => Icmpv6Error::ParamProblem { code, pointer },
        }
    }
}

/// About an error no error is ever sent.
//= RFC 4443 section 2.4
fn is_icmp_error(protocol: u8, l4: &[u8]) -> bool {
    let Some(ty) = l4.first().copied() else { return false };
    match protocol {
        protocol::ICMP => !matches!(ty, icmpv4::ECHO_REPLY | icmpv4::ECHO_REQUEST | 13..=18),
        protocol::ICMPV6 => ty < 128 || ty == nd::REDIRECT,
        _ => false,
    }
}

//! ICMP errors about datagrams: RFC 1122 section 4.1.3.3, RFC 8085 section 5.2.

use linerate_tcp::{Instant, TcpError};
use linerate_wire::parse::Quoted;

use super::{DgramKind, DgramNotice, PmtuDiscovery, Socket};
use crate::drop_reason::DropReason;
use crate::icmp_error::Complaint;
use crate::limits::DGRAM_NOTICES_MAX;
use crate::sock::SockError;
use crate::stack::Stack;

impl Stack {
    /// An error about a datagram: it must be one that a socket of ours can have sent.
    //= RFC 8085 section 5.2
    pub(crate) fn dgram_complaint(
        &mut self,
        complaint: Complaint,
        quoted: &Quoted,
        kind: DgramKind,
        ports: (u16, u16),
        now: Instant,
    ) -> Option<DropReason> {
        let (local_port, remote_port) = ports;
        let to = (quoted.dst, remote_port);
        let sends_so = |s: &Socket| {
            let from = s.source.or(s.local).is_none_or(|l| l.is_unspecified() || l == quoted.src);
            from && s.remote.is_none_or(|(r, p)| r == to.0 && (kind != DgramKind::Udp || p == to.1))
        };
        let at_port = || self.dgrams.at_port(kind, local_port).filter(|(_, s)| sends_so(s));
        let found = at_port().find(|(_, s)| s.remote.is_some()).or_else(|| at_port().next());
        let Some((slot, _)) = found else { return Some(DropReason::IcmpUnsolicited) };
        let (error, mtu) = match complaint {
            Complaint::TooBig(told) => {
                if !self.learn_pmtu(quoted, told, now) {
                    return Some(DropReason::IcmpUnsolicited);
                }
                (SockError::MessageSize, Some(self.path_mtu(quoted.dst).mtu))
            }
            Complaint::Unreachable { error, .. } => (sock_error(error), None),
        };
        let socket = self.dgrams.sockets[slot as usize].as_mut()?;
        let asked_for = mtu.is_none()
            || matches!(socket.options.pmtu_discovery, PmtuDiscovery::Do | PmtuDiscovery::Probe);
        let mut told = false;
        //= RFC 1122 section 4.1.3.3
        if socket.remote.is_some() && asked_for {
            socket.error = Some(error);
            told = true;
        }
        if socket.options.notices && socket.notices.len() < DGRAM_NOTICES_MAX {
            socket.notices.push_back(DgramNotice { error, dst: to.0, dst_port: to.1, mtu });
            told = true;
        }
        if told {
            self.dgrams.wake(slot);
        }
        None
    }
}

fn sock_error(error: TcpError) -> SockError {
    match error {
        TcpError::Refused => SockError::Refused,
        TcpError::NetUnreachable => SockError::Unreachable,
        TcpError::ProtocolUnreachable => SockError::ProtocolUnreachable,
        TcpError::Prohibited => SockError::AccessDenied,
        TcpError::Protocol => SockError::Protocol,
        _ => SockError::HostUnreachable,
    }
}

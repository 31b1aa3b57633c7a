//! Calls with the errors that POSIX names, for whoever is used to sockets.

use linerate_tcp::{State, TcpError};

use crate::flow::{FlowId, ListenerId};
use crate::sock::SockError;
use crate::stack::Stack;

/// Which side of a connection to shut down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// No more will be sent (SHUT_WR).
    Write,
    /// What is received is not wanted (SHUT_RD): what is there is dropped. (Nothing is told to the peer.)
    Read,
    /// Both (SHUT_RDWR).
    Both,
}

impl SockError {
    /// POSIX's name of it.
    pub fn errno_name(self) -> &'static str {
        match self {
            Self::AddrInUse => "EADDRINUSE",
            Self::AddrNotAvailable | Self::NoPort => "EADDRNOTAVAIL",
            Self::Unreachable | Self::InvalidDestination => "ENETUNREACH",
            Self::Broadcast => "EACCES",
            Self::NoBuffer => "ENOBUFS",
            Self::BadSocket => "EBADF",
            Self::MessageSize => "EMSGSIZE",
            Self::InvalidMessage => "EINVAL",
            Self::AccessDenied => "EACCES",
            Self::Refused => "ECONNREFUSED",
            Self::HostUnreachable => "EHOSTUNREACH",
            Self::ProtocolUnreachable => "ENOPROTOOPT",
            Self::Protocol => "EPROTO",
            Self::NotConnected => "ENOTCONN",
            Self::WouldBlock => "EAGAIN",
            Self::BrokenPipe => "EPIPE",
            Self::Ended(e) => match e {
                TcpError::Reset => "ECONNRESET",
                TcpError::Refused => "ECONNREFUSED",
                TcpError::TimedOut => "ETIMEDOUT",
                TcpError::Aborted => "ECONNABORTED",
                TcpError::NetUnreachable => "ENETUNREACH",
                TcpError::HostUnreachable => "EHOSTUNREACH",
                TcpError::ProtocolUnreachable => "ENOPROTOOPT",
                TcpError::Prohibited => "EACCES",
                TcpError::Protocol => "EPROTO",
            },
        }
    }
}

impl Stack {
    /// What a call on this connection must say before anything else.
    fn usable(&self, id: FlowId) -> Result<State, SockError> {
        let tcb = self.tcb(id).filter(|t| !t.is_detached()).ok_or(SockError::BadSocket)?;
        Ok(tcb.state())
    }

    /// Writes as much of `data` as there is room for.
    ///
    /// # Errors
    /// [`SockError::NotConnected`] in the handshake, [`SockError::WouldBlock`] without room, why the connection ended, and
    /// [`SockError::BrokenPipe`] after shutdown or an end by agreement.
    pub fn send(&mut self, id: FlowId, data: &[u8]) -> Result<usize, SockError> {
        let state = self.usable(id)?;
        if let (State::Closed, Some(e)) = (state, self.error(id)) {
            return Err(SockError::Ended(e));
        }
        let can_write = self.tcb(id).is_some_and(|t| t.can_write());
        match (state, can_write) {
            (State::SynSent | State::SynReceived, false) if !self.is_shut(id) => Err(SockError::NotConnected),
            (_, false) => Err(SockError::BrokenPipe),
            (_, true) if data.is_empty() => Ok(0),
            (_, true) => match self.write(id, data) {
                0 => Err(SockError::WouldBlock),
                n => Ok(n),
            },
        }
    }

    fn is_shut(&self, id: FlowId) -> bool {
        self.tcb(id).is_some_and(|t| t.is_shut())
    }

    /// Reads into `buf`; 0 is the end of the stream.
    ///
    /// # Errors
    /// [`SockError::NotConnected`] in the handshake, [`SockError::WouldBlock`] while nothing is there, and, after all that
    /// had come was read, why the connection ended.
    pub fn receive(&mut self, id: FlowId, buf: &mut [u8]) -> Result<usize, SockError> {
        let state = self.usable(id)?;
        let mut n = 0;
        while n < buf.len() {
            let got = self.recv(id);
            let take = got.len().min(buf.len() - n);
            if take == 0 {
                break;
            }
            buf[n..n + take].copy_from_slice(&got[..take]);
            self.consume(id, take);
            n += take;
        }
        if n > 0 || buf.is_empty() {
            return Ok(n);
        }
        match (state, self.error(id)) {
            (State::Closed, Some(e)) => Err(SockError::Ended(e)),
            (State::SynSent | State::SynReceived, _) => Err(SockError::NotConnected),
            _ if self.at_eof(id) => Ok(0),
            _ => Err(SockError::WouldBlock),
        }
    }

    /// Shuts one side, or both, down.
    ///
    /// # Errors
    /// [`SockError::NotConnected`] if there is no connection to shut down (any more).
    pub fn shut(&mut self, id: FlowId, how: How) -> Result<(), SockError> {
        if matches!(self.usable(id)?, State::SynSent | State::Closed | State::TimeWait) {
            return Err(SockError::NotConnected);
        }
        if how != How::Write {
            let n = self.readable(id);
            self.consume(id, n);
        }
        if how != How::Read {
            self.shutdown(id);
        }
        Ok(())
    }

    /// The oldest connection of a listener.
    ///
    /// # Errors
    /// [`SockError::BadSocket`] if it is not (or no more) a listener, [`SockError::WouldBlock`] if nobody waits.
    pub fn try_accept(&mut self, id: ListenerId) -> Result<FlowId, SockError> {
        self.listeners.get(id).filter(|l| l.listening).ok_or(SockError::BadSocket)?;
        self.accept(id).ok_or(SockError::WouldBlock)
    }
}

//! What an application does with datagram sockets but sending: open, bind, connect, read, close.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_tcp::Instant;
use linerate_wire::FlowKey;

use super::{DgramId, DgramKind, DgramMeta, DgramNotice, DgramOptions, Socket};
use crate::limits::{DGRAM_PORT_TRIES, EPHEMERAL_PORT_FIRST};
use crate::sock::SockError;
use crate::stack::Stack;

impl Stack {
    /// A UDP socket at `port` of `addr`: one of our addresses or a group; the unspecified address is every address of its
    /// family, `None` of both. Port 0: any that is free, at random (RFC 6056).
    ///
    /// # Errors
    /// `AddrNotAvailable`; `AddrInUse`; `NoPort`.
    pub fn udp_bind(&mut self, addr: Option<IpAddr>, port: u16) -> Result<DgramId, SockError> {
        self.udp_bind_with(addr, port, DgramOptions::default())
    }

    /// The same with options from the start: [`DgramOptions::reuse`] counts here.
    ///
    /// # Errors
    /// As [`udp_bind`](Self::udp_bind).
    pub fn udp_bind_with(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        options: DgramOptions,
    ) -> Result<DgramId, SockError> {
        self.dgram_open(DgramKind::Udp, addr, port, options)
    }

    /// A socket for ICMP echo from `addr` (unspecified: from every address of its family). `ident`: the identifier, 0 for
    /// one at random. What is sent is a whole echo request, of which identifier and checksum are ours to fill in; what
    /// is received are the replies.
    ///
    /// # Errors
    /// As [`udp_bind`](Self::udp_bind).
    pub fn ping_open(&mut self, addr: IpAddr, ident: u16) -> Result<DgramId, SockError> {
        self.dgram_open(DgramKind::Ping, Some(addr), ident, DgramOptions::default())
    }

    /// A socket for packets of an IP protocol to `addr` (unspecified: to every address of its family). It gets a copy of
    /// each (IPv4: with the IP header, as everywhere), TCP excepted, whatever else becomes of it.
    ///
    /// # Errors
    /// `AddrNotAvailable`.
    pub fn raw_open(&mut self, addr: IpAddr, protocol: u8) -> Result<DgramId, SockError> {
        let kind = DgramKind::Raw { protocol };
        self.dgram_open(kind, Some(addr), 0, DgramOptions { reuse: true, ..DgramOptions::default() })
    }

    fn dgram_open(
        &mut self,
        kind: DgramKind,
        addr: Option<IpAddr>,
        port: u16,
        options: DgramOptions,
    ) -> Result<DgramId, SockError> {
        if let Some(a) = addr {
            let broadcast = matches!(a, IpAddr::V4(v4) if self.addrs.is_broadcast_v4(v4));
            if !(a.is_unspecified() || a.is_multicast() || broadcast || self.addrs.is_local(a)) {
                return Err(SockError::AddrNotAvailable);
            }
        }
        let raw = matches!(kind, DgramKind::Raw { .. });
        let auto = port == 0 && !raw;
        let port = if auto { self.dgram_port(kind, None).ok_or(SockError::NoPort)? } else { port };
        let taken = |s: &Socket| overlap(s.local, addr) && !(s.options.reuse && options.reuse);
        if self.dgrams.at_port(kind, port).any(|(_, s)| taken(s)) {
            return Err(SockError::AddrInUse);
        }
        let id = self.dgrams.insert(kind, addr, port, options);
        if let Some(socket) = self.dgrams.get_mut(id) {
            socket.auto_port = auto;
        }
        Ok(id)
    }

    /// RFC 6056 algorithm 1; towards a known peer one of the ports whose flow hashes to this core.
    //= RFC 8085 section 5.1
    fn dgram_port(&mut self, kind: DgramKind, flow: Option<FlowKey>) -> Option<u16> {
        let range = u32::from(u16::MAX - EPHEMERAL_PORT_FIRST) + 1;
        (0..DGRAM_PORT_TRIES).find_map(|_| {
            let port = EPHEMERAL_PORT_FIRST + (self.ip_ids.random() % range) as u16;
            let foreign = flow.is_some_and(|key| {
                let key = FlowKey { local_port: port, ..key };
                self.owners.as_ref().is_some_and(|o| o.other(&key).is_some())
            });
            (!foreign && self.dgrams.at_port(kind, port).next().is_none()).then_some(port)
        })
    }

    /// From here on the socket sends to this peer by default, hears from nobody else, and of errors. Port: of UDP.
    ///
    /// # Errors
    /// `BadSocket`; `InvalidDestination`; `AccessDenied` for a broadcast address without the option; `Unreachable`;
    /// `AddrNotAvailable`; `NoPort`.
    pub fn dgram_connect(&mut self, id: DgramId, remote: IpAddr, port: u16) -> Result<(), SockError> {
        let socket = self.dgrams.get(id).ok_or(SockError::BadSocket)?;
        let (kind, auto_port, old_port) = (socket.kind, socket.auto_port, socket.port);
        let source = self.dgram_source(socket, remote, port)?;
        let key = FlowKey { local: source, remote, local_port: old_port, remote_port: port };
        let foreign = self.owners.as_ref().is_some_and(|o| o.other(&key).is_some());
        if kind == DgramKind::Udp && auto_port && foreign {
            let new = self.dgram_port(kind, Some(key)).ok_or(SockError::NoPort)?;
            self.dgrams.set_connected(id.slot, None);
            self.dgrams.unlist(kind, old_port, id.slot);
            self.dgrams.ports.entry((kind, new)).or_default().push(id.slot);
            if let Some(socket) = self.dgrams.get_mut(id) {
                socket.port = new;
            }
        }
        self.dgrams.set_connected(id.slot, Some((source, remote, port)));
        Ok(())
    }

    /// Undoes [`dgram_connect`](Self::dgram_connect).
    pub fn dgram_disconnect(&mut self, id: DgramId) {
        if self.dgrams.get(id).is_some() {
            self.dgrams.set_connected(id.slot, None);
        }
    }

    /// The oldest datagram that waits, where it was received, and where it came from.
    pub fn dgram_front(&self, id: DgramId) -> Option<(DgramMeta, &[u8])> {
        let d = self.dgrams.get(id)?.queue.front()?;
        Some((d.meta, d.payload.bytes(&self.pool)))
    }

    /// The oldest datagram was read.
    pub fn dgram_pop(&mut self, id: DgramId) {
        let Some(socket) = self.dgrams.get_mut(id) else { return };
        if let Some(d) = socket.queue.pop_front() {
            socket.queued -= d.charged;
            d.payload.free(&mut self.pool);
        }
    }

    /// Reads the oldest datagram: what fits of it is copied, the rest is lost. Returns its whole length.
    ///
    /// # Errors
    /// An ICMP error that came for the socket, once; `WouldBlock`; `BadSocket`.
    pub fn dgram_recv(&mut self, id: DgramId, to: &mut [u8]) -> Result<(usize, DgramMeta), SockError> {
        self.dgram_check(id)?;
        let (meta, bytes) = self.dgram_front(id).ok_or(SockError::WouldBlock)?;
        let n = bytes.len().min(to.len());
        to[..n].copy_from_slice(&bytes[..n]);
        let len = bytes.len();
        self.dgram_pop(id);
        Ok((len, meta))
    }

    /// The error that waits for the socket's next call, if any.
    pub(super) fn dgram_check(&mut self, id: DgramId) -> Result<(), SockError> {
        let socket = self.dgrams.get_mut(id).ok_or(SockError::BadSocket)?;
        socket.error.take().map_or(Ok(()), Err)
    }

    /// The ICMP error that came for the socket (POSIX's SO_ERROR); told once.
    pub fn dgram_take_error(&mut self, id: DgramId) -> Option<SockError> {
        self.dgrams.get_mut(id)?.error.take()
    }

    /// The oldest ICMP error about a datagram of the socket, with its destination ([`DgramOptions::notices`]).
    pub fn dgram_next_notice(&mut self, id: DgramId) -> Option<DgramNotice> {
        self.dgrams.get_mut(id)?.notices.pop_front()
    }

    /// The socket's options, to read or to change.
    pub fn dgram_options(&mut self, id: DgramId) -> Option<&mut DgramOptions> {
        self.dgrams.get_mut(id).map(|s| &mut s.options)
    }

    /// The address and port (identifier, of a ping socket) that the socket is bound to; the address that it sends from
    /// once it is connected.
    pub fn dgram_local(&self, id: DgramId) -> Option<(Option<IpAddr>, u16)> {
        self.dgrams.get(id).map(|s| (s.source.or(s.local), s.port))
    }

    /// The peer, if the socket is connected.
    pub fn dgram_remote(&self, id: DgramId) -> Option<(IpAddr, u16)> {
        self.dgrams.get(id)?.remote
    }

    /// Datagrams that found no room in the socket's queue.
    pub fn dgram_drops(&self, id: DgramId) -> u64 {
        self.dgrams.get(id).map_or(0, |s| s.drops)
    }

    /// The next socket with something to read, or an error.
    pub fn next_dgram_ready(&mut self) -> Option<DgramId> {
        loop {
            let id = self.dgrams.ready.pop_front()?;
            if let Some(socket) = self.dgrams.get_mut(id) {
                socket.ready = false;
                return Some(id);
            }
        }
    }

    /// Joins a group for the socket's sake; left when the socket closes.
    ///
    /// # Errors
    /// `BadSocket`; `AddrInUse` if it has joined it already; what [`join_group`](Self::join_group) says.
    pub fn dgram_join(&mut self, id: DgramId, group: IpAddr, now: Instant) -> Result<(), SockError> {
        let socket = self.dgrams.get(id).ok_or(SockError::BadSocket)?;
        if socket.groups.contains(&group) {
            return Err(SockError::AddrInUse);
        }
        self.join_group(group, now)?;
        if let Some(socket) = self.dgrams.get_mut(id) {
            socket.groups.push(group);
        }
        Ok(())
    }

    /// Leaves a group. `false`: the socket had not joined it.
    pub fn dgram_leave(&mut self, id: DgramId, group: IpAddr, now: Instant) -> bool {
        let Some(socket) = self.dgrams.get_mut(id) else { return false };
        let before = socket.groups.len();
        socket.groups.retain(|g| *g != group);
        if socket.groups.len() == before {
            return false;
        }
        self.leave_group(group, now)
    }

    /// Closes a socket; what was not read is gone.
    pub fn dgram_close(&mut self, id: DgramId, now: Instant) {
        let Some(socket) = self.dgrams.remove(id) else { return };
        for d in socket.queue {
            d.payload.free(&mut self.pool);
        }
        for group in socket.groups {
            self.leave_group(group, now);
        }
    }

    /// Takes home the frames of every datagram that waits to be read.
    pub(crate) fn drain_dgrams(&mut self) {
        for socket in self.dgrams.sockets.iter_mut().flatten() {
            socket.queued = 0;
            for d in socket.queue.drain(..) {
                d.payload.free(&mut self.pool);
            }
        }
    }
}

/// Could a datagram be for both?
fn overlap(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    match (a, b) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => a.is_ipv4() == b.is_ipv4() && (a == b || ANY.contains(&a) || ANY.contains(&b)),
    }
}

//! What an application on this core can do with connections and listeners.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use linerate_tcp::time_wait::TimeWait;
use linerate_tcp::{Events, Instant, Segment, Tcb, TcpConfig, TcpError};
use linerate_wire::FlowKey;

use crate::flow::listeners::Place;
use crate::flow::lookup::{Conn, Found};
use crate::flow::{FlowId, ListenerId};
use crate::limits::{EPHEMERAL_PORT_FIRST, SPLICE_FREE_FRAMES};
use crate::stack::Stack;

/// Why a call was refused; in brackets what POSIX calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SockError {
    /// Somebody listens there (EADDRINUSE).
    AddrInUse,
    /// Not an address of ours (EADDRNOTAVAIL).
    AddrNotAvailable,
    /// No route there (ENETUNREACH).
    Unreachable,
    /// Multicast or unspecified destination (ENETUNREACH; RFC 9293 MUST-46).
    InvalidDestination,
    /// Broadcast destination (EACCES; RFC 9293 MUST-46).
    Broadcast,
    /// No free port (EADDRNOTAVAIL).
    NoPort,
    /// Too many groups joined (ENOBUFS).
    NoBuffer,
    /// Not now: nothing to read, no frame or no room to send (EAGAIN).
    WouldBlock,
    /// Longer than IP, or a path that must not be fragmented on, takes (EMSGSIZE).
    MessageSize,
    /// The socket has no peer (ENOTCONN, EDESTADDRREQ).
    NotConnected,
    /// No such socket, or it is closed (EBADF).
    BadSocket,
    /// Not a message that this socket sends (EINVAL).
    InvalidMessage,
    /// A broadcast address without leave; or a filter on the way forbids it (EACCES).
    AccessDenied,
    /// Nobody listens there (ECONNREFUSED).
    Refused,
    /// The host can't be reached (EHOSTUNREACH).
    HostUnreachable,
    /// The host does not speak that protocol (ENOPROTOOPT).
    ProtocolUnreachable,
    /// A header of ours made no sense to somebody (EPROTO).
    Protocol,
    /// Written after shutdown, or after the connection's end was told (EPIPE).
    BrokenPipe,
    /// Why the connection ended.
    Ended(TcpError),
}

impl core::fmt::Display for SockError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::AddrInUse => "address in use: somebody listens there",
            Self::AddrNotAvailable => "not an address of this stack",
            Self::Unreachable => "no route to that address",
            Self::InvalidDestination => "TCP can't connect to a multicast or unspecified address",
            Self::Broadcast => "TCP can't connect to a broadcast address",
            Self::NoPort => "no free local port towards that address",
            Self::NoBuffer => "too many groups",
            Self::WouldBlock => "not now",
            Self::MessageSize => "message too long",
            Self::NotConnected => "the socket has no peer",
            Self::BadSocket => "no such socket",
            Self::InvalidMessage => "not a message that this socket sends",
            Self::AccessDenied => "not allowed",
            Self::Refused => "nobody listens there",
            Self::HostUnreachable => "host unreachable",
            Self::ProtocolUnreachable => "protocol unreachable",
            Self::Protocol => "protocol error",
            Self::BrokenPipe => "nobody can be written to any more",
            Self::Ended(TcpError::Reset) => "reset by the peer",
            Self::Ended(TcpError::Refused) => "refused by the peer",
            Self::Ended(TcpError::TimedOut) => "timed out",
            Self::Ended(_) => "the connection was ended",
        })
    }
}

impl core::error::Error for SockError {}

pub mod calls;

impl Stack {
    /// Passive OPEN on `port` of `addr`, or of all our addresses. `backlog`: handshakes under way and connections
    /// not accepted yet, at most.
    ///
    /// # Errors
    /// [`SockError::AddrInUse`], [`SockError::AddrNotAvailable`].
    pub fn listen(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        backlog: usize,
    ) -> Result<ListenerId, SockError> {
        self.listen_with(addr, port, backlog, None)
    }

    /// The same with settings of its own, which its connections take at their birth.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_with(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        backlog: usize,
        cfg: Option<Arc<TcpConfig>>,
    ) -> Result<ListenerId, SockError> {
        if addr.is_some_and(|a| !self.addrs.is_local(a)) {
            return Err(SockError::AddrNotAvailable);
        }
        let place = Place { addr, port, shared: false, cfg };
        let id = self.listeners.add(place).ok_or(SockError::AddrInUse)?;
        self.listeners.listen(id, backlog);
        Ok(id)
    }

    /// Takes a port without listening on it yet (SYNs are refused): for [`listen_on`](Self::listen_on), or to connect from
    /// it. `shared`: others that say so, too, may listen on the same address and port, and each flow goes to one of them,
    /// always the same (SO_REUSEPORT).
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn bind(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        shared: bool,
        cfg: Option<Arc<TcpConfig>>,
    ) -> Result<ListenerId, SockError> {
        if addr.is_some_and(|a| !self.addrs.is_local(a)) {
            return Err(SockError::AddrNotAvailable);
        }
        self.listeners.add(Place { addr, port, shared, cfg }).ok_or(SockError::AddrInUse)
    }

    /// Listens on a port that was bound, or changes a listener's backlog.
    ///
    /// # Errors
    /// [`SockError::BadSocket`].
    pub fn listen_on(&mut self, id: ListenerId, backlog: usize) -> Result<(), SockError> {
        self.listeners.get(id).ok_or(SockError::BadSocket)?;
        self.listeners.listen(id, backlog);
        Ok(())
    }

    /// Stops listening. Connections that were not accepted are aborted.
    pub fn close_listener(&mut self, id: ListenerId, now: Instant) {
        let Some(listener) = self.listeners.remove(id) else { return };
        for i in self.flows.half_opens.of_listener(id.slot) {
            self.flows.remove_half_open(i);
        }
        for flow in listener.queue {
            self.abort(flow, now);
        }
    }

    /// Stops listening everywhere.
    pub fn close_listeners(&mut self, now: Instant) {
        for id in self.listeners.ids() {
            self.close_listener(id, now);
        }
    }

    /// A listener that has connections to accept, each told once a connection.
    pub fn next_accepting(&mut self) -> Option<ListenerId> {
        while let Some(id) = self.accepting.pop_front() {
            // It may be gone, or empty by now because somebody accepted without being told.
            let Some(l) = self.listeners.get_mut(id) else { continue };
            l.told -= 1;
            if !l.queue.is_empty() {
                return Some(id);
            }
        }
        None
    }

    /// The oldest complete connection of a listener.
    pub fn accept(&mut self, id: ListenerId) -> Option<FlowId> {
        let flow = self.listeners.get_mut(id)?.queue.pop_front()?;
        if let Some(conn) = self.flows.get_mut(flow) {
            // What happened before it was accepted is told now.
            conn.ready = conn.tcb.has_events();
            if conn.ready {
                self.ready.push_back(flow);
            }
        }
        Some(flow)
    }

    /// Active OPEN; [`Events::CONNECTED`] or [`Events::CLOSED`] tells how it ended.
    ///
    /// # Errors
    /// All of [`SockError`] but `AddrInUse`.
    pub fn connect(&mut self, remote: IpAddr, port: u16, now: Instant) -> Result<FlowId, SockError> {
        self.connect_from((None, 0), (remote, port), None, now)
    }

    /// The same from an address and port of ours (`None`, 0: whichever fits), with settings of its own.
    ///
    /// # Errors
    /// All of [`SockError`]: `AddrInUse` if there is a connection between these two already.
    pub fn connect_from(
        &mut self,
        (local, local_port): (Option<IpAddr>, u16),
        (remote, port): (IpAddr, u16),
        cfg: Option<Arc<TcpConfig>>,
        now: Instant,
    ) -> Result<FlowId, SockError> {
        let key = self.choose_key((local, local_port), (remote, port))?;
        let opening = self.opening(&key, now);
        let tcb = Tcb::connect(cfg.as_deref().unwrap_or(&self.tcp_cfg), &opening, now);
        Ok(self.begin(key, tcb, cfg))
    }

    /// The same with Fast Open (RFC 7413): `data` goes with the SYN, if the server gave us a cookie before; returns how
    /// much of it that was. What is left is to be written when [`Events::CONNECTED`] comes. Data that the server did not
    /// take with the SYN is sent again by itself; the server's application may get it twice (RFC 7413 section 6.1).
    ///
    /// # Errors
    /// As [`connect_from`](Self::connect_from).
    pub fn connect_fast_open(
        &mut self,
        from: (Option<IpAddr>, u16),
        to: (IpAddr, u16),
        data: &[u8],
        cfg: Option<Arc<TcpConfig>>,
        now: Instant,
    ) -> Result<(FlowId, usize), SockError> {
        let Some(known) = self.fast_open_for(to.0, now) else {
            return Ok((self.connect_from(from, to, cfg, now)?, 0));
        };
        let key = self.choose_key(from, to)?;
        let opening = self.opening(&key, now);
        let own = cfg.as_deref().unwrap_or(&self.tcp_cfg);
        let (tcb, taken) = Tcb::connect_with_data(own, &opening, known, data, &mut self.pool, now);
        Ok((self.begin(key, tcb, cfg), taken))
    }

    /// Both ends of a connection to be.
    fn choose_key(
        &mut self,
        (local, local_port): (Option<IpAddr>, u16),
        (remote, port): (IpAddr, u16),
    ) -> Result<FlowKey, SockError> {
        //= RFC 9293 section 3.9.1.1, MUST-43
        if local.is_some_and(|a| !self.addrs.is_local(a) || a.is_ipv4() != remote.is_ipv4()) {
            return Err(SockError::AddrNotAvailable);
        }
        //= RFC 9293 section 3.9.1.1, MUST-46
        let broadcast = matches!(remote, IpAddr::V4(a) if self.addrs.is_broadcast_v4(a) || a.is_broadcast());
        if broadcast {
            return Err(SockError::Broadcast);
        }
        if remote.is_multicast() || remote.is_unspecified() || port == 0 {
            return Err(SockError::InvalidDestination);
        }
        //= RFC 9293 section 3.9.1.1, MUST-44, MUST-45
        let route = self.routes.lookup(remote).ok_or(SockError::Unreachable)?;
        let local = local
            .or(route.prefsrc)
            .or_else(|| self.addrs.source_for(remote))
            .ok_or(SockError::AddrNotAvailable)?;
        let mut key = FlowKey { local, remote, local_port, remote_port: port };
        if local_port == 0 {
            key.local_port = self.ephemeral_port(&key).ok_or(SockError::NoPort)?;
        } else if self.flows.find(&key).is_some() {
            return Err(SockError::AddrInUse);
        }
        Ok(key)
    }

    fn begin(&mut self, key: FlowKey, tcb: Tcb, cfg: Option<Arc<TcpConfig>>) -> FlowId {
        self.counters.tcp_connects += 1;
        let id = self.flows.insert(key, tcb, cfg);
        self.mark_dirty(id.slot);
        id
    }

    /// RFC 6056 algorithm 3: an offset that is secret for each destination, and a counter; with several cores, one
    /// of the ports whose flow hashes to this core.
    //= RFC 6056 section 3.3.3
    fn ephemeral_port(&mut self, key: &FlowKey) -> Option<u16> {
        let range = u16::MAX as u32 - EPHEMERAL_PORT_FIRST as u32 + 1;
        let offset =
            key.hash_keyed(&linerate_wire::flow_key::HashKey([self.secret[3], self.secret[2]])) as u32;
        for _ in 0..range {
            let n = offset.wrapping_add(self.next_port) % range;
            self.next_port = self.next_port.wrapping_add(1);
            let candidate = FlowKey { local_port: EPHEMERAL_PORT_FIRST + n as u16, ..*key };
            let foreign = self.owners.as_ref().is_some_and(|o| o.other(&candidate).is_some());
            let listening = self.listeners.is_bound(key.local, candidate.local_port);
            if !foreign && !listening && self.flows.find(&candidate).is_none() {
                return Some(candidate.local_port);
            }
        }
        None
    }

    /// The next connection with events, and the events. A connection that is gone by now is passed over.
    pub fn next_ready(&mut self) -> Option<(FlowId, Events)> {
        loop {
            let id = self.ready.pop_front()?;
            let Some(conn) = self.flows.get_mut(id) else { continue };
            conn.ready = false;
            let events = conn.tcb.take_events();
            // What was closed meanwhile is nobody's: there is nobody to tell.
            if !events.is_empty() && !conn.tcb.is_detached() {
                return Some((id, events));
            }
        }
    }

    pub(crate) fn tcb(&self, id: FlowId) -> Option<&Tcb> {
        self.flows.get(id).map(|c| &c.tcb)
    }

    /// Both ends of a connection; `None` if it is gone.
    pub fn flow_key(&self, id: FlowId) -> Option<&FlowKey> {
        self.flows.get(id).map(|c| &c.key)
    }

    /// The oldest unread bytes, in the frame they came in. Empty: none, now or ever ([`at_eof`](Self::at_eof)).
    pub fn recv(&self, id: FlowId) -> &[u8] {
        self.tcb(id).map_or(&[], |t| t.recv(&self.pool))
    }

    /// Copies the oldest unread bytes, as many as `to` has room for; they stay. Returns how many.
    pub fn peek(&self, id: FlowId, to: &mut [u8]) -> usize {
        self.tcb(id).map_or(0, |t| t.peek(&self.pool, to))
    }

    /// The peer has closed its side, and everything before that has come (read or not).
    pub fn has_fin(&self, id: FlowId) -> bool {
        self.tcb(id).is_some_and(Tcb::fin_received)
    }

    /// Bytes that can be read.
    pub fn readable(&self, id: FlowId) -> usize {
        self.tcb(id).map_or(0, Tcb::readable)
    }

    /// No more bytes will come: the peer has closed its side, or the connection is gone.
    pub fn at_eof(&self, id: FlowId) -> bool {
        self.tcb(id).is_none_or(Tcb::at_eof)
    }

    /// Why a connection ended, if not by agreement.
    pub fn error(&self, id: FlowId) -> Option<TcpError> {
        self.tcb(id).and_then(Tcb::error)
    }

    /// What the network last complained of ([`Events::SOFT_ERROR`]); the connection goes on. Told once.
    pub fn take_soft_error(&mut self, id: FlowId) -> Option<TcpError> {
        self.flows.get_mut(id)?.tcb.take_soft_error()
    }

    /// The state, `None` if the connection is gone.
    pub fn state(&self, id: FlowId) -> Option<linerate_tcp::State> {
        self.tcb(id).map(Tcb::state)
    }

    /// A snapshot of a connection.
    pub fn info(&self, id: FlowId) -> Option<linerate_tcp::info::TcpInfo> {
        self.tcb(id).map(Tcb::info)
    }

    /// The counts of a connection, if its settings asked for them when it began.
    pub fn stats(&self, id: FlowId, now: Instant) -> Option<linerate_tcp::stats::Stats> {
        self.tcb(id)?.stats(now)
    }

    /// Complete connections of a listener that wait to be accepted.
    pub fn accept_queue_len(&self, id: ListenerId) -> usize {
        self.listeners.get(id).map_or(0, |l| l.queue.len())
    }

    /// TSval that a segment of this connection would carry now.
    pub fn tsval(&self, id: FlowId, now: Instant) -> Option<u32> {
        self.tcb(id).map(|t| t.tsval(now))
    }

    /// Room for bytes to send.
    pub fn room(&self, id: FlowId) -> usize {
        self.tcb(id).map_or(0, |t| t.room(self.config(id)))
    }

    /// Bytes written and not acknowledged yet.
    pub fn unacked(&self, id: FlowId) -> usize {
        self.tcb(id).map_or(0, Tcb::unacked)
    }

    /// Changes a connection and has its output run in this turn.
    fn change<R>(
        &mut self,
        id: FlowId,
        f: impl FnOnce(&mut Conn, &mut linerate_frame::Pool) -> R,
    ) -> Option<R> {
        let conn = self.flows.get_mut(id)?;
        let r = f(conn, &mut self.pool);
        self.mark_dirty(id.slot);
        Some(r)
    }

    /// The `n` oldest bytes were read.
    pub fn consume(&mut self, id: FlowId, n: usize) {
        self.change(id, |c, pool| c.tcb.consume(pool, n));
    }

    /// Urgent data: the peer hears where it ends (RFC 9293 section 3.8.5; new applications should not, SHLD-13).
    pub fn write_urgent(&mut self, id: FlowId, data: &[u8]) -> usize {
        self.write_as(id, data, Tcb::write_urgent)
    }

    /// Bytes from the next one to read to the end of the peer's urgent data; `None`: there is none.
    pub fn urgent(&self, id: FlowId) -> Option<usize> {
        self.tcb(id)?.urgent()
    }

    /// Copies what fits of `data` into frames to send. After less than all of it [`Events::WRITABLE`] tells of room.
    pub fn write(&mut self, id: FlowId, data: &[u8]) -> usize {
        self.write_as(id, data, Tcb::write)
    }

    fn write_as(
        &mut self,
        id: FlowId,
        data: &[u8],
        write: impl FnOnce(&mut Tcb, &mut linerate_frame::Pool, &TcpConfig, &[u8]) -> usize,
    ) -> usize {
        let spare_frames = self.pool.free_len().saturating_sub(self.send_reserve_frames);
        let Some(conn) = self.flows.get_mut(id) else { return 0 };
        let most = spare_frames.saturating_mul(self.pool.payload_bytes().min(conn.tcb.smss()));
        let cfg = conn.cfg.as_deref().unwrap_or(&self.tcp_cfg);
        let n = write(&mut conn.tcb, &mut self.pool, cfg, &data[..data.len().min(most)]);
        if n < data.len() {
            conn.tcb.want_room();
        }
        self.mark_dirty(id.slot);
        n
    }

    /// Moves received payload of `from` into the send queue of `to` (they may be the same), whole frames, without a
    /// copy where a frame fits a segment. Returns the bytes moved: fewer than could be read when `to` is full, and
    /// then [`Events::WRITABLE`] tells of room.
    pub fn splice(&mut self, from: FlowId, to: FlowId) -> usize {
        let mut moved = 0;
        while let Some(room) = self.tcb(to).map(|t| t.room(self.config(to))) {
            if self.pool.free_len() < SPLICE_FREE_FRAMES.min(self.short_of_frames_below) {
                break;
            }
            let Some(conn) = self.flows.get_mut(from) else { break };
            let Some(chunk) = conn.tcb.take_chunk(room) else { break };
            let len = chunk.len();
            let Some(conn) = self.flows.get_mut(to) else { unreachable!("had room just now") };
            conn.tcb.give_chunk(&mut self.pool, chunk);
            moved += len;
        }
        if self.readable(from) > 0 {
            self.change(to, |c, _| c.tcb.want_room());
        }
        if moved > 0 {
            self.mark_dirty(from.slot);
            self.mark_dirty(to.slot);
        }
        moved
    }

    /// No more will be written; what is queued goes out, then FIN. Reading goes on.
    pub fn shutdown(&mut self, id: FlowId) {
        self.change(id, |c, _| c.tcb.shutdown());
    }

    /// The settings of a connection.
    pub fn config(&self, id: FlowId) -> &TcpConfig {
        self.flows.get(id).and_then(|c| c.cfg.as_deref()).unwrap_or(&self.tcp_cfg)
    }

    /// Changes the settings of one connection, which has settings of its own from then on.
    pub fn configure(&mut self, id: FlowId, change: impl FnOnce(&mut TcpConfig)) {
        let Some(conn) = self.flows.get_mut(id) else { return };
        let cfg = conn.cfg.get_or_insert_with(|| self.tcp_cfg.clone());
        change(Arc::make_mut(cfg));
        conn.tcb.on_config(cfg);
        self.mark_dirty(id.slot);
        // A time long past only means that spare memory goes back at once.
        self.settle(id.slot, Instant(0));
    }

    /// The settings of a listener, which its coming connections take.
    pub fn configure_listener(&mut self, id: ListenerId, change: impl FnOnce(&mut TcpConfig)) {
        let Some(listener) = self.listeners.get_mut(id) else { return };
        change(Arc::make_mut(listener.cfg.get_or_insert_with(|| self.tcp_cfg.clone())));
    }

    /// The settings of connections and listeners to come that have none of their own.
    pub fn set_tcp_config(&mut self, cfg: TcpConfig) {
        self.tcp_cfg = Arc::new(cfg);
    }

    /// Quick ACKs for as many segments from now on; a pending ACK leaves, too. 0: delayed ACKs.
    pub fn set_quickack(&mut self, id: FlowId, segs: u8) {
        self.change(id, |c, _| c.tcb.set_quickack(segs));
    }

    /// Changes the congestion control of a connection by the name that Linux has for it: `cubic`, `reno` or `bbr`. It
    /// goes on from the present window. `false`: no such algorithm.
    pub fn set_congestion_control(&mut self, id: FlowId, name: &str) -> bool {
        let Some(kind) = linerate_tcp::cc::CcKind::from_name(name) else { return false };
        self.configure(id, |c| c.cc = kind);
        true
    }

    /// Turns Nagle's algorithm off or on.
    //= RFC 9293 section 3.7.4, MUST-17
    pub fn set_nodelay(&mut self, id: FlowId, nodelay: bool) {
        self.change(id, |c, _| c.tcb.set_nodelay(nodelay));
    }

    /// Lets go of a connection; it ends by itself (with RST if bytes were left unread).
    pub fn close(&mut self, id: FlowId, now: Instant) {
        self.end(id, now, |tcb, env| tcb.close(env));
    }

    /// Drops a connection at once, with RST.
    pub fn abort(&mut self, id: FlowId, now: Instant) {
        self.end(id, now, |tcb, env| tcb.abort(env));
    }

    /// Drops every connection, with RST: the stack is about to stop.
    pub fn abort_all(&mut self, now: Instant) {
        let ids: Vec<FlowId> = (0u32..)
            .zip(self.flows.conns.iter())
            .filter_map(|(slot, c)| c.map(|c| FlowId { slot, generation: c.generation }))
            .collect();
        for id in ids {
            self.abort(id, now);
        }
    }

    /// Takes home every frame that still waits somewhere in the stack: for a neighbour, or to be sent. After
    /// [`abort_all`](Self::abort_all), before the port is closed.
    pub fn drain(&mut self) {
        self.drain_dgrams();
        while let Some(frame) = self.neigh.drain() {
            self.pool.free(frame);
        }
        while let Some(tx) = self.batch.pop() {
            let known = self.pool.complete(tx.into_index());
            debug_assert!(known, "what is in the batch is being sent");
        }
    }

    fn end(
        &mut self,
        id: FlowId,
        now: Instant,
        f: impl FnOnce(&mut Tcb, &mut linerate_tcp::Env) -> Option<Segment>,
    ) {
        if self.flows.get(id).is_none() {
            return;
        }
        let Some((tcb, mut env, mut egress)) = self.conn_env(id.slot, now) else { return };
        if let Some(rst) = f(tcb, &mut env) {
            egress.reply(env.pool, &rst);
        }
        self.mark_dirty(id.slot);
        self.settle(id.slot, now);
    }

    pub(crate) fn find(&self, key: &FlowKey) -> Option<Found> {
        self.flows.find(key)
    }

    pub(crate) fn waiting(&self, index: u32) -> &TimeWait {
        self.flows.waiting(index)
    }
}

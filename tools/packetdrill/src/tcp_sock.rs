//! A TCP socket: what BSD's calls mean on the stack's connections and listeners.

use std::net::IpAddr;
use std::sync::Arc;

use linerate_net::{FlowId, ListenerId, State, TcpConfig};

use crate::errno::{Errno, Res};
use crate::options::Options;
use crate::sockaddr::SockAddr;
use crate::world::{Kind, World};
use crate::zerocopy::ZeroCopy;

/// Where a socket is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Neither connected nor listening (CLOSE).
    Idle,
    Listening(Vec<ListenerId>),
    /// connect was called and has not said yet how it ended.
    Connecting(FlowId),
    Connected(FlowId),
}

/// See the module.
pub(crate) struct TcpSock {
    pub v6: bool,
    pub cfg: TcpConfig,
    pub options: Options,
    /// Address (none: any) and port.
    pub bound: Option<(Option<IpAddr>, u16)>,
    pub phase: Phase,
    pub shut_rd: bool,
    pub shut_wr: bool,
    /// The connection's end was told by a call: no call tells it again.
    pub error_told: bool,
    /// Sends that want to hear of their end.
    pub zerocopy: ZeroCopy,
    /// An error that is none of the connection's (a connect that could not begin).
    pub own_error: Option<Errno>,
}

impl TcpSock {
    pub fn new(v6: bool, cfg: TcpConfig, options: Options) -> Self {
        Self {
            v6,
            cfg,
            options,
            bound: None,
            phase: Phase::Idle,
            shut_rd: false,
            shut_wr: false,
            error_told: false,
            zerocopy: ZeroCopy::default(),
            own_error: None,
        }
    }

    pub fn flow(&self) -> Option<FlowId> {
        match self.phase {
            Phase::Connecting(id) | Phase::Connected(id) => Some(id),
            _ => None,
        }
    }
}

/// What a call on a socket is to do with bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MsgFlags(pub i32);

impl MsgFlags {
    pub fn has(self, flag: i32) -> bool {
        self.0 & flag != 0
    }
}

impl World {
    pub fn tcp(&mut self, fd: i32) -> Res<&mut TcpSock> {
        match &mut self.file(fd)?.kind {
            Kind::Tcp(sock) => Ok(sock),
            Kind::Udp(_) => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    /// The state in RFC 9293's words; `None` is CLOSED with no connection at all.
    pub fn tcp_state(&mut self, fd: i32) -> Res<Option<State>> {
        let flow = self.tcp(fd)?.flow();
        Ok(flow.and_then(|id| self.stack.state(id)))
    }

    /// The error that waits to be told (sk_err), without telling it.
    pub fn pending_error(&mut self, fd: i32) -> Res<Option<Errno>> {
        let sock = self.tcp(fd)?;
        if sock.own_error.is_some() {
            return Ok(sock.own_error);
        }
        let (flow, told) = (sock.flow(), sock.error_told);
        let Some(id) = flow.filter(|_| !told) else { return Ok(None) };
        let Some(error) = self.stack.error(id) else { return Ok(None) };
        // Linux's tcp_reset: the peer had closed its side already.
        let after_fin = self.stack.info(id).is_some_and(|i| i.fin_received);
        Ok(Some(match error {
            linerate_net::TcpError::Reset if after_fin => Errno::EPIPE,
            e => e.into(),
        }))
    }

    /// Tells the error that waits, once.
    pub fn take_error(&mut self, fd: i32) -> Res<Option<Errno>> {
        let error = self.pending_error(fd)?;
        let sock = self.tcp(fd)?;
        sock.own_error = None;
        sock.error_told |= error.is_some();
        Ok(error)
    }

    /// bind(2).
    pub fn tcp_bind(&mut self, fd: i32, addr: SockAddr) -> Res<()> {
        let sock = self.tcp(fd)?;
        let (v6, v6only) = (sock.v6, sock.options.v6only);
        let (ip, port) = match addr {
            SockAddr::Inet(ip, port) => (ip, port),
            SockAddr::Unspec if v6 => return Err(Errno::EINVAL),
            SockAddr::Unspec => return Err(Errno::EAFNOSUPPORT),
        };
        if sock.bound.is_some() || sock.phase != Phase::Idle {
            return Err(Errno::EINVAL);
        }
        if v6 && v6only && ip.is_ipv4() {
            return Err(Errno::EINVAL);
        }
        let ip = (!ip.is_unspecified()).then_some(ip);
        if ip.is_some_and(|ip| !self.stack.addrs().any(|a| a.addr == ip)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let port = if port == 0 { self.free_port()? } else { port };
        if self.conflicts(fd, ip, port, false)? {
            return Err(Errno::EADDRINUSE);
        }
        self.tcp(fd)?.bound = Some((ip, port));
        Ok(())
    }

    fn free_port(&mut self) -> Res<u16> {
        let taken = |w: &Self, port| {
            w.files.values().any(|f| matches!(&f.kind, Kind::Tcp(s) if s.bound.is_some_and(|b| b.1 == port)))
        };
        // Linux's default ip_local_port_range.
        (32_768..61_000).find(|port| !taken(self, *port)).ok_or(Errno::EADDRINUSE)
    }

    /// Does another socket hold this address and port? Two may share it if both say SO_REUSEADDR and neither
    /// listens, or if both say SO_REUSEPORT.
    fn conflicts(&mut self, fd: i32, ip: Option<IpAddr>, port: u16, to_listen: bool) -> Res<bool> {
        let me = self.tcp(fd)?;
        let (reuse_addr, reuse_port) = (me.options.reuse_addr, me.options.reuse_port);
        Ok(self.files.iter().any(|(other, file)| {
            let Kind::Tcp(s) = &file.kind else { return false };
            let Some((other_ip, other_port)) = s.bound.filter(|_| *other != fd) else { return false };
            let overlap = ip.is_none() || other_ip.is_none() || ip == other_ip;
            let listens = to_listen || matches!(s.phase, Phase::Listening(_));
            let shared =
                (reuse_addr && s.options.reuse_addr && !listens) || (reuse_port && s.options.reuse_port);
            other_port == port && overlap && !shared
        }))
    }

    /// listen(2).
    pub fn tcp_listen(&mut self, fd: i32, backlog: i32) -> Res<()> {
        let somaxconn = self.sysctls.somaxconn as usize;
        let sock = self.tcp(fd)?;
        // A negative backlog is a huge one in the kernel's unsigned arithmetic. One more than it says may wait.
        let backlog = usize::try_from(backlog).unwrap_or(usize::MAX).min(somaxconn) + 1;
        match &sock.phase {
            Phase::Idle => {}
            Phase::Listening(_) => return Ok(()),
            _ => return Err(Errno::EINVAL),
        }
        let cfg = Arc::new(sock.cfg.clone());
        let (ip, port) = match sock.bound {
            Some(bound) => bound,
            None => (None, self.free_port()?),
        };
        if self.conflicts(fd, ip, port, true)? {
            return Err(Errno::EADDRINUSE);
        }
        let id = self.stack.listen_with(ip, port, backlog, Some(cfg))?;
        self.listener_fds.insert(id, fd);
        let sock = self.tcp(fd)?;
        sock.bound = Some((ip, port));
        sock.phase = Phase::Listening(vec![id]);
        Ok(())
    }

    /// accept(2): the new descriptor and the peer's address; `None` while nobody has come.
    pub fn tcp_accept(&mut self, fd: i32) -> Res<Option<(i32, IpAddr, u16)>> {
        let sock = self.tcp(fd)?;
        let Phase::Listening(ids) = sock.phase.clone() else { return Err(Errno::EINVAL) };
        let Some(flow) = ids.into_iter().find_map(|id| self.stack.accept(id)) else { return Ok(None) };
        let Some(key) = self.stack.flow_key(flow).copied() else { return Ok(None) };
        let cfg = self.stack.config(flow).clone();
        let sock = self.tcp(fd)?;
        let mut child = TcpSock::new(sock.v6, cfg, sock.options.clone());
        child.bound = Some((Some(key.local), key.local_port));
        child.phase = Phase::Connected(flow);
        let new = self.open(Kind::Tcp(Box::new(child)), false)?;
        self.flow_fds.insert(flow, new);
        Ok(Some((new, key.remote, key.remote_port)))
    }

    /// The first half of connect(2). `true`: it has ended already.
    pub fn tcp_connect(&mut self, fd: i32, addr: SockAddr) -> Res<bool> {
        let sock = self.tcp(fd)?;
        let (ip, port) = match addr {
            SockAddr::Unspec => return self.tcp_disconnect(fd).map(|()| true),
            SockAddr::Inet(ip, port) => (ip, port),
        };
        match sock.phase {
            Phase::Idle => {}
            Phase::Connecting(_) => {
                // Its end is told by the call that asks first.
                return match self.tcp_connected(fd)? {
                    Some(()) => Ok(true),
                    None => Err(Errno::EALREADY),
                };
            }
            Phase::Connected(_) | Phase::Listening(_) => return Err(Errno::EISCONN),
        }
        if sock.v6 && sock.options.v6only && ip.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let (local, local_port) = sock.bound.unwrap_or((None, 0));
        let cfg = Arc::new(sock.cfg.clone());
        let now = self.clock.now();
        let flow = self.stack.connect_from((local, local_port), (ip, port), Some(cfg), now)?;
        let key = *self.stack.flow_key(flow).expect("just made");
        let sock = self.tcp(fd)?;
        sock.phase = Phase::Connecting(flow);
        sock.bound = Some((Some(key.local), key.local_port));
        (sock.error_told, sock.shut_rd, sock.shut_wr) = (false, false, false);
        self.flow_fds.insert(flow, fd);
        Ok(false)
    }

    /// How connect ended; `None` while it has not.
    pub fn tcp_connected(&mut self, fd: i32) -> Res<Option<()>> {
        match self.tcp_state(fd)? {
            Some(State::SynSent | State::SynReceived) => Ok(None),
            Some(State::Closed) | None => {
                let error = self.take_error(fd)?.unwrap_or(Errno::ECONNABORTED);
                self.drop_flow(fd)?;
                Err(error)
            }
            Some(_) => {
                let sock = self.tcp(fd)?;
                if let Phase::Connecting(id) = sock.phase {
                    sock.phase = Phase::Connected(id);
                }
                Ok(Some(()))
            }
        }
    }

    /// connect(2) with AF_UNSPEC: the connection is aborted, the socket is as new.
    fn tcp_disconnect(&mut self, fd: i32) -> Res<()> {
        let now = self.clock.now();
        let phase = std::mem::replace(&mut self.tcp(fd)?.phase, Phase::Idle);
        match phase {
            Phase::Idle => {}
            Phase::Listening(ids) => self.close_listeners(&ids),
            Phase::Connecting(id) | Phase::Connected(id) => {
                self.flow_fds.remove(&id);
                self.stack.abort(id, now);
            }
        }
        let sock = self.tcp(fd)?;
        (sock.error_told, sock.shut_rd, sock.shut_wr, sock.own_error) = (false, false, false, None);
        Ok(())
    }

    /// The connection is over: the socket can connect anew.
    fn drop_flow(&mut self, fd: i32) -> Res<()> {
        let now = self.clock.now();
        let sock = self.tcp(fd)?;
        let flow = sock.flow();
        sock.phase = Phase::Idle;
        if let Some(id) = flow {
            self.flow_fds.remove(&id);
            self.stack.close(id, now);
        }
        Ok(())
    }

    fn close_listeners(&mut self, ids: &[ListenerId]) {
        let now = self.clock.now();
        for id in ids {
            self.listener_fds.remove(id);
            self.stack.close_listener(*id, now);
        }
    }

    /// Bytes that can be read without waiting for more of them: `None` while that is too few.
    pub fn tcp_recv(
        &mut self,
        fd: i32,
        n: usize,
        null: bool,
        flags: MsgFlags,
        last: bool,
    ) -> Res<Option<Vec<u8>>> {
        let sock = self.tcp(fd)?;
        let lowat = if flags.has(libc::MSG_WAITALL) { n } else { sock.options.rcv_lowat.min(n) }.max(1);
        let shut_rd = sock.shut_rd;
        let Some(id) = sock.flow() else {
            return match self.take_error(fd)? {
                Some(e) => Err(e),
                None if shut_rd => Ok(Some(Vec::new())),
                None => Err(Errno::ENOTCONN),
            };
        };
        let readable = self.stack.readable(id);
        if readable == 0 {
            let info = self.stack.info(id);
            let done = info.is_some_and(|i| i.fin_received);
            return match self.take_error(fd)? {
                _ if done => Ok(Some(Vec::new())),
                Some(e) => Err(e),
                None if self.stack.at_eof(id) || shut_rd => Ok(Some(Vec::new())),
                None => Ok(None),
            };
        }
        if readable < lowat && !last && !self.stack.at_eof(id) && !self.stack.has_fin(id) {
            return Ok(None);
        }
        let take = readable.min(n);
        let discard = flags.has(libc::MSG_TRUNC);
        if null && take > 0 && !discard {
            return Err(Errno::EFAULT);
        }
        let mut out = vec![0; take];
        self.stack.peek(id, &mut out);
        if !flags.has(libc::MSG_PEEK) {
            self.stack.consume(id, take);
        }
        Ok(Some(out))
    }

    /// May bytes be written? `false`: not yet.
    pub fn tcp_can_send(&mut self, fd: i32) -> Res<bool> {
        if let Phase::Connecting(_) = self.tcp(fd)?.phase {
            // A connect that nobody waited for has ended meanwhile.
            if matches!(self.tcp_state(fd)?, Some(State::Established | State::CloseWait)) {
                let _ = self.tcp_connected(fd)?;
            }
        }
        match self.tcp_state(fd)? {
            Some(State::SynSent | State::SynReceived) if !self.tcp(fd)?.shut_wr => Ok(false),
            Some(State::Established | State::CloseWait) if !self.tcp(fd)?.shut_wr => Ok(true),
            _ => Err(self.take_error(fd)?.unwrap_or(Errno::EPIPE)),
        }
    }

    /// Writes what fits; `None`: nothing did.
    pub fn tcp_send(&mut self, fd: i32, data: &[u8]) -> Res<Option<usize>> {
        if !self.tcp_can_send(fd)? {
            return Ok(None);
        }
        let Some(id) = self.tcp(fd)?.flow() else { return Err(Errno::EPIPE) };
        if data.is_empty() {
            return Ok(Some(0));
        }
        let n = self.stack.write(id, data);
        Ok((n > 0).then_some(n))
    }

    /// shutdown(2).
    pub fn tcp_shutdown(&mut self, fd: i32, how: i32) -> Res<()> {
        let (rd, wr) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        let state = self.tcp_state(fd)?;
        match self.tcp(fd)?.phase.clone() {
            Phase::Idle => return Err(Errno::ENOTCONN),
            Phase::Listening(ids) => {
                // Linux: only the reading side of a listener can be shut, and that ends it.
                if rd {
                    self.close_listeners(&ids);
                    self.tcp(fd)?.phase = Phase::Idle;
                }
                return Ok(());
            }
            Phase::Connecting(_) if state == Some(State::SynSent) => {
                return self.tcp_disconnect(fd);
            }
            Phase::Connecting(id) | Phase::Connected(id) => {
                if matches!(state, None | Some(State::Closed)) {
                    return Err(Errno::ENOTCONN);
                }
                if wr {
                    self.stack.shutdown(id);
                }
            }
        }
        let file = self.file(fd)?;
        file.edges += 1;
        let sock = self.tcp(fd)?;
        sock.shut_rd |= rd;
        sock.shut_wr |= wr;
        Ok(())
    }

    /// close(2): the socket's part. Returns the connection that lingers (SO_LINGER) and for how long, ns.
    pub fn tcp_close(&mut self, sock: TcpSock) -> Option<(FlowId, u64)> {
        let now = self.clock.now();
        match sock.phase {
            Phase::Idle => None,
            Phase::Listening(ids) => {
                self.close_listeners(&ids);
                None
            }
            Phase::Connecting(id) | Phase::Connected(id) => {
                self.flow_fds.remove(&id);
                match sock.options.linger_secs {
                    Some(0) => {
                        self.stack.abort(id, now);
                        None
                    }
                    linger => {
                        self.stack.close(id, now);
                        linger.map(|s| (id, u64::from(s) * linerate_tcp::time::SEC))
                    }
                }
            }
        }
    }
}

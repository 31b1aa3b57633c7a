//! A UDP socket: what BSD's calls mean on the stack's datagram sockets.

use std::net::{IpAddr, Ipv4Addr};

use linerate_net::{DgramId, DgramOptions, SockError};

use crate::call::{Received, Sending};
use crate::errno::{Errno, Res};
use crate::options::{Options, bytes, int};
use crate::sockaddr::{self, SockAddr};
use crate::tcp_sock::MsgFlags;
use crate::world::{Kind, World};

/// See the module. The stack's socket is made when the first call needs a port.
pub(crate) struct UdpSock {
    pub v6: bool,
    pub id: Option<DgramId>,
    pub options: Options,
    /// An ICMP error that came and was not told.
    error: Option<Errno>,
}

impl UdpSock {
    pub fn new(v6: bool, options: Options) -> Self {
        Self { v6, id: None, options, error: None }
    }
}

fn errno(e: SockError) -> Errno {
    if e == SockError::InvalidDestination { Errno::EINVAL } else { e.into() }
}

impl World {
    /// Of this kind?
    pub fn is_udp(&mut self, fd: i32) -> Res<bool> {
        Ok(matches!(self.file(fd)?.kind, Kind::Udp(_)))
    }

    fn udp(&mut self, fd: i32) -> Res<&mut UdpSock> {
        match &mut self.file(fd)?.kind {
            Kind::Udp(sock) => Ok(sock),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    /// bind(2).
    pub fn udp_bind(&mut self, fd: i32, addr: SockAddr) -> Res<()> {
        let sock = self.udp(fd)?;
        let (v6, bound, reuse) =
            (sock.v6, sock.id.is_some(), sock.options.reuse_addr || sock.options.reuse_port);
        let SockAddr::Inet(ip, port) = addr else { return Err(Errno::EAFNOSUPPORT) };
        if bound {
            return Err(Errno::EINVAL);
        }
        // An AF_INET6 socket at the unspecified address takes both families.
        let ip = if v6 && ip.is_unspecified() { None } else { Some(ip) };
        let options = DgramOptions { reuse, ..DgramOptions::default() };
        let id = self.stack.udp_bind_with(ip, port, options).map_err(errno)?;
        self.udp(fd)?.id = Some(id);
        self.dgram_fds.insert(id, fd);
        self.udp_apply(fd)
    }

    /// The stack's socket, at a port of its choice if it has none yet.
    fn udp_id(&mut self, fd: i32) -> Res<DgramId> {
        let sock = self.udp(fd)?;
        if sock.id.is_none() {
            let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let any = if sock.v6 { IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED) } else { any };
            self.udp_bind(fd, SockAddr::Inet(any, 0))?;
        }
        self.udp(fd)?.id.ok_or(Errno::EBADF)
    }

    /// connect(2).
    pub fn udp_connect(&mut self, fd: i32, addr: SockAddr) -> Res<()> {
        let id = self.udp_id(fd)?;
        match addr {
            SockAddr::Unspec => self.stack.dgram_disconnect(id),
            SockAddr::Inet(ip, port) => self.stack.dgram_connect(id, ip, port).map_err(errno)?,
        }
        Ok(())
    }

    /// The error that waits (SO_ERROR), told once.
    pub fn udp_take_error(&mut self, fd: i32) -> Res<Option<Errno>> {
        self.udp_note_error(fd)?;
        Ok(self.udp(fd)?.error.take())
    }

    fn udp_note_error(&mut self, fd: i32) -> Res<()> {
        if let Some(id) = self.udp(fd)?.id
            && let Some(e) = self.stack.dgram_take_error(id)
        {
            self.udp(fd)?.error = Some(errno(e));
        }
        Ok(())
    }

    /// send(2), sendto(2): all of it or nothing.
    pub fn udp_send(&mut self, fd: i32, m: &Sending<'_>) -> Res<Option<usize>> {
        if let Some(e) = self.udp_take_error(fd)? {
            return Err(e);
        }
        let v6 = self.udp(fd)?.v6;
        let to = m.to.map(|a| sockaddr::parse(a, v6)).transpose()?;
        let id = self.udp_id(fd)?;
        if m.null {
            return Err(Errno::EFAULT);
        }
        let now = self.clock.now();
        let sent = match to {
            Some(SockAddr::Inet(ip, port)) => self.stack.dgram_send_to(id, m.data, ip, port, now),
            _ => self.stack.dgram_send(id, m.data, now),
        };
        match sent {
            Ok(n) => Ok(Some(n)),
            Err(SockError::WouldBlock) => Ok(None),
            Err(e) => Err(errno(e)),
        }
    }

    /// recvmsg(2): the oldest datagram, `None` while there is none.
    pub fn udp_recv(&mut self, fd: i32, n: usize, null: bool, flags: MsgFlags) -> Res<Option<Received>> {
        if let Some(e) = self.udp_take_error(fd)? {
            return Err(e);
        }
        let v6 = self.udp(fd)?.v6;
        let Some(id) = self.udp(fd)?.id else { return Ok(None) };
        let Some((meta, bytes)) = self.stack.dgram_front(id) else { return Ok(None) };
        if null && n > 0 && !bytes.is_empty() {
            return Err(Errno::EFAULT);
        }
        let mut got = Received { data: bytes[..bytes.len().min(n)].to_vec(), ..Received::default() };
        let cut = bytes.len() - got.data.len();
        got.flags = if cut > 0 { libc::MSG_TRUNC } else { 0 };
        got.discarded = if flags.has(libc::MSG_TRUNC) { cut } else { 0 };
        got.from = sockaddr::emit(meta.src, meta.src_port, v6);
        if !flags.has(libc::MSG_PEEK) {
            self.stack.dgram_pop(id);
        }
        Ok(Some(got))
    }

    /// Bytes of the next datagram: FIONREAD.
    pub fn udp_unread(&mut self, fd: i32) -> Res<usize> {
        let id = self.udp(fd)?.id;
        Ok(id.and_then(|id| self.stack.dgram_front(id)).map_or(0, |(_, b)| b.len()))
    }

    pub fn udp_readiness(&mut self, fd: i32) -> Res<u32> {
        self.udp_note_error(fd)?;
        let sock = self.udp(fd)?;
        let (id, error) = (sock.id, sock.error.is_some());
        let readable = id.is_some_and(|id| self.stack.dgram_front(id).is_some());
        let mut r = libc::EPOLLOUT | libc::EPOLLWRNORM;
        r |= if readable || error { libc::EPOLLIN | libc::EPOLLRDNORM } else { 0 };
        r |= if error { libc::EPOLLERR } else { 0 };
        Ok(r as u32)
    }

    /// shutdown(2).
    pub fn udp_shutdown(&mut self, fd: i32, how: i32) -> Res<()> {
        let id = self.udp(fd)?.id;
        match id.and_then(|id| self.stack.dgram_remote(id)) {
            _ if !(0..=2).contains(&how) => Err(Errno::EINVAL),
            Some(_) => Ok(()),
            None => Err(Errno::ENOTCONN),
        }
    }

    /// setsockopt(2): kept, and TTL and traffic class used.
    pub fn udp_setsockopt(&mut self, fd: i32, level: i32, opt: i32, value: Option<&[u8]>) -> Res<()> {
        let v = int(value)?;
        let o = &mut self.udp(fd)?.options;
        match (level, opt) {
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => o.reuse_addr = v != 0,
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => o.reuse_port = v != 0,
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => o.sndbuf = (v as u32).saturating_mul(2),
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => o.rcvbuf = (v as u32).saturating_mul(2),
            (libc::SOL_SOCKET | libc::IPPROTO_IP | libc::IPPROTO_IPV6 | libc::IPPROTO_UDP, _) => {
                o.remember(level, opt, v);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        self.udp_apply(fd)
    }

    fn udp_apply(&mut self, fd: i32) -> Res<()> {
        let sock = self.udp(fd)?;
        let o = &sock.options;
        let of = |v4: i32, v6: i32| {
            let six = o.int(libc::IPPROTO_IPV6, v6).filter(|v| sock.v6 && *v >= 0);
            six.or(o.int(libc::IPPROTO_IP, v4).filter(|v| *v >= 0)).map(|v| v as u8)
        };
        let tos = of(libc::IP_TOS, libc::IPV6_TCLASS).unwrap_or(0);
        let ttl = of(libc::IP_TTL, libc::IPV6_UNICAST_HOPS).unwrap_or(linerate_tcp::limits::TTL);
        let broadcast = o.int(libc::SOL_SOCKET, libc::SO_BROADCAST).unwrap_or(0) != 0;
        if let Some(to) = sock.id.and_then(|id| self.stack.dgram_options(id)) {
            (to.tos, to.ttl, to.broadcast) = (tos, ttl, broadcast);
        }
        Ok(())
    }

    /// getsockopt(2).
    pub fn udp_getsockopt(&mut self, fd: i32, level: i32, opt: i32) -> Res<Vec<u8>> {
        if (level, opt) == (libc::SOL_SOCKET, libc::SO_ERROR) {
            return bytes(self.udp_take_error(fd)?.map_or(0, |e| e.0));
        }
        let sock = self.udp(fd)?;
        bytes(match (level, opt) {
            (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_DGRAM,
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::IPPROTO_UDP,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => {
                if sock.v6 {
                    libc::AF_INET6
                } else {
                    libc::AF_INET
                }
            }
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => sock.options.sndbuf as i32,
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => sock.options.rcvbuf as i32,
            (libc::IPPROTO_IP, libc::IP_TTL) => sock.options.int(level, opt).unwrap_or(64),
            (libc::SOL_SOCKET | libc::IPPROTO_IP | libc::IPPROTO_IPV6, _) => {
                sock.options.int(level, opt).unwrap_or(0)
            }
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }
}

//! The socket calls, each as packetdrill's table has it, on slices instead of pointers.

use std::net::IpAddr;

use linerate_net::{FlowId, State};

use crate::epoll::Epoll;
use crate::errno::{Errno, Res};
use crate::options::Options;
use crate::shared::{Patience, Shared};
use crate::sockaddr::{self, SockAddr};
use crate::sysctl::Sysctls;
use crate::tcp_sock::{MsgFlags, Phase, TcpSock};
use crate::udp_sock::UdpSock;
use crate::world::{Kind, World};

/// What recvmsg gave.
#[derive(Default)]
pub(crate) struct Received {
    pub data: Vec<u8>,
    /// Bytes that were taken and not given (MSG_TRUNC).
    pub discarded: usize,
    pub flags: i32,
    /// The sender's address, where there is one to tell.
    pub from: Vec<u8>,
    /// (level, type, data)
    pub control: Vec<(i32, i32, Vec<u8>)>,
}

/// What sendmsg is given.
pub(crate) struct Sending<'a> {
    pub data: &'a [u8],
    /// The buffer's pointer was null and its length not zero.
    pub null: bool,
    pub flags: MsgFlags,
    pub to: Option<&'a [u8]>,
}

/// Flags of socket's type argument.
const TYPE_MASK: i32 = 0xf;

impl World {
    /// Is it a socket of AF_INET6?
    fn is_v6(&mut self, fd: i32) -> Res<bool> {
        match &self.file(fd)?.kind {
            Kind::Udp(sock) => Ok(sock.v6),
            _ => Ok(self.tcp(fd)?.v6),
        }
    }

    fn nonblock(&mut self, fd: i32, flags: MsgFlags) -> Res<bool> {
        Ok(self.file(fd)?.nonblock || flags.has(libc::MSG_DONTWAIT))
    }

    fn socket(&mut self, domain: i32, ty: i32, protocol: i32) -> Res<i32> {
        let v6 = match domain {
            libc::AF_INET => false,
            libc::AF_INET6 => true,
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        if ty & !(TYPE_MASK | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != 0 || protocol < 0 {
            return Err(Errno::EINVAL);
        }
        match (ty & TYPE_MASK, protocol) {
            (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) | (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => {}
            (libc::SOCK_STREAM | libc::SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
            (libc::SOCK_RAW, _) => return Err(Errno::EPROTONOSUPPORT),
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        }
        self.sysctls = Sysctls::read();
        if ty & TYPE_MASK == libc::SOCK_DGRAM {
            let sock = UdpSock::new(v6, Options::new(&self.sysctls));
            return self.open(Kind::Udp(Box::new(sock)), ty & libc::SOCK_NONBLOCK != 0);
        }
        let cfg = self.sysctls.tcp_config(self.profile);
        let sock = TcpSock::new(v6, cfg, Options::new(&self.sysctls));
        self.open(Kind::Tcp(Box::new(sock)), ty & libc::SOCK_NONBLOCK != 0)
    }
}

impl Shared {
    pub fn socket(&self, domain: i32, ty: i32, protocol: i32) -> Res<i32> {
        self.call(|w| w.socket(domain, ty, protocol))
    }

    pub fn bind(&self, fd: i32, addr: Option<&[u8]>) -> Res<()> {
        self.call(|w| {
            let v6 = w.is_v6(fd)?;
            let addr = sockaddr::parse(addr.ok_or(Errno::EFAULT)?, v6)?;
            if w.is_udp(fd)? { w.udp_bind(fd, addr) } else { w.tcp_bind(fd, addr) }
        })
    }

    pub fn listen(&self, fd: i32, backlog: i32) -> Res<()> {
        self.call(|w| w.tcp_listen(fd, backlog))
    }

    /// The new descriptor, and the peer's address as the C library lays it out.
    pub fn accept(&self, fd: i32) -> Res<(i32, Vec<u8>)> {
        let (patience, v6) = {
            let mut w = self.lock();
            let timeout = w.tcp(fd)?.options.rcv_timeo_ns;
            (Patience::of(w.file(fd)?.nonblock, timeout), w.tcp(fd)?.v6)
        };
        let (new, ip, port): (i32, IpAddr, u16) = self.wait(patience, |w| w.tcp_accept(fd))?;
        Ok((new, sockaddr::emit(ip, port, v6)))
    }

    pub fn connect(&self, fd: i32, addr: Option<&[u8]>) -> Res<()> {
        let begun = self.call(|w| {
            let v6 = w.is_v6(fd)?;
            let addr: SockAddr = sockaddr::parse(addr.ok_or(Errno::EFAULT)?, v6)?;
            if w.is_udp(fd)? {
                return w.udp_connect(fd, addr).map(|()| (true, Patience::None));
            }
            let (nonblock, timeout) = (w.file(fd)?.nonblock, w.tcp(fd)?.options.snd_timeo_ns);
            Ok((w.tcp_connect(fd, addr)?, Patience::of(nonblock, timeout)))
        });
        let (ended, patience) = begun?;
        if ended {
            return Ok(());
        }
        match self.wait(patience, |w| w.tcp_connected(fd)) {
            Err(Errno::EAGAIN) => Err(Errno::EINPROGRESS),
            r => r,
        }
    }

    fn recv_patience(&self, fd: i32, flags: MsgFlags) -> Res<Patience> {
        let mut w = self.lock();
        let timeout = match &w.file(fd)?.kind {
            Kind::Tcp(sock) => sock.options.rcv_timeo_ns,
            _ => None,
        };
        Ok(Patience::of(w.nonblock(fd, flags)?, timeout))
    }

    /// read, recv, recvfrom, recvmsg: `n` bytes at most, into a null pointer or not.
    pub fn recv(&self, fd: i32, n: usize, null: bool, flags: MsgFlags) -> Res<Received> {
        let patience = self.recv_patience(fd, flags)?;
        let got = self.wait(patience, |w| w.recv(fd, n, null, flags, patience == Patience::None));
        match got {
            // What is there when patience ends is given, be it less than SO_RCVLOWAT.
            Err(Errno::EAGAIN) => {
                self.call(|w| w.recv(fd, n, null, flags, true)).and_then(|r| r.ok_or(Errno::EAGAIN))
            }
            r => r,
        }
    }

    /// read(2), which pipes know too.
    pub fn read(&self, fd: i32, n: usize, null: bool) -> Res<Vec<u8>> {
        let is_pipe = matches!(self.lock().file(fd)?.kind, Kind::Pipe { .. });
        if !is_pipe {
            return self.recv(fd, n, null, MsgFlags::default()).map(|r| r.data);
        }
        let patience = self.recv_patience(fd, MsgFlags::default())?;
        self.wait(patience, |w| match w.file(fd)?.kind {
            Kind::Pipe { writes: true, .. } => Err(Errno::EBADF),
            Kind::Pipe { pipe, .. } => match null && n > 0 {
                true => Err(Errno::EFAULT),
                false => Ok(w.pipes[pipe].read(n)),
            },
            _ => Err(Errno::EBADF),
        })
    }

    /// write, send, sendto, sendmsg.
    pub fn send(&self, fd: i32, m: &Sending<'_>) -> Res<usize> {
        let patience = {
            let mut w = self.lock();
            let timeout = match &w.file(fd)?.kind {
                Kind::Tcp(sock) => sock.options.snd_timeo_ns,
                _ => None,
            };
            Patience::of(w.nonblock(fd, m.flags)?, timeout)
        };
        let mut done = 0;
        let r = self.wait(patience, |w| {
            match w.send(fd, m, done) {
                Ok(n) => done += n.unwrap_or(0),
                Err(e) if done == 0 => return Err(e),
                Err(_) => return Ok(Some(())),
            }
            let all = done >= m.data.len() && (done > 0 || m.data.is_empty());
            Ok((all || (done > 0 && patience == Patience::None)).then_some(()))
        });
        match r {
            Ok(()) => Ok(done),
            Err(Errno::EAGAIN) if done > 0 => Ok(done),
            Err(e) => Err(e),
        }
    }

    /// write(2), which pipes know too.
    pub fn write(&self, fd: i32, data: &[u8], null: bool) -> Res<usize> {
        let is_pipe = matches!(self.lock().file(fd)?.kind, Kind::Pipe { .. });
        if !is_pipe {
            return self.send(fd, &Sending { data, null, flags: MsgFlags::default(), to: None });
        }
        let patience = Patience::of(self.lock().file(fd)?.nonblock, None);
        self.wait(patience, |w| match w.file(fd)?.kind {
            Kind::Pipe { writes: false, .. } => Err(Errno::EBADF),
            Kind::Pipe { pipe, .. } => match null {
                true => Err(Errno::EFAULT),
                false => w.pipes[pipe].write(data),
            },
            _ => Err(Errno::EBADF),
        })
    }

    /// fcntl(2).
    pub fn fcntl(&self, fd: i32, cmd: i32, arg: i64) -> Res<i32> {
        self.call(|w| {
            let file = w.file(fd)?;
            match cmd {
                libc::F_GETFL => Ok(libc::O_RDWR | if file.nonblock { libc::O_NONBLOCK } else { 0 }),
                libc::F_SETFL => {
                    file.nonblock = arg as i32 & libc::O_NONBLOCK != 0;
                    Ok(0)
                }
                libc::F_GETFD => Ok(0),
                libc::F_SETFD => Ok(0),
                _ => Err(Errno::EINVAL),
            }
        })
    }

    /// ioctl(2) with an int to write, or to read (FIONBIO).
    pub fn ioctl(&self, fd: i32, request: u64, arg: i32) -> Res<Option<i32>> {
        const SIOCATMARK: u64 = 0x8905;
        const SIOCOUTQNSD: u64 = 0x894b;
        self.call(|w| {
            if let Kind::Pipe { pipe, .. } = w.file(fd)?.kind
                && request == libc::FIONREAD
            {
                return Ok(Some(w.pipes[pipe].len() as i32));
            }
            if w.is_udp(fd)? && request == libc::FIONREAD {
                return w.udp_unread(fd).map(|n| Some(n as i32));
            }
            if request == libc::FIONBIO {
                w.file(fd)?.nonblock = arg != 0;
                return Ok(None);
            }
            let sock = w.tcp(fd).map_err(|e| if e == Errno::ENOTSOCK { Errno::ENOTTY } else { e })?;
            let listening = matches!(sock.phase, Phase::Listening(_));
            let flow = sock.flow();
            let info = flow.and_then(|id| w.stack.info(id));
            let n = match request {
                libc::FIONREAD | libc::TIOCOUTQ | SIOCOUTQNSD if listening => return Err(Errno::EINVAL),
                libc::FIONREAD => flow.map_or(0, |id| w.stack.readable(id) as u32),
                libc::TIOCOUTQ => info.map_or(0, |i| i.outq_bytes),
                SIOCOUTQNSD => info.map_or(0, |i| i.unsent_bytes),
                SIOCATMARK => 0,
                _ => return Err(Errno::ENOTTY),
            };
            Ok(Some(n as i32))
        })
    }

    /// close(2). With SO_LINGER it waits until the peer has everything.
    pub fn close(&self, fd: i32) -> Res<()> {
        let lingers: Option<(FlowId, u64)> = self.call(|w| {
            let file = w.forget(fd)?;
            file.reserved.close();
            Ok(match file.kind {
                Kind::Tcp(sock) => w.tcp_close(*sock).filter(|_| !file.nonblock),
                _ => None,
            })
        })?;
        let Some((id, ns)) = lingers else { return Ok(()) };
        let over = self.wait(Patience::Ns(ns), |w| {
            let waits = matches!(w.stack.state(id), Some(State::FinWait1 | State::Closing | State::LastAck));
            Ok((!waits).then_some(()))
        });
        // When the time is over the rest goes on by itself.
        over.or(Ok(()))
    }

    pub fn shutdown(&self, fd: i32, how: i32) -> Res<()> {
        self.call(|w| if w.is_udp(fd)? { w.udp_shutdown(fd, how) } else { w.tcp_shutdown(fd, how) })
    }

    pub fn getsockopt(&self, fd: i32, level: i32, opt: i32) -> Res<Vec<u8>> {
        self.call(|w| match w.is_udp(fd)? {
            true => w.udp_getsockopt(fd, level, opt),
            false => w.tcp_getsockopt(fd, level, opt),
        })
    }

    pub fn setsockopt(&self, fd: i32, level: i32, opt: i32, value: Option<&[u8]>) -> Res<()> {
        self.call(|w| match w.is_udp(fd)? {
            true => w.udp_setsockopt(fd, level, opt, value),
            false => w.tcp_setsockopt(fd, level, opt, value),
        })
    }

    /// poll(2): what is ready, for each of these.
    pub fn poll(&self, fds: &[(i32, i16)], timeout_ms: i32) -> Res<Vec<i16>> {
        let look =
            |w: &mut World| -> Vec<i16> { fds.iter().map(|(fd, events)| w.poll_one(*fd, *events)).collect() };
        let r = self.wait(timeout(timeout_ms), |w| {
            let ready = look(w);
            Ok(ready.iter().any(|r| *r != 0).then_some(ready))
        });
        match r {
            Err(Errno::EAGAIN) => Ok(vec![0; fds.len()]),
            r => r,
        }
    }

    pub fn epoll_create(&self, size: i32) -> Res<i32> {
        if size <= 0 {
            return Err(Errno::EINVAL);
        }
        self.call(|w| w.open(Kind::Epoll(Epoll::default()), false))
    }

    pub fn epoll_ctl(&self, epfd: i32, op: i32, fd: i32, event: Option<(u32, u64)>) -> Res<()> {
        self.call(|w| w.epoll_ctl(epfd, op, fd, event))
    }

    pub fn epoll_wait(&self, epfd: i32, max: i32, timeout_ms: i32) -> Res<Vec<(u32, u64)>> {
        let Some(max) = usize::try_from(max).ok().filter(|n| *n > 0) else { return Err(Errno::EINVAL) };
        match self.wait(timeout(timeout_ms), |w| w.epoll_wait(epfd, max)) {
            Err(Errno::EAGAIN) => Ok(Vec::new()),
            r => r,
        }
    }

    pub fn pipe(&self) -> Res<[i32; 2]> {
        self.call(World::pipe)
    }

    /// splice(2), without offsets.
    pub fn splice(&self, from: i32, to: i32, n: usize, flags: u32) -> Res<usize> {
        if n == 0 {
            return Ok(0);
        }
        let patience = {
            let mut w = self.lock();
            let nonblock =
                flags & libc::SPLICE_F_NONBLOCK != 0 || w.file(from)?.nonblock || w.file(to)?.nonblock;
            Patience::of(nonblock, None)
        };
        self.wait(patience, |w| w.splice(from, to, n))
    }
}

fn timeout(ms: i32) -> Patience {
    match ms {
        0 => Patience::None,
        1.. => Patience::Ns(ms as u64 * linerate_tcp::time::MS),
        _ => Patience::Forever,
    }
}

impl World {
    fn recv(&mut self, fd: i32, n: usize, null: bool, flags: MsgFlags, last: bool) -> Res<Option<Received>> {
        if self.is_udp(fd)? && !flags.has(libc::MSG_OOB | libc::MSG_ERRQUEUE) {
            return self.udp_recv(fd, n, null, flags);
        }
        // No urgent byte waits.
        if flags.has(libc::MSG_OOB) {
            self.tcp(fd)?;
            return Err(Errno::EINVAL);
        }
        if flags.has(libc::MSG_ERRQUEUE) {
            return self.next_message(fd).map(Some);
        }
        let Some(data) = self.tcp_recv(fd, n, null, flags, last)? else { return Ok(None) };
        let mut got = Received { data, ..Received::default() };
        if flags.has(libc::MSG_TRUNC) {
            got.discarded = std::mem::take(&mut got.data).len();
        }
        let sock = self.tcp(fd)?;
        const TCP_INQ: i32 = 36;
        if sock.options.int(libc::IPPROTO_TCP, TCP_INQ) == Some(1)
            && let Some(id) = sock.flow()
        {
            let mut inq = self.stack.readable(id) as i32;
            // Linux counts the end of the stream as a byte, so that a reader knows that there is something to read.
            inq += (inq == 0 && self.stack.has_fin(id)) as i32;
            got.control.push((libc::IPPROTO_TCP, TCP_INQ, inq.to_ne_bytes().to_vec()));
        }
        Ok(Some(got))
    }

    fn send(&mut self, fd: i32, m: &Sending<'_>, from: usize) -> Res<Option<usize>> {
        if self.is_udp(fd)? {
            return self.udp_send(fd, m);
        }
        let sock = self.tcp(fd)?;
        if let (Some(_), Phase::Idle) = (m.to, &sock.phase) {
            // TCP has no address to send to; Linux ignores one where there is a connection.
            return Err(Errno::EPIPE);
        }
        if m.null {
            return match self.tcp_can_send(fd)? {
                true => Err(Errno::EFAULT),
                false => Ok(None),
            };
        }
        // MSG_MORE: the rest of the last segment is still to come. As if corked, until a write without it.
        let cork = sock.cfg.cork || m.flags.has(libc::MSG_MORE);
        if let Some(id) = sock.flow()
            && self.stack.config(id).cork != cork
        {
            self.stack.configure(id, |c| c.cork = cork);
        }
        let sent = self.tcp_send(fd, &m.data[from..])?;
        let sock = self.tcp(fd)?;
        // Without SO_ZEROCOPY the flag says nothing.
        let asked = sock.options.int(libc::SOL_SOCKET, libc::SO_ZEROCOPY) == Some(1);
        let n = sent.unwrap_or(0);
        sock.zerocopy.wrote(n, asked && n > 0 && m.flags.has(libc::MSG_ZEROCOPY));
        Ok(sent)
    }
}

//! Kernel sockets as both sides of the comparison open them: non-blocking, TCP_NODELAY, CUBIC.
//!
//! CUBIC is set per socket: the host's default may be BBR, whose pacing is a timer per connection and would be
//! measured instead of the servers; and a namespace may not have it as its default.

use std::io;
use std::net::SocketAddr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// The congestion control of every socket here.
pub const CONGESTION: &str = "cubic";
/// Connections the listener holds before `accept`.
const BACKLOG: i32 = 4096;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

fn tcp_socket(addr: &SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    net::socket_with(family, SocketType::STREAM, FLAGS, Some(ipproto::TCP))
}

/// A listener on `addr`; accepted sockets inherit its options.
pub fn listen(addr: SocketAddr) -> io::Result<OwnedFd> {
    let what = |errno: Errno| io::Error::new(errno.kind(), format!("listening on {addr}: {errno}"));
    let fd = tcp_socket(&addr).map_err(what)?;
    sockopt::set_socket_reuseaddr(&fd, true).map_err(what)?;
    sockopt::set_tcp_nodelay(&fd, true).map_err(what)?;
    sockopt::set_tcp_congestion(&fd, CONGESTION).map_err(what)?;
    net::bind(&fd, &addr).map_err(what)?;
    net::listen(&fd, BACKLOG).map_err(what)?;
    Ok(fd)
}

/// Where `listener` listens (the kernel's choice if it was asked for port 0).
pub fn local_addr(listener: impl AsFd) -> io::Result<SocketAddr> {
    Ok(SocketAddr::try_from(net::getsockname(listener)?)?)
}

/// The next connection of `listener`, non-blocking.
pub fn accept(listener: impl AsFd) -> rustix::io::Result<OwnedFd> {
    net::accept_with(listener, FLAGS)
}

/// Starts connecting; the socket is writable, or has an error, when that is decided.
pub fn connect(addr: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let fd = tcp_socket(&addr)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    sockopt::set_tcp_congestion(&fd, CONGESTION)?;
    match net::connect(&fd, &addr) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(errno) => Err(errno),
    }
}

/// `recv`; `Ok(None)` when there is nothing to read now.
pub fn recv(fd: impl AsFd, buf: &mut [u8]) -> rustix::io::Result<Option<usize>> {
    loop {
        match net::recv(&fd, &mut *buf, net::RecvFlags::empty()) {
            Ok((_, n)) => return Ok(Some(n)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// `send`; 0 when the socket is full.
pub fn send(fd: impl AsFd, buf: &[u8]) -> rustix::io::Result<usize> {
    loop {
        match net::send(&fd, buf, net::SendFlags::NOSIGNAL) {
            Ok(n) => return Ok(n),
            Err(Errno::AGAIN) => return Ok(0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_inherit_cubic_and_nodelay() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = connect(local_addr(&listener).unwrap()).unwrap();
        let mut fds = [rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN)];
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&second)).unwrap(), 1);
        let server = accept(&listener).unwrap();
        for fd in [&client, &server] {
            assert_eq!(sockopt::tcp_congestion(fd).unwrap(), "cubic");
            assert!(sockopt::tcp_nodelay(fd).unwrap());
        }
    }
}

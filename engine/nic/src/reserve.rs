//! A placeholder on the kernel's side for a port that we serve.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use linerate_load::Protocol;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, ipproto, socket_with, sockopt};

use crate::NicError;

/// Holds the port while it lives: a kernel socket, bound and not listening, so that no program of the
/// host takes a port whose packets would never reach it.
#[derive(Debug)]
pub struct PortReservation {
    _socket: OwnedFd,
    addr: SocketAddr,
}

impl PortReservation {
    /// What is reserved.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Reserves a port of an address that the kernel has (share mode). Ports below 1024 need
/// CAP_NET_BIND_SERVICE.
pub fn reserve_port(protocol: Protocol, addr: IpAddr, port: u16) -> Result<PortReservation, NicError> {
    let (name, kind, ip_protocol) = match protocol {
        Protocol::Tcp => ("TCP", SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => ("UDP", SocketType::DGRAM, ipproto::UDP),
    };
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let failed = |errno: rustix::io::Errno| match errno {
        rustix::io::Errno::ADDRINUSE => NicError::PortInUse { protocol: name, addr, port },
        errno => NicError::Kernel {
            tried: format!("reserving {name} port {port} on {addr}"),
            errno: errno.raw_os_error(),
            kernel_said: None,
        },
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(ip_protocol)).map_err(failed)?;
    if addr.is_ipv6() {
        // [::]:80 must not take 0.0.0.0:80 with it.
        sockopt::set_ipv6_v6only(&socket, true).map_err(failed)?;
    }
    if protocol == Protocol::Udp {
        // Before XDP is attached datagrams may land here, and nobody reads them.
        sockopt::set_socket_recv_buffer_size(&socket, 0).map_err(failed)?;
    }
    let addr = SocketAddr::new(addr, port);
    bind(&socket, &addr).map_err(failed)?;
    Ok(PortReservation { _socket: socket, addr })
}

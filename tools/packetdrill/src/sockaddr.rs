//! Socket addresses as the C library lays them out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::errno::{Errno, Res};

const SOCKADDR_IN_BYTES: usize = 16;
/// Without sin6_scope_id, which RFC 2133 did not have: the least that Linux takes.
const SOCKADDR_IN6_LEAST: usize = 24;
const SOCKADDR_IN6_BYTES: usize = 28;

/// An address that a call was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SockAddr {
    /// AF_UNSPEC: an association is to end.
    Unspec,
    /// Address and port; a v4-mapped IPv6 address is the IPv4 address it maps.
    Inet(IpAddr, u16),
}

/// Reads the address given to bind, connect or sendto on a socket of AF_INET6 or AF_INET.
pub(crate) fn parse(bytes: &[u8], v6: bool) -> Res<SockAddr> {
    let &[a, b, ref rest @ ..] = bytes else { return Err(Errno::EINVAL) };
    match (i32::from(u16::from_ne_bytes([a, b])), v6) {
        (libc::AF_UNSPEC, _) => Ok(SockAddr::Unspec),
        (libc::AF_INET, false) => {
            if bytes.len() < SOCKADDR_IN_BYTES {
                return Err(Errno::EINVAL);
            }
            let ip = Ipv4Addr::new(rest[2], rest[3], rest[4], rest[5]);
            Ok(SockAddr::Inet(ip.into(), u16::from_be_bytes([rest[0], rest[1]])))
        }
        (libc::AF_INET6, true) => {
            if bytes.len() < SOCKADDR_IN6_LEAST {
                return Err(Errno::EINVAL);
            }
            let mut octets = [0; 16];
            octets.copy_from_slice(&rest[6..22]);
            let ip = Ipv6Addr::from(octets);
            let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
            Ok(SockAddr::Inet(ip, u16::from_be_bytes([rest[0], rest[1]])))
        }
        _ if bytes.len() < SOCKADDR_IN_BYTES => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Lays an address out for a socket of AF_INET6 (IPv4 is mapped) or AF_INET.
pub(crate) fn emit(ip: IpAddr, port: u16, v6: bool) -> Vec<u8> {
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET } as u16;
    let mut out = family.to_ne_bytes().to_vec();
    out.extend(port.to_be_bytes());
    match (ip, v6) {
        (IpAddr::V4(ip), false) => out.extend(ip.octets()),
        (IpAddr::V4(ip), true) => {
            out.extend([0; 4]);
            out.extend(ip.to_ipv6_mapped().octets());
        }
        (IpAddr::V6(ip), _) => {
            out.extend([0; 4]);
            out.extend(ip.octets());
        }
    }
    out.resize(if v6 { SOCKADDR_IN6_BYTES } else { SOCKADDR_IN_BYTES }, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_laid_out_is_read_back() {
        for (ip, v6) in [("192.0.2.1", false), ("192.0.2.1", true), ("fd3d::1", true)] {
            let ip: IpAddr = ip.parse().unwrap();
            let bytes = emit(ip, 8080, v6);
            assert_eq!(bytes.len(), if v6 { 28 } else { 16 });
            assert_eq!(parse(&bytes, v6), Ok(SockAddr::Inet(ip, 8080)));
            assert_eq!(parse(&bytes, !v6), Err(Errno::EAFNOSUPPORT));
            for n in 0..16 {
                assert_eq!(parse(&bytes[..n], v6), Err(Errno::EINVAL), "{n} bytes");
            }
        }
        assert_eq!(parse(&[0, 0], false), Ok(SockAddr::Unspec));
    }
}

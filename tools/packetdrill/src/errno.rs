//! POSIX error numbers as results.

use linerate_net::{SockError, TcpError};

/// An error number, as Linux has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

/// What a call returns.
pub type Res<T> = Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident)*) => { $(#[allow(missing_docs)] pub const $name: Errno = Errno(libc::$name);)* };
}

impl Errno {
    errnos! {
        EBADF EAGAIN EFAULT EINVAL EISCONN EINPROGRESS EALREADY ENOTCONN EPIPE EADDRINUSE EADDRNOTAVAIL
        ECONNREFUSED ECONNRESET ECONNABORTED ETIMEDOUT EAFNOSUPPORT EPROTONOSUPPORT ESOCKTNOSUPPORT ENOPROTOOPT
        EOPNOTSUPP ENOTTY ENOSYS EEXIST ENOENT EPERM ELOOP EDESTADDRREQ ENETUNREACH EHOSTUNREACH ENOTSOCK EMFILE
        EMSGSIZE ENOBUFS EIO EDOM EHOSTDOWN EACCES EPROTO ESPIPE EPROTOTYPE
    }
}

impl From<SockError> for Errno {
    fn from(e: SockError) -> Self {
        match e {
            SockError::AddrInUse => Self::EADDRINUSE,
            SockError::AddrNotAvailable | SockError::NoPort => Self::EADDRNOTAVAIL,
            SockError::Unreachable => Self::ENETUNREACH,
            // What Linux answers where no route leads: TCP to a broadcast or multicast address.
            SockError::InvalidDestination => Self::ENETUNREACH,
            SockError::Broadcast => Self::EACCES,
            SockError::NoBuffer => Self::ENOBUFS,
            SockError::WouldBlock => Self::EAGAIN,
            SockError::MessageSize => Self::EMSGSIZE,
            SockError::NotConnected => Self::EDESTADDRREQ,
            SockError::BadSocket => Self::EBADF,
            SockError::InvalidMessage => Self::EINVAL,
            SockError::AccessDenied => Self::EACCES,
            SockError::Refused => Self::ECONNREFUSED,
            SockError::HostUnreachable => Self::EHOSTUNREACH,
            SockError::ProtocolUnreachable => Self::ENOPROTOOPT,
            SockError::Protocol => Self::EPROTO,
            SockError::BrokenPipe => Self::EPIPE,
            SockError::Ended(e) => e.into(),
        }
    }
}

impl From<TcpError> for Errno {
    fn from(e: TcpError) -> Self {
        match e {
            TcpError::Reset => Self::ECONNRESET,
            TcpError::Refused => Self::ECONNREFUSED,
            TcpError::TimedOut => Self::ETIMEDOUT,
            TcpError::Aborted => Self::ECONNABORTED,
            TcpError::NetUnreachable => Self::ENETUNREACH,
            TcpError::HostUnreachable => Self::EHOSTUNREACH,
            TcpError::ProtocolUnreachable => Self::ENOPROTOOPT,
            TcpError::Protocol => Self::EPROTO,
            TcpError::Prohibited => Self::EACCES,
        }
    }
}

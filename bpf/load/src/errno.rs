//! Names of the errno values that host changes answer with.

macro_rules! names {
    ($($name:ident)*) => {
        /// The kernel's name of an errno value (`EBUSY`), or `errno unknown` for one not met here.
        pub fn errno_name(errno: i32) -> &'static str {
            match errno {
                $(libc::$name => stringify!($name),)*
                _ => "errno unknown",
            }
        }
    };
}

names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV ENODEV
    ENOTDIR EISDIR EINVAL ENFILE EMFILE ETXTBSY EFBIG ENOSPC EROFS ERANGE ENAMETOOLONG ENOSYS ENODATA
    EPROTO EMSGSIZE EPROTONOSUPPORT EOPNOTSUPP EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
    ENOBUFS EISCONN ENOTCONN ETIMEDOUT EHOSTUNREACH EALREADY ENOKEY
}

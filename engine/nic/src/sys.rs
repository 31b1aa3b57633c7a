//! The system calls with raw memory in them: ethtool ioctls, namespaces, one socket option.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

pub(crate) const ETHTOOL_GDRVINFO: u32 = 0x03;
pub(crate) const ETHTOOL_GRINGPARAM: u32 = 0x10;
pub(crate) const ETHTOOL_GCHANNELS: u32 = 0x3c;
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const SO_NETNS_COOKIE: i32 = 71;

/// Runs one ethtool command on an interface of this thread's namespace. `words` is the command's
/// structure as 32-bit words (the first is the command), at least as long as the kernel's.
pub(crate) fn ethtool(name: &str, words: &mut [u32]) -> io::Result<()> {
    // The longest structure used here is ethtool_drvinfo: 196 bytes. A slice that is too short for its
    // command would let the kernel write past its end.
    let needed_words = match words.first().copied() {
        Some(ETHTOOL_GDRVINFO) => 49,
        Some(ETHTOOL_GCHANNELS | ETHTOOL_GRINGPARAM) => 9,
        Some(0x14..=0x17 | 0x1e | 0x1f | 0x23 | 0x24 | 0x2b | 0x2c) => 2,
        _ => return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
    };
    if words.len() < needed_words || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: `request` and `words` live across the call; the name is NUL-terminated (shorter than the
    // zeroed field) and `words` has the length this command's structure needs, checked above. Tests:
    // scrape and offload on veth.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives the calling thread (only it) a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: no memory is involved; fds and memory stay shared, so Rust's view of both holds.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Moves the calling thread (only it) into a network namespace.
pub(crate) fn setns_net(netns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the fd is open for as long as it is borrowed; no memory is involved.
    if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A number for this thread's network namespace that is not used again until reboot (Linux 5.14).
pub(crate) fn netns_cookie() -> io::Result<u64> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, the size of `cookie`; both live across the call.
    let answer = unsafe {
        let value = (&raw mut cookie).cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, value, &raw mut len)
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}

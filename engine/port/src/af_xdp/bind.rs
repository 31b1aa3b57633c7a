//! Binding to the queue, and what was obtained.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::bind as bind_to;
use rustix::net::sockopt::xdp_options;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XdpOptionsFlags};

use super::socket::XskConfig;
use crate::error::PortError;
use crate::sys::xsk::set_max_tx_skb_budget;

/// What to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BindMode {
    /// Zero-copy where the driver can, else copy. With a *generic* (skb mode) XDP program ask for [`Copy`](Self::Copy)
    /// instead: the kernel would give zero-copy, and receiving then fails or copies.
    #[default]
    Auto,
    /// Zero-copy or an error.
    ZeroCopy,
    /// Copy.
    Copy,
}

/// What was obtained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum XskMode {
    /// The NIC reads and writes the frames.
    ZeroCopy,
    /// The kernel copies each packet.
    Copy,
}

/// A socket's close returns before its queue is free again (the pool is released from a work item), so a bind
/// right after a close may find it busy.
const BUSY_RETRY: Duration = Duration::from_secs(2);

pub(super) fn bind(
    fd: BorrowedFd<'_>,
    config: &XskConfig,
    shared: Option<BorrowedFd<'_>>,
) -> Result<XskMode, PortError> {
    let mut flags = match config.bind {
        BindMode::Auto => SocketAddrXdpFlags::empty(),
        BindMode::ZeroCopy => SocketAddrXdpFlags::XDP_ZEROCOPY,
        BindMode::Copy => SocketAddrXdpFlags::XDP_COPY,
    };
    if config.need_wakeup {
        flags |= SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    }
    let mode = match (shared.is_some(), config.bind) {
        (true, _) => "shared UMEM",
        (false, BindMode::Auto) => "auto",
        (false, BindMode::ZeroCopy) => "zero-copy",
        (false, BindMode::Copy) => "copy",
    };
    let attempt = || match shared {
        // xsk_bind(): no other flag goes with XDP_SHARED_UMEM; the mode and need_wakeup are the first socket's.
        Some(shared_umem_fd) => {
            let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
            let addr = SocketAddrXdp::new(flags, config.ifindex, config.queue_id);
            bind_to(fd, &SocketAddrXdpWithSharedUmem { addr, shared_umem_fd })
        }
        None => bind_to(fd, &SocketAddrXdp::new(flags, config.ifindex, config.queue_id)),
    };
    let until = Instant::now() + BUSY_RETRY;
    loop {
        match attempt() {
            Ok(()) => break,
            Err(Errno::BUSY) if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
            Err(errno) => {
                let XskConfig { ifindex, queue_id, .. } = *config;
                return Err(PortError::Bind { ifindex, queue_id, mode, errno });
            }
        }
    }
    // Best effort: kernels before 6.18 don't have it (ENOPROTOOPT), and it takes a ring of 32 or more;
    // `kick` then makes more system calls.
    let _ = set_max_tx_skb_budget(fd, config.tx_descs);
    let got = xdp_options(fd).map_err(|errno| PortError::Options { errno })?;
    let zero_copy = got.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
    Ok(if zero_copy { XskMode::ZeroCopy } else { XskMode::Copy })
}

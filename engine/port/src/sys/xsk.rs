//! The two socket options of AF_XDP whose shape rustix hasn't got right or hasn't got.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::mmap::Mapping;

/// linux/if_xdp.h, since 6.18: packets that one sendto() transmits in copy mode (32 by default).
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// linux/if_xdp.h since 6.8: `tx_metadata_len` took the place of what was padding, so it has to be written (rustix
/// 1.1 leaves it undefined).
#[repr(C)]
struct XdpUmemReg {
    addr: u64,
    len: u64,
    chunk_size: u32,
    headroom: u32,
    flags: u32,
    tx_metadata_len: u32,
}

/// XDP_UMEM_REG: the kernel pins `len` bytes of `memory` and may write to them from now on.
pub(crate) fn register_umem(
    fd: BorrowedFd<'_>,
    memory: &Mapping,
    len: usize,
    chunk_size: u32,
) -> Result<(), Errno> {
    assert!(len <= memory.len(), "UMEM longer than its memory");
    let addr = memory.base().as_ptr() as u64;
    let reg = XdpUmemReg { addr, len: len as u64, chunk_size, headroom: 0, flags: 0, tx_metadata_len: 0 };
    setsockopt(fd, libc::XDP_UMEM_REG, &reg)
}

/// Lets one sendto() take `descs` packets (32 at least, the TX ring's size at most). ENOPROTOOPT before 6.18.
pub(crate) fn set_max_tx_skb_budget(fd: BorrowedFd<'_>, descs: u32) -> Result<(), Errno> {
    setsockopt(fd, XDP_MAX_TX_SKB_BUDGET, &descs)
}

fn setsockopt<T>(fd: BorrowedFd<'_>, option: libc::c_int, value: &T) -> Result<(), Errno> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes for the length of the call, and both callers' types have no
    // padding and the kernel's layout. The one option with a lasting effect, XDP_UMEM_REG, gets its memory from
    // a Mapping whose chunks are lent to the kernel by Pool's FILL and TX states alone
    // (test: tests/port/af_xdp.rs conformance, `ledger_after_100k`).
    let r = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_XDP, option, std::ptr::from_ref(value).cast(), len)
    };
    if r == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

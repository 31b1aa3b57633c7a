//! The one system call that aya does not make the way we need.
//!
//! aya's `Xdp::attach` falls back to a netlink attach on EINVAL. A program attached by netlink outlives
//! its process, which is the one thing that must not happen; so the link is created here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_XDP: u32 = 37;

/// The head of `union bpf_attr` for BPF_LINK_CREATE; the kernel takes what is missing as zero.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// bpf(BPF_LINK_CREATE) of an XDP program on an interface of the calling thread's network namespace.
pub(crate) fn xdp_link_create(prog: BorrowedFd<'_>, ifindex: u32, xdp_flags: u32) -> io::Result<OwnedFd> {
    let attr = LinkCreate {
        prog_fd: prog.as_raw_fd() as u32,
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags: xdp_flags,
    };
    // SAFETY: `attr` lives across the call and its size is what is passed; the kernel only reads it.
    // tests/veth.rs attaches through here.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, &raw const attr, size_of::<LinkCreate>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this fd and nobody else knows it; it has close-on-exec set.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

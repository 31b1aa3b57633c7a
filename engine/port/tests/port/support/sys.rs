//! UNSAFE: bpf(2) and unshare(2), as little as it takes to redirect a veth to AF_XDP sockets. Shared with
//! `examples/xsk_speed.rs`. (bpf/load does this in life; a port doesn't depend on it.)

use std::ffi::c_long;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_MAP_CREATE: c_long = 0;
const BPF_MAP_UPDATE_ELEM: c_long = 2;
const BPF_PROG_LOAD: c_long = 5;
const BPF_LINK_CREATE: c_long = 28;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_FUNC_REDIRECT_MAP: i32 = 51;
const XDP_PASS: i32 = 2;
/// xdp_md.rx_queue_index.
const RX_QUEUE_INDEX: i16 = 16;

/// Attach in the driver.
#[allow(dead_code)]
pub const XDP_FLAGS_DRV_MODE: u32 = 4;
/// Attach in the kernel's generic hook.
#[allow(dead_code)]
pub const XDP_FLAGS_SKB_MODE: u32 = 2;

/// `redirect(XSKMAP[rx queue]) or pass`, attached to an interface for as long as it lives.
pub struct Redirect {
    map: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Insn {
    code: u8,
    regs: u8,
    off: i16,
    imm: i32,
}

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, regs: dst | src << 4, off, imm }
}

impl Redirect {
    /// Loads and attaches it.
    pub fn attach(ifindex: u32, queues: u32, flags: u32) -> Result<Self> {
        let map = bpf_fd(BPF_MAP_CREATE, &mut [BPF_MAP_TYPE_XSKMAP, 4, 4, queues, 0, 0, 0, 0])?;
        let insns = [
            insn(0x61, 2, 1, RX_QUEUE_INDEX, 0),  // r2 = *(u32 *)(r1 + rx_queue_index)
            insn(0x18, 1, 1, 0, map.as_raw_fd()), // r1 = map (two slots)
            insn(0, 0, 0, 0, 0),
            insn(0xb7, 3, 0, 0, XDP_PASS),              // r3 = XDP_PASS
            insn(0x85, 0, 0, 0, BPF_FUNC_REDIRECT_MAP), // r0 = bpf_redirect_map(r1, r2, r3)
            insn(0x95, 0, 0, 0, 0),                     // return r0
        ];
        let mut attr = [0u32; 32];
        attr[0] = BPF_PROG_TYPE_XDP;
        attr[1] = insns.len() as u32;
        put_ptr(&mut attr, 2, insns.as_ptr().cast());
        put_ptr(&mut attr, 4, c"GPL".as_ptr().cast());
        attr[17] = BPF_XDP; // expected_attach_type
        let program = bpf_fd(BPF_PROG_LOAD, &mut attr)?;
        let mut attr = [program.as_raw_fd() as u32, ifindex, BPF_XDP, flags, 0, 0, 0, 0];
        let link = bpf_fd(BPF_LINK_CREATE, &mut attr)?;
        Ok(Self { map, _program: program, _link: link })
    }

    /// Packets of `queue` go to this socket.
    pub fn set(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<()> {
        let value = socket.as_raw_fd() as u32;
        let mut attr = [0u32; 8];
        attr[0] = self.map.as_raw_fd() as u32;
        put_ptr(&mut attr, 2, (&raw const queue).cast());
        put_ptr(&mut attr, 4, (&raw const value).cast());
        bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
    }
}

fn put_ptr(attr: &mut [u32], at: usize, p: *const u8) {
    let b = (p as u64).to_ne_bytes();
    attr[at] = u32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
    attr[at + 1] = u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
}

fn bpf(command: c_long, attr: &mut [u32]) -> Result<i32> {
    // SAFETY: `attr` is as long as it says and its pointers outlive the call (they are to the callers' locals); the kernel
    // checks all else (every AF_XDP test fails without it).
    let r = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if r < 0 { Err(Error::last_os_error()) } else { Ok(r as i32) }
}

fn bpf_fd(command: c_long, attr: &mut [u32]) -> Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: these commands answer with a new descriptor that is ours alone (every AF_XDP test fails without it).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Moves the calling thread into a new network namespace.
pub fn unshare_net() -> Result<()> {
    // SAFETY: no memory is concerned; only this thread's network namespace changes (every AF_XDP test fails without it).
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

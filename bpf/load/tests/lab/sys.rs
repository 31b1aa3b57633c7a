//! The system calls of the test lab: a namespace of this thread's own, a packet socket, a bare XSK.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

fn check(answer: i32) -> io::Result<i32> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Puts the calling thread into a network namespace of its own, which goes when the thread ends.
pub fn unshare_net() -> io::Result<()> {
    // SAFETY: no memory is involved; only the calling thread changes namespace.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

pub fn if_index(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: a NUL-terminated string that lives across the call.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}

/// Sends one frame as it is.
pub struct PacketSocket {
    fd: OwnedFd,
    to: libc::sockaddr_ll,
}

impl PacketSocket {
    pub fn new(ifindex: u32) -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: fresh from the kernel, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = ifindex as i32;
        Ok(Self { fd, to })
    }

    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: buffer and address live across the call with the lengths passed.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        check(sent as i32).map(drop)
    }
}

const XDP_RX_RING: i32 = 2;
const XDP_UMEM_REG: i32 = 4;
const XDP_UMEM_FILL_RING: i32 = 5;
const XDP_UMEM_COMPLETION_RING: i32 = 6;
const XDP_COPY: u16 = 1 << 1;

#[repr(C)]
struct UmemReg {
    addr: u64,
    len: u64,
    chunk_size: u32,
    headroom: u32,
}

/// An AF_XDP socket bound to a queue with an empty fill ring: a redirect to it succeeds, the frame is
/// then dropped. Enough to see the program decide.
pub struct BareXsk {
    pub fd: OwnedFd,
    memory: *mut libc::c_void,
}

const UMEM_BYTES: usize = 64 * 4096;

impl BareXsk {
    pub fn bind(ifindex: u32, queue: u32) -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: fresh from the kernel, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let memory = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), UMEM_BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        assert_ne!(memory, libc::MAP_FAILED);
        let xsk = Self { fd, memory };
        let reg = UmemReg { addr: memory as u64, len: UMEM_BYTES as u64, chunk_size: 4096, headroom: 0 };
        xsk.option(XDP_UMEM_REG, &reg)?;
        for ring in [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING] {
            xsk.option(ring, &64i32)?;
        }
        // SAFETY: all-zero is a valid sockaddr_xdp.
        let mut addr: libc::sockaddr_xdp = unsafe { std::mem::zeroed() };
        addr.sxdp_family = libc::AF_XDP as u16;
        addr.sxdp_ifindex = ifindex;
        addr.sxdp_queue_id = queue;
        addr.sxdp_flags = XDP_COPY;
        // SAFETY: the address lives across the call with the length passed.
        check(unsafe {
            libc::bind(xsk.fd.as_raw_fd(), (&raw const addr).cast(), size_of::<libc::sockaddr_xdp>() as u32)
        })?;
        Ok(xsk)
    }

    fn option<T>(&self, name: i32, value: &T) -> io::Result<()> {
        // SAFETY: the value lives across the call with the length passed.
        check(unsafe {
            let (value, len) = (std::ptr::from_ref(value).cast(), size_of::<T>() as u32);
            libc::setsockopt(self.fd.as_raw_fd(), libc::SOL_XDP, name, value, len)
        })
        .map(drop)
    }
}

impl Drop for BareXsk {
    fn drop(&mut self) {
        // SAFETY: mapped in `bind` with this length; the kernel pins the pages for as long as it needs them.
        unsafe { libc::munmap(self.memory, UMEM_BYTES) };
    }
}

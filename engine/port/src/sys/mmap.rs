//! Memory from mmap: packet memory and the kernel's rings.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use linerate_frame::Memory;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A mapping, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; `Mapping` hands out only its address, and those
// who turn it into references (linerate-frame's Region, ring/raw.rs) have their own rules
// (test: ring::cursor::tests::two_threads).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed memory, private to the process, faulted in now (a page fault in the data path costs microseconds;
    /// and XDP_UMEM_REG would fault it in anyway, page by page). `huge`: 2 MiB pages from the reserved pool.
    #[cfg_attr(loom, allow(dead_code))]
    pub(crate) fn anonymous(len: usize, huge: bool) -> Result<Self, Errno> {
        let mut flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        if huge {
            flags |= MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        }
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice (no MAP_FIXED) touches no existing memory
        // (test: umem::tests::memory_is_writable_to_its_last_byte).
        let p = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags)? };
        Self::new(p, len)
    }

    /// `len` bytes of a file (an AF_XDP socket's ring) from `offset`, shared with the kernel.
    #[cfg_attr(loom, allow(dead_code))]
    pub(crate) fn of_fd(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as in `anonymous`; what the other side writes is read through atomics only (ring/raw.rs)
        // (test: tests/port/af_xdp.rs, all of it).
        let p = unsafe {
            mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED | MapFlags::POPULATE, fd, offset)?
        };
        Self::new(p, len)
    }

    fn new(p: *mut core::ffi::c_void, len: usize) -> Result<Self, Errno> {
        Ok(Self { base: NonNull::new(p.cast()).ok_or(Errno::FAULT)?, len })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole, once. Those that point into it own it (Region its Memory, Ring its
        // Arc), so none is left (test: ring::raw::tests::one_side_outlives_the_other). Pages that the kernel
        // pinned stay its own until it lets go.
        let r = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(r.is_ok());
    }
}

/// A mapping as the frame crate wants it: exactly the frames, without what pages round up.
pub(crate) struct UmemMemory {
    memory: Arc<Mapping>,
    bytes: usize,
}

impl UmemMemory {
    #[cfg_attr(loom, allow(dead_code))]
    pub(crate) fn new(memory: Arc<Mapping>, bytes: usize) -> Self {
        assert!(bytes <= memory.len(), "UMEM longer than its memory");
        Self { memory, bytes }
    }
}

// SAFETY: `bytes` of a read-write mapping (asserted in `new`) that lives as long as the Arc in `self`; the Umem,
// the other owner, passes only its address to the kernel, so no reference into it is made in this process but
// the frame crate's (test: umem::tests::memory_is_writable_to_its_last_byte).
unsafe impl Memory for UmemMemory {
    fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }
    fn len(&self) -> usize {
        self.bytes
    }
}

//! Packet memory and the state byte of each frame. The only unsafe file of `stack/`.

use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

use crate::frame::FrameIndex;

/// Packet memory from outside: a UMEM, or the heap.
///
/// # Safety
/// `base()..base() + len()` is readable and writable, at a fixed place, until `self` is dropped, and nothing
/// in this process makes references into it but this crate.
pub unsafe trait Memory: Send + Sync {
    /// First byte.
    fn base(&self) -> NonNull<u8>;
    /// Bytes.
    fn len(&self) -> usize;
    /// No bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Zeroed heap memory, page aligned: what tests and in-memory ports use.
pub struct HeapMemory {
    base: NonNull<u8>,
    layout: Layout,
}

impl HeapMemory {
    /// `len` bytes; aborts as every Rust allocation does when there is no memory.
    ///
    /// # Panics
    /// If `len` is zero or overflows an allocation.
    pub fn new(len: usize) -> Self {
        assert!(len > 0, "packet memory of zero bytes");
        let layout = Layout::from_size_align(len, 4096).expect("packet memory larger than the address space");
        // SAFETY: the layout has a non-zero size (asserted above).
        let p = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(p) else { handle_alloc_error(layout) };
        Self { base, layout }
    }
}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout; dropped once.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

// SAFETY: the block is owned, moves with no thread affinity, and all access goes through `Region`'s rules.
unsafe impl Send for HeapMemory {}
// SAFETY: as above; `HeapMemory` itself hands out only its address.
unsafe impl Sync for HeapMemory {}
// SAFETY: the allocation lives until drop and its pointer never leaves this crate.
unsafe impl Memory for HeapMemory {
    fn base(&self) -> NonNull<u8> {
        self.base
    }
    fn len(&self) -> usize {
        self.layout.size()
    }
}

/// A `Frame` token exists.
pub(crate) const HELD: u8 = 1;
/// The kernel (or a peer) may write into it.
pub(crate) const FILL: u8 = 2;
/// A transmission is under way: the bytes may be read by the kernel, and must not change.
pub(crate) const TX: u8 = 4;

/// The memory of all frames of one engine, shared by the pools of its cores.
///
/// The state bytes are atomics with relaxed ordering: a frame's byte is touched only by the core that holds
/// it, and whatever moves the token between cores (a ring with acquire/release) orders the byte with it.
pub struct Region {
    memory: Option<Box<dyn Memory>>,
    base: NonNull<u8>,
    chunk_bytes: u32,
    frames: u32,
    id: u16,
    state: Box<[AtomicU8]>,
    /// Frames that were at home in pools that are gone (see `Drop`).
    pub(crate) retired: AtomicU32,
}

// SAFETY: `base` points into `memory`, which is Send + Sync; chunks are reached only through unique tokens.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

static NEXT_REGION: AtomicU16 = AtomicU16::new(1);

impl Region {
    /// Cuts `memory` into frames of `chunk_bytes`.
    ///
    /// # Panics
    /// If a chunk is smaller than 512 bytes (no room for headroom and headers), not a multiple of 64 (cache
    /// lines are not shared between frames), or there is no room for a single one.
    pub fn new(memory: Box<dyn Memory>, chunk_bytes: u32) -> Arc<Self> {
        assert!(chunk_bytes >= 512 && chunk_bytes.is_multiple_of(64), "chunk of {chunk_bytes} bytes");
        let frames = u32::try_from(memory.len() / chunk_bytes as usize).expect("more than 2^32 frames");
        assert!(frames > 0, "packet memory smaller than one frame");
        let state: Vec<AtomicU8> = (0..frames).map(|_| AtomicU8::new(0)).collect();
        Arc::new(Self {
            base: memory.base(),
            memory: Some(memory),
            chunk_bytes,
            frames,
            id: NEXT_REGION.fetch_add(1, Relaxed),
            state: state.into_boxed_slice(),
            retired: AtomicU32::new(0),
        })
    }

    /// Heap memory for `frames` frames.
    pub fn heap(frames: u32, chunk_bytes: u32) -> Arc<Self> {
        Self::new(Box::new(HeapMemory::new(frames as usize * chunk_bytes as usize)), chunk_bytes)
    }

    /// Bytes of a chunk.
    pub fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Number of frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn state(&self, index: FrameIndex) -> u8 {
        self.state[index.0 as usize].load(Relaxed)
    }

    pub(crate) fn set_state(&self, index: FrameIndex, state: u8) {
        self.state[index.0 as usize].store(state, Relaxed);
    }

    /// Frames by who holds them, by a scan of the state bytes: (free, fill, transmitting only, held).
    pub(crate) fn census(&self) -> (u32, u32, u32, u32) {
        let mut c = (0, 0, 0, 0);
        for s in &self.state {
            match s.load(Relaxed) {
                0 => c.0 += 1,
                FILL => c.1 += 1,
                TX => c.2 += 1,
                _ => c.3 += 1,
            }
        }
        c
    }

    /// Bytes of a chunk, to read. `region`, `start` and `len` are a token's.
    ///
    /// # Panics
    /// If the token belongs to another region or reaches past its chunk.
    pub(crate) fn slice(&self, region: u16, index: FrameIndex, start: u32, len: u32) -> &[u8] {
        let at = self.check(region, index, start, len);
        // SAFETY: `check` bounds the range within `memory`. Callers hold the frame's token by shared reference
        // for as long as the slice lives; `slice_mut` needs that token by unique reference and refuses while TX
        // is set (frame/tests: writable_refuses_while_transmitting), so no write can overlap.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr().add(at), len as usize) }
    }

    /// Bytes of a chunk, to write. Sound only for the one holder of the frame's token.
    ///
    /// # Panics
    /// As `slice`, and while a transmission of the frame is outstanding.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn slice_mut(&self, region: u16, index: FrameIndex, start: u32, len: u32) -> &mut [u8] {
        let at = self.check(region, index, start, len);
        assert!(self.state(index) == HELD, "frame {} written while not held alone", index.0);
        // SAFETY: in bounds by `check`. The caller has the only token of this frame by unique reference for the
        // life of the slice (`Pool::writable` ties the two lifetimes), and no TxFrame of it exists (state is
        // HELD alone), so nothing else refers to these bytes (frame/tests: writable_refuses_while_transmitting).
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr().add(at), len as usize) }
    }

    fn check(&self, region: u16, index: FrameIndex, start: u32, len: u32) -> usize {
        assert!(region == self.id, "frame of another region");
        assert!(
            index.0 < self.frames && start as u64 + len as u64 <= self.chunk_bytes as u64,
            "frame out of bounds"
        );
        index.0 as usize * self.chunk_bytes as usize + start as usize
    }
}

impl Drop for Region {
    /// Frees the memory only if every frame came home; else it is leaked on purpose, for the kernel or a lost
    /// token may still point into it.
    fn drop(&mut self) {
        if *self.retired.get_mut() != self.frames {
            core::mem::forget(self.memory.take());
        }
    }
}

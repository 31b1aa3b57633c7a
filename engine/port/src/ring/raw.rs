//! UNSAFE: ring memory. Everything in it is an atomic, because the other side is not ours to trust: a plain read
//! of memory that a kernel or a thread writes at the same time would be undefined; a relaxed atomic one is the same
//! machine instruction.

#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use super::cursor::{Consumer, Cursor, Producer};

/// linux/if_xdp.h XDP_RING_NEED_WAKEUP.
const NEED_WAKEUP: u32 = 1;

/// An RX or TX descriptor, linux/if_xdp.h `struct xdp_desc`: 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Desc {
    /// Byte offset in the UMEM.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// `XDP_PKT_CONTD` and the like.
    pub options: u32,
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u64 {}
    impl Sealed for super::Desc {}
}

/// What a ring holds: whole 64-bit words of which every bit pattern is a value.
pub trait Entry: Copy + sealed::Sealed {
    /// Words an entry takes.
    const WORDS: usize;
    /// Reads one by its words.
    fn load(word: impl Fn(usize) -> u64) -> Self;
    /// Writes one by its words.
    fn store(self, word: impl FnMut(usize, u64));
}

impl Entry for u64 {
    const WORDS: usize = 1;
    fn load(word: impl Fn(usize) -> u64) -> Self {
        word(0)
    }
    fn store(self, mut word: impl FnMut(usize, u64)) {
        word(0, self);
    }
}

impl Entry for Desc {
    const WORDS: usize = 2;
    #[inline]
    fn load(word: impl Fn(usize) -> u64) -> Self {
        let [a, b, c, d, e, f, g, h] = word(1).to_ne_bytes();
        let (len, options) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
        Self { addr: word(0), len, options }
    }
    #[inline]
    fn store(self, mut word: impl FnMut(usize, u64)) {
        let ([a, b, c, d], [e, f, g, h]) = (self.len.to_ne_bytes(), self.options.to_ne_bytes());
        word(0, self.addr);
        word(1, u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Both sides of a ring on memory of its own, for tests, benches and threads: what one side produces the other
/// consumes.
///
/// # Panics
/// If `descs` is not a power of two, or there is no memory.
pub fn memory_pair<T: Entry>(descs: u32) -> (Producer<T>, Consumer<T>) {
    let (a, b) = Ring::memory(descs);
    (Cursor::new(a), Cursor::new(b))
}

#[cfg(not(loom))]
pub(crate) use mapped::{Offsets, Ring, kernel_consumer, kernel_producer};
#[cfg(loom)]
pub(crate) use modelled::Ring;

#[cfg(not(loom))]
mod mapped {
    use std::marker::PhantomData;
    use std::ptr::NonNull;

    use rustix::io::Errno;

    use super::*;
    use crate::sys::mmap::Mapping;

    /// Where things are in a mapped ring, bytes from its start (XDP_MMAP_OFFSETS).
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Offsets {
        pub(crate) producer: u64,
        pub(crate) consumer: u64,
        pub(crate) flags: u64,
        pub(crate) desc: u64,
    }

    impl Offsets {
        pub(crate) fn map_bytes<T: Entry>(&self, descs: u32) -> usize {
            self.desc as usize + descs as usize * T::WORDS * 8
        }
    }

    /// One side's view of ring memory. Not `Clone`: [`memory_pair`] and the kernel rings make one view a side.
    pub(crate) struct Ring<T> {
        producer: NonNull<AtomicU32>,
        consumer: NonNull<AtomicU32>,
        flags: NonNull<AtomicU32>,
        words: NonNull<AtomicU64>,
        descs: u32,
        _memory: Arc<Mapping>,
        _entries: PhantomData<T>,
    }

    // SAFETY: the pointers lead into `_memory`, which any thread may touch, and only to atomics
    // (test: ring::cursor::tests::two_threads).
    unsafe impl<T: Entry> Send for Ring<T> {}

    /// Our end of a ring that the kernel consumes (fill, TX).
    pub(crate) fn kernel_consumer<T: Entry>(
        map: Mapping,
        at: Offsets,
        descs: u32,
    ) -> Result<Producer<T>, Errno> {
        Ring::over(Arc::new(map), at, descs).map(Cursor::new).ok_or(Errno::FAULT)
    }

    /// Our end of a ring that the kernel produces (RX, completion).
    pub(crate) fn kernel_producer<T: Entry>(
        map: Mapping,
        at: Offsets,
        descs: u32,
    ) -> Result<Consumer<T>, Errno> {
        Ring::over(Arc::new(map), at, descs).map(Cursor::new).ok_or(Errno::FAULT)
    }

    impl<T: Entry> Ring<T> {
        pub(super) fn memory(descs: u32) -> (Self, Self) {
            // Like the kernel's struct xdp_ring: each index on a cache line of its own.
            let at = Offsets { producer: 0, consumer: 128, flags: 192, desc: 256 };
            let map = Mapping::anonymous(at.map_bytes::<T>(descs), false).expect("no memory for a ring");
            let map = Arc::new(map);
            let ring =
                || Self::over(map.clone(), at, descs).expect("a ring has a power of two of descriptors");
            (ring(), ring())
        }

        /// `None`: the offsets don't fit the memory.
        fn over(memory: Arc<Mapping>, at: Offsets, descs: u32) -> Option<Self> {
            let fits = |offset: u64, bytes: usize, align: u64| {
                let end = usize::try_from(offset).ok()?.checked_add(bytes)?;
                (end <= memory.len() && offset.is_multiple_of(align)).then_some(())
            };
            if !descs.is_power_of_two() {
                return None;
            }
            fits(at.producer, 4, 4)?;
            fits(at.consumer, 4, 4)?;
            fits(at.flags, 4, 4)?;
            fits(at.desc, descs as usize * T::WORDS * 8, 8)?;
            let base = memory.base();
            // SAFETY: each offset lies within the mapping with all that follows it there, aligned for its type
            // (`fits`; a mapping is page-aligned), and zeroed memory is a valid atomic
            // (test: tests::offsets_outside_the_memory_are_refused).
            let (producer, consumer, flags, words) = unsafe {
                (
                    base.add(at.producer as usize).cast(),
                    base.add(at.consumer as usize).cast(),
                    base.add(at.flags as usize).cast(),
                    base.add(at.desc as usize).cast(),
                )
            };
            Some(Self { producer, consumer, flags, words, descs, _memory: memory, _entries: PhantomData })
        }

        pub(crate) fn descs(&self) -> u32 {
            self.descs
        }

        fn at(p: &NonNull<AtomicU32>) -> &AtomicU32 {
            // SAFETY: a pointer made in `over`, into `_memory`, which lives as long as `self` (the lifetime is
            // that of a borrow of `self`'s field) (test: tests::one_side_outlives_the_other).
            unsafe { p.as_ref() }
        }

        fn word(&self, index: u32, word: usize) -> &AtomicU64 {
            let slot = (index & (self.descs - 1)) as usize;
            // SAFETY: `slot < descs` by the mask (a power of two, checked in `over`) and `word < WORDS`, so it is
            // within the entries that `over` found to fit (test: cursor::tests::wraps_around_at_u32_max).
            unsafe { self.words.add(slot * T::WORDS + word).as_ref() }
        }

        pub(crate) fn producer(&self) -> &AtomicU32 {
            Self::at(&self.producer)
        }

        pub(crate) fn consumer(&self) -> &AtomicU32 {
            Self::at(&self.consumer)
        }

        pub(crate) fn needs_wakeup(&self) -> bool {
            Self::at(&self.flags).load(Relaxed) & NEED_WAKEUP != 0
        }

        #[cfg(test)]
        pub(crate) fn set_needs_wakeup(&self, on: bool) {
            Self::at(&self.flags).store(on.into(), Relaxed);
        }

        #[inline]
        pub(crate) fn read(&self, index: u32) -> T {
            T::load(|w| self.word(index, w).load(Relaxed))
        }

        #[inline]
        pub(crate) fn write(&self, index: u32, entry: T) {
            entry.store(|w, v| self.word(index, w).store(v, Relaxed));
        }
    }
}

/// The same ring for loom: whatever order the model tries, an entry is read as it was published.
#[cfg(loom)]
mod modelled {
    use std::marker::PhantomData;

    use super::*;

    struct Shared {
        producer: AtomicU32,
        consumer: AtomicU32,
        flags: AtomicU32,
        words: Vec<AtomicU64>,
    }

    pub(crate) struct Ring<T> {
        shared: Arc<Shared>,
        descs: u32,
        _entries: PhantomData<T>,
    }

    impl<T: Entry> Ring<T> {
        pub(super) fn memory(descs: u32) -> (Self, Self) {
            assert!(descs.is_power_of_two());
            let shared = Arc::new(Shared {
                producer: AtomicU32::new(0),
                consumer: AtomicU32::new(0),
                flags: AtomicU32::new(0),
                words: (0..descs as usize * T::WORDS).map(|_| AtomicU64::new(0)).collect(),
            });
            let ring = |shared| Self { shared, descs, _entries: PhantomData };
            (ring(shared.clone()), ring(shared))
        }
        pub(crate) fn descs(&self) -> u32 {
            self.descs
        }
        pub(crate) fn producer(&self) -> &AtomicU32 {
            &self.shared.producer
        }
        pub(crate) fn consumer(&self) -> &AtomicU32 {
            &self.shared.consumer
        }
        pub(crate) fn needs_wakeup(&self) -> bool {
            self.shared.flags.load(Relaxed) & NEED_WAKEUP != 0
        }
        fn word(&self, index: u32, word: usize) -> &AtomicU64 {
            &self.shared.words[(index & (self.descs - 1)) as usize * T::WORDS + word]
        }
        pub(crate) fn read(&self, index: u32) -> T {
            T::load(|w| self.word(index, w).load(Relaxed))
        }
        pub(crate) fn write(&self, index: u32, entry: T) {
            entry.store(|w, v| self.word(index, w).store(v, Relaxed));
        }
    }
}

impl<T: Entry> Ring<T> {
    /// The other side's index: what it wrote before it moved there is visible after this.
    pub(crate) fn load_peer<const PRODUCER: bool>(&self) -> u32 {
        if PRODUCER { self.consumer().load(Acquire) } else { self.producer().load(Acquire) }
    }

    /// Our index: the other side sees what we wrote (or are done reading) before it sees this.
    pub(crate) fn store_own<const PRODUCER: bool>(&self, index: u32) {
        if PRODUCER { self.producer().store(index, Release) } else { self.consumer().store(index, Release) }
    }

    /// Where our index stands in memory, to begin with.
    pub(crate) fn load_own<const PRODUCER: bool>(&self) -> u32 {
        if PRODUCER { self.producer().load(Relaxed) } else { self.consumer().load(Relaxed) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::mmap::Mapping;

    #[test]
    fn a_descriptor_has_the_kernels_layout() {
        let d = Desc { addr: 0x1122, len: 60, options: 1 };
        let mut w = [0u64; 2];
        d.store(|i, v| w[i] = v);
        let bytes: Vec<u8> = w.iter().flat_map(|w| w.to_ne_bytes()).collect();
        assert_eq!(bytes[0..8], 0x1122u64.to_ne_bytes());
        assert_eq!(bytes[8..12], 60u32.to_ne_bytes());
        assert_eq!(bytes[12..16], 1u32.to_ne_bytes());
        assert_eq!(Desc::load(|i| w[i]), d);
    }

    #[test]
    fn offsets_outside_the_memory_are_refused() {
        let good = Offsets { producer: 0, consumer: 64, flags: 128, desc: 192 };
        let ring = |at, descs| {
            let map = Mapping::anonymous(4096, false).unwrap();
            kernel_consumer::<Desc>(map, at, descs).is_ok()
        };
        assert!(ring(good, 128));
        assert!(!ring(good, 256), "entries past the end");
        assert!(!ring(good, 100), "not a power of two");
        assert!(!ring(Offsets { producer: 4096, ..good }, 8));
        assert!(!ring(Offsets { consumer: u64::MAX, ..good }, 8));
        assert!(!ring(Offsets { flags: 2, ..good }, 8), "unaligned");
        assert!(!ring(Offsets { desc: 196, ..good }, 8), "unaligned");
    }

    #[test]
    fn one_side_outlives_the_other() {
        let (mut p, mut c) = memory_pair::<u64>(4);
        assert_eq!(p.usable(1), 1);
        p.put(7);
        p.publish();
        drop(p);
        assert_eq!(c.usable(1), 1);
        assert_eq!(c.take(), 7);
    }
}

//! The tokens: [`Frame`] for whoever holds the bytes, [`TxFrame`] for a transmission under way.

/// Which chunk of the region: `0..frames`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameIndex(pub u32);

/// What the port knows about the L4 checksum of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxCsum {
    /// Nothing: the stack verifies it.
    #[default]
    Unknown,
    /// Nothing, and the sender may be a local kernel that left the sum to an offload that never came
    /// (a veth peer's CHECKSUM_PARTIAL): the field then holds the folded pseudo-header sum.
    MaybePartial,
    /// Verified below us, or in memory all the way.
    Verified,
}

/// A move-only token for one chunk and the packet bytes in it (`start..start + len` within the chunk).
///
/// Dropping it without [`Pool::free`](crate::Pool::free) loses the chunk: the ledger then comes up short.
#[must_use = "a frame that is dropped is lost to its pool"]
#[derive(Debug)]
pub struct Frame {
    pub(crate) index: FrameIndex,
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) region: u16,
    /// What the port said of the L4 checksum.
    pub csum: RxCsum,
}

impl Frame {
    /// Which chunk.
    pub fn index(&self) -> FrameIndex {
        self.index
    }

    /// Offset of the first packet byte within the chunk.
    pub fn start(&self) -> usize {
        self.start as usize
    }

    /// Packet bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// No packet bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes `n` bytes off the front (at most all of them): a header parsed, or payload read.
    pub fn advance(&mut self, n: usize) {
        let n = (n as u32).min(self.len);
        self.start += n;
        self.len -= n;
    }

    /// Shortens the packet to `len` bytes; longer than it is changes nothing.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len as u32);
    }
}

/// A frame's bytes on their way out: consumed by a port's TX ring, given back by its completion.
///
/// It is its own type so that a completed transmission can't be completed, sent or freed twice.
#[must_use = "a transmission that is dropped never completes: its frame is lost to the pool"]
#[derive(Debug)]
pub struct TxFrame {
    pub(crate) index: FrameIndex,
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) region: u16,
}

impl TxFrame {
    /// Which chunk.
    pub fn index(&self) -> FrameIndex {
        self.index
    }

    /// Offset of the first byte to send within the chunk.
    pub fn start(&self) -> usize {
        self.start as usize
    }

    /// Bytes to send.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives the transmission to a ring: from here on only its index comes back, through
    /// [`Pool::complete`](crate::Pool::complete).
    pub fn into_index(self) -> FrameIndex {
        self.index
    }
}

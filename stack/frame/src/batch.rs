//! Transmissions that wait for room in a TX ring.

use alloc::collections::VecDeque;

use crate::TxFrame;

/// Transmissions a batch holds at most. Four bursts: a turn that sends more than its TX ring takes keeps the
/// rest here, and the stack stops producing until there is room again.
pub const BATCH_PKTS: usize = 256;

/// Up to [`BATCH_PKTS`] transmissions, oldest first. Never allocates after its construction.
#[derive(Debug)]
pub struct Batch(VecDeque<TxFrame>);

impl Default for Batch {
    fn default() -> Self {
        Self(VecDeque::with_capacity(BATCH_PKTS))
    }
}

impl Batch {
    /// Transmissions waiting.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None waiting.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Transmissions that still fit.
    pub fn room(&self) -> usize {
        BATCH_PKTS - self.0.len()
    }

    /// Adds a transmission.
    ///
    /// # Panics
    /// If there is no [`room`](Self::room).
    pub fn push(&mut self, tx: TxFrame) {
        assert!(self.0.len() < BATCH_PKTS, "batch of more than {BATCH_PKTS} frames");
        self.0.push_back(tx);
    }

    /// Takes the oldest one out.
    pub fn pop(&mut self) -> Option<TxFrame> {
        self.0.pop_front()
    }
}

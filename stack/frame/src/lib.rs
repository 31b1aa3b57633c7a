//! Frames, the pool they live in, and the ledger that accounts for every one of them.
//!
//! A [`Frame`] is a move-only token for one chunk of packet memory. At any instant it is in exactly one
//! place: the pool, the kernel's fill ring, the stack (or the application), the TX ring. The memory under a
//! [`Pool`] comes from outside ([`Memory`]): the heap in tests, a UMEM in life.
//!
//! ```text
//!            alloc                    into_fill             claim_rx
//!   pool ────────────► Frame ───────────────────► FILL ──────────────► Frame (received bytes)
//!    ▲                 │  │ lend (kept until acked)
//!    │ free            │  └─────────► TxFrame ── into_index ──► TX ── complete ─┐
//!    ├─────────────────┘                                                        │ still held: stays with its
//!    └──────────────────────────────────────────────────────────────────────────┘ holder; else back to the pool
//! ```
//!
//! One byte of state a frame ([`raw`]) says who holds it. Indices that come back from a kernel or a peer are
//! checked against it, so a hostile or broken ring can neither forge a token nor free one twice.
#![no_std]
#![deny(missing_docs)]
extern crate alloc;

mod batch;
mod burst;
mod frame;
mod ledger;
mod pool;
mod raw;

pub use batch::{BATCH_PKTS, Batch};
pub use burst::{BURST_PKTS, Burst};
pub use frame::{Frame, FrameIndex, RxCsum, TxFrame};
pub use ledger::Ledger;
pub use pool::{HEADROOM_BYTES, Pool};
pub use raw::{HeapMemory, Memory, Region};

//! The four rings of AF_XDP, on memory shared with the kernel (or between two threads, in tests and benches).
//!
//! All are single-producer single-consumer rings of a power of two of entries, with two free-running 32-bit
//! indices: the entry of index `i` is slot `i & mask`. One [`Cursor`] is under all four.
//!
//! ```text
//!            consumer (theirs)            producer (ours)
//!                 ▼                           ▼
//!   ────┬────┬────┬────┬────┬────┬────┬────┬────┬────┬────
//!       │done│done│ 17 │ 18 │ 19 │ 20 │ 21 │    │    │          used = producer - consumer
//!   ────┴────┴────┴────┴────┴────┴────┴────┴────┴────┴────      free = size - used
//! ```

mod completion;
mod cursor;
mod fill;
mod raw;
mod rx;
mod tx;

pub use completion::CompletionRing;
pub use cursor::{Consumer, Cursor, Producer};
pub use fill::FillRing;
pub use raw::{Desc, Entry, memory_pair};
pub use rx::RxRing;
pub use tx::TxRing;

#[cfg(not(loom))]
pub(crate) use raw::{Offsets, kernel_consumer, kernel_producer};

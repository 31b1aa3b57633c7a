//! The system calls that safe crates don't offer. UNSAFE lives here and in `ring/raw.rs` only.

pub(crate) mod mmap;
#[cfg(not(loom))]
pub(crate) mod xsk;

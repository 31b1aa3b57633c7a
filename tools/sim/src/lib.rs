//! A network of linerate stacks in virtual time: every run follows from its seed, and is checked while it goes.
//!
//! ```text
//!  seed ─► random ─► Scenario ─► World ─► Report, or Failure ─► the command that replays it, a pcapng
//!                       ▲
//!                 simplify (--without loss, --flows 1)
//! ```
//!
//! The stacks are the real ones, driven as a core drives them; only the wires ([`linerate_port::sim::Wire`]) and the
//! applications ([`flow`]) are made up.

pub mod dice;
pub mod scenario;

pub mod random;
pub mod simplify;

pub mod flow;
pub mod host;
pub mod noise;
pub mod pattern;
pub mod world;

pub mod capture;
pub mod digest;
pub mod pcapng;
pub mod sys;

pub mod many;

pub use scenario::Scenario;
pub use world::{Failure, Report, World};

/// Nanoseconds of a microsecond.
pub const US: u64 = 1_000;
/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds of a second.
pub const SEC: u64 = 1_000_000_000;

//! What each fuzz target does with its bytes: plain functions, so that a test can replay any input.
//!
//! The targets of whole stacks read their bytes as a play: who sends what, when time passes, what the application does. So
//! every input, however random, gets through a handshake and deep into a connection.
#![forbid(unsafe_code)]

pub mod host;
pub mod input;
pub mod segment;

pub mod parse;
pub mod tcp_options;

pub mod one_connection;
pub mod two_connections;

pub mod nd;
pub mod reassembly;

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;

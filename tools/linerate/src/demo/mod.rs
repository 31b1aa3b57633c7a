//! `linerate demo`: the engine and a plain kernel server, measured by one client in one run.
//!
//! ```text
//!   load (kernel sockets, its own core) ──veth──> linerate engine        } the same five services,
//!                                       ──veth──> kernel_server (epoll)  } the same bytes
//!   run: rounds of linerate,kernel / kernel,linerate ──> rows ──> table or report (JSON)
//! ```
//!
//! `pattern` and `http` hold the bytes both servers speak; they do no I/O, so the engine's services use
//! them as they are.

pub mod bench_net;
pub mod cmd;
pub mod cpu;
pub mod http;
pub mod kernel_server;
pub mod load;
pub mod pattern;
pub mod report;
pub mod rows;
pub mod run;
pub mod service;
pub mod socket;
pub mod table;

#[cfg(test)]
mod loopback_test;

//! The engine: one pinned polling thread a core, each running the whole stack inline on its own ports.
//!
//! [`turn`] is the conductor: reading it first is reading the system. [`launch`] is the way from an interface's name
//! to running cores.
#![forbid(unsafe_code)]

mod addresses;
pub mod clock;
pub mod core;
pub mod handoff;
pub mod idle;
pub mod launch;
pub mod limits;
pub mod mirror;
mod placement;
pub mod report;
pub mod service;
pub mod turn;

#[cfg(test)]
mod two_cores_test;

pub use core::{Core, CoreId};
pub use launch::{Engine, LaunchConfig, LaunchError, Picked, PortChoice, Rejected};
pub use report::{CoreReport, Report};
pub use service::{Cx, Next, Service, ServiceSet};

//! Loads the steering program, fills its maps, attaches it by a bpf_link.
//!
//! The link is an fd of this process: when the process ends, in whatever way, the kernel detaches the
//! program and the interface is the host's again.
#![deny(unsafe_code)]

mod errno;
mod error;
mod rtnl;
mod steer;
#[allow(unsafe_code)]
mod sys;

pub use errno::errno_name;
pub use error::LoadError;
pub use steer::{Attach, Claim, Protocol, Steer};

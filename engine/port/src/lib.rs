//! Ports: where frames enter and leave the engine.
//!
//! A port moves [`Frame`](linerate_frame::Frame)s and can't read them: it knows chunks, lengths and rings, not
//! protocols. All of them have one interface, [`Port`], and one account of what they did, [`PortStats`].
//!
//! | port | what is behind it |
//! |---|---|
//! | [`af_xdp::Xsk`] | a queue of a network interface, by AF_XDP |
//! | [`channel::ChannelPort`] | another port in this process |
//! | [`sim::SimPort`] | a simulated link with delay, loss, reordering, in virtual time |
#![deny(missing_docs)]
// `cfg(loom)` is set by hand (RUSTFLAGS) to model the ring protocol; cargo doesn't know it.
#![allow(unexpected_cfgs)]

mod error;
mod port;
pub mod ring;
mod stats;
pub(crate) mod sys;

#[cfg(not(loom))]
pub mod af_xdp;
#[cfg(not(loom))]
pub mod channel;
#[cfg(not(loom))]
pub mod sim;
#[cfg(not(loom))]
mod umem;

pub use error::{PortError, RingKind};
pub use port::{Caps, ETHERNET_HEADER_BYTES, Link, Port, VLAN_TAG_BYTES};
pub use stats::{KernelStats, PortStats};
#[cfg(not(loom))]
pub use umem::{Pages, Umem, UmemConfig, XDP_HEADROOM_BYTES};

//! The host's side of an interface: read it, watch it, change it, and put it back.
//!
//! Only this crate and `linerate-load` change the host. Everything works in the calling thread's network
//! namespace; a change to an interface that exists goes through the [`Journal`].
#![deny(unsafe_code)]

mod change;
mod error;
mod features;
mod neigh;
mod netlink;
mod netns;
mod offload;
mod reserve;
mod scrape;
#[allow(unsafe_code)]
mod sys;
pub mod veth;

pub use change::{Change, Journal, Outcome, Undone};
pub use error::NicError;
pub use features::{Features, features};
pub use neigh::{NeighbourEvent, NeighbourWatch, ask_kernel};
pub use netns::Netns;
pub use offload::Offload;
pub use reserve::{PortReservation, reserve_port};
pub use scrape::{
    IfAddr, Link, Neighbour, Rings, Route, Scrape, XdpAttached, XdpMode, if_index, link_names, rings, scrape,
};

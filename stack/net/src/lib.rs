//! The network stack of one core, sans-IO: frames and time in, frames out.
//!
//! A [`Stack`] owns a pool of frames, an interface's addresses, routes and neighbours, a flow table, connections
//! and listeners. It knows no port, no thread and no clock: the same bytes at the same times give the same run.
//! Read [`ingress`] top down, then [`egress`] bottom up.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod config;
pub mod limits;
pub mod stack;

mod arp_nd;
mod fast_open;
pub mod flow;
mod icmp;
mod icmp_error;
mod icmp_out;
pub mod ingress;
mod ip_in;
mod reassembly;
mod syn_in;
mod tcp_in;

pub mod dgram;
pub mod sock;

pub mod egress;
mod ip_id;
mod ip_out;

pub mod addr;
pub mod auto;
mod group;
pub mod neigh;
mod pmtu;
pub mod route;
mod source;

pub mod counters;
pub mod drop_reason;
pub mod wheel;

pub mod audit;

pub use arp_nd::Lesson;
pub use auto::{AddrEvent, AutoConfig};
pub use config::{Link, StackConfig};
pub use counters::Counters;
pub use dgram::{DgramId, DgramKind, DgramMeta, DgramNotice, DgramOptions, PmtuDiscovery};
pub use drop_reason::DropReason;
pub use flow::owner::Owners;
pub use flow::{FlowId, ListenerId};
pub use ingress::Ingress;
pub use linerate_tcp::{Events, Instant, State, SynCookies, TcpConfig, TcpError, ecn::EcnMode};
pub use sock::SockError;
pub use sock::calls::How;
pub use stack::Stack;

//! TCP, sans-IO: pure functions of segments and time. RFC 9293 and its companions.
//!
//! A [`Tcb`] takes segments ([`Tcb::on_segment`]), the application's calls ([`Tcb::write`], [`Tcb::recv`], ...)
//! and the passing of time ([`Tcb::on_deadline`]); everything it wants to send leaves through
//! [`Tcb::output`] into a [`Sink`]. It knows no address, no route and no clock.
//!
//! Payload is never copied in order: [`rcv`] holds the frames as they came. Written bytes are copied once,
//! into the frame that will leave ([`snd`]), which is kept until it is acknowledged. One entry of the send
//! queue is one frame is one segment.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod limits;
pub mod seq;
pub mod time;

pub mod config;
pub mod segment;
pub mod tcb;

mod ack;
mod deadline;
pub mod fast_open;
mod frto;
pub mod half_open;
mod icmp;
mod input;
mod input_fast;
pub mod open;
mod quick_acks;
mod rack;
pub mod rate;
pub mod rcv;
mod reassembly;
mod sack;
mod tlp;
mod tuning;
mod undo;
mod window;

pub mod cc;
mod close;
pub mod ecn;
mod keepalive;
mod mtu_probe;
mod output;
mod pacing;
mod prr;
mod queue;
pub mod rtt;
pub mod snd;
pub mod time_wait;
mod urgent;
mod user_timeout;

pub mod info;
pub mod stats;

pub use config::{SynCookies, TcpConfig};
pub use half_open::HalfOpen;
pub use input::Disposition;
pub use input::TcpDrop;
pub use open::Opening;
pub use segment::{Segment, SegmentIn, Sent, Sink};
pub use seq::SeqNum;
pub use tcb::{Env, Events, State, Tcb, TcpCounters, TcpError};
pub use time::Instant;
pub use time_wait::TimeWait;

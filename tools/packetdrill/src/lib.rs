//! The stack as a shared object for packetdrill: a table of socket calls, two calls that pass packets, two for time.
//!
//! [`ffi`] is the boundary: C pointers become slices there, [`Errno`](errno::Errno)s become `errno`. Behind it stands
//! one [`world`]: a [`Stack`](linerate_net::Stack) on a link of raw IP packets, its clock, and the descriptors that the
//! script opened. Nothing runs by itself: time passes in the calls that say so ([`shared`]).

pub mod errno;
pub mod ffi;
pub mod flags;
mod sys;

mod clock;
mod shared;
mod sysctl;
mod world;

mod call;
mod epoll;
mod options;
mod pipe;
mod sockaddr;
mod split;
mod tcp_info;
mod tcp_sock;
mod udp_sock;
mod zerocopy;

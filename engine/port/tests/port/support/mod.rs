//! A throw-away network namespace with a veth pair, and the XDP program that fills an XSKMAP's sockets.

pub mod netns;
pub mod sys;

//! Every port against one suite (`conformance.rs`), and what each has of its own.
//!
//! The AF_XDP tests need root (or CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF) and iproute2; each works in a network namespace of
//! its own on a veth pair of its own, which are gone when it ends.

mod af_xdp;
mod channel;
mod conformance;
mod sim;
mod support;

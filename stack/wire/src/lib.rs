//! What the bytes mean: headers of Ethernet, ARP, IPv4, IPv6, ICMP, ND, UDP and TCP, parsed once on the way
//! in (`parse`) and pushed into headroom on the way out (`emit`). No clock, no state, no allocation per
//! packet; no input makes it panic. The modules stand in the order of a packet's journey.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod parse;

pub mod flow_key;
pub mod rss;

pub mod eth;
pub mod vlan;

pub mod arp;
pub mod ipv4;
pub mod ipv6;

pub mod icmpv4;
pub mod icmpv6;
pub mod igmp;
pub mod mld;
pub mod nd;

pub mod tcp;
pub mod tcp_options;
pub mod udp;

pub mod checksum;
pub mod emit;

pub use arp::{ArpOp, ArpPacket};
pub use checksum::{CsumStatus, Sum, copy_and_sum, is_partial, sum, verify_l4};
pub use emit::{EmitError, MAX_HEADER, Push, TcpEmit};
pub use eth::{L2, MacAddr};
pub use flow_key::{FlowKey, HashKey};
pub use parse::{
    Fragment, Kind, NetInfo, ParseError, Parsed, Quoted, parse, parse_ip, parse_quoted, protocol,
};
pub use rss::Toeplitz;
pub use tcp::{TcpFlags, TcpHeader, parse_tcp};
pub use tcp_options::{SackBlocks, TcpOptions, emit_options, parse_options};
pub use udp::{UdpHeader, parse_udp};

#[cfg(test)]
mod mutation_test;

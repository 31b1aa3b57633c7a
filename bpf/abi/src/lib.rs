//! What the steering program and user space agree on: map names, claim modes, keys and counters.
//!
//! The same text in C is `bpf/steer/steer.h`; `tests/header.rs` reads it and compares.
#![no_std]
#![forbid(unsafe_code)]

/// The program's name, in the object and as `bpftool prog` shows it.
pub const PROGRAM: &str = "steer";

/// XSKMAP: receive queue index -> AF_XDP socket bound to that queue.
pub const MAP_XSKS: &str = "xsks";
/// HASH: IPv4 address as in the packet ([`[u8; 4]`]) -> [`ClaimMode`] as `u32`.
pub const MAP_ADDRS4: &str = "addrs4";
/// HASH: IPv6 address as in the packet ([`[u8; 16]`]) -> [`ClaimMode`] as `u32`.
pub const MAP_ADDRS6: &str = "addrs6";
/// HASH: [`PortKey`] -> `1u32`. The port is ours at every address claimed by [`ClaimMode::Ports`].
pub const MAP_PORTS: &str = "ports";
/// PERCPU_ARRAY: [`Counter`] -> packets, `u64`.
pub const MAP_COUNTERS: &str = "counters";

/// Entries of [`MAP_XSKS`]: queues 0 to 255.
pub const MAX_QUEUES: u32 = 256;
/// Entries of [`MAP_ADDRS4`].
pub const MAX_ADDRS4: u32 = 1024;
/// Entries of [`MAP_ADDRS6`].
pub const MAX_ADDRS6: u32 = 1024;
/// Entries of [`MAP_PORTS`].
pub const MAX_PORTS: u32 = 16384;
/// IPv6 extension headers the program walks before it passes the packet on.
pub const MAX_EXT_HEADERS: u32 = 4;

/// How much of an address is ours. The values are in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ClaimMode {
    /// Every packet to the address, whatever its protocol, and its ARP and ND.
    Whole = 1,
    /// TCP and UDP to the claimed ports, and ICMP errors about flows from them. The kernel keeps
    /// the address: ARP, ND, echo and fragments stay its own.
    Ports = 2,
}

/// Key of [`MAP_PORTS`], laid out as `struct steer_port_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PortKey {
    /// IP protocol number: 6 or 17.
    pub proto: u8,
    /// Always zero: a hash key has no room for padding of unknown content.
    pub zero: u8,
    /// Destination port, network byte order.
    pub port_be: [u8; 2],
}

impl PortKey {
    /// Key for an IP protocol number and a port in host order.
    pub const fn new(proto: u8, port: u16) -> Self {
        Self { proto, zero: 0, port_be: port.to_be_bytes() }
    }

    /// The four bytes the map sees.
    pub const fn to_bytes(self) -> [u8; 4] {
        [self.proto, self.zero, self.port_be[0], self.port_be[1]]
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet went where it went; each packet counts in exactly one. Index into [`MAP_COUNTERS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// All counters, in the order of the map.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The counter's public name, e.g. `steer_claimed_tcp`.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Ours: TCP.
    ClaimedTcp = "steer_claimed_tcp",
    /// Ours: UDP.
    ClaimedUdp = "steer_claimed_udp",
    /// Ours: ICMP or ICMPv6 to a whole address.
    ClaimedIcmp = "steer_claimed_icmp",
    /// Ours: ICMP error about a flow from a claimed port of a shared address.
    ClaimedIcmpError = "steer_claimed_icmp_error",
    /// Ours: ARP for, or a conflict about, a whole address.
    ClaimedArp = "steer_claimed_arp",
    /// Ours: neighbour discovery for a whole address.
    ClaimedNd = "steer_claimed_nd",
    /// Ours: fragment to a whole address.
    ClaimedFragment = "steer_claimed_fragment",
    /// Ours: any other protocol to a whole address.
    ClaimedOther = "steer_claimed_other",
    /// Ours, but no AF_XDP socket sits on the queue it came in on: the kernel got it.
    NoXsk = "steer_no_xsk",
    /// The kernel's: neither IPv4, IPv6 nor ARP (a second VLAN tag counts here).
    PassedNotIp = "steer_passed_not_ip",
    /// The kernel's: to an address that is not claimed.
    PassedNotOurs = "steer_passed_not_ours",
    /// The kernel's: to a multicast group, and not ND about a whole address.
    PassedMulticast = "steer_passed_multicast",
    /// The kernel's: ARP that names no whole address.
    PassedArp = "steer_passed_arp",
    /// The kernel's: to a shared address, but the port is not claimed.
    PassedPort = "steer_passed_port",
    /// The kernel's: ICMP to a shared address that is no error about a flow of ours.
    PassedIcmp = "steer_passed_icmp",
    /// The kernel's: a protocol other than TCP, UDP, ICMP to a shared address.
    PassedProtocol = "steer_passed_protocol",
    /// The kernel's: fragment to a shared address.
    PassedFragment = "steer_passed_fragment",
    /// The kernel's: more than [`MAX_EXT_HEADERS`] extension headers.
    PassedExtHeaders = "steer_passed_ext_headers",
    /// The kernel's: cut short, or a header contradicts itself.
    PassedMalformed = "steer_passed_malformed",
    /// The kernel's: tagged for a VLAN, which is another link with addresses of its own.
    PassedVlan = "steer_passed_vlan",
}

//! What a stack is told at its birth.

use alloc::vec::Vec;

use linerate_tcp::TcpConfig;
use linerate_wire::MacAddr;

use crate::addr::IfAddr;
use crate::neigh::Resolver;
use crate::route::Route;

/// What the port's frames begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// An Ethernet header; our address.
    Ethernet(MacAddr),
    /// An IP header: no link layer, no neighbours.
    RawIp,
}

/// Settings of a [`Stack`](crate::Stack).
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Link layer.
    pub link: Link,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Our addresses.
    pub addrs: Vec<IfAddr>,
    /// Our routes, those of the addresses' own prefixes included.
    pub routes: Vec<Route>,
    /// Who resolves neighbours: we, or the host's kernel beside us.
    pub resolver: Resolver,
    /// TCP's settings.
    pub tcp: TcpConfig,
    /// Secret and seed: keys the flow table, ISNs, timestamps and ports. From the host's random source in life,
    /// from the test's seed in tests.
    pub secret: [u64; 4],
}

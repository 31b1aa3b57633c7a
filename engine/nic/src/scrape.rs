//! Reads an interface of this thread's network namespace, and what the kernel would do with it.
//!
//! All by netlink and ioctl: /sys/class/net shows the namespace it was mounted in, which after unshare or
//! setns in a thread is another one. Only the NUMA node comes from sysfs, and only if what sysfs shows
//! under the name has our index and address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Rtnl;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp, XdpAttached as AttachedAs};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteType, RouteVia,
};

use crate::netlink::{NLM_F_DUMP, Netlink};
use crate::{NicError, sys};

/// Everything the stack needs to be this interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// The interface.
    pub link: Link,
    /// Its addresses, without those that duplicate address detection has refused.
    pub addrs: Vec<IfAddr>,
    /// Unicast routes of the main table that leave by it; a multipath route is one entry per next hop.
    pub routes: Vec<Route>,
    /// Neighbours on it whose link-layer address the kernel knows.
    pub neighbours: Vec<Neighbour>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index in its namespace.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Ethernet address; zero where there is none (tun).
    pub mac: [u8; 6],
    /// Bytes of an IP packet.
    pub mtu: u32,
    /// As ethtool names it; empty where the device has no ethtool.
    pub driver: String,
    /// The node its device hangs on, where there is one and sysfs shows it.
    pub numa_node: Option<i32>,
    /// Receive queues in use now. virtio_net may use more once a program is attached: read it again.
    pub rx_queues: u32,
    /// Transmit queues in use now.
    pub tx_queues: u32,
    /// IFF_UP: the administrator wants it.
    pub up: bool,
    /// IFF_LOWER_UP: there is a carrier.
    pub carrier: bool,
    /// The XDP program on it.
    pub xdp: Option<XdpAttached>,
}

/// An XDP program that is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpAttached {
    /// Where it runs.
    pub mode: XdpMode,
    /// Its id, as in `bpftool prog show id`.
    pub prog_id: u32,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver (drv).
    Native,
    /// In the generic receive path (skb).
    Generic,
    /// In the device (hw).
    Offloaded,
    /// Several at once.
    Multiple,
}

/// An address of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfAddr {
    /// The host's own address (on a point-to-point link not the peer's).
    pub addr: IpAddr,
    /// Bits.
    pub prefix_len: u8,
}

/// A route that leaves by the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination and bits; the default route is the unspecified address with 0.
    pub dst: (IpAddr, u8),
    /// Next hop; none: on the link. May be IPv6 for an IPv4 destination (RFC 5549).
    pub gateway: Option<IpAddr>,
    /// Smaller is preferred.
    pub metric: u32,
    /// Bytes, where the route has its own.
    pub mtu: Option<u32>,
    /// Source address to use.
    pub prefsrc: Option<IpAddr>,
}

/// A resolved neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub addr: IpAddr,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Set by hand; never expires.
    pub permanent: bool,
    /// Confirmed lately (REACHABLE), or permanent. False: the mac is what was last known.
    pub reachable: bool,
}

/// Descriptors of the NIC's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Receive descriptors a queue, now.
    pub rx: u32,
    /// The most the driver takes.
    pub rx_max: u32,
    /// Transmit descriptors a queue, now.
    pub tx: u32,
    /// The most the driver takes.
    pub tx_max: u32,
}

/// Reads the interface of that name. An unknown name is answered with the names that exist.
pub fn scrape(name: &str) -> Result<Scrape, NicError> {
    let mut netlink = Netlink::route()?;
    let link = read_link(&mut netlink, name)?;
    Ok(Scrape {
        addrs: read_addrs(&mut netlink, link.ifindex)?,
        routes: read_routes(&mut netlink, link.ifindex)?,
        neighbours: read_neighbours(&mut netlink, link.ifindex)?,
        link,
    })
}

/// The index of an interface in this thread's namespace.
pub fn if_index(name: &str) -> Result<u32, NicError> {
    link_message(&mut Netlink::route()?, name).map(|message| message.header.index)
}

/// All interfaces of this thread's namespace.
pub fn link_names() -> Result<Vec<String>, NicError> {
    let answer = Netlink::route()?.route_call(
        "listing interfaces",
        NLM_F_DUMP,
        &Rtnl::GetLink(LinkMessage::default()),
    )?;
    Ok(answer
        .into_iter()
        .filter_map(|message| match message {
            Rtnl::NewLink(link) => link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            }),
            _ => None,
        })
        .collect())
}

/// Ring sizes; `None` where the driver has none to tell (veth).
pub fn rings(name: &str) -> Result<Option<Rings>, NicError> {
    // ethtool_ringparam: cmd, rx_max, rx_mini_max, rx_jumbo_max, tx_max, rx, rx_mini, rx_jumbo, tx.
    let mut words = [0u32; 9];
    words[0] = sys::ETHTOOL_GRINGPARAM;
    match sys::ethtool(name, &mut words) {
        Ok(()) => Ok(Some(Rings { rx_max: words[1], tx_max: words[4], rx: words[5], tx: words[8] })),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(named(name, NicError::kernel(format!("reading the ring sizes of {name}"), &error))),
    }
}

/// Turns "no such device" into the error that lists the names.
pub(crate) fn named(name: &str, error: NicError) -> NicError {
    match error.errno() {
        Some(libc::ENODEV) => {
            NicError::NoSuchInterface { name: name.to_owned(), existing: link_names().unwrap_or_default() }
        }
        _ => error,
    }
}

pub(crate) fn link_message(netlink: &mut Netlink, name: &str) -> Result<LinkMessage, NicError> {
    let tried = format!("reading interface {name}");
    // The kernel answers ERANGE to a name longer than it allows.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(named(name, NicError::kernel(tried, &std::io::Error::from_raw_os_error(libc::ENODEV))));
    }
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let answer =
        netlink.route_call(&tried, 0, &Rtnl::GetLink(request)).map_err(|error| named(name, error))?;
    answer
        .into_iter()
        .find_map(|message| match message {
            Rtnl::NewLink(link) => Some(link),
            _ => None,
        })
        .ok_or_else(|| NicError::Unreadable { tried, what: "no link message".to_owned() })
}

fn read_link(netlink: &mut Netlink, name: &str) -> Result<Link, NicError> {
    let message = link_message(netlink, name)?;
    let mut link = Link {
        ifindex: message.header.index,
        name: name.to_owned(),
        mac: [0; 6],
        mtu: 0,
        driver: driver(name),
        numa_node: None,
        rx_queues: 1,
        tx_queues: 1,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        xdp: None,
    };
    for attribute in &message.attributes {
        match attribute {
            // The kernel's own name: the one asked for may be an alternative name.
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::NumRxQueues(queues) => link.rx_queues = *queues,
            LinkAttribute::NumTxQueues(queues) => link.tx_queues = *queues,
            LinkAttribute::Xdp(xdp) => link.xdp = xdp_attached(xdp),
            _ => {}
        }
    }
    // Netlink tells the queues allocated, ethtool those in use.
    if let Some((rx, tx)) = channels(&link.name) {
        (link.rx_queues, link.tx_queues) = (rx, tx);
    }
    link.numa_node = numa_node(&link);
    Ok(link)
}

fn xdp_attached(attributes: &[LinkXdp]) -> Option<XdpAttached> {
    let mut mode = None;
    let mut prog_id = None;
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(AttachedAs::Driver) => mode = Some(XdpMode::Native),
            LinkXdp::Attached(AttachedAs::SocketBuffer) => mode = Some(XdpMode::Generic),
            LinkXdp::Attached(AttachedAs::Hardware) => mode = Some(XdpMode::Offloaded),
            LinkXdp::Attached(AttachedAs::Multiple) => mode = Some(XdpMode::Multiple),
            LinkXdp::ProgId(id) => prog_id = Some(*id),
            // With several programs there is no single id: the native one is what stands in the way.
            LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => {
                prog_id = prog_id.or(Some(*id));
            }
            _ => {}
        }
    }
    Some(XdpAttached { mode: mode?, prog_id: prog_id.unwrap_or(0) })
}

fn driver(name: &str) -> String {
    // ethtool_drvinfo: cmd, then char driver[32], ...
    let mut words = [0u32; 49];
    words[0] = sys::ETHTOOL_GDRVINFO;
    if sys::ethtool(name, &mut words).is_err() {
        return String::new();
    }
    let bytes: Vec<u8> =
        words[1..9].iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn channels(name: &str) -> Option<(u32, u32)> {
    // ethtool_channels: cmd, max_rx, max_tx, max_other, max_combined, rx, tx, other, combined.
    let mut words = [0u32; 9];
    words[0] = sys::ETHTOOL_GCHANNELS;
    sys::ethtool(name, &mut words).ok()?;
    let (rx, tx) = (words[5] + words[8], words[6] + words[8]);
    (rx > 0 && tx > 0).then_some((rx, tx))
}

fn numa_node(link: &Link) -> Option<i32> {
    let folder = std::path::Path::new("/sys/class/net").join(&link.name);
    let read =
        |file: &str| std::fs::read_to_string(folder.join(file)).map(|text| text.trim().to_owned()).ok();
    let mac: Vec<String> = link.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    if read("ifindex")?.parse() != Ok(link.ifindex) || read("address")? != mac.join(":") {
        return None;
    }
    read("device/numa_node")?.parse().ok().filter(|node| *node >= 0)
}

fn read_addrs(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<IfAddr>, NicError> {
    let answer =
        netlink.route_call("reading addresses", NLM_F_DUMP, &Rtnl::GetAddress(AddressMessage::default()))?;
    let ours = answer.into_iter().filter_map(|message| match message {
        Rtnl::NewAddress(addr) if addr.header.index == ifindex => Some(addr),
        _ => None,
    });
    Ok(ours.filter_map(|message| if_addr(&message)).collect())
}

fn if_addr(message: &AddressMessage) -> Option<IfAddr> {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => address = Some(*addr),
            AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Dadfailed) => return None,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's.
    Some(IfAddr { addr: local.or(address)?, prefix_len: message.header.prefix_len })
}

fn read_routes(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<Route>, NicError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let answer = netlink.route_call("reading routes", NLM_F_DUMP, &Rtnl::GetRoute(request))?;
        for message in answer {
            if let Rtnl::NewRoute(message) = message {
                routes_of(&message, ifindex, &mut routes);
            }
        }
    }
    Ok(routes)
}

fn routes_of(message: &RouteMessage, ifindex: u32, routes: &mut Vec<Route>) {
    let table = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let main = u32::from(RouteHeader::RT_TABLE_MAIN);
    if table.unwrap_or(message.header.table.into()) != main
        || message.header.kind != RouteType::Unicast
        || message.header.flags.contains(RouteFlags::Cloned)
    {
        return;
    }
    let unspecified: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut route = Route {
        dst: (unspecified, message.header.destination_prefix_length),
        gateway: None,
        metric: 0,
        mtu: None,
        prefsrc: None,
    };
    let mut oif = None;
    let mut hops = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(addr) => route.dst.0 = ip(addr).unwrap_or(unspecified),
            RouteAttribute::PrefSource(addr) => route.prefsrc = ip(addr),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Oif(index) => oif = Some(*index),
            RouteAttribute::MultiPath(next_hops) => hops = Some(next_hops),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if oif == Some(ifindex) {
        routes.push(Route { gateway: gateway(&message.attributes), ..route });
    }
    for hop in hops.into_iter().flatten().filter(|hop| hop.interface_index == ifindex) {
        routes.push(Route { gateway: gateway(&hop.attributes), ..route });
    }
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(addr) => ip(addr),
        RouteAttribute::Via(RouteVia::Inet(addr)) => Some((*addr).into()),
        RouteAttribute::Via(RouteVia::Inet6(addr)) => Some((*addr).into()),
        _ => None,
    })
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

pub(crate) fn read_neighbours(netlink: &mut Netlink, ifindex: u32) -> Result<Vec<Neighbour>, NicError> {
    let answer = netlink.route_call(
        "reading neighbours",
        NLM_F_DUMP,
        &Rtnl::GetNeighbour(NeighbourMessage::default()),
    )?;
    Ok(answer
        .iter()
        .filter_map(|message| match message {
            Rtnl::NewNeighbour(message) if message.header.ifindex == ifindex => neighbour(message),
            _ => None,
        })
        .collect())
}

/// `None` for what has no Ethernet address (now), and for multicast and such (NOARP).
pub(crate) fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let (mut permanent, mut reachable) = (false, false);
    match message.header.state {
        NeighbourState::Permanent => (permanent, reachable) = (true, true),
        NeighbourState::Reachable => reachable = true,
        NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe => {}
        _ => return None,
    }
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
        _ => None,
    })?;
    Some(Neighbour { addr: neighbour_addr(message)?, mac, permanent, reachable })
}

pub(crate) fn neighbour_addr(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some((*addr).into()),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => Some((*addr).into()),
        _ => None,
    })
}

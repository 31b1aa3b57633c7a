//! Interfaces of our own: veth pairs for demos and tests, and the verbs to set them up.
//!
//! Nothing here is journaled. Make pairs in an anonymous [`Netns`](crate::Netns) where you can: they
//! go with it. One that is made in the host's namespace goes through
//! [`Journal::create_pair`](crate::Journal::create_pair).

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Rtnl};

use crate::NicError;
use crate::netlink::{NLM_F_CREATE, NLM_F_EXCL, Netlink};
use crate::scrape::link_message;

/// Makes a veth pair: `a` in the calling thread's namespace, `b` in `peer_netns`, each with `queues`
/// receive and transmit queues in use. Both are down.
pub fn create_pair(a: &str, b: &str, queues: u32, peer_netns: BorrowedFd<'_>) -> Result<(), NicError> {
    let end = |name: &str| {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::NumTxQueues(queues));
        message.attributes.push(LinkAttribute::NumRxQueues(queues));
        message
    };
    let mut peer = end(b);
    peer.attributes.push(LinkAttribute::NetNsFd(peer_netns.as_raw_fd()));
    let mut message = end(a);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    let tried = format!("making the veth pair {a}, {b} with {queues} queues");
    Netlink::route()?.route_call(&tried, NLM_F_CREATE | NLM_F_EXCL, &Rtnl::NewLink(message)).map(drop)
}

/// Sets an interface up.
pub fn set_up(name: &str) -> Result<(), NicError> {
    change(name, "setting up", |message| {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    })
}

/// Sets the Ethernet address.
pub fn set_mac(name: &str, mac: [u8; 6]) -> Result<(), NicError> {
    change(name, "setting the address of", |message| {
        message.attributes.push(LinkAttribute::Address(mac.to_vec()))
    })
}

/// Sets the MTU: bytes of an IP packet.
pub fn set_mtu(name: &str, mtu: u32) -> Result<(), NicError> {
    change(name, "setting the MTU of", |message| message.attributes.push(LinkAttribute::Mtu(mtu)))
}

/// Deletes an interface (of a veth pair: both ends).
pub fn delete_link(name: &str) -> Result<(), NicError> {
    let mut netlink = Netlink::route()?;
    let mut message = LinkMessage::default();
    message.header.index = link_message(&mut netlink, name)?.header.index;
    netlink.route_call(&format!("deleting interface {name}"), 0, &Rtnl::DelLink(message)).map(drop)
}

/// Adds an address. An IPv6 one is usable at once: no duplicate address detection.
pub fn add_addr(name: &str, addr: IpAddr, prefix_len: u8) -> Result<(), NicError> {
    let mut netlink = Netlink::route()?;
    let mut message = AddressMessage::default();
    message.header.index = link_message(&mut netlink, name)?.header.index;
    message.header.family = family(addr);
    message.header.prefix_len = prefix_len;
    message.header.scope = AddressScope::Universe;
    message.attributes.push(AddressAttribute::Local(addr));
    message.attributes.push(AddressAttribute::Address(addr));
    if addr.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    let tried = format!("adding address {addr}/{prefix_len} to {name}");
    netlink.route_call(&tried, NLM_F_CREATE | NLM_F_EXCL, &Rtnl::NewAddress(message)).map(drop)
}

/// Adds a route to the main table, out of `name`, by a gateway or on the link.
pub fn add_route(dst: (IpAddr, u8), gateway: Option<IpAddr>, name: &str) -> Result<(), NicError> {
    let mut netlink = Netlink::route()?;
    let mut message = RouteMessage::default();
    message.header.address_family = family(dst.0);
    message.header.destination_prefix_length = dst.1;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = if gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(dst.0)));
    message.attributes.push(RouteAttribute::Oif(link_message(&mut netlink, name)?.header.index));
    if let Some(gateway) = gateway {
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    }
    let tried = format!("adding the route to {}/{} out of {name}", dst.0, dst.1);
    netlink.route_call(&tried, NLM_F_CREATE | NLM_F_EXCL, &Rtnl::NewRoute(message)).map(drop)
}

fn change(name: &str, verb: &str, fill: impl FnOnce(&mut LinkMessage)) -> Result<(), NicError> {
    let mut netlink = Netlink::route()?;
    let mut message = LinkMessage::default();
    message.header.index = link_message(&mut netlink, name)?.header.index;
    fill(&mut message);
    netlink.route_call(&format!("{verb} {name}"), 0, &Rtnl::SetLink(message)).map(drop)
}

fn family(addr: IpAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

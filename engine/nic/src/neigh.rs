//! Neighbours by the kernel's hand (share mode): it resolves, we listen.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Rtnl};

use crate::netlink::{NLM_F_CREATE, Netlink, decode_route};
use crate::{NicError, scrape};

const RTNLGRP_NEIGH: u32 = 3;

/// A neighbour has become known, has changed, or is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourEvent {
    /// Who.
    pub addr: IpAddr,
    /// Its Ethernet address; `None`: resolution failed, or the kernel has forgotten it.
    pub mac: Option<[u8; 6]>,
}

/// Follows the neighbours of one interface. Poll the fd for readability, then take events until there are
/// none: as an iterator it ends where it would have to wait, and goes on when there is more.
pub struct NeighbourWatch {
    netlink: Netlink,
    ifindex: u32,
    queue: VecDeque<NeighbourEvent>,
}

impl NeighbourWatch {
    /// Starts to follow, in the calling thread's namespace. What is known already is not repeated: scrape
    /// after this, and nothing is missed.
    pub fn new(ifindex: u32) -> Result<NeighbourWatch, NicError> {
        Ok(NeighbourWatch { netlink: Netlink::listen(RTNLGRP_NEIGH)?, ifindex, queue: VecDeque::new() })
    }

    fn push(&mut self, message: &Rtnl) {
        let event = match message {
            Rtnl::NewNeighbour(message) if message.header.ifindex == self.ifindex => {
                match (scrape::neighbour(message), message.header.state) {
                    (Some(neighbour), _) => {
                        Some(NeighbourEvent { addr: neighbour.addr, mac: Some(neighbour.mac) })
                    }
                    (None, NeighbourState::Failed) => failed(message),
                    // Incomplete: the kernel is still asking.
                    _ => None,
                }
            }
            Rtnl::DelNeighbour(message) if message.header.ifindex == self.ifindex => failed(message),
            _ => None,
        };
        self.queue.extend(event);
    }

    /// The socket overflowed: what was lost is not known, so all that is known now is told again.
    fn resync(&mut self) {
        // The watch may be polled from a thread that has moved; its own socket can't dump, for it is
        // non-blocking and full of notifications.
        let known =
            Netlink::route().and_then(|mut netlink| scrape::read_neighbours(&mut netlink, self.ifindex));
        for neighbour in known.unwrap_or_default() {
            self.queue.push_back(NeighbourEvent { addr: neighbour.addr, mac: Some(neighbour.mac) });
        }
    }
}

fn failed(message: &NeighbourMessage) -> Option<NeighbourEvent> {
    Some(NeighbourEvent { addr: scrape::neighbour_addr(message)?, mac: None })
}

impl Iterator for NeighbourWatch {
    type Item = NeighbourEvent;

    fn next(&mut self) -> Option<NeighbourEvent> {
        while self.queue.is_empty() {
            match self.netlink.receive() {
                Ok(messages) => {
                    messages.iter().filter_map(decode_route).for_each(|message| self.push(&message))
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.resync();
                    break;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.queue.pop_front()
    }
}

impl AsFd for NeighbourWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

impl std::fmt::Debug for NeighbourWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NeighbourWatch").field("ifindex", &self.ifindex).finish_non_exhaustive()
    }
}

/// Makes the kernel resolve (or confirm) a neighbour: ARP or ND goes out from the kernel's own address.
///
/// Returns the Ethernet address if the kernel has it already: then no event need come. Otherwise
/// the answer comes to a [`NeighbourWatch`], after a second or three as a failure.
pub fn ask_kernel(ifindex: u32, addr: IpAddr) -> Result<Option<[u8; 6]>, NicError> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = ifindex;
    message.header.family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes.push(NeighbourAttribute::Destination(match addr {
        IpAddr::V4(addr) => NeighbourAddress::Inet(addr),
        IpAddr::V6(addr) => NeighbourAddress::Inet6(addr),
    }));
    let question = Rtnl::GetNeighbour(message.clone());
    message.header.flags = NeighbourFlags::Use;

    let mut netlink = Netlink::route()?;
    let tried = format!("asking the kernel to resolve {addr}");
    netlink.route_call(&tried, NLM_F_CREATE, &Rtnl::NewNeighbour(message))?;
    let known = match netlink.route_call(&tried, 0, &question) {
        Ok(answer) => answer,
        Err(error) if error.errno() == Some(libc::ENOENT) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(known.iter().find_map(|message| match message {
        Rtnl::NewNeighbour(message) => scrape::neighbour(message).map(|neighbour| neighbour.mac),
        _ => None,
    }))
}

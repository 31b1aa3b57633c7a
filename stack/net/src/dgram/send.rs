//! Datagrams leave.

use core::net::IpAddr;

use linerate_tcp::Instant;
use linerate_wire::checksum::pseudo_header;
use linerate_wire::udp::{self, UdpHeader, emit_udp};
use linerate_wire::{FlowKey, icmpv4, icmpv6, ipv4, protocol, sum};

use super::{DgramId, DgramKind, DgramOptions, PmtuDiscovery, Socket};
use crate::ip_out::{IpOut, Unsent};
use crate::sock::SockError;
use crate::stack::Stack;

impl Stack {
    /// Sends to the peer that the socket is connected to. All of `data` or nothing: its length is returned.
    ///
    /// # Errors
    /// `NotConnected`; else as [`dgram_send_to`](Self::dgram_send_to).
    pub fn dgram_send(&mut self, id: DgramId, data: &[u8], now: Instant) -> Result<usize, SockError> {
        let remote = self.dgrams.get(id).ok_or(SockError::BadSocket)?.remote;
        let (remote, port) = remote.ok_or(SockError::NotConnected)?;
        self.dgram_send_to(id, data, remote, port, now)
    }

    /// Sends a datagram (a ping socket's: an echo request; a raw socket's: what follows the IP header). The port is
    /// UDP's.
    ///
    /// # Errors
    /// An ICMP error that came for the socket, once; `BadSocket`; `InvalidDestination` (unspecified, another family than
    /// the socket's, port 0); `InvalidMessage` (not an echo request); `AccessDenied` (broadcast without the option);
    /// `Unreachable` (no route); `AddrNotAvailable`; `MessageSize` (longer than IP takes, or than the path where it must
    /// not be fragmented); `WouldBlock` (no frames, or no room in this turn).
    pub fn dgram_send_to(
        &mut self,
        id: DgramId,
        data: &[u8],
        remote: IpAddr,
        port: u16,
        now: Instant,
    ) -> Result<usize, SockError> {
        self.dgram_check(id)?;
        let socket = self.dgrams.get(id).ok_or(SockError::BadSocket)?;
        let src = self.dgram_source(socket, remote, port)?;
        let (kind, local_port, options) = (socket.kind, socket.port, socket.options);
        match kind {
            DgramKind::Udp => {
                let key = FlowKey { local: src, remote, local_port, remote_port: port };
                self.send_udp(&key, &options, data, now)?;
            }
            DgramKind::Ping => self.send_ping(src, remote, local_port, &options, data, now)?,
            DgramKind::Raw { protocol } => self.send_raw(src, remote, protocol, &options, data, now)?,
        }
        Ok(data.len())
    }

    /// The address to send from, if that may be sent to.
    pub(super) fn dgram_source(
        &self,
        socket: &Socket,
        remote: IpAddr,
        port: u16,
    ) -> Result<IpAddr, SockError> {
        if remote.is_unspecified() || (socket.kind == DgramKind::Udp && port == 0) {
            return Err(SockError::InvalidDestination);
        }
        if socket.local.is_some_and(|l| l.is_ipv4() != remote.is_ipv4()) {
            return Err(SockError::InvalidDestination);
        }
        let broadcast = matches!(remote, IpAddr::V4(v4) if self.addrs.is_broadcast_v4(v4));
        if broadcast && !socket.options.broadcast {
            return Err(SockError::AccessDenied);
        }
        let route = self.routes.lookup(remote);
        if route.is_none() && !broadcast && !remote.is_multicast() {
            return Err(SockError::Unreachable);
        }
        // A group or broadcast address is for receiving only.
        let bound = socket.local.filter(|l| self.addrs.is_local(*l));
        let connected = socket.source.filter(|_| socket.remote.is_some_and(|(r, _)| r == remote));
        let by_route = || route.and_then(|r| r.prefsrc).or_else(|| self.addrs.source_for(remote));
        bound.or(connected).or_else(by_route).ok_or(SockError::AddrNotAvailable)
    }

    fn dgram_out(
        &self,
        key: &FlowKey,
        protocol: u8,
        o: &DgramOptions,
        len: usize,
    ) -> Result<IpOut, SockError> {
        let path = self.path_mtu(key.remote);
        let link = self.route_mtu(key.remote);
        let header_len = if key.remote.is_ipv4() { 20 } else { 40 };
        let (mtu, must_fit) = match o.pmtu_discovery {
            PmtuDiscovery::Want => (path.mtu, false),
            PmtuDiscovery::Do => (path.mtu, true),
            PmtuDiscovery::Dont => (link, false),
            PmtuDiscovery::Probe => (link, true),
        };
        //= RFC 8085 section 3.2
        let fits = len + header_len <= usize::from(mtu);
        if must_fit && !fits {
            return Err(SockError::MessageSize);
        }
        let df = match o.pmtu_discovery {
            PmtuDiscovery::Want => !path.may_fragment,
            PmtuDiscovery::Do | PmtuDiscovery::Probe => true,
            PmtuDiscovery::Dont => false,
        };
        let ttl = if key.remote.is_multicast() { o.multicast_ttl } else { o.ttl };
        Ok(IpOut {
            src: key.local,
            dst: key.remote,
            protocol,
            ttl: ttl.max(1),
            tos: o.tos,
            dont_fragment: df,
            flow_label: self.flow_label(key),
            mtu,
        })
    }

    fn send_udp(
        &mut self,
        key: &FlowKey,
        o: &DgramOptions,
        data: &[u8],
        now: Instant,
    ) -> Result<(), SockError> {
        let length = u16::try_from(udp::HEADER_LEN + data.len()).map_err(|_| SockError::MessageSize)?;
        let out = self.dgram_out(key, protocol::UDP, o, length.into())?;
        let mut header =
            UdpHeader { src_port: key.local_port, dst_port: key.remote_port, length, checksum: 0 };
        let mut head = [0; udp::HEADER_LEN];
        emit_udp(&header, &mut head);
        if !(o.no_checksum && key.local.is_ipv4()) {
            let pseudo = pseudo_header(key.local, key.remote, protocol::UDP, length.into());
            //= RFC 1122 section 4.1.3.4
            header.checksum = match sum(&head).add(pseudo).add(sum(data)).checksum() {
                0 => 0xffff,
                checksum => checksum,
            };
            emit_udp(&header, &mut head);
        }
        self.send_message(&out, &head, data, now).map_err(unsent)?;
        self.counters.udp_out += 1;
        Ok(())
    }

    fn send_ping(
        &mut self,
        src: IpAddr,
        dst: IpAddr,
        ident: u16,
        o: &DgramOptions,
        data: &[u8],
        now: Instant,
    ) -> Result<(), SockError> {
        let (request, protocol) = match dst {
            IpAddr::V4(_) => (icmpv4::ECHO_REQUEST, protocol::ICMP),
            IpAddr::V6(_) => (icmpv6::ECHO_REQUEST, protocol::ICMPV6),
        };
        let Some((head, body)) = data.split_first_chunk::<8>() else { return Err(SockError::InvalidMessage) };
        let [ty, code, _, _, _, _, s0, s1] = *head;
        if (ty, code) != (request, 0) {
            return Err(SockError::InvalidMessage);
        }
        let [i0, i1] = ident.to_be_bytes();
        let mut head = [ty, 0, 0, 0, i0, i1, s0, s1];
        let pseudo = match dst {
            IpAddr::V4(_) => linerate_wire::Sum::ZERO,
            IpAddr::V6(_) => pseudo_header(src, dst, protocol, data.len() as u32),
        };
        let checksum = sum(&head).add(sum(body)).add(pseudo).checksum();
        head[2..4].copy_from_slice(&checksum.to_be_bytes());
        let key = FlowKey { local: src, remote: dst, local_port: ident, remote_port: 0 };
        let out = self.dgram_out(&key, protocol, o, data.len())?;
        self.send_message(&out, &head, body, now).map_err(unsent)?;
        self.counters.icmp_out += 1;
        Ok(())
    }

    fn send_raw(
        &mut self,
        src: IpAddr,
        dst: IpAddr,
        protocol: u8,
        o: &DgramOptions,
        data: &[u8],
        now: Instant,
    ) -> Result<(), SockError> {
        let key = FlowKey { local: src, remote: dst, local_port: 0, remote_port: protocol.into() };
        if o.header_included && dst.is_ipv4() {
            return self.send_with_header(&key, data, now);
        }
        let out = self.dgram_out(&key, protocol, o, data.len())?;
        // RFC 3542 section 3.1: the checksum of ICMPv6 is the stack's to fill in.
        if let (IpAddr::V6(_), protocol::ICMPV6, Some((head, body))) =
            (dst, protocol, data.split_first_chunk::<4>())
        {
            let mut head = *head;
            head[2..].fill(0);
            let pseudo = pseudo_header(src, dst, protocol, data.len() as u32);
            let checksum = sum(&head).add(sum(body)).add(pseudo).checksum();
            head[2..].copy_from_slice(&checksum.to_be_bytes());
            return self.send_message(&out, &head, body, now).map_err(unsent);
        }
        self.send_message(&out, &[], data, now).map_err(unsent)
    }

    /// The caller wrote the IPv4 header: what it means to send is in there. Length and checksum are filled in, as
    /// everywhere; it is not fragmented.
    fn send_with_header(&mut self, key: &FlowKey, packet: &[u8], now: Instant) -> Result<(), SockError> {
        let header_len = usize::from(packet.first().map_or(0, |b| b & 0x0f)) * 4;
        let whole = packet.len() >= header_len.max(ipv4::HEADER_LEN);
        if !whole || header_len < ipv4::HEADER_LEN || packet[0] >> 4 != 4 {
            return Err(SockError::InvalidMessage);
        }
        if packet.len() > usize::from(self.route_mtu(key.remote)) {
            return Err(SockError::MessageSize);
        }
        let mut header = [0; ipv4::HEADER_LEN + ipv4::MAX_OPTIONS_LEN];
        let header = &mut header[..header_len];
        header.copy_from_slice(&packet[..header_len]);
        header[2..4].copy_from_slice(&(packet.len() as u16).to_be_bytes());
        header[10..12].fill(0);
        let checksum = sum(header).checksum();
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        self.send_packet(key, header, &packet[header_len..], now).map_err(unsent)
    }
}

fn unsent(why: Unsent) -> SockError {
    match why {
        Unsent::NotNow => SockError::WouldBlock,
        Unsent::TooLong => SockError::MessageSize,
    }
}

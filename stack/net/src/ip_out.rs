//! IP packets that are not a connection's: ICMP, datagrams. Those larger than the path takes leave in fragments.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_frame::{Frame, HEADROOM_BYTES};
use linerate_tcp::Instant;
use linerate_wire::emit::{EmitError, Push};
use linerate_wire::ipv4::Ipv4Emit;
use linerate_wire::ipv6::Ipv6Emit;
use linerate_wire::{FlowKey, Fragment, eth, ipv4, ipv6, protocol};

use crate::config::Link;
use crate::drop_reason::DropReason;
use crate::egress::{Hop, next_hop};
use crate::limits::TTL;
use crate::stack::Stack;

/// What the headers say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpOut {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// IPv4: routers must not fragment it.
    pub dont_fragment: bool,
    /// IPv6; 20 bits.
    pub flow_label: u32,
    /// Largest packet; longer messages leave in fragments.
    pub mtu: u16,
}

/// Why a message did not leave whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unsent {
    /// No frames, or no room in the batch: try again next turn.
    NotNow,
    /// Longer than IP can say.
    TooLong,
}

impl IpOut {
    fn header_len(&self) -> usize {
        if self.dst.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
    }

    fn push(&self, p: &mut Push<'_>, id: u32, fragment: Option<Fragment>) -> Result<(), EmitError> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.push_v4(p, src, dst, id as u16, fragment),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.push_v6(p, src, dst, fragment),
            _ => Err(EmitError::MixedFamilies),
        }
    }

    fn push_v4(
        &self,
        p: &mut Push<'_>,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        id: u16,
        fragment: Option<Fragment>,
    ) -> Result<(), EmitError> {
        p.ipv4(&Ipv4Emit {
            src,
            dst,
            protocol: self.protocol,
            ttl: self.ttl,
            tos: self.tos,
            id,
            dont_fragment: self.dont_fragment && fragment.is_none(),
            more_fragments: fragment.is_some_and(|f| f.more),
            offset_bytes: fragment.map_or(0, |f| f.offset_bytes),
            options: &[],
        })
    }

    fn push_v6(
        &self,
        p: &mut Push<'_>,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        fragment: Option<Fragment>,
    ) -> Result<(), EmitError> {
        let mut next_header = self.protocol;
        if let Some(f) = fragment {
            p.ipv6_fragment(next_header, f)?;
            next_header = protocol::IPV6_FRAGMENT;
        }
        p.ipv6(&Ipv6Emit {
            src,
            dst,
            next_header,
            hop_limit: self.ttl,
            traffic_class: self.tos,
            flow_label: self.flow_label,
        })
    }
}

impl Stack {
    /// Headers for a message from `src` to `dst` with the defaults: TTL, no DSCP, a size that the path is known to take.
    pub(crate) fn ip_out(&self, src: IpAddr, dst: IpAddr, protocol: u8) -> IpOut {
        let path = self.path_mtu(dst);
        let flow_label = self.flow_label(&FlowKey {
            local: src,
            remote: dst,
            local_port: 0,
            remote_port: protocol.into(),
        });
        IpOut {
            src,
            dst,
            protocol,
            ttl: TTL,
            tos: 0,
            dont_fragment: !path.may_fragment,
            flow_label,
            mtu: path.mtu,
        }
    }

    /// The same for every packet of a flow, and not to be guessed; 0 in IPv4.
    //= RFC 6437 section 3
    pub(crate) fn flow_label(&self, key: &FlowKey) -> u32 {
        match key.local {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => {
                let [k0, _, k1, _] = self.secret;
                let hash = key.hash_keyed(&linerate_wire::flow_key::HashKey([k1, k0])) as u32;
                (hash & 0x000f_ffff).max(1)
            }
        }
    }

    /// Sends the message in `frame` (its range, with headroom), which fits one packet.
    pub(crate) fn send_ip(&mut self, frame: Frame, out: &IpOut, now: Instant) {
        self.send_piece(frame, out, None, now);
    }

    fn send_piece(&mut self, mut frame: Frame, out: &IpOut, fragment: Option<Fragment>, now: Instant) {
        let hop = self.hop_of(out.src, out.dst, now);
        let id = match fragment {
            Some(f) => f.id,
            //= RFC 6864 section 4.1
            None if out.dont_fragment => 0,
            None => self.ip_ids.next(out.src, out.dst, out.protocol),
        };
        let (at, len) = (frame.start(), frame.len());
        let pushed = self.pool.writable(&mut frame).and_then(|chunk| {
            let mut p = Push::new(chunk, at, at + len);
            out.push(&mut p, id, fragment).ok()?;
            if let (Link::Ethernet(mac), Hop::Mac(to)) = (self.link, &hop) {
                p.eth(mac, *to, None).ok()?;
            }
            Some(p.start())
        });
        let Some(start) = pushed else { return self.drop_frame(frame, DropReason::TxRefused) };
        self.pool.set_range(&mut frame, start, at + len - start);
        self.leave(frame, hop);
    }

    fn leave(&mut self, frame: Frame, hop: Hop) {
        match hop {
            Hop::Raw | Hop::Mac(_) => self.transmit(frame),
            Hop::Pending(ip) => {
                if let Err(dropped) = self.neigh.enqueue(ip, frame) {
                    self.drop_frame(dropped, DropReason::NeighQueueFull);
                }
            }
            Hop::Nowhere(reason) => self.drop_frame(frame, reason),
        }
    }

    fn hop_of(&mut self, src: IpAddr, dst: IpAddr, now: Instant) -> Hop {
        match (self.link, dst) {
            (Link::Ethernet(_), IpAddr::V4(dst)) if self.addrs.is_broadcast_v4(dst) => {
                Hop::Mac(eth::BROADCAST)
            }
            _ => {
                let key = FlowKey { local: src, remote: dst, local_port: 0, remote_port: 0 };
                next_hop(self.link, &self.routes, &mut self.neigh, &key, now)
            }
        }
    }

    /// Sends a message that lies in two parts, in as many fragments as it takes: all of them or none.
    pub(crate) fn send_message(
        &mut self,
        out: &IpOut,
        head: &[u8],
        body: &[u8],
        now: Instant,
    ) -> Result<(), Unsent> {
        let len = head.len() + body.len();
        let header_len = out.header_len();
        if len + if out.dst.is_ipv4() { header_len } else { 0 } > usize::from(u16::MAX) {
            return Err(Unsent::TooLong);
        }
        let most = usize::from(out.mtu).saturating_sub(header_len).min(self.pool.payload_bytes());
        if len <= most {
            let frame = self.frame_of(head, body, 0, len).ok_or(Unsent::NotNow)?;
            self.send_ip(frame, out, now);
            return Ok(());
        }
        let fragment_header = if out.dst.is_ipv4() { 0 } else { ipv6::FRAGMENT_HEADER_LEN };
        // RFC 791 section 3.2: all but the last carry multiples of 8.
        let step = most.saturating_sub(fragment_header) & !7;
        if step == 0 {
            return Err(Unsent::TooLong);
        }
        let pieces = len.div_ceil(step);
        if self.pool.free_len() < pieces || self.batch.room() < pieces {
            return Err(Unsent::NotNow);
        }
        let id = self.ip_ids.next(out.src, out.dst, out.protocol);
        for at in (0..len).step_by(step) {
            let n = step.min(len - at);
            let frame = self.frame_of(head, body, at, n).ok_or(Unsent::NotNow)?;
            let fragment = Fragment { offset_bytes: at as u16, more: at + n < len, id };
            self.send_piece(frame, out, Some(fragment), now);
            self.counters.frags_out += 1;
        }
        Ok(())
    }

    /// Sends a packet whose IP header the caller wrote.
    pub(crate) fn send_packet(
        &mut self,
        key: &FlowKey,
        header: &[u8],
        body: &[u8],
        now: Instant,
    ) -> Result<(), Unsent> {
        let len = header.len() + body.len();
        if len > self.pool.payload_bytes() {
            return Err(Unsent::TooLong);
        }
        let mut frame = self.frame_of(header, body, 0, len).ok_or(Unsent::NotNow)?;
        let hop = self.hop_of(key.local, key.remote, now);
        let at = frame.start();
        if let (Link::Ethernet(mac), Hop::Mac(to)) = (self.link, &hop) {
            let pushed = self.pool.writable(&mut frame).and_then(|chunk| {
                let mut p = Push::new(chunk, at, at + len);
                p.set_ethertype(eth::ETHERTYPE_IPV4);
                p.eth(mac, *to, None).ok()?;
                Some(p.start())
            });
            let Some(start) = pushed else {
                self.drop_frame(frame, DropReason::TxRefused);
                return Ok(());
            };
            self.pool.set_range(&mut frame, start, at + len - start);
        }
        self.leave(frame, hop);
        Ok(())
    }

    /// A frame with `len` bytes from `at` on of two parts that are one message.
    fn frame_of(&mut self, head: &[u8], body: &[u8], at: usize, len: usize) -> Option<Frame> {
        if self.batch.room() == 0 || len > self.pool.payload_bytes() {
            return None;
        }
        let mut frame = self.pool.alloc()?;
        let start = HEADROOM_BYTES as usize;
        let to = self.pool.writable(&mut frame)?.get_mut(start..start + len)?;
        let from_head = head.get(at..).unwrap_or(&[]);
        let from_head = &from_head[..from_head.len().min(len)];
        let at_body = (at + from_head.len()).saturating_sub(head.len());
        to[..from_head.len()].copy_from_slice(from_head);
        to[from_head.len()..].copy_from_slice(&body[at_body..at_body + len - from_head.len()]);
        self.pool.set_range(&mut frame, start, len);
        Some(frame)
    }
}

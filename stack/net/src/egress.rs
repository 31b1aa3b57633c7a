//! The way out: route, source, neighbour; headers pushed in front of the payload, L4 down to L2.

use core::net::IpAddr;

use linerate_frame::{Batch, Frame, HEADROOM_BYTES, Pool};
use linerate_tcp::{Instant, Segment, Sent, Sink};
use linerate_wire::checksum::Sum;
use linerate_wire::emit::Push;
use linerate_wire::flow_key::HashKey;
use linerate_wire::{FlowKey, MacAddr, eth, protocol};

use crate::addr::multicast_mac;
use crate::config::Link;
use crate::counters::Counters;
use crate::drop_reason::DropReason;
use crate::neigh::{NeighTable, Resolved};
use crate::route::RouteTable;
use crate::stack::Stack;

/// Where a connection's packets go, as far as it is known; looked up again when a table has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    mac: Option<MacAddr>,
    neigh_generation: u32,
    /// Of routes and path MTUs together; compared as a connection's environment is made.
    pub path_generation: u32,
    /// IPv6 flow label in the low 20 bits, and [`MAY_FRAGMENT`].
    label_flags: u32,
}

/// The path's MTU is below what we go down to: packets leave without DF.
const MAY_FRAGMENT: u32 = 1 << 31;

impl Path {
    /// Looked up again with the next packet.
    pub fn renew(generation: u32, flow_label: u32, may_fragment: bool) -> Self {
        let label_flags = flow_label | if may_fragment { MAY_FRAGMENT } else { 0 };
        Self { mac: None, neigh_generation: 0, path_generation: generation, label_flags }
    }
}

/// The egress of one connection for one call: a [`Sink`] for its TCB.
pub(crate) struct Egress<'a> {
    pub batch: &'a mut Batch,
    pub neigh: &'a mut NeighTable,
    pub routes: &'a RouteTable,
    pub counters: &'a mut Counters,
    pub ip_id: &'a mut u16,
    pub link: Link,
    pub key: FlowKey,
    pub path: &'a mut Path,
    /// IPv4's type of service, IPv6's traffic class.
    pub tos: u8,
    /// Time to live, hop limit.
    pub ttl: u8,
    pub now: Instant,
}

/// Where a packet is to go on the link.
pub(crate) enum Hop {
    /// Straight out: no link layer, or the neighbour's address.
    Raw,
    Mac(MacAddr),
    /// Wait for this neighbour.
    Pending(IpAddr),
    Nowhere(DropReason),
}

impl Egress<'_> {
    fn hop(&mut self) -> Hop {
        if self.link == Link::RawIp {
            return Hop::Raw;
        }
        if let (Some(mac), true) = (self.path.mac, self.path.neigh_generation == self.neigh.generation()) {
            return Hop::Mac(mac);
        }
        let hop = next_hop(self.link, self.routes, self.neigh, &self.key, self.now);
        if let Hop::Mac(mac) = hop {
            // The lookup itself may have moved the generation.
            self.path.mac = Some(mac);
            self.path.neigh_generation = self.neigh.generation();
        }
        hop
    }

    /// Pushes the headers of `segment` in front of `payload` (start and length within the chunk). Returns where the
    /// packet starts, `None` if the headroom is too small.
    fn push(
        &mut self,
        chunk: &mut [u8],
        payload: (usize, usize),
        segment: &Segment,
        sum: Sum,
        hop: &Hop,
    ) -> Option<usize> {
        let mut p = Push::new(chunk, payload.0, payload.0 + payload.1);
        let key = &self.key;
        p.tcp(&tcp_emit(key, segment), key.local, key.remote, Some(sum)).ok()?;
        *self.ip_id = self.ip_id.wrapping_add(1);
        let df = self.path.label_flags & MAY_FRAGMENT == 0;
        let label = self.path.label_flags;
        //= RFC 9293 section 3.9.1.9, SHLD-21, SHLD-22, SHLD-23
        p.ip(key.local, key.remote, protocol::TCP, self.ttl, self.tos | segment.ecn, *self.ip_id, df, label)
            .ok()?;
        if let (Link::Ethernet(src), Hop::Mac(dst)) = (self.link, hop) {
            p.eth(src, *dst, None).ok()?;
        }
        Some(p.start())
    }

    /// Negative advice to IP (RFC 1122 section 3.3.1.4, RFC 4861 section 7.3.3): the next packet there makes sure of the
    /// neighbour first.
    pub fn doubt_path(&mut self) {
        if let (Link::Ethernet(_), Some(route)) = (self.link, self.routes.lookup(self.key.remote)) {
            self.neigh.on_doubted(route.next_hop(self.key.remote));
        }
    }

    /// Sends a segment that no TCB keeps account of (RST, ACK of TIME-WAIT). Lost if there is no frame for it.
    pub fn reply(&mut self, pool: &mut Pool, segment: &Segment) {
        if self.control(pool, segment) == Sent::Yes {
            self.counters.tcp_segs_out += 1;
        }
    }

    fn hand_over(&mut self, pool: &mut Pool, frame: Frame, hop: Hop) {
        match hop {
            Hop::Raw | Hop::Mac(_) => self.push_batch(pool, frame),
            Hop::Pending(ip) => {
                if let Err(dropped) = self.neigh.enqueue(ip, frame) {
                    self.counters.drop(DropReason::NeighQueueFull);
                    pool.free(dropped);
                }
            }
            Hop::Nowhere(reason) => {
                self.counters.drop(reason);
                pool.free(frame);
            }
        }
    }

    fn push_batch(&mut self, pool: &mut Pool, frame: Frame) {
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += frame.len() as u64;
        self.batch.push(pool.send(frame));
    }
}

impl Sink for Egress<'_> {
    fn room(&self) -> bool {
        self.batch.room() > 0
    }

    fn control(&mut self, pool: &mut Pool, segment: &Segment) -> Sent {
        if !self.room() {
            return Sent::NotNow;
        }
        let Some(mut frame) = pool.alloc() else {
            self.counters.drop(DropReason::NoFrame);
            return Sent::NotNow;
        };
        let hop = self.hop();
        let at = HEADROOM_BYTES as usize;
        let Some(chunk) = pool.writable(&mut frame) else {
            unreachable!("a fresh frame is not transmitting")
        };
        let Some(start) = self.push(chunk, (at, 0), segment, Sum::ZERO, &hop) else {
            unreachable!("headroom holds every header, see HEADROOM_BYTES")
        };
        pool.set_range(&mut frame, start, at - start);
        self.hand_over(pool, frame, hop);
        Sent::Yes
    }

    fn data(&mut self, pool: &mut Pool, segment: &Segment, frame: &mut Frame, sum: Sum) -> Sent {
        if !self.room() {
            return Sent::NotNow;
        }
        let hop = self.hop();
        let (at, len) = (frame.start(), frame.len());
        if !matches!(hop, Hop::Raw | Hop::Mac(_)) {
            return self.data_waits(pool, segment, frame, sum, hop);
        }
        // A frame whose last transmission is not complete must not change: its headers would.
        let Some(chunk) = pool.writable(frame) else { return Sent::NotNow };
        let Some(start) = self.push(chunk, (at, len), segment, sum, &hop) else {
            unreachable!("headroom holds every header, see HEADROOM_BYTES")
        };
        let Some(tx) = pool.lend(frame, start, at + len - start) else {
            unreachable!("was writable just now")
        };
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += tx.len() as u64;
        self.counters.tcp_bytes_out += len as u64;
        self.batch.push(tx);
        Sent::Yes
    }
}

impl Egress<'_> {
    /// The neighbour is being asked for: a copy waits in its queue, the frame stays where it is kept until acked.
    fn data_waits(&mut self, pool: &mut Pool, segment: &Segment, frame: &Frame, sum: Sum, hop: Hop) -> Sent {
        if let Hop::Nowhere(reason) = hop {
            self.counters.drop(reason);
            return Sent::Yes;
        }
        let Some(mut copy) = pool.alloc() else { return Sent::NotNow };
        let (at, len) = (HEADROOM_BYTES as usize, frame.len());
        let Some(chunk) = pool.writable(&mut copy) else { unreachable!("a fresh frame is not transmitting") };
        chunk[at..at + len].copy_from_slice(pool.bytes(frame));
        let Some(start) = self.push(chunk, (at, len), segment, sum, &hop) else {
            unreachable!("headroom holds every header, see HEADROOM_BYTES")
        };
        pool.set_range(&mut copy, start, at + len - start);
        self.hand_over(pool, copy, hop);
        Sent::Yes
    }
}

/// Where packets of this flow go. Of several gateways each flow has its own, as long as that one answers.
pub(crate) fn next_hop(
    link: Link,
    routes: &RouteTable,
    neigh: &mut NeighTable,
    key: &FlowKey,
    now: Instant,
) -> Hop {
    if link == Link::RawIp {
        return Hop::Raw;
    }
    let dst = key.remote;
    if let Some(mac) = multicast_mac(dst) {
        return Hop::Mac(mac);
    }
    let mut ask = |ip: IpAddr| match neigh.lookup(ip, now.0) {
        Resolved::Mac(mac) => Hop::Mac(mac),
        Resolved::Pending => Hop::Pending(ip),
        Resolved::Unreachable => Hop::Nowhere(DropReason::NeighFailed),
    };
    match routes.lookup_all(dst) {
        [] => Hop::Nowhere(DropReason::NoRoute),
        [only] => ask(only.next_hop(dst)),
        several => {
            // Nobody gains by foretelling a gateway: the hash needs no secret.
            let hash = key.hash_keyed(&HashKey([0, 0]));
            let mut hops = RouteTable::rank(several, hash).map(|r| ask(r.next_hop(dst)));
            let alive = hops.find(|hop| !matches!(hop, Hop::Nowhere(_)));
            alive.unwrap_or(Hop::Nowhere(DropReason::NeighFailed))
        }
    }
}

fn tcp_emit<'a>(key: &FlowKey, s: &'a Segment) -> linerate_wire::TcpEmit<'a> {
    linerate_wire::TcpEmit {
        src_port: key.local_port,
        dst_port: key.remote_port,
        seq: s.seq.0,
        ack: s.ack.0,
        flags: s.flags,
        window: s.wnd,
        urgent: s.urgent,
        options: &s.options,
    }
}

impl Stack {
    /// A complete link-layer frame leaves.
    pub(crate) fn transmit(&mut self, frame: Frame) {
        if self.batch.room() == 0 {
            return self.drop_frame(frame, DropReason::QdiscFull);
        }
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += frame.len() as u64;
        let tx = self.pool.send(frame);
        self.batch.push(tx);
    }

    /// Packets whose neighbour became known leave now.
    pub(crate) fn flush_resolved(&mut self) {
        let Link::Ethernet(src) = self.link else { return };
        while self.batch.room() > 0 {
            let Some((mut frame, mac)) = self.neigh.take_resolved() else { return };
            let (at, len) = (frame.start(), frame.len());
            let pushed = self.pool.writable(&mut frame).and_then(|chunk| {
                let ethertype = if chunk[at] >> 4 == 6 { eth::ETHERTYPE_IPV6 } else { eth::ETHERTYPE_IPV4 };
                let mut p = Push::new(chunk, at, at + len);
                p.raw(&ethertype.to_be_bytes()).ok()?;
                p.raw(&src).ok()?;
                p.raw(&mac).ok()?;
                Some(p.start())
            });
            let Some(start) = pushed else {
                self.drop_frame(frame, DropReason::TxRefused);
                continue;
            };
            self.pool.set_range(&mut frame, start, at + len - start);
            self.transmit(frame);
        }
    }
}

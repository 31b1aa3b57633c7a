//! A million hostile frames through one stack: nothing panics, every frame is either taken or counted under exactly one
//! drop reason, every frame token is accounted for, and nothing grows without bound.

mod support;

use linerate_frame::{Pool, Region};
use linerate_net::addr::IfAddr;
use linerate_net::neigh::{Known, Resolver};
use linerate_net::route::Route;
use linerate_net::{
    Counters, DgramId, DropReason, FlowId, Link, ListenerId, SockError, Stack, StackConfig, State, TcpConfig,
};
use linerate_wire::ipv4::Ipv4Emit;
use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::TcpOptions;
use linerate_wire::{
    ArpOp, ArpPacket, CsumStatus, Push, eth, icmpv4, icmpv6, nd, parse, protocol, verify_l4,
};
use support::peer::*;
use support::{MACS, Rng, addr, deliver};

const FRAMES: usize = 1_000_000;
const BACKLOG: usize = 32;
/// The listener whose backlog is flooded.
const FLOODED: u16 = 83;

/// A UDP socket listens here, and a ping socket.
const UDP_PORT: u16 = 53;
const PING_IDENT: u16 = 7;

/// Reasons that belong to what the stack sends, not to a frame that came in.
const EGRESS: [DropReason; 10] = [
    // Of a copy for a raw socket, beside what becomes of the packet; or of a datagram that counts as taken.
    DropReason::SocketFull,
    // Of fragments that came before.
    DropReason::FragMemory,
    DropReason::FragTimeout,
    DropReason::NoRoute,
    DropReason::NeighUnresolved,
    DropReason::NeighQueueFull,
    DropReason::NeighFailed,
    DropReason::NoFrame,
    DropReason::QdiscFull,
    DropReason::TxRefused,
];

fn rx_drops(c: &Counters) -> u64 {
    let all: u64 = c.drops.iter().sum();
    all - EGRESS.iter().map(|r| c.dropped(*r)).sum::<u64>()
}

/// Every layer that takes a frame in counts it; a frame that TCP or ICMP counts may still be dropped there.
fn taken(c: &Counters) -> u64 {
    // The last fragment of a datagram is counted as a fragment, then as what the whole is.
    c.arp_in + c.icmp_in + c.tcp_segs_in + c.udp_in + c.raw_in + c.frags_in - c.reassembled
}

struct Fuzz {
    h: Host,
    flooded: ListenerId,
    rng: Rng,
    peers: Vec<(Peer, FlowId)>,
}

impl Fuzz {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.below(from.len() as u64) as usize]
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let n = self.rng.below(most + 1);
        (0..n).map(|_| self.rng.next() as u8).collect()
    }

    /// A frame that a host could send.
    fn valid(&mut self) -> Vec<u8> {
        let v6 = self.rng.chance(400);
        match self.rng.below(100) {
            0..=7 => self.arp(),
            8..=15 => self.icmp(v6),
            16..=29 => self.nd(),
            30..=37 => self.udp(v6),
            38..=52 => self.tcp_to_nobody(v6),
            _ => self.tcp_to_a_connection(),
        }
    }

    fn arp(&mut self) -> Vec<u8> {
        let ips = ["10.0.0.1", "10.0.0.2", "10.0.0.77", "0.0.0.0", "224.0.0.1"].map(|a| a.parse().unwrap());
        let mut mac = self.pick(&[MACS[1], MACS[0], [0; 6], [0xff; 6], [2, 0, 0, 0, 9, 9]]);
        mac[5] ^= (self.rng.below(4) == 0) as u8;
        let arp = ArpPacket {
            op: self.pick(&[ArpOp::Request, ArpOp::Reply]),
            sender_mac: mac,
            sender_ip: self.pick(&ips),
            target_mac: [0; 6],
            target_ip: self.pick(&ips),
        };
        self.build(&[], |p| p.arp(&arp))
    }

    /// The beginning of a packet that the stack may have sent: a segment of a connection, a datagram, an echo.
    fn quote(&mut self, v6: bool) -> Vec<u8> {
        let mut l4 = self.bytes(40);
        l4.resize(l4.len().max(8), 0);
        let proto =
            self.pick(&[protocol::TCP, protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ICMPV6]);
        l4[..2].copy_from_slice(&UDP_PORT.to_be_bytes());
        l4[4..6].copy_from_slice(&PING_IDENT.to_be_bytes());
        if proto == protocol::TCP && !self.peers.is_empty() {
            let i = self.rng.below(self.peers.len() as u64) as usize;
            let (p, id) = self.peers[i].clone();
            let una = self.h.stack.info(id).map_or(0, |i| i.snd_nxt.0.wrapping_sub(i.in_flight_bytes));
            l4[..2].copy_from_slice(&p.stack_port.to_be_bytes());
            l4[2..4].copy_from_slice(&p.port.to_be_bytes());
            l4[4..8].copy_from_slice(&una.wrapping_add(self.rng.below(3) as u32 * 500).to_be_bytes());
        }
        let total_len = 40 + self.rng.below(1461) as u16;
        support::icmp::quote(proto, v6, &l4, total_len.max(68))
    }

    fn icmp(&mut self, v6: bool) -> Vec<u8> {
        let body = if self.rng.chance(500) { self.quote(v6) } else { self.bytes(600) };
        let code = self.rng.below(5) as u8;
        let rest = (self.rng.next() as u32).to_be_bytes();
        let (src, dst) = (addr(1, v6), addr(0, v6));
        if v6 {
            let ty = self.pick(&[icmpv6::ECHO_REQUEST, icmpv6::ECHO_REPLY, 1, 2, 3, 4, 130, 200]);
            let mut l4 = vec![0; body.len() + 8];
            let (s, d) = (v6_of(src), v6_of(dst));
            icmpv6::emit((ty, code), rest, &body, s, d, &mut l4);
            return self.ip(&l4, protocol::ICMPV6, v6);
        }
        let ty = self.pick(&[icmpv4::ECHO_REQUEST, 0, 3, 4, 5, 11, 12, 13, 200]);
        let mut l4 = vec![0; body.len() + 8];
        icmpv4::emit(ty, code, rest, &body, &mut l4);
        self.ip(&l4, protocol::ICMP, v6)
    }

    fn nd(&mut self) -> Vec<u8> {
        let us = v6_of(addr(0, true));
        let target = if self.rng.chance(700) { us } else { v6_of(addr(1, true)) };
        let src = self.pick(&["fd00::2", "::", "fe80::2"]).parse().unwrap();
        let dst = self.pick(&[us, nd::solicited_node_multicast(us), "ff02::1".parse().unwrap()]);
        let mac = self.rng.chance(700).then_some(MACS[1]);
        let mut l4 = vec![0; 64];
        let flags = nd::NaFlags {
            router: self.rng.chance(500),
            solicited: self.rng.chance(500),
            override_: self.rng.chance(500),
        };
        let n = match self.rng.below(5) {
            0 | 1 => nd::emit_ns(&mut l4, src, dst, target, mac, None),
            2 => nd::emit_na(&mut l4, src, dst, target, flags, mac),
            3 => nd::emit_rs(&mut l4, src, dst, mac),
            // A router advertisement or redirect: 48 bytes of anything.
            _ => {
                let body: Vec<u8> = (0..40).map(|_| self.rng.next() as u8).collect();
                let ty = self.pick(&[nd::ROUTER_ADVERT, nd::REDIRECT]);
                icmpv6::emit((ty, 0), [64, 0, 7, 8], &body, src, dst, &mut l4)
            }
        };
        let hops = if self.rng.chance(800) { 255 } else { 64 };
        self.build(&l4[..n], |p| p.ip(src.into(), dst.into(), protocol::ICMPV6, hops, 0, 0, true, 0))
    }

    fn udp(&mut self, v6: bool) -> Vec<u8> {
        let body = self.bytes(700);
        let port = if self.rng.chance(500) { UDP_PORT ^ 1 } else { self.rng.next() as u16 };
        let dst = match v6 {
            false => {
                self.pick(&["10.0.0.1", "10.0.0.255", "255.255.255.255", "224.0.0.251"]).parse().unwrap()
            }
            true => self.pick(&["fd00::1", "ff02::1", "fd00::9"]).parse().unwrap(),
        };
        let src = addr(1, v6);
        self.build(&body, |p| {
            p.udp(port, port ^ 1, src, dst, None)?;
            p.ip(src, dst, protocol::UDP, 64, 0, 1, true, 0)
        })
    }

    fn flags(&mut self) -> TcpFlags {
        let common = [SYN, SYN_ACK, ACK, ACK | PSH, FIN_ACK, RST, RST_ACK, FIN, TcpFlags::EMPTY];
        match self.rng.below(8) {
            0 => TcpFlags::from_bits(self.rng.next() as u16),
            _ => self.pick(&common),
        }
    }

    fn tcp_options(&mut self) -> TcpOptions {
        let mut o = TcpOptions::EMPTY;
        o.mss = self.rng.chance(300).then_some(self.rng.next() as u16);
        o.wscale = self.rng.chance(300).then_some(self.rng.below(20) as u8);
        o.sack_permitted = self.rng.chance(300);
        o.timestamps = self.rng.chance(300).then_some((self.rng.next() as u32, self.rng.next() as u32));
        o
    }

    fn tcp_to_nobody(&mut self, v6: bool) -> Vec<u8> {
        let mut p = Peer::new(1024 + self.rng.below(300) as u16, v6);
        p.stack_port = if self.rng.chance(800) { FLOODED } else { 81 };
        p.wnd = self.rng.next() as u16;
        let (options, flags) = (self.tcp_options(), self.flags());
        let data = self.bytes(100);
        tcp_frame(&p, flags, self.rng.next() as u32, self.rng.next() as u32, &options, &data)
    }

    /// About the numbers that the connection expects.
    fn tcp_to_a_connection(&mut self) -> Vec<u8> {
        let i = self.rng.below(self.peers.len() as u64) as usize;
        let (mut p, id) = self.peers[i].clone();
        let near = |rng: &mut Rng, at: u32| match rng.below(8) {
            0 => rng.next() as u32,
            1 | 2 => at.wrapping_add(rng.below(4000) as u32).wrapping_sub(2000),
            _ => at,
        };
        let (mut seq, mut ack) = (p.seq, p.ack);
        if let Some(i) = self.h.stack.info(id) {
            (seq, ack) = (i.rcv_nxt.0, i.snd_nxt.0);
        }
        let (seq, ack) = (near(&mut self.rng, seq), near(&mut self.rng, ack));
        p.wnd = if self.rng.chance(900) { p.wnd } else { self.rng.next() as u16 };
        // Mostly what keeps a connection alive, so that there is something to break.
        let flags = if self.rng.chance(900) { ACK } else { self.flags() };
        let mut options = TcpOptions::EMPTY;
        if p.ts {
            let ms = (self.h.now.0 / MS) as u32;
            options.timestamps = Some((p.tsval.wrapping_add(ms), p.tsecr));
        }
        for _ in 0..self.rng.below(4) {
            let a = near(&mut self.rng, ack);
            options.sack.push(a, a.wrapping_add(self.rng.below(3000) as u32));
        }
        let data = if self.rng.chance(500) { self.bytes(1400) } else { Vec::new() };
        tcp_frame(&p, flags, seq, ack, &options, &data)
    }

    fn build(
        &mut self,
        payload: &[u8],
        push: impl FnOnce(&mut Push<'_>) -> Result<(), linerate_wire::EmitError>,
    ) -> Vec<u8> {
        let mut buf = vec![0; 192 + payload.len()];
        buf[192..].copy_from_slice(payload);
        let end = buf.len();
        let vlan = self.rng.chance(100).then_some(self.rng.next() as u16);
        let dst = self.pick(&[MACS[0], MACS[0], MACS[0], eth::BROADCAST, [0x33, 0x33, 0, 0, 0, 1], [2; 6]]);
        let mut p = Push::new(&mut buf, 192, end);
        push(&mut p).unwrap();
        p.eth(MACS[1], dst, vlan).unwrap();
        let start = p.start();
        buf[start..].to_vec()
    }

    /// An IP packet, sometimes with options, extension headers or as a fragment.
    fn ip(&mut self, l4: &[u8], proto: u8, v6: bool) -> Vec<u8> {
        let (src, dst) = (addr(1, v6), addr(0, v6));
        let kind = self.rng.below(10);
        if v6 && kind < 5 {
            let mut payload = Vec::new();
            let mut next = proto;
            for _ in 0..self.rng.below(10) {
                let this = self.pick(&[
                    protocol::IPV6_HOP_BY_HOP,
                    protocol::IPV6_DEST_OPTIONS,
                    protocol::IPV6_ROUTING,
                    protocol::IPV6_FRAGMENT,
                ]);
                // An option that is to be skipped, dropped, told of; a routing header with or without segments left.
                let option = self.pick(&[1, 1, 1, 5, 0x45, 0x85, 0xc5]);
                let mut header = vec![next, 0, option, 4, 0, 0, 0, 0];
                if this == protocol::IPV6_FRAGMENT {
                    let offset = self.rng.below(4) as u8 * 8;
                    header = vec![next, 0, 0, offset | self.rng.below(2) as u8, 0, 0, 0, 7];
                }
                if this == protocol::IPV6_ROUTING {
                    header[2..4].copy_from_slice(&[0, self.rng.below(2) as u8]);
                }
                header.extend(&payload);
                (payload, next) = (header, this);
            }
            payload.extend(l4);
            return self.build(&payload, |p| p.ip(src, dst, next, 64, 0, 0, true, 0));
        }
        if let (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst), true) = (src, dst, kind < 3) {
            let header = Ipv4Emit {
                src,
                dst,
                protocol: proto,
                ttl: 3,
                tos: 0,
                id: 9,
                dont_fragment: false,
                more_fragments: kind == 0,
                offset_bytes: if kind == 1 { 16 } else { 0 },
                options: self.pick(&[&[0x94, 4, 0, 0, 1, 1, 1, 0], &[0x83, 7, 4, 10, 0, 0, 9, 0]]),
            };
            // The two halves of a datagram, now and then of the same one.
            let l4 = match kind {
                0 => &l4[..l4.len().min(16)],
                1 => l4.get(16..).unwrap_or(l4),
                _ => l4,
            };
            return self.build(l4, |p| p.ipv4(&header));
        }
        self.build(l4, |p| p.ip(src, dst, proto, 64, 0, 1, true, 0))
    }

    /// Flips, cuts and lies; in half the cases the checksums are made right again, so that deeper code is met.
    fn mutate(&mut self, f: &mut Vec<u8>) {
        for _ in 0..1 + self.rng.below(4) {
            let n = f.len() as u64;
            if n == 0 {
                return;
            }
            match self.rng.below(8) {
                0 | 1 => {
                    let bit = self.rng.below(n * 8) as usize;
                    f[bit / 8] ^= 1 << (bit % 8);
                }
                // Headers are where it hurts.
                2 | 3 => {
                    let at = self.rng.below(n.min(80)) as usize;
                    f[at] = self.pick(&[0, 1, 4, 5, 0x0f, 0x7f, 0x80, 0xf0, 0xff]);
                }
                4 => f.truncate(self.rng.below(n) as usize),
                5 => {
                    let more = self.bytes(40);
                    f.extend(more);
                }
                // Garbage where TCP options stand.
                6 => {
                    let garbage = self.bytes(40);
                    for (i, b) in garbage.into_iter().enumerate() {
                        if let Some(to) = f.get_mut(54 + i) {
                            *to = b;
                        }
                    }
                    if let Some(offset) = f.get_mut(46) {
                        *offset = 0xf0 | (*offset & 0x0f);
                    }
                }
                _ => {
                    let at = self.rng.below(n.saturating_sub(1).max(1)) as usize;
                    let value = (self.rng.next() as u16).to_be_bytes();
                    for (to, b) in f[at..].iter_mut().zip(value) {
                        *to = b;
                    }
                }
            }
        }
        f.truncate(1792);
        if self.rng.chance(500) {
            fix_checksums(f);
        }
    }
}

fn v6_of(a: std::net::IpAddr) -> std::net::Ipv6Addr {
    match a {
        std::net::IpAddr::V6(a) => a,
        std::net::IpAddr::V4(_) => unreachable!(),
    }
}

/// Makes the IPv4 header's and the upper layer's checksum right, where there are such.
fn fix_checksums(f: &mut [u8]) {
    let l3 = if f.len() > 18 && f[12] == 0x81 { 18 } else { 14 };
    if f.len() > l3 + 20 && f[l3] >> 4 == 4 {
        let header = ((f[l3] & 15) as usize * 4).min(f.len() - l3);
        if header >= 20 {
            f[l3 + 10..l3 + 12].fill(0);
            let sum = linerate_wire::sum(&f[l3..l3 + header]).checksum();
            f[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
        }
    }
    let Ok(p) = parse(f) else { return };
    let Some(net) = p.net else { return };
    let at = match net.protocol {
        protocol::TCP => 16,
        protocol::UDP => 6,
        protocol::ICMP | protocol::ICMPV6 => 2,
        _ => return,
    };
    let l4 = &mut f[p.l4_off as usize..p.end as usize];
    if l4.len() < at + 2 {
        return;
    }
    l4[at..at + 2].fill(0);
    let pseudo = match net.protocol {
        protocol::ICMP => linerate_wire::Sum::ZERO,
        n => linerate_wire::checksum::pseudo_header(net.src, net.dst, n, l4.len() as u32),
    };
    let sum = pseudo.add(linerate_wire::sum(l4)).checksum();
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    if net.protocol == protocol::TCP {
        assert_eq!(verify_l4(net.src, net.dst, net.protocol, l4), CsumStatus::Good);
    }
}

/// FUZZ_SEED chooses another million.
#[test]
fn a_million_frames() {
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0xf00d);
    let mut h = Host::with_frames(
        4096,
        TcpConfig { rcv_buf_bytes: 20_000, rcv_buf_max_bytes: 0, ..TcpConfig::default() },
    );
    let never = TcpConfig { syn_cookies: linerate_net::SynCookies::Never, ..TcpConfig::default() };
    let flooded = h.stack.listen_with(None, FLOODED, BACKLOG, Some(never.into())).unwrap();
    let any = "0.0.0.0".parse().unwrap();
    let sockets = [
        h.stack.udp_bind(None, UDP_PORT).unwrap(),
        h.stack.ping_open(any, PING_IDENT).unwrap(),
        h.stack.raw_open(any, protocol::ICMP).unwrap(),
    ];
    for id in sockets {
        let o = h.stack.dgram_options(id).unwrap();
        (o.notices, o.recv_bytes) = (true, 2_000);
    }
    let mut z = Fuzz { h, flooded, rng: Rng(seed), peers: Vec::new() };
    let mut before = z.h.stack.counters();
    let (mut lost, mut accepted) = (0, 0);
    for n in 0..FRAMES {
        // Connections to attack: opened anew as they die. What the listener accepted besides is let go of.
        if n % 64 == 0 {
            if n % 1024 == 0 {
                let now = z.h.now;
                for (_, id) in std::mem::take(&mut z.peers) {
                    z.h.stack.abort(id, now);
                }
            }
            use_sockets(&mut z, sockets);
            while z.h.stack.next_ready().is_some() {}
            while z.h.stack.next_accepting().is_some() {}
            for listener in [z.flooded, z.h.listener] {
                while let Some(id) = z.h.stack.accept(listener) {
                    let now = z.h.now;
                    z.h.stack.abort(id, now);
                }
            }
            z.h.turn();
            let (stack, now) = (&mut z.h.stack, z.h.now);
            z.peers.retain(|(_, id)| match stack.state(*id) {
                None => false,
                Some(State::Closed | State::TimeWait) => {
                    stack.close(*id, now);
                    false
                }
                Some(_) => true,
            });
            if z.peers.len() < 8
                && let Some(new) = connect_one(&mut z)
            {
                z.peers.push(new);
            }
            z.h.run(z.rng.clone().below(50) * MS);
            before = z.h.stack.counters();
        }
        let mut f = if z.peers.is_empty() { z.arp() } else { z.valid() };
        if z.rng.chance(800) {
            z.mutate(&mut f);
        }
        let now = z.h.now;
        deliver(&mut z.h.stack, &f, now);
        let after = z.h.stack.counters();
        // The identity: frames in = sum of drops + accepted, frame by frame. A frame is dropped for one reason or none;
        // without one some layer must have taken it.
        let dropped = rx_drops(&after) - rx_drops(&before);
        let took = taken(&after) - taken(&before);
        assert_eq!(after.rx_packets - before.rx_packets, 1);
        assert!(dropped <= 1, "frame {n}: dropped {dropped} times: {f:02x?}\n{:?}", diff(&before, &after));
        assert!(dropped + took >= 1 && took <= 1, "frame {n}: neither dropped nor taken: {f:02x?}");
        lost += dropped;
        accepted += u64::from(dropped == 0 && took == 1);
        before = after;
        if n % 8 == 0 && !z.peers.is_empty() {
            let id = z.peers[n / 8 % z.peers.len()].1;
            if z.rng.chance(500) {
                z.h.stack.write(id, &[n as u8; 1500]);
            }
            let unread = z.h.stack.readable(id);
            z.h.stack.consume(id, unread / 2);
            z.h.turn();
            before = z.h.stack.counters();
        }
        if n % 1000 == 0 {
            z.h.assert_ledger();
            // Ours, and what the two backlogs allow.
            assert!(z.h.stack.conns() <= 8 + BACKLOG + 128, "{} connections", z.h.stack.conns());
            assert!(z.h.stack.neigh().len() <= linerate_net::neigh::NEIGH_LIMIT);
            z.h.others.clear();
        }
    }
    assert_eq!(lost + accepted, FRAMES as u64);
    let c = z.h.stack.counters();
    println!("{lost} dropped, {accepted} accepted: {:?}", c.nonzero_drops().collect::<Vec<_>>());
    println!("{:?}", c.iter().filter(|c| c.1 > 0).collect::<Vec<_>>());
    // The fuzz reaches what it is for.
    let reached = [
        DropReason::ParseEthernet,
        DropReason::ParseArp,
        DropReason::ParseIpv4,
        DropReason::ParseIpv6,
        DropReason::ParseTcp,
        DropReason::ParseUdp,
        DropReason::ParseIcmp,
        DropReason::NotLocal,
        DropReason::MartianSource,
        DropReason::CsumIpv4,
        DropReason::CsumL4,
        DropReason::FragInvalid,
        DropReason::FragOverlap,
        DropReason::SourceRouted,
        DropReason::Ipv6Option,
        DropReason::Ipv6Routing,
        DropReason::BroadcastTcp,
        DropReason::NoListener,
        DropReason::SynQueueFull,
        DropReason::OutOfWindow,
        DropReason::BadAck,
        DropReason::Paws,
        DropReason::RstIgnored,
        DropReason::TcpNoAck,
        DropReason::TcpClosed,
        DropReason::OldDuplicate,
        DropReason::IcmpUnhandled,
        DropReason::IcmpUnsolicited,
        DropReason::UdpNoSocket,
        DropReason::SocketFull,
        DropReason::ProtocolUnknown,
        DropReason::NdInvalid,
        DropReason::ArpIgnored,
    ];
    for r in reached {
        assert!(c.dropped(r) > 0, "{r:?} was never met");
    }
    assert!(c.tcp_accepts > 1000 && c.tcp_retransmits > 100, "{} {}", c.tcp_accepts, c.tcp_retransmits);
    assert!(c.reassembled > 0 && c.frags_out > 1000, "{} {}", c.reassembled, c.frags_out);
    // Everything ends.
    let now = z.h.now;
    z.h.stack.close_listeners(now);
    z.h.stack.abort_all(now);
    for id in sockets {
        z.h.stack.dgram_close(id, now);
    }
    z.h.run(200 * SEC);
    z.h.assert_home();
}

/// The application at its datagram sockets: it reads most, sends some.
fn use_sockets(z: &mut Fuzz, sockets: [DgramId; 3]) {
    let now = z.h.now;
    while z.h.stack.next_dgram_ready().is_some() {}
    for id in sockets {
        while z.rng.chance(900) && z.h.stack.dgram_recv(id, &mut [0; 100]) != Err(SockError::WouldBlock) {}
        while z.h.stack.dgram_next_notice(id).is_some() {}
    }
    let len = z.rng.below(5000) as usize;
    let _ = z.h.stack.dgram_send_to(sockets[0], &vec![1; len], addr(1, z.rng.chance(500)), 9, now);
}

fn diff(a: &Counters, b: &Counters) -> Vec<&'static str> {
    DropReason::ALL.iter().filter(|r| a.dropped(**r) != b.dropped(**r)).map(|r| r.as_str()).collect()
}

/// A connection by a clean handshake, if the backlog has room.
fn connect_one(z: &mut Fuzz) -> Option<(Peer, FlowId)> {
    let o = Opts {
        sack: z.rng.chance(700),
        ts: z.rng.chance(300),
        wscale: z.rng.chance(500).then_some(3),
        ..Opts::default()
    };
    z.h.stack.neigh().set(addr(1, false), MACS[1], Known::Permanent, 0);
    let (mut p, out) = z.h.syn(&o);
    let syn_ack = out.iter().find(|s| s.flags == SYN_ACK && s.dst_port == p.port)?;
    p.first = syn_ack.seq.wrapping_add(1);
    p.ack = p.first;
    p.tsecr = syn_ack.options.timestamps.map_or(0, |t| t.0);
    z.h.send(&mut p, ACK, b"");
    let id = z.h.stack.accept(z.h.listener)?;
    (z.h.stack.flow_key(id)?.remote_port == p.port).then_some((p, id))
}

/// The same without a link layer: nothing but noise and broken IP packets.
#[test]
fn noise_without_a_link_layer() {
    let addrs = [IfAddr { addr: addr(0, false), prefix_len: 24 }];
    let route =
        Route { dst: addr(0, false), prefix_len: 0, gateway: None, metric: 0, mtu: None, prefsrc: None };
    let cfg = StackConfig {
        link: Link::RawIp,
        mtu: 1500,
        addrs: addrs.to_vec(),
        routes: vec![route],
        resolver: Resolver::Own,
        tcp: TcpConfig::default(),
        secret: [1, 2, 3, 4],
    };
    let pool = Pool::new(Region::heap(512, 2048));
    let mut stack = Stack::new(cfg, pool, linerate_net::Instant(0)).unwrap();
    let mut rng = Rng(5);
    let now = linerate_net::Instant(SEC);
    for n in 0..50_000 {
        let mut f: Vec<u8> = (0..rng.below(120)).map(|_| rng.next() as u8).collect();
        if let Some(b) = f.first_mut() {
            *b = [0x45, 0x60, 0x46, *b][n % 4];
        }
        let before = rx_drops(&stack.counters()) + taken(&stack.counters());
        deliver(&mut stack, &f, now);
        assert!(rx_drops(&stack.counters()) + taken(&stack.counters()) > before);
    }
    stack.drain();
    assert!(stack.pool().ledger().is_home());
}

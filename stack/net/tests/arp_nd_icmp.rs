//! Below TCP: ARP (RFC 826, 5227), neighbour discovery (RFC 4861, 4862), ICMP (RFC 792, 1122, 4443), what is refused.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_net::neigh::NeighState;
use linerate_net::{DropReason, TcpConfig};
use linerate_wire::ipv4::Ipv4Emit;
use linerate_wire::nd::{self, NdMessage};
use linerate_wire::{
    ArpOp, ArpPacket, CsumStatus, EmitError, MacAddr, Parsed, Push, eth, icmpv4, icmpv6, parse, protocol,
    verify_l4,
};
use support::peer::*;
use support::{MACS, addr};

fn host() -> Host {
    let mut h = Host::new(TcpConfig::default());
    for v6 in [false, true] {
        h.stack.neigh().remove(addr(1, v6));
    }
    h
}

/// With the peer's addresses known.
fn known() -> Host {
    Host::new(TcpConfig::default())
}

fn frame(
    dst: MacAddr,
    vlan: Option<u16>,
    payload: &[u8],
    push: impl FnOnce(&mut Push<'_>) -> Result<(), EmitError>,
) -> Vec<u8> {
    let mut buf = vec![0; 128 + payload.len()];
    buf[128..].copy_from_slice(payload);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    push(&mut p).unwrap();
    p.eth(MACS[1], dst, vlan).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

fn v4(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host as u8 + 1)
}

fn v6(host: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host as u16 + 1)
}

/// What the stack answers to a frame.
fn ask(h: &mut Host, f: &[u8]) -> Vec<Vec<u8>> {
    h.inject(f);
    assert!(h.turn().is_empty(), "nothing here is TCP");
    std::mem::take(&mut h.others)
}

fn arp(op: ArpOp, mac: MacAddr, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let a = ArpPacket { op, sender_mac: mac, sender_ip: from, target_mac: [0; 6], target_ip: to };
    frame(eth::BROADCAST, None, &[], |p| p.arp(&a))
}

fn arp_of(f: &[u8]) -> (MacAddr, ArpPacket) {
    let p = parse(f).unwrap();
    (p.l2.dst, ArpPacket::parse(&f[p.l3_off as usize..]).unwrap())
}

/// RFC 826: by unicast, and the asker is learned (it is about to talk to us).
#[test]
fn an_arp_request_is_answered() {
    let mut h = host();
    let out = ask(&mut h, &arp(ArpOp::Request, MACS[1], v4(1), v4(0)));
    assert_eq!(out.len(), 1);
    let (to, a) = arp_of(&out[0]);
    let want = ArpPacket {
        op: ArpOp::Reply,
        sender_mac: MACS[0],
        sender_ip: v4(0),
        target_mac: MACS[1],
        target_ip: v4(1),
    };
    assert_eq!((to, a), (MACS[1], want));
    assert_eq!(h.stack.neigh().state(v4(1).into()), Some(NeighState::Stale));
}

/// RFC 826: not ours, not our business.
#[test]
fn an_arp_request_for_another_is_ignored() {
    let mut h = host();
    assert!(ask(&mut h, &arp(ArpOp::Request, MACS[1], v4(1), v4(7))).is_empty());
    assert_eq!(h.stack.neigh().state(v4(1).into()), None);
    assert_eq!(h.stack.counters().dropped(DropReason::ArpIgnored), 1);
}

/// RFC 5227 section 2.1.1: a probe (sender 0.0.0.0) for our address is answered, and teaches nothing.
#[test]
fn an_arp_probe_is_answered() {
    let mut h = host();
    let out = ask(&mut h, &arp(ArpOp::Request, MACS[1], Ipv4Addr::UNSPECIFIED, v4(0)));
    assert_eq!((out.len(), arp_of(&out[0]).1.op), (1, ArpOp::Reply));
    assert!(h.stack.neigh().is_empty());
}

/// RFC 5227 section 2.4 (b): somebody else announces our address: we defend it by one announcement, and learn nothing.
#[test]
fn a_conflict_is_answered_by_an_announcement() {
    let mut h = host();
    let out = ask(&mut h, &arp(ArpOp::Request, MACS[1], v4(0), v4(0)));
    assert_eq!(out.len(), 1);
    let (to, a) = arp_of(&out[0]);
    assert_eq!(
        (to, a.op, a.sender_mac, a.sender_ip, a.target_ip),
        (eth::BROADCAST, ArpOp::Request, MACS[0], v4(0), v4(0))
    );
    assert!(h.stack.neigh().is_empty());
    // Our own announcement that a switch sends back is none.
    assert!(ask(&mut h, &arp(ArpOp::Request, MACS[0], v4(0), v4(0))).is_empty());
}

/// RFC 1122 section 2.3.2.2: the packet waits for the answer; nobody who was not asked is believed.
#[test]
fn an_arp_reply_is_learned_when_asked_for() {
    let mut h = host();
    assert!(ask(&mut h, &arp(ArpOp::Reply, MACS[1], v4(1), v4(0))).is_empty());
    assert!(h.stack.neigh().is_empty(), "not asked for");
    let now = h.now;
    h.stack.connect(addr(1, false), 80, now).unwrap();
    assert!(h.run(0).is_empty(), "the SYN waits");
    let out = std::mem::take(&mut h.others);
    assert_eq!(out.len(), 1);
    let (to, a) = arp_of(&out[0]);
    assert_eq!((to, a.op, a.target_ip, a.target_mac), (eth::BROADCAST, ArpOp::Request, v4(1), [0; 6]));
    h.inject(&arp(ArpOp::Reply, MACS[1], v4(1), v4(0)));
    let out = h.turn();
    assert_eq!((out.len(), out[0].flags), (1, SYN));
    assert_eq!(h.stack.neigh().state(v4(1).into()), Some(NeighState::Reachable));
}

/// RFC 1122 section 2.3.2.1: one question a second, three of them, and what waited is given up.
#[test]
fn an_unanswered_neighbour_is_given_up() {
    let mut h = host();
    let now = h.now;
    let id = h.stack.connect(addr(1, true), 80, now).unwrap();
    let start = h.now.0;
    h.run(900 * MS);
    assert_eq!(h.others.len(), 1, "at once");
    h.run(5 * SEC);
    assert!((3..=6).contains(&h.others.len()), "{} in {} s", h.others.len(), (h.now.0 - start) / SEC);
    assert!(h.stack.counters().dropped(DropReason::NeighFailed) >= 1);
    let now = h.now;
    h.stack.abort(id, now);
    h.run(10 * SEC);
    h.assert_home();
}

fn echo(ipv6: bool, body: &[u8]) -> Vec<u8> {
    match ipv6 {
        false => frame(MACS[0], None, body, |p| {
            p.icmpv4(icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4], None)?;
            p.ip(addr(1, false), addr(0, false), protocol::ICMP, 33, 0, 9, false, 0)
        }),
        true => frame(MACS[0], None, body, |p| {
            p.icmpv6((icmpv6::ECHO_REQUEST, 0), [1, 2, 3, 4], v6(1), v6(0), None)?;
            p.ip(addr(1, true), addr(0, true), protocol::ICMPV6, 33, 0, 9, false, 0)
        }),
    }
}

fn check(f: &[u8], ipv6: bool) -> (Parsed, Vec<u8>) {
    let p = parse(f).expect("what the stack sends parses");
    let net = p.net.unwrap();
    assert_eq!((net.src, net.dst), (addr(0, ipv6), addr(1, ipv6)));
    assert_eq!((p.l2.src, p.l2.dst), (MACS[0], MACS[1]));
    assert_eq!(p.end as usize, f.len());
    assert_eq!(verify_l4(net.src, net.dst, net.protocol, p.l4(f)), CsumStatus::Good);
    (p, p.l4(f).to_vec())
}

/// RFC 1122 section 3.2.2.6, RFC 4443 section 4.2: identifier, sequence number and data come back as they were.
#[test]
fn echo_of_every_size() {
    let mut h = known();
    for ipv6 in [false, true] {
        for len in (0..=1400).step_by(7).chain([1, 1399]) {
            let body: Vec<u8> = (0..len).map(|i| (i * 13 + len) as u8).collect();
            let out = ask(&mut h, &echo(ipv6, &body));
            assert_eq!(out.len(), 1);
            let (p, l4) = check(&out[0], ipv6);
            let ty = if ipv6 { icmpv6::ECHO_REPLY } else { icmpv4::ECHO_REPLY };
            assert_eq!((l4[0], l4[1], &l4[4..8], &l4[8..]), (ty, 0, &[1, 2, 3, 4][..], &body[..]));
            assert_eq!(p.net.unwrap().ttl, 64);
        }
    }
    h.assert_home();
}

/// Ethernet pads short frames: the padding is no data.
#[test]
fn padding_is_not_echoed() {
    let mut h = known();
    let mut f = echo(false, b"");
    f.resize(60, 0xee);
    let out = ask(&mut h, &f);
    assert_eq!(out[0].len(), 14 + 20 + 8);
}

#[test]
fn a_bad_checksum_is_dropped() {
    let mut h = known();
    for ipv6 in [false, true] {
        let mut f = echo(ipv6, b"data");
        *f.last_mut().unwrap() ^= 1;
        assert!(ask(&mut h, &f).is_empty());
    }
    assert_eq!(h.stack.counters().dropped(DropReason::CsumL4), 2);
    h.assert_home();
}

/// RFC 1122 section 3.2.2.6: echo to broadcast may be discarded (smurf); RFC 792: replies are not answered.
#[test]
fn echo_to_all_and_echo_replies_are_not_answered() {
    let mut h = known();
    for dst in ["10.0.0.255", "255.255.255.255", "224.0.0.1"] {
        let f = frame(eth::BROADCAST, None, b"x", |p| {
            p.icmpv4(icmpv4::ECHO_REQUEST, 0, [0; 4], None)?;
            p.ip(addr(1, false), dst.parse().unwrap(), protocol::ICMP, 64, 0, 9, false, 0)
        });
        assert!(ask(&mut h, &f).is_empty(), "{dst}");
    }
    let f = frame(MACS[0], None, b"x", |p| {
        p.icmpv4(icmpv4::ECHO_REPLY, 0, [0; 4], None)?;
        p.ip(addr(1, false), addr(0, false), protocol::ICMP, 64, 0, 9, false, 0)
    });
    assert!(ask(&mut h, &f).is_empty());
    assert_eq!(h.stack.counters().dropped(DropReason::IcmpUnhandled), 4);
}

fn ns(src: Ipv6Addr, dst: Ipv6Addr, target: Ipv6Addr, mac: Option<MacAddr>, hops: u8) -> Vec<u8> {
    let mut l4 = [0; 64];
    let n = nd::emit_ns(&mut l4, src, dst, target, mac, None);
    let to = if dst.is_multicast() { nd::multicast_mac(dst.into()) } else { MACS[0] };
    frame(to, None, &l4[..n], |p| p.ip(src.into(), dst.into(), protocol::ICMPV6, hops, 0, 0, true, 0))
}

fn na_of(f: &[u8]) -> (Parsed, Ipv6Addr, nd::NaFlags, Option<MacAddr>) {
    let p = parse(f).unwrap();
    assert_eq!(p.net.unwrap().ttl, 255, "RFC 4861 section 4.4");
    let net = p.net.unwrap();
    assert_eq!(verify_l4(net.src, net.dst, net.protocol, p.l4(f)), CsumStatus::Good);
    match NdMessage::parse(p.l4(f)).unwrap() {
        NdMessage::NeighborAdvert { target, flags, options } => {
            (p, target, flags, options.target_link_layer())
        }
        other => panic!("{other:?}"),
    }
}

/// RFC 4861 section 7.2.4: solicited, override, with our link-layer address; the asker is STALE (7.2.3).
#[test]
fn a_solicitation_is_answered() {
    for dst in [nd::solicited_node_multicast(v6(0)), v6(0)] {
        let mut h = host();
        let out = ask(&mut h, &ns(v6(1), dst, v6(0), Some(MACS[1]), 255));
        assert_eq!(out.len(), 1);
        let (p, target, flags, mac) = na_of(&out[0]);
        assert_eq!((p.net.unwrap().dst, p.l2.dst), (IpAddr::from(v6(1)), MACS[1]));
        assert_eq!((target, mac), (v6(0), Some(MACS[0])));
        assert!(flags.solicited && flags.override_ && !flags.router);
        assert_eq!(h.stack.neigh().state(v6(1).into()), Some(NeighState::Stale));
    }
}

/// RFC 4862 section 5.4.3, RFC 4861 section 7.2.4: to all nodes, not solicited, and nothing is learned.
#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let mut h = host();
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    let out = ask(&mut h, &ns(Ipv6Addr::UNSPECIFIED, nd::solicited_node_multicast(v6(0)), v6(0), None, 255));
    assert_eq!(out.len(), 1);
    let (p, target, flags, mac) = na_of(&out[0]);
    assert_eq!((p.net.unwrap().dst, p.l2.dst), (IpAddr::from(all), [0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!((target, mac), (v6(0), Some(MACS[0])));
    assert!(!flags.solicited && flags.override_);
    assert!(h.stack.neigh().is_empty());
}

/// RFC 4861 section 7.1.1: what came through a router (hop limit below 255) is forged.
#[test]
fn a_bad_hop_limit_is_dropped() {
    let mut h = host();
    for hops in [0, 1, 64, 254] {
        assert!(ask(&mut h, &ns(v6(1), v6(0), v6(0), Some(MACS[1]), hops)).is_empty());
    }
    assert_eq!(h.stack.counters().dropped(DropReason::NdInvalid), 4);
    assert!(h.stack.neigh().is_empty());
}

/// RFC 4861 section 7.2.3: not our address.
#[test]
fn a_solicitation_for_another_is_ignored() {
    let mut h = host();
    assert!(ask(&mut h, &ns(v6(1), v6(0), v6(9), Some(MACS[1]), 255)).is_empty());
    assert!(h.stack.neigh().is_empty());
}

/// RFC 4861 section 7.2.5: an advertisement completes what we asked for.
#[test]
fn an_advertisement_is_learned_when_asked_for() {
    let mut h = host();
    let now = h.now;
    h.stack.connect(addr(1, true), 80, now).unwrap();
    assert!(h.run(0).is_empty());
    let out = std::mem::take(&mut h.others);
    let p = parse(&out[0]).unwrap();
    let group = nd::solicited_node_multicast(v6(1));
    assert_eq!((p.net.unwrap().dst, p.l2.dst), (group.into(), nd::multicast_mac(group.into())));
    let mut l4 = [0; 64];
    let flags = nd::NaFlags { router: false, solicited: true, override_: true };
    let n = nd::emit_na(&mut l4, v6(1), v6(0), v6(1), flags, Some(MACS[1]));
    h.inject(&frame(MACS[0], None, &l4[..n], |p| {
        p.ip(v6(1).into(), v6(0).into(), protocol::ICMPV6, 255, 0, 0, true, 0)
    }));
    let out = h.turn();
    assert_eq!((out.len(), out[0].flags), (1, SYN));
    assert_eq!(h.stack.neigh().state(v6(1).into()), Some(NeighState::Reachable));
}

fn udp(src: IpAddr, dst: IpAddr, to: MacAddr, body: &[u8]) -> Vec<u8> {
    frame(to, None, body, |p| {
        p.udp(5353, 9, src, dst, None)?;
        p.ip(src, dst, protocol::UDP, 64, 0, 9, true, 0)
    })
}

/// RFC 1122 sections 3.2.2.1 and 4.1.3.1, RFC 4443 section 3.1: port unreachable with as much of the packet as fits 576 or
/// 1280 bytes.
#[test]
fn udp_to_a_closed_port_is_unreachable() {
    let mut h = known();
    for ipv6 in [false, true] {
        for len in [0, 1, 100, 1400] {
            let f = udp(addr(1, ipv6), addr(0, ipv6), MACS[0], &vec![7; len]);
            let out = ask(&mut h, &f);
            assert_eq!(out.len(), 1);
            let (p, l4) = check(&out[0], ipv6);
            assert_eq!((l4[0], l4[1]), if ipv6 { (1, 4) } else { (3, 3) });
            let quote = &l4[8..];
            assert_eq!(quote, &f[14..14 + quote.len()], "the packet as it came");
            let most = if ipv6 { 1280 } else { 576 };
            assert_eq!((p.end - p.l3_off) as usize, most.min(f.len() - 14 + if ipv6 { 48 } else { 28 }));
        }
    }
    h.assert_home();
}

/// RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f): a flood of questions gets a trickle of errors.
#[test]
fn errors_are_rate_limited() {
    let mut h = known();
    let f = udp(addr(1, false), addr(0, false), MACS[0], b"x");
    let answered: usize = (0..1000).map(|_| ask(&mut h, &f).len()).sum();
    assert_eq!(answered, 50);
    let c = h.stack.counters();
    assert_eq!((c.dropped(DropReason::UdpNoSocket), c.dropped(DropReason::IcmpRateLimited)), (50, 950));
    h.run(SEC);
    assert_eq!(ask(&mut h, &f).len(), 1);
}

/// RFC 1122 section 3.2.2: no error about what was sent to many.
#[test]
fn no_error_about_broadcast_and_multicast() {
    let mut h = known();
    for (dst, mac) in [
        ("10.0.0.255", [0xff; 6]),
        ("224.0.0.1", [1, 0, 0x5e, 0, 0, 1]),
        ("ff02::1", [0x33, 0x33, 0, 0, 0, 1]),
    ] {
        let dst: IpAddr = dst.parse().unwrap();
        assert!(ask(&mut h, &udp(addr(1, dst.is_ipv6()), dst, mac, b"x")).is_empty(), "{dst}");
    }
}

/// RFC 1122 section 3.2.1.3, RFC 4291 section 2.5: sources that no packet from a link has.
#[test]
fn martians_are_dropped() {
    let mut h = known();
    let sources = [
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "10.0.0.255",
        "::1",
        "ff02::1",
        "::ffff:1.2.3.4",
        "::",
    ];
    for src in sources {
        let src: IpAddr = src.parse().unwrap();
        let dst = addr(0, src.is_ipv6());
        assert!(ask(&mut h, &udp(src, dst, MACS[0], b"x")).is_empty(), "{src}");
    }
    assert_eq!(h.stack.counters().dropped(DropReason::MartianSource), sources.len() as u64);
    h.assert_home();
}

/// Not to us: another MAC address, another IP address, and RFC 1122 section 3.3.6 (unicast inside broadcast).
#[test]
fn what_is_not_for_us_is_dropped() {
    let mut h = known();
    for (dst, mac) in
        [("10.0.0.1", [2; 6]), ("10.0.0.9", MACS[0]), ("10.0.0.1", [0xff; 6]), ("fd00::9", MACS[0])]
    {
        let dst: IpAddr = dst.parse().unwrap();
        assert!(ask(&mut h, &udp(addr(1, dst.is_ipv6()), dst, mac, b"x")).is_empty());
    }
    assert_eq!(h.stack.counters().dropped(DropReason::NotLocal), 4);
}

/// 802.1Q: a priority tag (VID 0) belongs to the untagged network.
#[test]
fn another_vlan_is_not_ours() {
    let mut h = known();
    let f = frame(MACS[0], Some(5), b"tagged", |p| {
        p.icmpv4(icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4], None)?;
        p.ip(addr(1, false), addr(0, false), protocol::ICMP, 33, 0, 9, false, 0)
    });
    assert!(ask(&mut h, &f).is_empty());
}

#[test]
fn a_priority_tagged_echo_is_answered() {
    let mut h = known();
    let f = frame(MACS[0], Some(5 << 13), b"tagged", |p| {
        p.icmpv4(icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4], None)?;
        p.ip(addr(1, false), addr(0, false), protocol::ICMP, 33, 0, 9, false, 0)
    });
    let out = ask(&mut h, &f);
    assert_eq!(out.len(), 1);
    let (p, l4) = check(&out[0], false);
    assert_eq!((&l4[8..], p.l2.vlan), (&b"tagged"[..], None));
}

/// An atomic fragment is a whole packet.
//= RFC 6946 section 4
#[test]
fn atomic_fragments_are_whole() {
    let mut h = known();
    let mut l4 = [0; 12];
    icmpv6::emit((icmpv6::ECHO_REQUEST, 0), [0; 4], b"atom", v6(1), v6(0), &mut l4);
    let mut body = vec![protocol::ICMPV6, 0, 0, 0, 0, 0, 0, 9];
    body.extend(l4);
    let f = frame(MACS[0], None, &body, |p| p.ip(v6(1).into(), v6(0).into(), 44, 64, 0, 0, true, 0));
    assert_eq!(ask(&mut h, &f).len(), 1);
    assert_eq!(h.stack.fragments_held(), (0, 0));
}

/// IPv4 options and IPv6 extension headers stand in front of the echo: it is answered without them.
#[test]
fn echo_behind_options() {
    let mut h = known();
    let f = frame(MACS[0], None, b"opt", |p| {
        p.icmpv4(icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4], None)?;
        p.ipv4(&Ipv4Emit {
            src: v4(1),
            dst: v4(0),
            protocol: protocol::ICMP,
            ttl: 64,
            tos: 0,
            id: 1,
            dont_fragment: true,
            more_fragments: false,
            offset_bytes: 0,
            options: &[0x94, 4, 0, 0],
        })
    });
    let out = ask(&mut h, &f);
    assert_eq!(&check(&out[0], false).1[8..], b"opt");
    let mut l4 = [0; 11];
    icmpv6::emit((icmpv6::ECHO_REQUEST, 0), [0; 4], b"ext", v6(1), v6(0), &mut l4);
    let mut body = vec![protocol::ICMPV6, 0, 1, 4, 0, 0, 0, 0];
    body.extend(l4);
    let f = frame(MACS[0], None, &body, |p| {
        p.ip(v6(1).into(), v6(0).into(), protocol::IPV6_DEST_OPTIONS, 64, 0, 0, true, 0)
    });
    let out = ask(&mut h, &f);
    assert_eq!(&check(&out[0], true).1[8..], b"ext");
}

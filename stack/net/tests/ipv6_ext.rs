//! IPv6 extension headers and their options (RFC 8200 section 4), the errors they cause (RFC 4443), and IPv4's options.

mod support;

use std::net::{IpAddr, Ipv6Addr};

use linerate_net::{DropReason, TcpConfig};
use linerate_wire::ipv4::Ipv4Emit;
use linerate_wire::{Push, eth, icmpv4, icmpv6, nd, parse, protocol};
use support::icmp::raw_turn;
use support::peer::*;
use support::{MACS, addr};

fn us() -> Ipv6Addr {
    v6(addr(0, true))
}

fn them() -> Ipv6Addr {
    v6(addr(1, true))
}

fn v6(a: IpAddr) -> Ipv6Addr {
    match a {
        IpAddr::V6(a) => a,
        IpAddr::V4(_) => unreachable!(),
    }
}

/// An IPv6 packet with this payload, from the next host to `dst`.
fn packet(first: u8, payload: &[u8], dst: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut buf = vec![0; 128 + payload.len()];
    buf[128..].copy_from_slice(payload);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    p.ip(them().into(), dst.into(), first, 64, 0, 0, true, 0).unwrap();
    p.eth(MACS[1], mac, None).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

fn echo() -> Vec<u8> {
    let mut l4 = [0; 12];
    icmpv6::emit((icmpv6::ECHO_REQUEST, 0), [1, 2, 3, 4], b"ext!", them(), us(), &mut l4);
    l4.to_vec()
}

/// A chain: each header's type and its bytes behind the next-header byte.
fn chain(headers: &[(u8, &[u8])], last: u8, rest: &[u8]) -> (u8, Vec<u8>) {
    let (mut next, mut bytes) = (last, rest.to_vec());
    for (kind, body) in headers.iter().rev() {
        let mut header = vec![next];
        header.extend_from_slice(body);
        assert!(header.len().is_multiple_of(8));
        header.extend(&bytes);
        (next, bytes) = (*kind, header);
    }
    (next, bytes)
}

fn ask(h: &mut Host, headers: &[(u8, &[u8])]) -> Vec<Vec<u8>> {
    let (first, bytes) = chain(headers, protocol::ICMPV6, &echo());
    h.inject(&packet(first, &bytes, us(), MACS[0]));
    raw_turn(h)
}

fn host() -> Host {
    Host::new(TcpConfig::default())
}

/// Type, code and the number of the one ICMPv6 error among these frames.
fn error(out: &[Vec<u8>]) -> (u8, u8, u32) {
    assert_eq!(out.len(), 1, "{out:02x?}");
    let p = parse(&out[0]).unwrap();
    let l4 = p.l4(&out[0]);
    assert_eq!((p.net.unwrap().protocol, p.net.unwrap().dst), (protocol::ICMPV6, them().into()));
    assert!(p.end - p.l3_off <= 1280);
    (l4[0], l4[1], u32::from_be_bytes([l4[4], l4[5], l4[6], l4[7]]))
}

fn answered(out: &[Vec<u8>]) -> bool {
    !out.is_empty() && parse(&out[0]).unwrap().l4(&out[0])[0] == icmpv6::ECHO_REPLY
}

/// An extension header: its type, and its bytes behind the next-header byte.
type Header<'a> = (u8, &'a [u8]);

const PAD: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
const HBH: u8 = protocol::IPV6_HOP_BY_HOP;
const DST: u8 = protocol::IPV6_DEST_OPTIONS;
const RT: u8 = protocol::IPV6_ROUTING;
const FRAG: u8 = protocol::IPV6_FRAGMENT;

/// Any order, but hop-by-hop options first only.
//= RFC 8200 section 4.1
#[test]
fn headers_in_any_order() {
    let mut h = host();
    let rt: &[u8] = &[0, 4, 0, 0, 0, 0, 0];
    let atomic: &[u8] = &[0, 0, 0, 0, 0, 0, 7];
    for headers in [
        &[(HBH, PAD)][..],
        &[(DST, PAD)],
        &[(HBH, PAD), (DST, PAD), (RT, rt), (FRAG, atomic), (DST, PAD)],
        &[(DST, PAD), (DST, PAD), (RT, rt), (DST, PAD)],
        &[(FRAG, atomic), (RT, rt), (DST, PAD), (RT, rt)],
    ] {
        assert!(answered(&ask(&mut h, headers)), "{headers:?}");
    }
    // Hop-by-hop elsewhere is a header that nobody knows, at the byte that names it.
    assert_eq!(error(&ask(&mut h, &[(DST, PAD), (HBH, PAD)])), (4, 1, 40));
    h.assert_home();
}

/// The two highest bits of an unknown option's type say what is done about it, in both options headers.
//= RFC 8200 section 4.2
#[test]
fn unknown_options() {
    for kind in [HBH, DST] {
        let mut h = host();
        let with = |option: u8| [0, 1, 0, option, 2, 0, 0];
        assert!(answered(&ask(&mut h, &[(kind, &with(0x1e))])), "00: skip");
        assert!(answered(&ask(&mut h, &[(kind, &with(0x05))])), "router alert, or whatever it is");
        assert!(ask(&mut h, &[(kind, &with(0x5e))]).is_empty(), "01: drop in silence");
        assert_eq!(error(&ask(&mut h, &[(kind, &with(0x9e))])), (4, 2, 44), "10: tell");
        assert_eq!(error(&ask(&mut h, &[(kind, &with(0xde))])), (4, 2, 44), "11: tell");
        assert_eq!(h.stack.counters().dropped(DropReason::Ipv6Option), 3);
        // The first one that matters decides.
        assert!(ask(&mut h, &[(kind, &[0, 0x1e, 0, 0x5e, 0, 0x9e, 0])]).is_empty());
        assert_eq!(error(&ask(&mut h, &[(kind, PAD), (DST, &[0, 0x9e, 0, 0x5e, 0, 0, 0])])), (4, 2, 50));
        // An option that runs over the end.
        assert!(ask(&mut h, &[(kind, &[0, 0x1e, 9, 0, 0, 0, 0])]).is_empty());
        h.assert_home();
    }
}

/// To a group: only what asks for it (10) is told, from an address of ours.
//= RFC 4443 section 2.4
#[test]
fn unknown_options_to_a_group() {
    let mut h = host();
    let all: Ipv6Addr = "ff02::1".parse().unwrap();
    for (option, answers) in [(0x9e, 1), (0xde, 0), (0x5e, 0)] {
        let (first, bytes) = chain(&[(DST, &[0, 1, 0, option, 2, 0, 0])], protocol::ICMPV6, &echo());
        h.inject(&packet(first, &bytes, all, [0x33, 0x33, 0, 0, 0, 1]));
        let out = raw_turn(&mut h);
        assert_eq!(out.len(), answers, "{option:#x}");
        if answers == 1 {
            assert_eq!(error(&out), (4, 2, 44));
            assert_eq!(parse(&out[0]).unwrap().net.unwrap().src, IpAddr::from(us()));
        }
    }
    // An unknown next header to a group: no word.
    h.inject(&packet(200, &[0; 8], all, [0x33, 0x33, 0, 0, 0, 1]));
    assert!(raw_turn(&mut h).is_empty());
}

/// A routing header of a type we don't know, type 0 among them: ignored without segments left, an error with them.
//= RFC 5095 section 3
//= RFC 8200 section 4.4
#[test]
fn routing_headers() {
    let mut h = host();
    for kind in [0, 2, 4, 253] {
        assert!(answered(&ask(&mut h, &[(RT, &[0, kind, 0, 0, 0, 0, 0])])), "type {kind}");
        assert_eq!(error(&ask(&mut h, &[(RT, &[0, kind, 1, 0, 0, 0, 0])])), (4, 0, 42), "type {kind}");
    }
    let rh0: Vec<u8> = [&[2, 0, 1, 0, 0, 0, 0][..], &us().octets()].concat();
    assert_eq!(error(&ask(&mut h, &[(HBH, PAD), (RT, &rh0)])), (4, 0, 50));
    assert_eq!(h.stack.counters().dropped(DropReason::Ipv6Routing), 5);
}

/// A next header that nobody here knows: the pointer shows it. "No next header" is no error.
//= RFC 8200 section 4
#[test]
fn unknown_next_headers() {
    let mut h = host();
    h.inject(&packet(200, &[1; 20], us(), MACS[0]));
    assert_eq!(error(&raw_turn(&mut h)), (4, 1, 6));
    let (first, bytes) = chain(&[(HBH, PAD), (DST, PAD)], 200, &[1; 20]);
    h.inject(&packet(first, &bytes, us(), MACS[0]));
    assert_eq!(error(&raw_turn(&mut h)), (4, 1, 48));
    for rest in [&[][..], &[0; 9]] {
        let (first, bytes) = chain(&[(DST, PAD)], protocol::IPV6_NO_NEXT, rest);
        h.inject(&packet(first, &bytes, us(), MACS[0]));
        assert!(raw_turn(&mut h).is_empty());
    }
    assert_eq!(h.stack.counters().dropped(DropReason::ProtocolUnknown), 4);
}

/// The same in IPv4 is "protocol unreachable".
//= RFC 1122 section 3.2.2.1
#[test]
fn unknown_ipv4_protocols() {
    let mut h = host();
    for (dst, mac, answers) in [("10.0.0.1", MACS[0], 1), ("10.0.0.255", eth::BROADCAST, 0)] {
        let mut buf = vec![7; 148];
        let mut p = Push::new(&mut buf, 128, 148);
        p.ip(addr(1, false), dst.parse().unwrap(), 200, 64, 0, 1, true, 0).unwrap();
        p.eth(MACS[1], mac, None).unwrap();
        let start = p.start();
        h.inject(&buf[start..]);
        let out = raw_turn(&mut h);
        assert_eq!(out.len(), answers);
        if answers > 0 {
            let l4 = parse(&out[0]).unwrap().l4(&out[0]).to_vec();
            assert_eq!((l4[0], l4[1], &l4[8..]), (3, 2, &buf[start + 14..]));
        }
    }
}

fn fragment(offset: u16, more: bool, payload: &[u8]) -> (u8, Vec<u8>) {
    let of = (offset | u16::from(more)).to_be_bytes();
    chain(&[(FRAG, &[0, of[0], of[1], 0, 0, 0, 9])], protocol::ICMPV6, payload)
}

fn inject(h: &mut Host, (first, bytes): (u8, Vec<u8>)) -> Vec<Vec<u8>> {
    h.inject(&packet(first, &bytes, us(), MACS[0]));
    raw_turn(h)
}

/// Not a multiple of 8 with more to come: the payload length is wrong. Past 65,535: the offset is.
//= RFC 8200 section 4.5
#[test]
fn wrong_fragments_are_told() {
    let mut h = host();
    assert_eq!(error(&inject(&mut h, fragment(0, true, &[128; 15]))), (4, 0, 4));
    assert_eq!(error(&inject(&mut h, fragment(8, true, &[128; 9]))), (4, 0, 4));
    assert_eq!(error(&inject(&mut h, fragment(65_528, false, &[128; 8]))), (4, 0, 42));
    assert!(inject(&mut h, fragment(65_528, false, &[128; 7])).is_empty());
    let (first, bytes) =
        chain(&[(DST, PAD), (FRAG, &[0, 0xff, 0xf8, 0, 0, 0, 9])], protocol::ICMPV6, &[128; 7]);
    assert_eq!(error(&inject(&mut h, (first, bytes))), (4, 0, 50), "the headers in front count, too");
    assert_eq!(h.stack.counters().dropped(DropReason::FragInvalid), 4);
}

/// A first fragment holds the whole chain of headers, the upper layer's included.
//= RFC 7112 section 5
#[test]
fn first_fragments_hold_all_headers() {
    let mut h = host();
    let frag: &[u8] = &[0, 0, 1, 0, 0, 0, 9];
    let cut: [(&[Header], u8, usize); 4] = [
        (&[(FRAG, frag)], protocol::UDP, 0),
        (&[(FRAG, frag)], protocol::TCP, 16),
        (&[(FRAG, frag), (DST, PAD)], protocol::ICMPV6, 0),
        (&[(FRAG, frag), (DST, PAD), (RT, &[0, 4, 0, 0, 0, 0, 0])], protocol::TCP, 8),
    ];
    for (headers, last, n) in cut {
        let out = inject(&mut h, chain(headers, last, &vec![0x50; n]));
        assert_eq!(error(&out), (4, 3, 0), "{headers:?} {n}");
    }
    // The chain itself is cut: a destination options header of 16 bytes of which 8 are here.
    assert_eq!(error(&inject(&mut h, chain(&[(FRAG, frag)], DST, &[6, 1, 1, 4, 0, 0, 0, 0]))), (4, 3, 0));
    // Whole: kept.
    assert!(inject(&mut h, chain(&[(FRAG, frag), (DST, PAD)], protocol::UDP, &[0; 8])).is_empty());
    assert_eq!(h.stack.fragments_held().1, 1);
}

/// Extension headers in front of the fragment header stay, those behind it are the datagram's: all are looked at.
#[test]
fn options_around_fragments() {
    let mut h = host();
    let (next, inner) = chain(&[(DST, PAD)], protocol::ICMPV6, &echo());
    for (outer, middle) in [(HBH, RT), (DST, DST)] {
        let body: &[u8] = if middle == RT { &[0, 4, 0, 0, 0, 0, 0] } else { PAD };
        for (offset, more, part) in [(0, true, &inner[..16]), (16, false, &inner[16..])] {
            let frag = [0, 0, offset | u8::from(more), 0, 0, 0, 9];
            let out = inject(&mut h, chain(&[(outer, PAD), (middle, body), (FRAG, &frag)], next, part));
            assert_eq!(answered(&out), !more);
        }
    }
    // An option behind the fragment header that may not be skipped: judged once the whole is there.
    let (next, inner) = chain(&[(DST, &[0, 1, 0, 0x9e, 2, 0, 0])], protocol::ICMPV6, &echo());
    assert!(inject(&mut h, chain(&[(FRAG, &[0, 0, 1, 0, 0, 0, 9])], next, &inner[..16])).is_empty());
    let out = inject(&mut h, chain(&[(FRAG, &[0, 0, 16, 0, 0, 0, 9])], next, &inner[16..]));
    assert_eq!(error(&out), (4, 2, 44));
    h.assert_home();
}

/// Neighbour discovery does not come in fragments, not even atomic ones.
//= RFC 6980 section 5
#[test]
fn no_neighbour_discovery_in_fragments() {
    let mut h = host();
    let mut l4 = [0; 64];
    let n = nd::emit_ns(&mut l4, them(), us(), us(), Some(MACS[1]), None);
    let atomic: &[u8] = &[0, 0, 0, 0, 0, 0, 7];
    let mut buf = vec![0; 128];
    let (first, bytes) = chain(&[(FRAG, atomic)], protocol::ICMPV6, &l4[..n]);
    buf.extend(&bytes);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    p.ip(them().into(), us().into(), first, 255, 0, 0, true, 0).unwrap();
    p.eth(MACS[1], MACS[0], None).unwrap();
    let start = p.start();
    h.inject(&buf[start..]);
    assert!(raw_turn(&mut h).is_empty());
    assert_eq!(h.stack.counters().dropped(DropReason::NdInvalid), 1);
}

/// One label for each flow, never 0, and not the same for all.
//= RFC 6437 section 3
#[test]
fn flow_labels() {
    let mut h = host();
    let label = |f: &[u8]| u32::from_be_bytes([0, f[15] & 0x0f, f[16], f[17]]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let (mut p, id) = h.accepted(&Opts { v6: true, ..Opts::default() });
        let mut of_flow = std::collections::BTreeSet::new();
        for n in 1..4 {
            h.stack.write(id, &[1; 1000]);
            of_flow.extend(raw_turn(&mut h).iter().map(|f| label(f)));
            p.ack = p.first.wrapping_add(1000 * n);
            h.burst(&mut p, ACK, b"x");
            of_flow.extend(raw_turn(&mut h).iter().map(|f| label(f)));
        }
        assert_eq!(of_flow.len(), 1);
        assert!(!of_flow.contains(&0));
        seen.extend(of_flow);
    }
    assert!(seen.len() > 45);
}

/// Options are ignored, known or not, but for source routes: those are dropped.
//= RFC 9293 section 3.9.2.1, MUST-50
//= RFC 7126 section 4.3
#[test]
fn ipv4_options() {
    let mut h = host();
    let mut l4 = [0; 12];
    icmpv4::emit(icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4], b"opts", &mut l4);
    let cases: [(&[u8], usize); 7] = [
        (&[0x94, 4, 0, 0], 1),
        (&[1, 1, 1, 0], 1),
        (&[7, 7, 4, 0, 0, 0, 0, 0], 1),
        (&[0x44, 8, 5, 0, 0, 0, 0, 0], 1),
        (&[0x9e, 4, 1, 2], 1),
        (&[0x83, 7, 4, 10, 0, 0, 9, 0], 0),
        (&[1, 0x89, 7, 4, 10, 0, 0, 9], 0),
    ];
    for (options, answers) in cases {
        let mut buf = vec![0; 128];
        buf.extend(&l4);
        let mut p = Push::new(&mut buf, 128, 140);
        let (IpAddr::V4(src), IpAddr::V4(dst)) = (addr(1, false), addr(0, false)) else { unreachable!() };
        p.ipv4(&Ipv4Emit {
            src,
            dst,
            protocol: protocol::ICMP,
            ttl: 64,
            tos: 0xb8 | 1,
            id: 1,
            dont_fragment: true,
            more_fragments: false,
            offset_bytes: 0,
            options,
        })
        .unwrap();
        p.eth(MACS[1], MACS[0], None).unwrap();
        let start = p.start();
        h.inject(&buf[start..]);
        let out = raw_turn(&mut h);
        assert_eq!(out.len(), answers, "{options:?}");
        // RFC 1122 section 3.2.2: the reply's type of service is that of the request; ECN is its own.
        assert!(out.iter().all(|f| f[15] == 0xb8));
    }
    assert_eq!(h.stack.counters().dropped(DropReason::SourceRouted), 2);
}

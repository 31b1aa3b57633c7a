//! Raw and ping sockets.

mod support;

use std::net::IpAddr;

use linerate_net::{DgramId, DropReason, SockError, TcpConfig};
use linerate_wire::{Push, icmpv4, icmpv6, parse, protocol};
use support::icmp::{error, raw_turn};
use support::peer::*;
use support::{MACS, addr};

fn packet(v6: bool, proto: u8, l4: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 128 + l4.len()];
    buf[128..].copy_from_slice(l4);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    p.ip(addr(1, v6), addr(0, v6), proto, 61, 0x28, 1, true, 0).unwrap();
    p.eth(MACS[1], MACS[0], None).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

fn any(v6: bool) -> IpAddr {
    if v6 { "::".parse().unwrap() } else { "0.0.0.0".parse().unwrap() }
}

fn host() -> Host {
    Host::new(TcpConfig::default())
}

fn recv(h: &mut Host, id: DgramId) -> Option<Vec<u8>> {
    let (_, bytes) = h.stack.dgram_front(id)?;
    let bytes = bytes.to_vec();
    h.stack.dgram_pop(id);
    Some(bytes)
}

fn echo(v6: bool, seq: u8, data: &[u8]) -> Vec<u8> {
    let ty = if v6 { icmpv6::ECHO_REQUEST } else { icmpv4::ECHO_REQUEST };
    [&[ty, 0, 0, 0, 0xff, 0xff, 0, seq][..], data].concat()
}

/// The answer that a peer gives to a request as the stack sent it.
fn answer(request: &[u8]) -> Vec<u8> {
    let p = parse(request).unwrap();
    let net = p.net.unwrap();
    let mut l4 = p.l4(request).to_vec();
    assert_eq!(
        linerate_wire::verify_l4(net.src, net.dst, net.protocol, &l4),
        linerate_wire::CsumStatus::Good
    );
    let turned = match net.src.is_ipv6() {
        true => icmpv6::echo_reply_in_place(&mut l4),
        false => icmpv4::echo_reply_in_place(&mut l4),
    };
    assert!(turned);
    packet(net.src.is_ipv6(), net.protocol, &l4)
}

#[test]
fn ping() {
    for v6 in [false, true] {
        let mut h = host();
        let (a, b) = (h.stack.ping_open(any(v6), 0).unwrap(), h.stack.ping_open(any(v6), 77).unwrap());
        let now = h.now;
        for id in [a, b] {
            let ident = h.stack.dgram_local(id).unwrap().1;
            h.stack.dgram_send_to(id, &echo(v6, 9, b"are you there?"), addr(1, v6), 0, now).unwrap();
            let out = raw_turn(&mut h);
            let l4 = parse(&out[0]).unwrap().l4(&out[0]).to_vec();
            assert_eq!(
                (&l4[4..6], &l4[6..8], &l4[8..]),
                (&ident.to_be_bytes()[..], &[0, 9][..], &b"are you there?"[..])
            );
            let reply = answer(&out[0]);
            h.inject(&reply);
            assert_eq!(h.stack.next_dgram_ready(), Some(id));
            let (meta, got) = h.stack.dgram_front(id).unwrap();
            assert_eq!((meta.src, meta.ttl, meta.tos), (addr(1, v6), 61, 0x28));
            assert_eq!(got[4..], l4[4..]);
            h.stack.dgram_pop(id);
        }
        // A reply to nobody's request.
        let mut stray = echo(v6, 1, b"x");
        stray[4..6].copy_from_slice(&78u16.to_be_bytes());
        h.stack.dgram_send_to(b, &stray, addr(1, v6), 0, now).unwrap();
        let mut reply = answer(&raw_turn(&mut h)[0]);
        h.stack.dgram_close(b, now);
        h.inject(&reply);
        assert_eq!(h.stack.counters().dropped(DropReason::IcmpUnhandled), 1);
        let last = reply.len() - 1;
        reply[last] ^= 1;
        h.inject(&reply);
        assert_eq!(h.stack.counters().dropped(DropReason::CsumL4), 1);
        // We answer as before.
        h.inject(&answered_request(v6));
        assert_eq!(raw_turn(&mut h).len(), 1);
        h.assert_home();
    }
}

fn answered_request(v6: bool) -> Vec<u8> {
    let mut l4 = [0; 12];
    match (addr(1, v6), addr(0, v6)) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            icmpv6::emit((icmpv6::ECHO_REQUEST, 0), [1, 2, 3, 4], b"here", src, dst, &mut l4);
            packet(v6, protocol::ICMPV6, &l4)
        }
        _ => {
            icmpv4::emit(icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4], b"here", &mut l4);
            packet(v6, protocol::ICMP, &l4)
        }
    }
}

#[test]
fn ping_sends_echo_requests_only() {
    let mut h = host();
    let id = h.stack.ping_open(any(false), 5).unwrap();
    let now = h.now;
    for bad in [&[0u8, 0, 0, 0, 0, 0, 0, 0][..], &[8, 1, 0, 0, 0, 0, 0, 0], &[8, 0, 0, 0], b""] {
        assert_eq!(h.stack.dgram_send_to(id, bad, addr(1, false), 0, now), Err(SockError::InvalidMessage));
    }
    assert_eq!(h.stack.ping_open(any(false), 5), Err(SockError::AddrInUse));
    assert!(h.stack.ping_open(any(true), 5).is_ok());
}

/// Traceroute's way: time exceeded, and at last port unreachable, told with the address that was asked for.
#[test]
fn errors_about_pings() {
    let mut h = host();
    let id = h.stack.ping_open(any(false), 5).unwrap();
    let now = h.now;
    h.stack.dgram_options(id).unwrap().notices = true;
    h.stack.dgram_options(id).unwrap().ttl = 1;
    h.stack.dgram_send_to(id, &echo(false, 1, b""), addr(1, false), 0, now).unwrap();
    let out = raw_turn(&mut h);
    assert_eq!(out[0][14 + 8], 1);
    h.inject(&error(false, 11, 0, 0, &out[0][14..]));
    let n = h.stack.dgram_next_notice(id).unwrap();
    assert_eq!((n.error, n.dst), (SockError::HostUnreachable, addr(1, false)));
    h.stack.dgram_connect(id, addr(1, false), 0).unwrap();
    h.inject(&error(false, 3, 1, 0, &out[0][14..]));
    assert_eq!(h.stack.dgram_take_error(id), Some(SockError::HostUnreachable));
}

/// Large echoes leave and come back in fragments.
#[test]
fn a_large_ping() {
    let mut h = host();
    let id = h.stack.ping_open(any(false), 5).unwrap();
    let now = h.now;
    let data = vec![9; 20_000];
    h.stack.dgram_send_to(id, &echo(false, 1, &data), addr(1, false), 0, now).unwrap();
    let out = raw_turn(&mut h);
    assert_eq!(out.len(), 14);
    let mut l4: Vec<u8> = out.iter().flat_map(|f| parse(f).unwrap().l4(f).to_vec()).collect();
    assert!(icmpv4::echo_reply_in_place(&mut l4));
    for (i, f) in out.iter().enumerate() {
        let mut f = f.clone();
        let from = i * 1480;
        let n = f.len() - 34;
        f[34..].copy_from_slice(&l4[from..from + n]);
        f[..6].copy_from_slice(&MACS[0]);
        f[6..12].copy_from_slice(&MACS[1]);
        for i in 26..30 {
            f.swap(i, i + 4);
        }
        h.inject(&f);
    }
    assert_eq!(recv(&mut h, id).unwrap()[8..], data);
    h.assert_home();
}

/// A protocol that the stack does not speak: the socket does, and nobody is told that it is unreachable.
#[test]
fn a_protocol_of_ones_own() {
    let mut h = host();
    for v6 in [false, true] {
        let id = h.stack.raw_open(any(v6), 253).unwrap();
        let f = packet(v6, 253, b"experiment");
        h.inject(&f);
        let want = if v6 { &f[54..] } else { &f[14..] };
        assert_eq!(recv(&mut h, id).unwrap(), want, "IPv4 with its header, IPv6 without");
        assert!(raw_turn(&mut h).is_empty());
        h.inject(&packet(v6, 254, b"another"));
        assert_eq!((recv(&mut h, id), raw_turn(&mut h).len()), (None, 1));
        let now = h.now;
        h.stack.dgram_options(id).unwrap().tos = 0x48;
        h.stack.dgram_send_to(id, b"reply", addr(1, v6), 0, now).unwrap();
        let out = raw_turn(&mut h);
        let p = parse(&out[0]).unwrap();
        assert_eq!((p.net.unwrap().protocol, p.net.unwrap().tos, p.l4(&out[0])), (253, 0x48, &b"reply"[..]));
        h.stack.dgram_close(id, now);
        h.inject(&f);
        assert_eq!(raw_turn(&mut h).len(), 1, "unknown again");
    }
    h.assert_home();
}

/// A raw ICMP socket sees what comes; the stack answers all the same. ICMPv6 gets its checksum.
#[test]
fn raw_icmp() {
    let mut h = host();
    let now = h.now;
    for v6 in [false, true] {
        let proto = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
        let ids = [h.stack.raw_open(any(v6), proto).unwrap(), h.stack.raw_open(addr(0, v6), proto).unwrap()];
        let f = answered_request(v6);
        h.inject(&f);
        for id in ids {
            assert_eq!(recv(&mut h, id).unwrap(), if v6 { &f[54..] } else { &f[14..] });
        }
        assert_eq!(raw_turn(&mut h).len(), 1);
        h.stack.dgram_connect(ids[1], "10.0.0.77".parse().unwrap(), 0).ok();
        let mut bad = f.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        h.inject(&bad);
        assert_eq!(recv(&mut h, ids[0]).is_some(), !v6, "ICMPv6 is checked first (RFC 3542 section 3.1)");
        if v6 {
            h.stack.dgram_send_to(ids[0], &[200, 0, 1, 1, 5, 6, 7, 8], addr(1, true), 0, now).unwrap();
            let out = raw_turn(&mut h);
            let (p, net) = (parse(&out[0]).unwrap(), parse(&out[0]).unwrap().net.unwrap());
            let l4 = p.l4(&out[0]);
            assert_eq!(
                linerate_wire::verify_l4(net.src, net.dst, proto, l4),
                linerate_wire::CsumStatus::Good
            );
        }
        for id in ids {
            h.stack.dgram_close(id, now);
        }
    }
    h.assert_home();
}

/// The caller's own IP header leaves as it was written, with length and checksum made right.
#[test]
fn header_included() {
    let mut h = host();
    let now = h.now;
    let id = h.stack.raw_open(any(false), 255).unwrap();
    h.stack.dgram_options(id).unwrap().header_included = true;
    let mut p = vec![0x45, 0x10, 0, 0, 0x12, 0x34, 0x40, 0, 7, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    p.extend(b"mine");
    h.stack.dgram_send_to(id, &p, addr(1, false), 0, now).unwrap();
    let out = raw_turn(&mut h);
    let parsed = parse(&out[0]).unwrap();
    assert_eq!((&out[0][..6], parsed.net.unwrap().ttl, parsed.l4(&out[0])), (&MACS[1][..], 7, &b"mine"[..]));
    assert_eq!(out[0][18..20], [0x12, 0x34]);
    for bad in [&p[..19], &[0x44; 24], &[0x65; 24], &[0x4f; 24]] {
        assert_eq!(h.stack.dgram_send_to(id, bad, addr(1, false), 0, now), Err(SockError::InvalidMessage));
    }
    p.resize(1501, 0);
    assert_eq!(h.stack.dgram_send_to(id, &p, addr(1, false), 0, now), Err(SockError::MessageSize));
    h.assert_home();
}

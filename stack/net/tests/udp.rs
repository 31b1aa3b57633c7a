//! UDP sockets: RFC 768, RFC 1122 section 4.1, RFC 8085, RFC 8200 section 8.1.

mod support;

use std::net::IpAddr;

use linerate_net::{
    DgramId, DgramMeta, DgramOptions, DropReason, Ingress, Owners, PmtuDiscovery, SockError, TcpConfig,
};
use linerate_wire::udp::{UdpHeader, emit_udp};
use linerate_wire::{FlowKey, Push, eth, parse, parse_udp, protocol};
use support::icmp::{error, quote, raw_turn, too_big};
use support::peer::*;
use support::{MACS, addr, frame_of};

const PEER_PORT: u16 = 5353;

fn host() -> Host {
    Host::new(TcpConfig::default())
}

/// A datagram from a port of the next host, with any destination, TTL and type of service.
fn datagram_to(dst: IpAddr, mac: [u8; 6], ports: (u16, u16), ttl: u8, tos: u8, data: &[u8]) -> Vec<u8> {
    let src = addr(1, dst.is_ipv6());
    let mut buf = vec![0; 128 + data.len()];
    buf[128..].copy_from_slice(data);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    p.udp(ports.0, ports.1, src, dst, None).unwrap();
    p.ip(src, dst, protocol::UDP, ttl, tos, 1, true, 0).unwrap();
    p.eth(MACS[1], mac, None).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

fn datagram(v6: bool, port: u16, data: &[u8]) -> Vec<u8> {
    datagram_to(addr(0, v6), MACS[0], (PEER_PORT, port), 64, 0, data)
}

/// What one datagram of the stack carries: destination, ports, payload; its checksum is right.
fn sent(out: &[Vec<u8>]) -> (IpAddr, (u16, u16), Vec<u8>) {
    assert_eq!(out.len(), 1);
    let p = parse(&out[0]).unwrap();
    let net = p.net.unwrap();
    let l4 = p.l4(&out[0]);
    assert_eq!(linerate_wire::verify_l4(net.src, net.dst, net.protocol, l4), linerate_wire::CsumStatus::Good);
    let h = parse_udp(l4).unwrap();
    (net.dst, (h.src_port, h.dst_port), p.payload(&out[0]).to_vec())
}

fn recv(h: &mut Host, id: DgramId) -> Result<(Vec<u8>, DgramMeta), SockError> {
    let mut to = [0; 2000];
    let (n, meta) = h.stack.dgram_recv(id, &mut to)?;
    Ok((to[..n.min(2000)].to_vec(), meta))
}

fn wild(v6: bool) -> Option<IpAddr> {
    Some(if v6 { "::".parse().unwrap() } else { "0.0.0.0".parse().unwrap() })
}

//= RFC 1122 section 4.1.3.4
#[test]
fn there_and_back() {
    let mut h = host();
    for v6 in [false, true] {
        let id = h.stack.udp_bind(wild(v6), 53).unwrap();
        h.inject(&datagram(v6, 53, b"question"));
        assert_eq!(h.stack.next_dgram_ready(), Some(id));
        assert_eq!(h.stack.next_dgram_ready(), None);
        let (meta, bytes) = h.stack.dgram_front(id).unwrap();
        assert_eq!(
            (bytes, meta.src, meta.src_port, meta.dst),
            (&b"question"[..], addr(1, v6), PEER_PORT, addr(0, v6))
        );
        assert_eq!(h.stack.frames_held(), 1, "no copy was made");
        h.assert_ledger();
        h.stack.dgram_pop(id);
        assert_eq!(recv(&mut h, id), Err(SockError::WouldBlock));
        let now = h.now;
        assert_eq!(h.stack.dgram_send_to(id, b"answer", meta.src, meta.src_port, now), Ok(6));
        assert_eq!(sent(&raw_turn(&mut h)), (addr(1, v6), (53, PEER_PORT), b"answer".to_vec()));
        h.inject(&datagram(v6, 53, b""));
        assert_eq!(recv(&mut h, id).unwrap().0, b"", "an empty datagram is one, too");
        h.stack.dgram_close(id, now);
        h.inject(&datagram(v6, 53, b"late"));
        assert_eq!(h.turn().len() + h.others.len(), 1, "port unreachable");
        h.others.clear();
    }
    assert_eq!((h.stack.counters().udp_in, h.stack.counters().udp_out), (6, 2));
    h.assert_home();
}

/// What does not fit the caller's buffer is lost; the length is told.
#[test]
fn a_short_buffer_truncates() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 53).unwrap();
    h.inject(&datagram(false, 53, b"0123456789"));
    let mut to = [0; 4];
    assert_eq!(h.stack.dgram_recv(id, &mut to).map(|r| r.0), Ok(10));
    assert_eq!((&to, recv(&mut h, id)), (b"0123", Err(SockError::WouldBlock)));
}

/// A checksum of zero is none in IPv4 and an error in IPv6; a wrong one is an error in both. A sum that comes out as zero
/// is sent as ones.
//= RFC 1122 section 4.1.3.4
//= RFC 8200 section 8.1
#[test]
fn checksums() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 53).unwrap();
    for (v6, checksum, good) in
        [(false, 0u16, true), (true, 0, false), (false, 0x1234, false), (true, 0x1234, false)]
    {
        let mut f = datagram(v6, 53, b"sum");
        let at = f.len() - 3 - 2;
        f[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        h.inject(&f);
        assert_eq!(recv(&mut h, id).is_ok(), good, "{v6} {checksum:#x}");
    }
    assert_eq!(h.stack.counters().dropped(DropReason::CsumL4), 3);
    let (now, mut zeros) = (h.now, 0);
    for n in 0..=u16::MAX {
        h.stack.dgram_send_to(id, &n.to_be_bytes(), addr(1, true), 9, now).unwrap();
        let out = raw_turn(&mut h);
        assert_ne!(out[0][60..62], [0, 0]);
        zeros += (out[0][60..62] == [0xff, 0xff]) as u32;
        if n % 4096 == 0 {
            sent(&out);
        }
    }
    assert_eq!(zeros, 1);
    h.stack.dgram_options(id).unwrap().no_checksum = true;
    h.stack.dgram_send_to(id, b"x", addr(1, false), 9, now).unwrap();
    assert_eq!(raw_turn(&mut h)[0][40..42], [0, 0]);
    h.stack.dgram_send_to(id, b"x", addr(1, true), 9, now).unwrap();
    assert_ne!(raw_turn(&mut h)[0][60..62], [0, 0], "never in IPv6");
}

/// The length field is right or the datagram is dropped; what lies behind it is not payload.
//= RFC 8085 section 3.4
#[test]
fn lengths() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 53).unwrap();
    for (length, got) in [(12u16, true), (8, true), (7, false), (0, false), (13, false)] {
        let mut f = datagram(false, 53, b"four");
        let header = UdpHeader { src_port: 1, dst_port: 53, length, checksum: 0 };
        emit_udp(&header, &mut f[34..]);
        h.inject(&f);
        let bytes = recv(&mut h, id).map(|r| r.0.len());
        assert_eq!(bytes.ok(), got.then_some(usize::from(length.saturating_sub(8))));
    }
    assert_eq!(h.stack.counters().dropped(DropReason::ParseUdp), 3);
}

/// Connected comes before bound, bound to an address before all addresses.
#[test]
fn the_closest_socket_gets_it() {
    let mut h = host();
    let shared = DgramOptions { reuse: true, ..DgramOptions::default() };
    let all = h.stack.udp_bind_with(None, 53, shared).unwrap();
    let v4 = h.stack.udp_bind_with(wild(false), 53, shared).unwrap();
    let own = h.stack.udp_bind_with(Some(addr(0, false)), 53, shared).unwrap();
    let connected = h.stack.udp_bind_with(wild(false), 53, shared).unwrap();
    h.stack.dgram_connect(connected, addr(1, false), PEER_PORT).unwrap();
    let f = datagram(false, 53, b"x");
    let other = datagram_to(addr(0, false), MACS[0], (9, 53), 64, 0, b"y");
    h.inject(&f);
    h.inject(&other);
    assert_eq!(recv(&mut h, connected).unwrap().0, b"x");
    assert_eq!(recv(&mut h, own).unwrap().0, b"y");
    assert_eq!(recv(&mut h, connected), Err(SockError::WouldBlock), "from its peer only");
    h.stack.dgram_disconnect(connected);
    h.inject(&f);
    assert!(recv(&mut h, own).is_ok());
    let now = h.now;
    h.stack.dgram_close(own, now);
    // Three are left that take every address; each flow has its own.
    for port in 0..64 {
        let to_all = datagram_to(addr(0, false), MACS[0], (1000 + port, 53), 64, 0, b"z");
        h.inject(&to_all);
        h.inject(&to_all);
    }
    let counts = [all, v4, connected].map(|id| (0..).take_while(|_| recv(&mut h, id).is_ok()).count());
    assert_eq!(counts.iter().sum::<usize>(), 128);
    assert!(counts.iter().all(|n| *n > 8 && n.is_multiple_of(2)), "{counts:?}");
}

#[test]
fn binding() {
    let mut h = host();
    let a = addr(0, false);
    let id = h.stack.udp_bind(Some(a), 53).unwrap();
    let refused = SockError::AddrInUse;
    assert_eq!(h.stack.udp_bind(Some(a), 53), Err(refused));
    assert_eq!(h.stack.udp_bind(None, 53), Err(refused));
    assert_eq!(h.stack.udp_bind(wild(false), 53), Err(refused));
    assert!(h.stack.udp_bind(wild(true), 53).is_ok(), "the other family");
    assert_eq!(h.stack.udp_bind(Some("10.9.9.9".parse().unwrap()), 53), Err(SockError::AddrNotAvailable));
    let now = h.now;
    h.stack.dgram_close(id, now);
    assert!(h.stack.udp_bind(Some(a), 53).is_ok());
    assert_eq!(h.stack.dgram_local(id), None, "the old name stays dead");
    assert_eq!(h.stack.dgram_send(id, b"x", now), Err(SockError::BadSocket));
}

/// Ports are drawn at random from the whole range.
//= RFC 8085 section 5.1
#[test]
fn ephemeral_ports() {
    let mut h = host();
    let mut ports: Vec<u16> = (0..500)
        .map(|_| {
            let id = h.stack.udp_bind(None, 0).unwrap();
            h.stack.dgram_local(id).unwrap().1
        })
        .collect();
    let rising = ports.windows(2).filter(|w| w[0] < w[1]).count();
    assert!((150..350).contains(&rising) && ports.iter().all(|p| *p >= 1024));
    ports.sort_unstable();
    assert!(ports[0] < 8_000 && ports[499] > 58_000);
    ports.dedup();
    assert_eq!(ports.len(), 500);
}

/// TTL, DSCP and ECN are told of what comes, and set on what goes.
#[test]
fn header_fields_in_and_out() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 53).unwrap();
    for v6 in [false, true] {
        h.inject(&datagram_to(addr(0, v6), MACS[0], (1, 53), 17, 0xb8 | 3, b"x"));
        let meta = recv(&mut h, id).unwrap().1;
        assert_eq!((meta.ttl, meta.tos), (17, 0xbb));
        let o = h.stack.dgram_options(id).unwrap();
        (o.ttl, o.tos) = (33, 0x28 | 2);
        let now = h.now;
        h.stack.dgram_send_to(id, b"y", addr(1, v6), 1, now).unwrap();
        let out = raw_turn(&mut h);
        let net = parse(&out[0]).unwrap().net.unwrap();
        assert_eq!((net.ttl, net.tos), (33, 0x2a));
        if v6 {
            assert_ne!(out[0][15] & 0x0f | out[0][16] | out[0][17], 0, "RFC 6437: a flow label");
        }
    }
}

/// A queue has an end; what does not fit is counted.
#[test]
fn the_receive_queue_is_bounded() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 53).unwrap();
    h.stack.dgram_options(id).unwrap().recv_bytes = 10 * (100 + 256);
    let f = datagram(false, 53, &[7; 100]);
    for _ in 0..25 {
        h.inject(&f);
    }
    assert_eq!((h.stack.dgram_drops(id), h.stack.counters().dropped(DropReason::SocketFull)), (15, 15));
    assert_eq!((0..).take_while(|_| recv(&mut h, id).is_ok()).count(), 10);
    h.assert_home();
}

/// A flood that nobody reads leaves frames for others: copies wait instead.
#[test]
fn unread_datagrams_do_not_starve_the_pool() {
    let mut h = Host::with_frames(256, TcpConfig::default());
    let id = h.stack.udp_bind(None, 53).unwrap();
    h.stack.dgram_options(id).unwrap().recv_bytes = 1 << 20;
    for n in 0..1000u32 {
        h.inject(&datagram(false, 53, &n.to_be_bytes()));
    }
    assert!(h.stack.pool().free_len() >= 16, "{}", h.stack.pool().free_len());
    for n in 0..1000u32 {
        assert_eq!(recv(&mut h, id).unwrap().0, n.to_be_bytes());
    }
    h.assert_home();
}

/// What a peer says by ICMP becomes the error of a connected socket's next call, once.
//= RFC 1122 section 4.1.3.3
#[test]
fn icmp_errors_reach_a_connected_socket() {
    for (v6, ty, code, why) in [
        (false, 3, 3, SockError::Refused),
        (false, 3, 1, SockError::HostUnreachable),
        (false, 3, 0, SockError::Unreachable),
        (false, 3, 13, SockError::AccessDenied),
        (false, 11, 0, SockError::HostUnreachable),
        (true, 1, 4, SockError::Refused),
        (true, 1, 0, SockError::Unreachable),
        (true, 4, 1, SockError::ProtocolUnreachable),
    ] {
        let mut h = host();
        let id = h.stack.udp_bind(None, 0).unwrap();
        h.stack.dgram_connect(id, addr(1, v6), 53).unwrap();
        let now = h.now;
        h.stack.dgram_send(id, b"anybody?", now).unwrap();
        let out = raw_turn(&mut h);
        h.inject(&error(v6, ty, code, 0, &out[0][14..]));
        assert_eq!(h.stack.next_dgram_ready(), Some(id));
        assert_eq!(recv(&mut h, id), Err(why));
        assert_eq!(recv(&mut h, id), Err(SockError::WouldBlock), "told once");
        h.inject(&error(v6, ty, code, 0, &out[0][14..]));
        assert_eq!(h.stack.dgram_send(id, b"again", now), Err(why));
        assert_eq!(h.stack.dgram_send(id, b"again", now), Ok(5));
    }
}

/// Errors about what no socket can have sent are nobody's; an unconnected socket hears of its own if it asks.
//= RFC 8085 section 5.2
#[test]
fn errors_must_be_about_our_datagrams() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 1234).unwrap();
    let q = |from: u16, to: u16| {
        let mut l4 = from.to_be_bytes().to_vec();
        l4.extend(to.to_be_bytes());
        l4.extend([0, 8, 0, 0]);
        quote(protocol::UDP, false, &l4, 28)
    };
    h.inject(&error(false, 3, 3, 0, &q(1234, 53)));
    assert_eq!(recv(&mut h, id), Err(SockError::WouldBlock), "RFC 1122: not connected, not asked for");
    h.stack.dgram_options(id).unwrap().notices = true;
    for port in 0..100 {
        h.inject(&error(false, 3, 3, 0, &q(1234, port)));
    }
    let notices: Vec<_> = (0..).map_while(|_| h.stack.dgram_next_notice(id)).collect();
    assert_eq!(notices.len(), 16, "bounded");
    assert_eq!(
        (notices[7].error, notices[7].dst, notices[7].dst_port),
        (SockError::Refused, addr(1, false), 7)
    );
    h.stack.dgram_connect(id, addr(1, false), 53).unwrap();
    h.inject(&error(false, 3, 3, 0, &q(1234, 54)));
    h.inject(&error(false, 3, 3, 0, &q(1235, 53)));
    assert_eq!(recv(&mut h, id), Err(SockError::WouldBlock));
    assert_eq!(h.stack.counters().dropped(DropReason::IcmpUnsolicited), 2);
    h.inject(&error(false, 3, 3, 0, &q(1234, 53)));
    assert_eq!(recv(&mut h, id), Err(SockError::Refused));
}

fn lens(out: &[Vec<u8>]) -> Vec<(usize, bool, bool)> {
    // IP length, fragment, DF
    let len = |f: &Vec<u8>| {
        let p = parse(f).unwrap();
        ((p.end - p.l3_off) as usize, p.net.unwrap().fragment.is_some(), f[14 + 6] & 0x40 != 0)
    };
    out.iter().map(len).collect()
}

/// What is done about the MTU is the socket's choice.
//= RFC 8085 section 3.2
#[test]
fn path_mtu_and_fragments() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 1234).unwrap();
    let now = h.now;
    let to = addr(1, false);
    let send = |h: &mut Host, n: usize| h.stack.dgram_send_to(id, &vec![1; n], to, 53, now);
    use PmtuDiscovery::*;
    send(&mut h, 1472).unwrap();
    let out = raw_turn(&mut h);
    assert_eq!(lens(&out), [(1500, false, true)]);
    send(&mut h, 1473).unwrap();
    assert_eq!(lens(&raw_turn(&mut h)), [(1500, true, false), (21, true, false)]);
    // A router says that its next hop takes 1400.
    h.inject(&too_big(1400, &out[0][14..14 + 28]));
    send(&mut h, 1472).unwrap();
    assert_eq!(lens(&raw_turn(&mut h)), [(1396, true, false), (124, true, false)]);
    h.stack.dgram_options(id).unwrap().pmtu_discovery = Do;
    assert_eq!(send(&mut h, 1373), Err(SockError::MessageSize));
    send(&mut h, 1372).unwrap();
    assert_eq!(lens(&raw_turn(&mut h)), [(1400, false, true)]);
    h.stack.dgram_options(id).unwrap().pmtu_discovery = Probe;
    send(&mut h, 1472).unwrap();
    assert_eq!(lens(&raw_turn(&mut h)), [(1500, false, true)]);
    assert_eq!(send(&mut h, 1473), Err(SockError::MessageSize));
    h.stack.dgram_options(id).unwrap().pmtu_discovery = Dont;
    send(&mut h, 1472).unwrap();
    let out = raw_turn(&mut h);
    assert_eq!(lens(&out), [(1500, false, false)]);
    let first = u16::from_be_bytes([out[0][18], out[0][19]]);
    send(&mut h, 1).unwrap();
    let out = raw_turn(&mut h);
    assert_ne!(
        u16::from_be_bytes([out[0][18], out[0][19]]),
        first,
        "may be fragmented: an identification each"
    );
    // Asked not to fragment, a connected socket hears of what it is to send instead.
    h.stack.dgram_options(id).unwrap().pmtu_discovery = Do;
    h.stack.dgram_options(id).unwrap().notices = true;
    h.stack.dgram_connect(id, to, 53).unwrap();
    send(&mut h, 1372).unwrap();
    let out = raw_turn(&mut h);
    h.inject(&too_big(1300, &out[0][14..14 + 28]));
    let n = h.stack.dgram_next_notice(id).unwrap();
    assert_eq!((n.error, n.mtu), (SockError::MessageSize, Some(1300)));
    assert_eq!(send(&mut h, 1000), Err(SockError::MessageSize), "the error of the one before");
    assert_eq!(send(&mut h, 1000), Ok(1000));
}

/// The largest datagrams go there and back in fragments.
#[test]
fn large_datagrams() {
    let mut h = host();
    let id = h.stack.udp_bind(None, 53).unwrap();
    let now = h.now;
    for (v6, most) in [(false, 65_507), (true, 65_527)] {
        for n in [2_000, 9_000, most] {
            let data: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
            assert_eq!(h.stack.dgram_send_to(id, &data, addr(1, v6), 53, now), Ok(n));
            let mut out = raw_turn(&mut h);
            assert!(out.len() > 1);
            // The peer sends the same back: addresses change places, which no checksum notices.
            for f in &mut out {
                f[..6].copy_from_slice(&MACS[0]);
                f[6..12].copy_from_slice(&MACS[1]);
                let (at, len) = if v6 { (22, 16) } else { (26, 4) };
                for i in at..at + len {
                    f.swap(i, i + len);
                }
                h.inject(f);
            }
            let (meta, got) = h.stack.dgram_front(id).unwrap();
            assert!(meta.src == addr(1, v6) && got == data, "{n}");
            h.stack.dgram_pop(id);
        }
        assert_eq!(
            h.stack.dgram_send_to(id, &vec![0; most + 1], addr(1, v6), 53, now),
            Err(SockError::MessageSize)
        );
    }
    h.assert_home();
}

#[test]
fn broadcast_needs_leave() {
    let mut h = host();
    let id = h.stack.udp_bind(wild(false), 68).unwrap();
    let now = h.now;
    for dst in ["255.255.255.255", "10.0.0.255"] {
        let dst: IpAddr = dst.parse().unwrap();
        h.stack.dgram_options(id).unwrap().broadcast = false;
        assert_eq!(h.stack.dgram_send_to(id, b"?", dst, 67, now), Err(SockError::AccessDenied));
        assert_eq!(h.stack.dgram_connect(id, dst, 67), Err(SockError::AccessDenied));
        h.stack.dgram_options(id).unwrap().broadcast = true;
        h.stack.dgram_send_to(id, b"?", dst, 67, now).unwrap();
        let out = raw_turn(&mut h);
        assert_eq!((sent(&out).0, &out[0][..6]), (dst, &eth::BROADCAST[..]));
        h.inject(&datagram_to(dst, eth::BROADCAST, (67, 68), 64, 0, b"!"));
        assert_eq!(recv(&mut h, id).unwrap().1.dst, dst);
    }
}

/// A group's datagrams reach every socket that listens, once the group is joined; they leave with a TTL of 1.
#[test]
fn multicast() {
    let mut h = host();
    let now = h.now;
    for (group, mac) in [("239.1.2.3", [1, 0, 0x5e, 1, 2, 3]), ("ff02::1234", [0x33, 0x33, 0, 0, 0x12, 0x34])]
    {
        let group: IpAddr = group.parse().unwrap();
        let shared = DgramOptions { reuse: true, ..DgramOptions::default() };
        let a = h.stack.udp_bind_with(wild(group.is_ipv6()), 5000, shared).unwrap();
        let b = h.stack.udp_bind_with(Some(group), 5000, shared).unwrap();
        let f = datagram_to(group, mac, (PEER_PORT, 5000), 1, 0, b"all");
        h.inject(&f);
        assert_eq!(recv(&mut h, a), Err(SockError::WouldBlock), "not joined");
        h.stack.dgram_join(a, group, now).unwrap();
        h.stack.dgram_join(b, group, now).unwrap();
        assert_eq!(h.stack.dgram_join(b, group, now), Err(SockError::AddrInUse));
        h.inject(&f);
        assert_eq!((recv(&mut h, a).unwrap().0, recv(&mut h, b).unwrap().1.dst), (b"all".to_vec(), group));
        h.stack.dgram_send_to(a, b"hello", group, 5000, now).unwrap();
        let out = raw_turn(&mut h);
        assert_eq!((&out[0][..6], parse(&out[0]).unwrap().net.unwrap().ttl), (&mac[..], 1));
        h.stack.dgram_close(a, now);
        h.inject(&f);
        assert!(recv(&mut h, b).is_ok(), "the other is still a member");
        assert!(h.stack.dgram_leave(b, group, now) && !h.stack.dgram_leave(b, group, now));
        h.inject(&f);
        assert_eq!(recv(&mut h, b), Err(SockError::WouldBlock));
        h.stack.dgram_close(b, now);
    }
    assert!(h.stack.join_group("10.0.0.1".parse().unwrap(), now).is_err());
}

#[test]
fn misuse() {
    let mut h = host();
    let id = h.stack.udp_bind(wild(false), 53).unwrap();
    let now = h.now;
    assert_eq!(h.stack.dgram_send(id, b"x", now), Err(SockError::NotConnected));
    let to = |h: &mut Host, a: &str, port| h.stack.dgram_send_to(id, b"x", a.parse().unwrap(), port, now);
    assert_eq!(to(&mut h, "0.0.0.0", 53), Err(SockError::InvalidDestination));
    assert_eq!(to(&mut h, "10.0.0.2", 0), Err(SockError::InvalidDestination));
    assert_eq!(to(&mut h, "fd00::2", 53), Err(SockError::InvalidDestination), "another family");
    assert_eq!(to(&mut h, "192.0.2.1", 53), Err(SockError::Unreachable));
    assert!(raw_turn(&mut h).is_empty());
}

/// With two cores: a connected socket's port is chosen so that answers belong to its core; what is for a socket here
/// stays, what is for none goes to the owner, errors too.
#[test]
fn several_cores() {
    let mut h = host();
    h.stack.set_owners(Owners::equal(2, 0));
    let owners = Owners::equal(2, 0);
    for port in 1..40 {
        let id = h.stack.udp_bind(None, 0).unwrap();
        h.stack.dgram_connect(id, addr(1, false), port).unwrap();
        let (local, local_port) = h.stack.dgram_local(id).unwrap();
        let key = FlowKey { local: local.unwrap(), remote: addr(1, false), local_port, remote_port: port };
        assert_eq!(owners.other(&key), None);
        h.inject(&datagram_to(addr(0, false), MACS[0], (port, local_port), 64, 0, b"x"));
        assert!(recv(&mut h, id).is_ok());
    }
    let mut handed = 0;
    for port in 1..40 {
        let bytes = datagram_to(addr(0, false), MACS[0], (port, 9), 64, 0, b"x");
        let frame = frame_of(&mut h.stack, &bytes);
        let now = h.now;
        if let Ingress::Handoff { frame, owner, parsed } = h.stack.ingress(frame, now) {
            assert_eq!(owner, 1);
            handed += 1;
            h.stack.ingress_handed(frame, parsed, now);
        }
    }
    assert!((8..32).contains(&handed));
    assert_eq!(h.stack.counters().dropped(DropReason::UdpNoSocket), 39);
    h.turn();
    h.assert_home();
}

/// Out of frames, or of room in the turn: the caller tries again, and nothing is sent by halves.
#[test]
fn no_room_to_send() {
    let mut h = Host::with_frames(64, TcpConfig::default());
    let id = h.stack.udp_bind(None, 53).unwrap();
    let now = h.now;
    let mut n = 0;
    while h.stack.dgram_send_to(id, b"x", addr(1, false), 9, now).is_ok() {
        n += 1;
    }
    assert_eq!(n, 64);
    assert_eq!(h.stack.dgram_send_to(id, b"x", addr(1, false), 9, now), Err(SockError::WouldBlock));
    assert_eq!(raw_turn(&mut h).len(), 64);
    assert_eq!(h.stack.dgram_send_to(id, &[0; 65_000], addr(1, false), 9, now), Ok(65_000));
    assert_eq!(
        h.stack.dgram_send_to(id, &[0; 65_000], addr(1, false), 9, now),
        Err(SockError::WouldBlock),
        "45 frames"
    );
    assert_eq!(raw_turn(&mut h).len(), 44);
    h.assert_home();
}

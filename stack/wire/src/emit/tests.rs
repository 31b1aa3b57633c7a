//! Tests of the module above.

use super::*;
use crate::checksum::{CsumStatus, copy_and_sum, is_partial, verify_l4};
use crate::parse::{parse, parse_ip};
use crate::tcp::parse_tcp;
use crate::tcp_options::parse_options;
use pnet_packet::ethernet::EthernetPacket;
use pnet_packet::{Packet, ipv4 as pnet4, ipv6 as pnet6, tcp as pnet_tcp, udp as pnet_udp};
use rand::{Rng, SeedableRng, rngs::SmallRng};

fn families() -> [(IpAddr, IpAddr); 2] {
    [("10.1.2.3", "192.0.2.9"), ("2001:db8::5", "fe80::77")]
        .map(|(s, d)| (s.parse().unwrap(), d.parse().unwrap()))
}

fn tcp<'a>(options: &'a TcpOptions) -> TcpEmit<'a> {
    TcpEmit {
        src_port: 443,
        dst_port: 40001,
        seq: 0xfedc_ba98,
        ack: 0x7654_3210,
        flags: TcpFlags::ACK | TcpFlags::PSH | TcpFlags::AE,
        window: 0xabcd,
        urgent: 3,
        options,
    }
}

fn all_options() -> [TcpOptions; 4] {
    let mut sack = TcpOptions { timestamps: Some((1, 2)), ..TcpOptions::EMPTY };
    sack.sack.push(5, 6);
    let ts = TcpOptions { timestamps: Some((u32::MAX, 0x8000_0001)), ..TcpOptions::EMPTY };
    let syn = TcpOptions { mss: Some(1460), wscale: Some(9), sack_permitted: true, ..ts };
    [TcpOptions::EMPTY, ts, syn, sack]
}

#[test]
fn tcp_is_what_pnet_reads() {
    let mut rng = SmallRng::seed_from_u64(3);
    for (src, dst) in families() {
        for options in all_options() {
            for len in [0, 1, 2, 7, 64, 1447, 1448] {
                let payload: std::vec::Vec<u8> = (0..len).map(|_| rng.random()).collect();
                let mut buf = std::vec![0; MAX_HEADER + len];
                let payload_sum = copy_and_sum(&mut buf[MAX_HEADER..], &payload);
                let mut push = Push::new(&mut buf, MAX_HEADER, MAX_HEADER + len);
                push.tcp(&tcp(&options), src, dst, Some(payload_sum)).unwrap();
                let with_sum = push.bytes().to_vec();
                push.ip(src, dst, protocol::TCP, 64, 0x0a, 7, true, 0x5_4321).unwrap();
                push.eth([2; 6], [4; 6], None).unwrap();

                let eth = EthernetPacket::new(push.bytes()).unwrap();
                let l4 = match (src, dst) {
                    (IpAddr::V4(s), IpAddr::V4(d)) => {
                        let ip = pnet4::Ipv4Packet::new(eth.payload()).unwrap();
                        assert_eq!(ip.get_checksum(), pnet4::checksum(&ip));
                        let tcp = pnet_tcp::TcpPacket::new(ip.payload()).unwrap();
                        assert_eq!(tcp.get_checksum(), pnet_tcp::ipv4_checksum(&tcp, &s, &d));
                        ip.payload().to_vec()
                    }
                    (IpAddr::V6(s), IpAddr::V6(d)) => {
                        let ip = pnet6::Ipv6Packet::new(eth.payload()).unwrap();
                        assert_eq!((ip.get_flow_label(), ip.get_traffic_class()), (0x5_4321, 0x0a));
                        let tcp = pnet_tcp::TcpPacket::new(ip.payload()).unwrap();
                        assert_eq!(tcp.get_checksum(), pnet_tcp::ipv6_checksum(&tcp, &s, &d));
                        ip.payload().to_vec()
                    }
                    _ => unreachable!(),
                };
                assert_eq!(l4, with_sum);
                let h = parse_tcp(&l4).unwrap();
                assert_eq!((h.seq, h.ack, h.window, h.urgent), (0xfedc_ba98, 0x7654_3210, 0xabcd, 3));
                assert_eq!(h.flags, TcpFlags::ACK | TcpFlags::PSH | TcpFlags::AE);
                assert_eq!(parse_options(&l4[20..h.data_off_bytes.into()]), options);
                assert_eq!(l4[h.data_off_bytes.into()..], payload);

                // Reading the payload gives the same segment as its kept sum.
                let mut push = Push::new(&mut buf, MAX_HEADER, MAX_HEADER + len);
                push.tcp(&tcp(&options), src, dst, None).unwrap();
                assert_eq!(push.bytes(), with_sum);
                assert_eq!(verify_l4(src, dst, protocol::TCP, push.bytes()), CsumStatus::Good);
                let mut push = Push::new(&mut buf, MAX_HEADER, MAX_HEADER + len);
                push.tcp_partial(&tcp(&options), src, dst).unwrap();
                assert!(is_partial(src, dst, protocol::TCP, push.bytes()));
            }
        }
    }
}

#[test]
fn udp_is_what_pnet_reads_and_never_zero() {
    for (src, dst) in families() {
        // Every last word once: one of them gives a checksum of zero, sent as ones.
        let mut ones = 0;
        for last in 0..=u16::MAX {
            let mut buf = [0; 64];
            buf[61..63].copy_from_slice(&last.to_be_bytes());
            let mut push = Push::new(&mut buf, 61, 64);
            push.udp(53, 4000, src, dst, None).unwrap();
            let p = pnet_udp::UdpPacket::new(push.bytes()).unwrap();
            ones += usize::from(p.get_checksum() == 0xffff);
            assert_ne!(p.get_checksum(), 0);
            if last % 251 == 0 {
                let expected = match (src, dst) {
                    (IpAddr::V4(s), IpAddr::V4(d)) => pnet_udp::ipv4_checksum(&p, &s, &d),
                    (IpAddr::V6(s), IpAddr::V6(d)) => pnet_udp::ipv6_checksum(&p, &s, &d),
                    _ => unreachable!(),
                };
                assert_eq!((p.get_checksum(), p.get_length()), (expected, 11));
            }
            assert_eq!(verify_l4(src, dst, protocol::UDP, push.bytes()), CsumStatus::Good);
        }
        assert!(ones >= 1);
    }
}

#[test]
fn too_little_headroom_moves_nothing() {
    let options = all_options();
    for (src, dst) in families() {
        for headroom in 0..118 {
            let mut buf = [0; 118];
            let mut push = Push::new(&mut buf, headroom, headroom);
            let before = push.start();
            if push.tcp(&tcp(&options[2]), src, dst, None).is_err() {
                assert_eq!((push.start(), headroom < 44), (before, true));
                continue;
            }
            let before = push.start();
            if push.ip(src, dst, 6, 64, 0, 0, true, 0).is_err() {
                assert_eq!(push.start(), before);
                continue;
            }
            let before = push.start();
            match push.eth([0; 6], [0; 6], Some(1)) {
                Err(e) => assert_eq!((e, push.start()), (EmitError::Headroom, before)),
                Ok(()) => assert!(parse(push.bytes()).is_ok()),
            }
        }
    }
}

#[test]
fn limits() {
    let [(v4, _), (v6, _)] = families();
    let mut buf = std::vec![0; 70_000];
    let mut push = Push::new(&mut buf, 200, 66_000);
    let t = tcp(&TcpOptions::EMPTY);
    assert_eq!(push.tcp(&t, v4, v4, None), Err(EmitError::TooLong));
    assert_eq!(push.udp(1, 2, v4, v4, None), Err(EmitError::TooLong));
    assert_eq!(push.ip(v4, v4, 6, 1, 0, 0, false, 0), Err(EmitError::TooLong));
    assert_eq!(push.ip(v6, v6, 6, 1, 0, 0, false, 0), Err(EmitError::TooLong));
    assert_eq!(push.ip(v4, v6, 6, 1, 0, 0, false, 0), Err(EmitError::MixedFamilies));
    assert_eq!(push.tcp(&t, v4, v6, None), Err(EmitError::MixedFamilies));
    // A 64 KiB segment of a GSO port: exactly at the limit of IPv4.
    let mut push = Push::new(&mut buf, 200, 200 + 65_535 - 40);
    push.tcp(&t, v4, v4, None).unwrap();
    push.ip(v4, v4, 6, 1, 0, 0, false, 0).unwrap();
    push.eth([0; 6], [0; 6], None).unwrap();
    let p = parse(push.bytes()).unwrap();
    assert_eq!(p.end, 14 + 65_535);
    let mut push = Push::new(&mut buf, usize::MAX, usize::MAX);
    assert_eq!((push.start(), push.end()), (70_000, 70_000));
    push.raw(&[1, 2]).unwrap();
    assert_eq!(push.bytes(), [1, 2]);
}

#[test]
fn icmp_fragment_arp() {
    let [(v4, _), (IpAddr::V6(s), IpAddr::V6(d))] = [families()[0], families()[1]] else { panic!() };
    let mut buf = [0x5a; 160];
    let mut push = Push::new(&mut buf, 128, 159);
    push.icmpv4(8, 0, [1, 2, 3, 4], None).unwrap();
    assert_eq!(verify_l4(v4, v4, protocol::ICMP, push.bytes()), CsumStatus::Good);
    let mut push = Push::new(&mut buf, 128, 159);
    push.icmpv6((128, 0), [1, 2, 3, 4], s, d, None).unwrap();
    assert_eq!(verify_l4(s.into(), d.into(), protocol::ICMPV6, push.bytes()), CsumStatus::Good);
    let fragment = Fragment { offset_bytes: 1448, more: true, id: 0x1234_5678 };
    push.ipv6_fragment(protocol::ICMPV6, fragment).unwrap();
    push.ip(s.into(), d.into(), protocol::IPV6_FRAGMENT, 3, 0, 0, false, 0).unwrap();
    let net = parse_ip(push.bytes()).unwrap().net.unwrap();
    assert_eq!((net.fragment, net.protocol), (Some(fragment), protocol::ICMPV6));
    let arp = ArpPacket {
        op: crate::arp::ArpOp::Request,
        sender_mac: [2; 6],
        sender_ip: Ipv4Addr::new(10, 0, 0, 1),
        target_mac: [0; 6],
        target_ip: Ipv4Addr::new(10, 0, 0, 2),
    };
    let mut push = Push::new(&mut buf, 100, 100);
    push.arp(&arp).unwrap();
    push.eth([2; 6], eth::BROADCAST, None).unwrap();
    let p = parse(push.bytes()).unwrap();
    assert_eq!(ArpPacket::parse(&push.bytes()[p.l3_off as usize..]), Ok(arp));
}

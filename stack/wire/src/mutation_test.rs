//! Damaged frames through everything that reads bytes: no panic, and offsets that never leave the frame.

use core::net::{IpAddr, Ipv6Addr};
use std::vec::Vec;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::emit::{Push, TcpEmit};
use crate::nd::{self, NdMessage};
use crate::parse::{Fragment, parse_quoted, protocol};
use crate::tcp_options::raw_options;
use crate::{
    ArpOp, ArpPacket, TcpFlags, TcpOptions, checksum, emit_options, icmpv4, icmpv6, ipv4, ipv6, parse,
    parse_ip, parse_options, parse_tcp, verify_l4,
};

const FRAMES: usize = 200_000;

fn framed(l4: &[u8], build: impl FnOnce(&mut Push<'_>)) -> Vec<u8> {
    let mut buf = std::vec![0; 256 + l4.len()];
    buf[256..].copy_from_slice(l4);
    let end = buf.len();
    let mut push = Push::new(&mut buf, 256, end);
    build(&mut push);
    push.bytes().to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let v4 = |n| IpAddr::from([10, 0, 0, n]);
    let v6 = |n| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n);
    let mut options = TcpOptions { mss: Some(1460), wscale: Some(7), ..TcpOptions::EMPTY };
    options.timestamps = Some((1, 2));
    options.sack.push(1, 2);
    let tcp = TcpEmit {
        src_port: 1,
        dst_port: 2,
        seq: 3,
        ack: 4,
        flags: TcpFlags::SYN,
        window: 5,
        urgent: 0,
        options: &options,
    };
    let mut seeds = Vec::new();
    for (src, dst) in [(v4(1), v4(2)), (v6(1).into(), v6(2).into())] {
        for vlan in [None, Some(9)] {
            seeds.push(framed(&[7; 33], |p| {
                p.tcp(&tcp, src, dst, None).unwrap();
                p.ip(src, dst, protocol::TCP, 64, 0, 1, true, 2).unwrap();
                p.eth([2; 6], [4; 6], vlan).unwrap();
            }));
            seeds.push(framed(&[7; 33], |p| {
                p.udp(1, 2, src, dst, None).unwrap();
                p.ip(src, dst, protocol::UDP, 64, 0, 1, true, 2).unwrap();
                p.eth([2; 6], [4; 6], vlan).unwrap();
            }));
        }
    }
    let nd_frame = |l4: &[u8]| {
        framed(l4, |p| {
            p.ip(v6(1).into(), v6(2).into(), protocol::ICMPV6, 255, 0, 0, false, 0).unwrap();
            p.eth([2; 6], [4; 6], None).unwrap();
        })
    };
    let mut b = [0; 64];
    let n = nd::emit_ns(&mut b, v6(1), v6(2), v6(2), Some([2; 6]), None);
    seeds.push(nd_frame(&b[..n]));
    let n = nd::emit_na(&mut b, v6(1), v6(2), v6(2), nd::NaFlags::default(), Some([2; 6]));
    seeds.push(nd_frame(&b[..n]));
    let mut ra = std::vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    ra.extend([3, 4, 64, 0xc0].iter().chain(&[1; 28]));
    ra.extend([25, 3, 0, 0].iter().chain(&[1; 20]));
    seeds.push(nd_frame(&ra));
    seeds.push(framed(&[7; 33], |p| {
        p.udp(1, 2, v6(1).into(), v6(2).into(), None).unwrap();
        p.raw(&[17, 0, 5, 2, 0, 0, 1, 0]).unwrap();
        p.ipv6_fragment(60, Fragment { offset_bytes: 0, more: false, id: 3 }).unwrap();
        p.raw(&[44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        p.raw(&[43, 0, 1, 4, 0, 0, 0, 0]).unwrap();
        p.ip(v6(1).into(), v6(2).into(), 0, 64, 0, 0, false, 0).unwrap();
        p.eth([2; 6], [4; 6], None).unwrap();
    }));
    let original = seeds[0][14..].to_vec();
    let n = icmpv4::emit_error(icmpv4::Icmpv4Error::FragNeeded { mtu: 1400 }, &original, &mut [0; 600]);
    let mut error = std::vec![0; n];
    icmpv4::emit_error(icmpv4::Icmpv4Error::FragNeeded { mtu: 1400 }, &original, &mut error);
    seeds.push(framed(&error, |p| {
        p.ip(v4(1), v4(2), protocol::ICMP, 64, 0, 1, true, 0).unwrap();
        p.eth([2; 6], [4; 6], None).unwrap();
    }));
    seeds.push(framed(&[], |p| {
        let ip = [10, 0, 0, 1].into();
        let op = ArpOp::Request;
        p.arp(&ArpPacket { op, sender_mac: [2; 6], sender_ip: ip, target_mac: [0; 6], target_ip: ip })
            .unwrap();
        p.eth([2; 6], [0xff; 6], None).unwrap();
    }));
    seeds
}

// Half of the damaged IPv4 headers get a fitting checksum again: what lies behind it is to be reached.
fn mend_ipv4(frame: &mut [u8]) {
    let at = if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 };
    let Some(packet) = frame.get_mut(at..) else { return };
    let header_len = usize::from(packet.first().copied().unwrap_or(0) & 15) * 4;
    if let Some(header) = packet.get_mut(..header_len).filter(|h| h.len() >= 20) {
        header[10..12].fill(0);
        let c = checksum::sum(header).checksum();
        header[10..12].copy_from_slice(&c.to_be_bytes());
    }
}

fn read_everything(frame: &[u8], parsed: Result<crate::Parsed, crate::ParseError>) -> bool {
    let Ok(p) = parsed else { return false };
    assert!(p.l3_off <= p.l4_off && p.l4_off <= p.payload_off && p.payload_off <= p.end, "{p:?}");
    assert!(p.end as usize <= frame.len(), "{p:?}");
    p.flow_key(frame);
    let l4 = p.l4(frame);
    read_l4(l4);
    let l3 = p.l3(frame);
    for header in ipv6::ext_headers(l3).take_while(Result::is_ok).flatten() {
        ipv6::options(header.bytes).for_each(drop);
    }
    ipv4::has_source_route(l3.get(20..).unwrap_or(&[]));
    if let Some(net) = p.net {
        verify_l4(net.src, net.dst, net.protocol, l4);
        let (mut a, mut b) = (l4.to_vec(), l4.to_vec());
        icmpv4::echo_reply_in_place(&mut a);
        icmpv6::echo_reply_in_place(&mut b);
        // What is judged whole must parse as what it is.
        if net.protocol == protocol::TCP && net.fragment.is_none_or(|f| f.is_atomic()) {
            assert_eq!(u32::from(parse_tcp(l4).unwrap().data_off_bytes), p.payload_off - p.l4_off);
        }
    }
    true
}

fn read_l4(l4: &[u8]) {
    if let Ok(h) = parse_tcp(l4) {
        let options = parse_options(&l4[20..h.data_off_bytes.into()]);
        let mut again = [0; 40];
        let len = emit_options(&options, &mut again);
        assert_eq!(len, options.encoded_len());
        raw_options(&l4[20..h.data_off_bytes.into()]).for_each(drop);
    }
    parse_options(l4);
    if let Ok(m) = NdMessage::parse(l4) {
        m.is_valid(Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        m.options().iter().for_each(|o| {
            if let nd::NdOption::Rdnss(r) = o {
                r.servers().for_each(drop);
            }
        });
    }
    if let Ok(m) = icmpv4::Icmpv4::parse(l4) {
        let _ = parse_quoted(m.body);
    }
}

#[test]
fn two_hundred_thousand_damaged_frames() {
    let seeds = seeds();
    for seed in &seeds {
        assert!(read_everything(seed, parse(seed)));
    }
    let mut rng = SmallRng::seed_from_u64(0x6c69_6e65_7261_7465);
    let mut accepted = 0;
    for _ in 0..FRAMES {
        let mut frame = seeds[rng.random_range(0..seeds.len())].clone();
        for _ in 0..rng.random_range(0..6) {
            let at = rng.random_range(0..frame.len());
            match rng.random_range(0..3) {
                0 => frame[at] ^= 1 << rng.random_range(0..8),
                1 => frame[at] = rng.random(),
                _ => frame[at] = [0, 1, 0x7f, 0x80, 0xff][rng.random_range(0..5)],
            }
        }
        match rng.random_range(0..4) {
            0 => frame.truncate(rng.random_range(0..=frame.len())),
            1 => frame.resize(frame.len() + rng.random_range(0..64), 0xee),
            _ => {}
        }
        if rng.random() {
            mend_ipv4(&mut frame);
        }
        accepted += usize::from(read_everything(&frame, parse(&frame)));
        let l3 = frame.get(14..).unwrap_or(&[]);
        read_everything(l3, parse_ip(l3));
        let _ = parse_quoted(l3);
        read_l4(frame.get(rng.random_range(0..70)..).unwrap_or(&[]));
    }
    // The damage must neither be harmless nor stop everything at the first check.
    assert!((FRAMES / 5..FRAMES * 4 / 5).contains(&accepted), "{accepted}");
}

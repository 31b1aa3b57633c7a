//! Fragments: RFC 791 section 3.2, RFC 1122 section 3.3.2, RFC 5722, RFC 6864, RFC 8200 section 4.5; and the floods that
//! are made of them.

mod support;

use std::net::IpAddr;
use std::time::Instant as Clock;

use linerate_net::{DropReason, Stack, TcpConfig};
use linerate_wire::ipv4::Ipv4Emit;
use linerate_wire::{Fragment, Push, icmpv4, icmpv6, parse, protocol};
use support::icmp::raw_turn;
use support::peer::*;
use support::{MACS, Rng, addr, deliver};

fn v4(a: IpAddr) -> std::net::Ipv4Addr {
    match a {
        IpAddr::V4(a) => a,
        IpAddr::V6(_) => unreachable!(),
    }
}

fn v6(a: IpAddr) -> std::net::Ipv6Addr {
    match a {
        IpAddr::V6(a) => a,
        IpAddr::V4(_) => unreachable!(),
    }
}

/// A piece of `l4` as a frame from `src`.
fn piece(src: IpAddr, proto: u8, id: u32, l4: &[u8], from: usize, to: usize) -> Vec<u8> {
    raw_piece(src, proto, Fragment { offset_bytes: from as u16, more: to < l4.len(), id }, &l4[from..to])
}

fn raw_piece(src: IpAddr, proto: u8, f: Fragment, payload: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 128 + payload.len()];
    buf[128..].copy_from_slice(payload);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    let dst = addr(0, src.is_ipv6());
    if src.is_ipv4() {
        p.ipv4(&Ipv4Emit {
            src: v4(src),
            dst: v4(dst),
            protocol: proto,
            ttl: 64,
            tos: 0,
            id: f.id as u16,
            dont_fragment: false,
            more_fragments: f.more,
            offset_bytes: f.offset_bytes,
            options: &[],
        })
        .unwrap();
    } else {
        p.ipv6_fragment(proto, f).unwrap();
        p.ip(src, dst, protocol::IPV6_FRAGMENT, 64, 0, 0, true, 0).unwrap();
    }
    p.eth(MACS[1], MACS[0], None).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

/// An echo request of `n` bytes of data.
fn echo(is_v6: bool, n: usize) -> (u8, Vec<u8>) {
    let data: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
    let mut l4 = vec![0; n + 8];
    if is_v6 {
        let (src, dst) = (v6(addr(1, true)), v6(addr(0, true)));
        icmpv6::emit((icmpv6::ECHO_REQUEST, 0), [1, 2, 3, 4], &data, src, dst, &mut l4);
        return (protocol::ICMPV6, l4);
    }
    icmpv4::emit(icmpv4::ECHO_REQUEST, 0, [1, 2, 3, 4], &data, &mut l4);
    (protocol::ICMP, l4)
}

fn cuts(len: usize, step: usize) -> Vec<(usize, usize)> {
    (0..len).step_by(step).map(|a| (a, len.min(a + step))).collect()
}

/// What the stack sent, put together again: the upper-layer message.
fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for (n, f) in frames.iter().enumerate() {
        let p = parse(f).unwrap();
        let net = p.net.unwrap();
        assert!((p.end - p.l3_off) <= 1500);
        if let Some(fragment) = net.fragment {
            assert_eq!(usize::from(fragment.offset_bytes), all.len());
            assert_eq!(fragment.more, n + 1 < frames.len());
            assert!(!fragment.more || p.l4(f).len().is_multiple_of(8));
            assert!(net.src.is_ipv6() || f[14 + 6] & 0x40 == 0, "no DF on fragments");
            ids.insert(fragment.id);
        } else {
            assert_eq!(frames.len(), 1);
        }
        all.extend_from_slice(p.l4(f));
    }
    assert!(ids.len() <= 1, "one identification");
    all
}

fn ask(h: &mut Host, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for f in frames {
        h.inject(f);
    }
    raw_turn(h)
}

/// An echo in fragments, in any order, is answered as one datagram; in fragments again if it has to be.
//= RFC 1122 section 3.3.2
//= RFC 8200 section 4.5
#[test]
fn an_echo_in_fragments() {
    let mut rng = Rng(1);
    for is_v6 in [false, true] {
        for n in [0, 1, 100, 1464, 1480, 1800, 4000, 20_000, 65_000] {
            let mut h = Host::new(TcpConfig::default());
            let (proto, l4) = echo(is_v6, n);
            let step =
                if n > 10_000 { 1400 } else { 8 + 8 * rng.below(170) as usize }.max((l4.len() / 200) & !7);
            let mut pieces: Vec<_> = cuts(l4.len(), step)
                .iter()
                .map(|(a, b)| piece(addr(1, is_v6), proto, 7, &l4, *a, *b))
                .collect();
            for i in (1..pieces.len()).rev() {
                pieces.swap(i, rng.below(i as u64 + 1) as usize);
            }
            let out = ask(&mut h, &pieces);
            let reply = join(&out);
            assert_eq!((reply.len(), reply[0]), (l4.len(), if is_v6 { 129 } else { 0 }), "{n} bytes");
            assert_eq!(reply[4..], l4[4..]);
            let c = h.stack.counters();
            // One piece is a whole packet and no fragment.
            assert_eq!(c.reassembled, (pieces.len() > 1) as u64);
            assert_eq!(h.stack.fragments_held(), (0, 0));
            h.assert_home();
        }
    }
}

/// TCP may come in fragments, too.
#[test]
fn a_segment_in_fragments() {
    let mut h = Host::new(TcpConfig::default());
    let (p, id) = h.accepted(&Opts::default());
    let whole = tcp_frame(&p, ACK, p.seq, p.ack, &Default::default(), &[9; 1000]);
    let l4 = &whole[34..];
    for (a, b) in cuts(l4.len(), 200).iter().rev() {
        h.inject(&piece(addr(1, false), protocol::TCP, 3, l4, *a, *b));
    }
    h.turn();
    assert_eq!(h.read(id), vec![9; 1000]);
    h.assert_ledger();
}

/// Overlapping fragments cost the whole datagram, without a word.
//= RFC 5722 section 3
#[test]
fn overlaps_are_dropped_in_silence() {
    for is_v6 in [false, true] {
        let mut h = Host::new(TcpConfig::default());
        let (proto, l4) = echo(is_v6, 192);
        let src = addr(1, is_v6);
        let bad = [piece(src, proto, 1, &l4, 0, 96), piece(src, proto, 1, &l4, 88, 200)];
        assert!(ask(&mut h, &bad).is_empty());
        let rest = [piece(src, proto, 1, &l4, 96, 200), piece(src, proto, 1, &l4, 0, 96)];
        assert!(ask(&mut h, &rest).is_empty(), "the datagram is lost");
        assert_eq!(h.stack.counters().dropped(DropReason::FragOverlap), 3);
        // An exact duplicate is none (RFC 8200 section 4.5).
        let good = [(0, 96), (0, 96), (96, 200)].map(|(a, b)| piece(src, proto, 2, &l4, a, b));
        assert_eq!(ask(&mut h, &good).len(), 1);
        assert!(h.run(100 * SEC).is_empty() && h.others.is_empty());
        h.assert_home();
    }
}

/// Datagrams of another source, destination, protocol or identification are others.
#[test]
fn fragments_do_not_mix() {
    let mut h = Host::new(TcpConfig::default());
    let (proto, l4) = echo(false, 92);
    let src = addr(1, false);
    let other: IpAddr = "10.0.0.77".parse().unwrap();
    let half = |src, proto, id| piece(src, proto, id, &l4, 48, 100);
    let mix =
        [piece(src, proto, 1, &l4, 0, 48), half(other, proto, 1), half(src, 17, 1), half(src, proto, 2)];
    assert!(ask(&mut h, &mix).is_empty());
    assert_eq!(h.stack.fragments_held().1, 4);
    assert_eq!(ask(&mut h, &[half(src, proto, 1)]).len(), 1);
}

/// What never becomes whole is forgotten, and its sender told if the first fragment came: RFC 792, RFC 1122 section
/// 3.3.2, RFC 8200 section 4.5.
//= RFC 1122 section 3.3.2
//= RFC 8200 section 4.5
#[test]
fn time_exceeded_only_if_the_first_fragment_came() {
    for (is_v6, seconds) in [(false, 30), (true, 60)] {
        let mut h = Host::new(TcpConfig::default());
        let (proto, l4) = echo(is_v6, 192);
        let src = addr(1, is_v6);
        let first = piece(src, proto, 1, &l4, 0, 96);
        assert!(ask(&mut h, &[first.clone(), piece(src, proto, 2, &l4, 96, 200)]).is_empty());
        h.run((seconds - 1) * SEC);
        assert!(h.others.is_empty() && h.stack.fragments_held().1 == 2);
        h.run(SEC);
        assert_eq!(h.others.len(), 1);
        let (p, f) = (parse(&h.others[0]).unwrap(), &h.others[0]);
        let l4 = p.l4(f);
        assert_eq!((l4[0], l4[1], p.net.unwrap().dst), (if is_v6 { 3 } else { 11 }, 1, src));
        assert_eq!(l4[8..], first[14..], "quoted as it came");
        assert_eq!(h.stack.counters().dropped(DropReason::FragTimeout), 2);
        assert_eq!(h.stack.fragments_held(), (0, 0));
        h.assert_home();
    }
}

/// About an ICMP error no error is sent, not even that it did not become whole.
#[test]
fn no_error_about_errors_and_broadcasts() {
    let mut h = Host::new(TcpConfig::default());
    let mut l4 = vec![0; 200];
    icmpv4::emit(3, 1, [0; 4], &[0x45; 192], &mut l4);
    h.inject(&piece(addr(1, false), protocol::ICMP, 1, &l4, 0, 96));
    h.run(100 * SEC);
    assert_eq!((h.others.len(), h.stack.counters().dropped(DropReason::FragTimeout)), (0, 1));
}

/// RFC 791 section 3.2: all but the last carry multiples of 8; nothing ends behind 65,535 (the ping of death).
#[test]
fn impossible_fragments() {
    let mut h = Host::new(TcpConfig::default());
    let src = addr(1, false);
    let at = |offset_bytes, more| Fragment { offset_bytes, more, id: 5 };
    for (f, len) in [(at(0, true), 97), (at(65_528, false), 8), (at(65_512, false), 4), (at(8, true), 0)] {
        assert!(ask(&mut h, &[raw_piece(src, 1, f, &vec![0; len])]).is_empty());
    }
    assert_eq!(h.stack.counters().dropped(DropReason::FragInvalid), 4);
    assert_eq!(h.stack.fragments_held(), (0, 0));
}

/// The answer to a request of 65,507 bytes of data, the largest there is, and IPv6's of 65,527.
#[test]
fn the_largest_datagram() {
    for (is_v6, n) in [(false, 65_507), (true, 65_527)] {
        let mut h = Host::new(TcpConfig::default());
        let (proto, l4) = echo(is_v6, n);
        let frames: Vec<_> =
            cuts(l4.len(), 1440).iter().map(|(a, b)| piece(addr(1, is_v6), proto, 7, &l4, *a, *b)).collect();
        let reply = join(&ask(&mut h, &frames));
        assert_eq!(reply[4..], l4[4..]);
    }
}

/// A path of 1300 bytes: echoes that fitted before leave in fragments.
#[test]
fn replies_fit_the_path() {
    let mut h = Host::new(TcpConfig::default());
    let (_, id) = h.accepted(&Opts { mss: Some(1460), ..Opts::default() });
    let segs = h.write(id, &[1; 1460]);
    h.inject(&support::icmp::too_big(1300, &support::icmp::quote_seg(&segs[0])));
    h.turn();
    let (proto, l4) = echo(false, 1472);
    let out = ask(&mut h, &[piece(addr(1, false), proto, 0, &l4, 0, l4.len())]);
    assert_eq!(out.iter().map(|f| f.len() - 14).collect::<Vec<_>>(), [1300, 220]);
    assert_eq!(join(&out)[4..], l4[4..]);
}

fn flood(
    stack: &mut Stack,
    now: linerate_net::Instant,
    frames: u64,
    mut next: impl FnMut(u64) -> Vec<u8>,
) -> f64 {
    let start = Clock::now();
    let mut worst = 0;
    for n in 0..frames {
        deliver(stack, &next(n), now);
        if n % 1024 == 0 {
            worst = worst.max(stack.fragments_held().0);
        }
    }
    let us = start.elapsed().as_secs_f64() * 1e6 / frames as f64;
    println!("{us:.2} us a fragment, {worst} bytes held at most, {:?}", stack.fragments_held());
    assert!(worst <= 2 * (4 << 20));
    us
}

/// Floods of fragments that never become whole: memory stays in its bound, an honest datagram of another source comes
/// through, and the pool keeps its frames.
#[test]
fn reassembly_floods() {
    let mut h = Host::new(TcpConfig::default());
    let now = h.now;
    let spoofed = |n: u64, is_v6: bool| -> IpAddr {
        match is_v6 {
            false => std::net::Ipv4Addr::from_bits(0x0b00_0000 | (n * 7919) as u32 & 0xff_ffff).into(),
            true => std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n * 7919) << 64 | 1).into(),
        }
    };
    let mid = |id| Fragment { offset_bytes: 8, more: true, id };
    for is_v6 in [false, true] {
        let one = addr(1, is_v6);
        let big = vec![0; 1400];
        for (what, frames) in
            [("one source, large", 50_000), ("spoofed, large", 50_000), ("spoofed, small", 100_000)]
        {
            println!("v6 {is_v6}: {what}");
            let us = flood(&mut h.stack, now, frames, |n| match what {
                "one source, large" => raw_piece(one, 17, mid(n as u32), &big),
                "spoofed, large" => raw_piece(spoofed(n, is_v6), 17, mid(n as u32), &big),
                _ => raw_piece(spoofed(n, is_v6), 17, mid(n as u32), &[0; 8]),
            });
            assert!(us < 200.0, "{us} us a fragment");
            let (proto, l4) = echo(is_v6, 4000);
            let honest: Vec<_> = cuts(l4.len(), 1400)
                .iter()
                .map(|(a, b)| {
                    let mut f = piece(one, proto, 77, &l4, *a, *b);
                    f[6..12].copy_from_slice(&MACS[1]);
                    f
                })
                .collect();
            assert_eq!(join(&ask(&mut h, &honest))[4..], l4[4..], "{what}");
            h.assert_ledger();
            h.now = now;
            h.stack.on_timers(now + 61 * SEC);
            assert_eq!(h.stack.fragments_held(), (0, 0));
            while !raw_turn(&mut h).is_empty() {}
        }
        // One datagram in the smallest pieces there are.
        flood(&mut h.stack, now, 8_000, |n| {
            raw_piece(one, 17, Fragment { offset_bytes: 8 * n as u16, more: true, id: 1 }, &[0; 8])
        });
        assert!(h.stack.fragments_held().0 < 64 << 10);
    }
    // The pieces beyond the 256th.
    assert!(h.stack.counters().dropped(DropReason::FragLimit) > 10_000);
    assert!(h.stack.counters().dropped(DropReason::FragMemory) > 10_000);
}

/// What may be fragmented on the way has an identification of its own; what may not has none to be guessed.
//= RFC 6864 section 4.1
//= RFC 6864 section 4.3
#[test]
fn identifications() {
    let mut h = Host::new(TcpConfig::default());
    let (proto, l4) = echo(false, 3000);
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..500 {
        let frames: Vec<_> =
            cuts(l4.len(), 1480).iter().map(|(a, b)| piece(addr(1, false), proto, n, &l4, *a, *b)).collect();
        let out = ask(&mut h, &frames);
        assert!(ids.insert(parse(&out[0]).unwrap().net.unwrap().fragment.unwrap().id), "twice");
    }
    let (proto, l4) = echo(false, 100);
    let out = ask(&mut h, &[piece(addr(1, false), proto, 0, &l4, 0, l4.len())]);
    assert_eq!(
        (out[0][14 + 6] & 0x40, &out[0][18..20]),
        (0x40, &[0, 0][..]),
        "atomic: DF, any identification"
    );
}

/// The core that put a segment together hands it to the owner of its flow.
#[test]
fn what_became_whole_is_handed_on() {
    let mut h = Host::new(TcpConfig::default());
    h.stack.set_owners(linerate_net::Owners::equal(2, 0));
    let mut handed = 0;
    for n in 1..40 {
        let mut p = Peer::new(1000 + n, false);
        p.stack_port = 9;
        let whole = tcp_frame(&p, ACK, 1, 2, &Default::default(), &[9; 100]);
        let l4 = &whole[34..];
        h.inject(&piece(addr(1, false), protocol::TCP, n.into(), l4, 0, 48));
        let last = support::frame_of(
            &mut h.stack,
            &piece(addr(1, false), protocol::TCP, n.into(), l4, 48, l4.len()),
        );
        let now = h.now;
        if let linerate_net::Ingress::Handoff { frame, parsed, owner } = h.stack.ingress(last, now) {
            assert_eq!(owner, 1);
            handed += 1;
            h.stack.ingress_handed(frame, parsed, now);
        }
    }
    assert!((8..32).contains(&handed));
    assert_eq!(h.stack.counters().tcp_segs_in, 39);
    h.turn();
    h.assert_home();
}

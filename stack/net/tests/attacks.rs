//! What strangers send: blind injection (RFC 5961), floods of ACKs, of neighbours, of tuples that collide. Each with the
//! bound that holds; the floods of SYNs, fragments and hoarders stand with what they attack.

mod support;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use linerate_net::flow::table::FlowTable;
use linerate_net::neigh::{NEIGH_LIMIT, NEIGH_PENDING_TOTAL_PKTS, NeighState};
use linerate_net::{State, TcpConfig};
use linerate_wire::flow_key::HashKey;
use linerate_wire::tcp_options::TcpOptions;
use linerate_wire::{ArpOp, ArpPacket, FlowKey, Push, TcpEmit, eth, protocol};
use support::peer::*;
use support::{MACS, Rng, addr};

fn tcp_from(src: IpAddr, dst: IpAddr, tcp: &TcpEmit<'_>) -> Vec<u8> {
    let mut buf = vec![0; 128];
    let mut p = Push::new(&mut buf, 128, 128);
    p.tcp(tcp, src, dst, None).unwrap();
    p.ip(src, dst, protocol::TCP, 64, 0, 0, true, 0).unwrap();
    p.eth(MACS[1], MACS[0], None).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

/// Who knows the 4-tuple but not the numbers gets nothing: 400,000 guesses of RST, SYN and data with and without ACK, spread
/// over the whole sequence space as a patient attacker would, and the connection neither ends nor takes a byte. What it
/// says to them is limited to two challenge ACKs a second.
//= RFC 5961 section 3.2
//= RFC 5961 section 4.2
//= RFC 5961 section 5.2
//= RFC 5961 section 7
#[test]
fn blind_injection() {
    const GUESSES: u32 = 400_000;
    let mut h = Host::new(TcpConfig::default());
    let (mut p, id) = h.accepted(&Opts { wscale: Some(7), ts: false, ..Opts::default() });
    let began = h.now;
    let (mut challenges, mut sent) = (0, Vec::new());
    let mut rng = Rng(1);
    for i in 0..GUESSES {
        let flags = [RST, RST_ACK, SYN, ACK, PSH.union(ACK), FIN_ACK][(i % 6) as usize];
        let seq = (i.wrapping_mul(u32::MAX / GUESSES)).wrapping_add(7);
        h.now = h.now + 100_000;
        // Not by luck the number itself.
        if seq == p.seq && flags.contains(RST) {
            continue;
        }
        let data: &[u8] = if flags == PSH.union(ACK) { b"evil" } else { b"" };
        let ack = if i % 2 == 0 { p.ack.wrapping_add(0x4000_0000) } else { rng.next() as u32 };
        let out = h.raw(&p, flags, seq, ack, &TcpOptions::default(), data).len();
        // What occupies sequence space may be the peer's own, sent again: each is acknowledged, one for one.
        assert!(out <= 1);
        if !data.is_empty() || flags == FIN_ACK {
            continue;
        }
        challenges += out;
        if i % 1002 == 0 {
            h.send(&mut p, ACK, b"good");
            sent.extend(b"good");
        }
    }
    let seconds = ((h.now.0 - began.0) / SEC) as usize;
    assert_eq!(h.stack.info(id).unwrap().state, State::Established);
    // Data within the window and with an acceptable ACK can't be told from the peer's own by any TCP; none was.
    assert_eq!(h.read(id), sent);
    let acks_of_good = sent.len() / 4;
    assert!(challenges <= acks_of_good + 2 * (seconds + 1), "{challenges} in {seconds} s");
    h.assert_ledger();
}

/// ACKs for connections that don't exist are answered by RSTs, no more than the limit says, and nothing is kept of them.
#[test]
fn ack_flood() {
    const FLOOD: u32 = 200_000;
    let mut h = Host::new(TcpConfig::default());
    let (mut p, id) = h.accepted(&Opts::default());
    let ours = addr(0, false);
    let (mut rsts, mut good) = (0, 0);
    let began = h.now;
    for i in 0..FLOOD {
        let src = IpAddr::from(Ipv4Addr::from(0x0a00_0000 | (i % 250 + 2)));
        let tcp = TcpEmit {
            src_port: (i % 60_000 + 1024) as u16,
            dst_port: PORT,
            seq: i,
            ack: !i,
            flags: ACK,
            window: 1000,
            urgent: 0,
            options: &TcpOptions::default(),
        };
        h.inject(&tcp_from(src, ours, &tcp));
        h.now = h.now + 10_000;
        if i % 100 == 0 {
            // A request among the noise, answered within its own turn.
            rsts += h.turn().len();
            h.send(&mut p, ACK, b"ping");
            assert_eq!(h.read(id), b"ping");
            let out = h.write(id, b"pong");
            good += p.data(&out).len();
            let off = p.off(&out[out.len() - 1]) + 4;
            h.ack(&mut p, off);
        }
        h.complete_all();
    }
    let seconds = (h.now.0 - began.0) / SEC + 1;
    assert_eq!(good as u32, FLOOD / 100);
    assert!(rsts as u64 <= 1_050 * seconds, "{rsts} RSTs in {seconds} s");
    assert_eq!(h.stack.conns(), 1);
    h.assert_ledger();
}

/// Hosts that an attacker on the link invents fill the neighbour table to its limit and no further; who is in use stays.
#[test]
fn neighbour_flood() {
    let mut h = Host::new(TcpConfig::default());
    let used = IpAddr::from(Ipv4Addr::new(10, 0, 0, 2));
    h.stack.neigh().remove(used);
    h.stack.neigh().set(used, MACS[1], linerate_net::neigh::Known::Reachable, h.now.0);
    let (mut p, id) = h.accepted(&Opts::default());
    for i in 0..100_000u32 {
        let sender = Ipv4Addr::from(0x0a00_0100 + i);
        let mac = [2, 9, (i >> 24) as u8, (i >> 16) as u8, (i >> 8) as u8, i as u8];
        let arp = ArpPacket {
            op: ArpOp::Request,
            sender_mac: mac,
            sender_ip: sender,
            target_mac: [0; 6],
            target_ip: Ipv4Addr::new(10, 0, 0, 1),
        };
        let mut buf = vec![0; 128];
        let mut push = Push::new(&mut buf, 128, 128);
        push.arp(&arp).unwrap();
        push.eth(mac, eth::BROADCAST, None).unwrap();
        let start = push.start();
        h.inject(&buf[start..]);
        h.turn();
        h.complete_all();
        h.now = h.now + 1000;
    }
    assert!(h.stack.neigh().len() <= NEIGH_LIMIT);
    assert!(matches!(h.stack.neigh().state(used), Some(s) if s != NeighState::Failed));
    h.send(&mut p, ACK, b"still here");
    assert_eq!(h.read(id), b"still here");
    // Our own scan of a silent subnet takes few frames.
    for i in 0..5_000u32 {
        let silent = Ipv4Addr::from(0x0a00_0003 + i % 250);
        let now = h.now;
        let _ = h.stack.connect(silent.into(), 9, now);
        h.turn();
        h.complete_all();
    }
    assert!(h.stack.frames_held() <= NEIGH_PENDING_TOTAL_PKTS + 16, "{}", h.stack.frames_held());
    h.assert_ledger();
}

/// 20,000 tuples chosen to collide under a hash whose key the attacker knows. Under the stack's secret they are tuples like
/// any others: a lookup compares with one connection.
#[test]
fn hash_collisions() {
    const TUPLES: usize = 20_000;
    let ours = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
    let known = HashKey([0, 0]);
    let tuples: Vec<FlowKey> = (0..u32::MAX)
        .map(|i| FlowKey {
            local: ours,
            remote: Ipv4Addr::from(0x0b00_0000 + (i >> 16)).into(),
            local_port: PORT,
            remote_port: i as u16,
        })
        // 8 bits that pick the group of slots in the table of their own size, and the 7 of the tag.
        .filter(|k| k.hash_keyed(&known) & 0xff == 0x5a && k.hash_keyed(&known) >> 61 == 5)
        .take(TUPLES)
        .collect();
    let compared = |key: &HashKey| {
        let hash = |slot: u32| tuples[slot as usize].hash_keyed(key);
        let mut table = FlowTable::new();
        for slot in 0..TUPLES as u32 {
            table.insert(hash(slot), slot, hash);
        }
        let n = Cell::new(0u64);
        for slot in 0..TUPLES as u32 {
            let found = table.find(hash(slot), |s| {
                n.set(n.get() + 1);
                s == slot
            });
            assert_eq!(found, Some(slot));
        }
        n.get() as f64 / TUPLES as f64
    };
    let (under_known, under_secret) = (compared(&known), compared(&HashKey([0x1234_5678_9abc, 0xdef0])));
    println!(
        "connections compared a lookup: {under_known:.1} with a known key, {under_secret:.3} with a secret one"
    );
    assert!(under_known > 2.0, "the attack works where the key is known: {under_known}");
    assert!(under_secret < 1.2, "{under_secret}");
}

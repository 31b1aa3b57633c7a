//! Recovery that was not needed, and is undone: RFC 3522, 3708, 4015, 5682.

mod support;

use linerate_net::{FlowId, TcpConfig};
use linerate_wire::tcp_options::TcpOptions;
use support::peer::*;

/// MSS 1000, IW 10, RTT 10 ms, RTO 210 ms.
fn open(o: Opts) -> (Host, Peer, FlowId) {
    let mut h = Host::new(TcpConfig::default());
    let (p, id) = h.accepted(&o);
    (h, p, id)
}

fn opts(sack: bool, ts: bool) -> Opts {
    Opts { sack, ts, mss: Some(if ts { 1012 } else { 1000 }), ..Opts::default() }
}

/// (cwnd, ssthresh)
fn window(h: &Host, id: FlowId) -> (u32, u32) {
    let i = h.stack.info(id).unwrap();
    (i.cwnd_bytes, i.ssthresh_bytes)
}

fn undone(h: &Host) -> u64 {
    h.stack.tcp_counters().undone
}

fn tsval(s: &Seg) -> u32 {
    s.options.timestamps.unwrap().0
}

/// The first ACK after a fast retransmit echoes the original: it was only late.
//= RFC 3522 section 3.2
#[test]
fn eifel_undoes_a_fast_retransmit() {
    for sack in [false, true] {
        let (mut h, mut p, id) = open(opts(sack, true));
        let out = h.write(id, &[1; 10_000]);
        p.tsecr = tsval(&out[0]);
        h.run(10 * MS);
        let again = match sack {
            true => h.sack_data(&mut p, 0, &[(1000, 5000)]),
            false => (0..3).flat_map(|_| h.ack_data(&mut p, 0)).collect(),
        };
        assert_eq!(again, [(0, 1000)]);
        assert!(window(&h, id).1 < 10_000);
        h.run(MS);
        h.ack(&mut p, 5000);
        let (cwnd, ssthresh) = window(&h, id);
        assert_eq!((undone(&h), ssthresh), (1, u32::MAX), "SACK {sack}");
        assert!(cwnd >= 10_000, "{cwnd}");
    }
}

/// An echo of the retransmission itself, or a D-SACK with it, is no proof.
//= RFC 3522 section 3.2
#[test]
fn eifel_keeps_a_needed_recovery() {
    for dsack in [false, true] {
        let (mut h, mut p, id) = open(opts(true, true));
        let out = h.write(id, &[1; 10_000]);
        let old = tsval(&out[0]);
        p.tsecr = old;
        h.run(10 * MS);
        let again = h.sack(&mut p, 0, &[(1000, 5000)]);
        p.tsecr = if dsack { old } else { tsval(&again[0]) };
        h.run(MS);
        h.sack(&mut p, 5000, if dsack { &[(3000, 4000)] } else { &[] });
        assert_eq!(undone(&h), 0);
        assert!(window(&h, id).1 < 10_000);
    }
}

/// The window is there again, but what it lets go at once is an initial window at most.
//= RFC 4015 section 3.2
#[test]
fn the_window_comes_back_without_a_burst() {
    let (mut h, mut p, id) = open(opts(true, true));
    let out = h.write(id, &[1; 60_000]);
    p.tsecr = tsval(&out[0]);
    h.run(10 * MS);
    for i in 1..=15 {
        if let Some(s) = h.ack(&mut p, i * 2000).first() {
            p.tsecr = tsval(s);
        }
        h.run(MS);
    }
    let (cwnd, _) = window(&h, id);
    assert!(cwnd >= 30_000);
    // The rest is in flight; most of it is SACKed before the first arrives.
    h.sack(&mut p, 30_000, &[(31_000, 58_000)]);
    h.write(id, &[2; 60_000]);
    h.run(MS);
    let out = h.ack(&mut p, 31_000);
    assert_eq!(undone(&h), 1);
    assert!(p.data(&out).len() <= 11, "{} segments at once", p.data(&out).len());
}

/// Everything that recovery sent again was reported as a duplicate, even after recovery was over.
//= RFC 3708 section 3
#[test]
fn dsacks_undo_what_they_cover() {
    let (mut h, mut p, id) = open(opts(true, false));
    h.write(id, &[1; 10_000]);
    h.run(10 * MS);
    let again = h.sack_data(&mut p, 0, &[(2000, 10_000)]);
    assert_eq!(again, [(0, 1000), (1000, 1000)]);
    h.run(MS);
    h.ack(&mut p, 10_000);
    let reduced = window(&h, id);
    assert!(reduced.1 < 10_000);
    h.run(9 * MS);
    h.sack(&mut p, 10_000, &[(0, 1000)]);
    assert_eq!((undone(&h), window(&h, id)), (0, reduced), "one of two");
    h.sack(&mut p, 10_000, &[(1000, 2000)]);
    assert_eq!(undone(&h), 1);
    assert_eq!(window(&h, id), (10_000, u32::MAX));
}

/// Duplicates that the network made are no proof.
//= RFC 3708 section 3
#[test]
fn duplicates_of_the_network_undo_nothing() {
    let (mut h, mut p, id) = open(opts(true, false));
    h.write(id, &[1; 10_000]);
    h.run(10 * MS);
    h.sack(&mut p, 0, &[(1000, 10_000)]);
    // This one was not sent again.
    h.sack(&mut p, 3000, &[(2000, 3000), (4000, 10_000)]);
    h.sack(&mut p, 10_000, &[(0, 1000)]);
    assert_eq!(undone(&h), 0);
}

/// The first ACK after a timeout echoes the original.
//= RFC 3522 section 3.2
//= RFC 4015 section 3.2
#[test]
fn eifel_undoes_a_timeout() {
    let (mut h, mut p, id) = open(opts(true, true));
    let out = h.write(id, &[1; 10_000]);
    p.tsecr = tsval(&out[0]);
    let out = h.run(300 * MS);
    assert!(p.data(&out).contains(&(0, 1000)));
    assert_eq!(window(&h, id).0, 1000);
    let out = h.ack(&mut p, 5000);
    assert_eq!(undone(&h), 1);
    assert!(p.data(&out).iter().all(|d| d.0 >= 10_000), "nothing more is sent again: {:?}", p.data(&out));
    assert_eq!(window(&h, id).1, u32::MAX);
    // The RTO has learnt: 300 ms RTT.
    let info = h.stack.info(id).unwrap();
    assert!(info.srtt_ns >= 300 * MS && info.rto_ns >= 500 * MS, "{info:?}");
}

/// Section 2.1: the ACKs after the timeout cover what was sent before it, and once.
//= RFC 5682 section 2.1
#[test]
fn frto_without_sack() {
    let (mut h, mut p, id) = open(opts(false, false));
    h.write(id, &[1; 20_000]);
    let out = h.run(220 * MS);
    assert_eq!(p.data(&out), [(0, 1000)]);
    assert_eq!(
        h.ack_data(&mut p, 1000),
        [(10_000, 1000), (11_000, 1000)],
        "two new ones, not the next old one"
    );
    let out = h.ack(&mut p, 2000);
    assert_eq!(undone(&h), 1);
    assert!(p.data(&out).iter().all(|d| d.0 >= 12_000), "{:?}", p.data(&out));
    assert_eq!(h.stack.tcp_counters().retransmits, 1);
}

/// Section 2.1 (2a), (3a): a duplicate ACK is the loss.
//= RFC 5682 section 2.1
#[test]
fn frto_sees_a_real_loss() {
    // (2a)
    let (mut h, mut p, id) = open(opts(false, false));
    h.write(id, &[1; 20_000]);
    h.run(220 * MS);
    h.ack(&mut p, 0);
    assert_eq!(h.ack_data(&mut p, 1000)[0], (1000, 1000), "conventional");
    // (3a)
    let (mut h, mut p, id) = open(opts(false, false));
    h.write(id, &[1; 20_000]);
    h.run(220 * MS);
    assert_eq!(h.ack_data(&mut p, 1000).len(), 2);
    let out = h.ack(&mut p, 1000);
    assert!(p.data(&out).contains(&(1000, 1000)), "{:?}", p.data(&out));
    assert_eq!(undone(&h), 0);
    assert!(window(&h, id).0 <= 3000);
}

/// Section 2.1 (2): nothing new to send, so the conventional way.
//= RFC 5682 section 2.1
#[test]
fn frto_needs_new_data() {
    let (mut h, mut p, id) = open(opts(false, false));
    h.write(id, &[1; 5000]);
    h.run(220 * MS);
    assert_eq!(h.ack_data(&mut p, 1000), [(1000, 1000), (2000, 1000)]);
    assert_eq!(undone(&h), 0);
}

/// Section 3.1: the same with SACK: (3b), and (3a) when only what was sent after the timeout is SACKed.
//= RFC 5682 section 3.1
#[test]
fn frto_with_sack() {
    for (block, spurious) in [((4000, 5000), true), ((10_000, 11_000), false)] {
        let (mut h, mut p, id) = open(opts(true, false));
        h.write(id, &[1; 10_000]);
        // No window beyond, so the tail probe sends an old one; then there is more.
        p.wnd = 10_000;
        h.ack(&mut p, 0);
        h.run(300 * MS);
        assert_eq!(window(&h, id).0, 1000);
        h.write(id, &[1; 10_000]);
        p.wnd = 65_000;
        assert_eq!(h.ack_data(&mut p, 1000), [(10_000, 1000), (11_000, 1000)]);
        let out = h.sack(&mut p, 1000, &[block]);
        assert_eq!(undone(&h) == 1, spurious);
        assert_eq!(p.data(&out).iter().any(|d| d.0 == 1000), !spurious, "{:?}", p.data(&out));
    }
}

/// The timeout was spurious by a second timeout's measure, too: RetransmitTS is that of the first.
//= RFC 3522 section 3.2
#[test]
fn eifel_remembers_the_first_retransmission() {
    let (mut h, mut p, id) = open(opts(true, true));
    let out = h.write(id, &[1; 5000]);
    let old = tsval(&out[0]);
    let out = h.run(700 * MS);
    assert_eq!(p.data(&out).iter().filter(|d| d.0 == 0).count(), 2);
    p.tsecr = old;
    h.ack(&mut p, 2000);
    assert_eq!(undone(&h), 1);
}

/// A SYN-ACK sent twice, and the first one answered: nothing was lost, so the window and RTO are not punished.
//= RFC 6298 section 5
#[test]
fn a_spurious_syn_ack_retransmission() {
    for spurious in [true, false] {
        let mut h = Host::new(TcpConfig::default());
        let (mut p, out) = h.syn(&opts(true, true));
        p.first = out[0].seq.wrapping_add(1);
        p.ack = p.first;
        p.tsecr = tsval(&out[0]);
        let again = h.run(1500 * MS);
        if !spurious {
            p.tsecr = tsval(&again[0]);
        }
        h.send(&mut p, ACK, b"");
        let id = h.stack.accept(h.listener).unwrap();
        let n = p.data(&h.write(id, &[1; 20_000])).len();
        assert_eq!(n, if spurious { 10 } else { 1 });
        let info = h.stack.info(id).unwrap();
        assert_eq!(info.srtt_ns / MS, if spurious { 1500 } else { 0 });
    }
}

/// The same for a SYN.
//= RFC 6298 section 5
#[test]
fn a_spurious_syn_retransmission() {
    for spurious in [true, false] {
        let mut h = Host::new(TcpConfig::default());
        let (mut p, id, syn) = h.connecting();
        let again = h.run(1500 * MS);
        let echo = tsval(if spurious { &syn } else { &again[0] });
        let options = TcpOptions { mss: Some(1012), timestamps: Some((1, echo)), ..TcpOptions::EMPTY };
        h.raw(&p, SYN_ACK, ISS, p.ack, &options, b"");
        p.seq = ISS + 1;
        let n = p.data(&h.write(id, &[1; 20_000])).len();
        assert_eq!(n, if spurious { 10 } else { 1 });
    }
}

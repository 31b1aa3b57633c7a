//! ICMP errors about TCP segments: RFC 9293 section 3.9.2.2, RFC 5927, RFC 5461.

mod support;

use linerate_net::{DropReason, Events, FlowId, State, TcpConfig, TcpError};
use support::icmp::*;
use support::peer::*;

const V6: Opts =
    Opts { mss: Some(1000), wscale: None, sack: true, ts: false, wnd: 65_000, rtt_ns: 10 * MS, v6: true };

/// A connection with 3000 bytes in flight: the segments.
fn in_flight(h: &mut Host, o: &Opts) -> (Peer, FlowId, Vec<Seg>) {
    let (p, id) = h.accepted(o);
    while h.stack.next_ready().is_some() {}
    let segs = h.write(id, &[7; 3000]);
    assert_eq!(segs.len(), 3);
    (p, id, segs)
}

fn events(h: &mut Host) -> u8 {
    h.stack.next_ready().map_or(0, |(_, e)| e.0)
}

/// No connection was: port unreachable refuses it.
//= RFC 9293 section 3.9.2.2, MUST-54
//= RFC 9293 section 3.9.2.2, SHLD-26
#[test]
fn a_hard_error_ends_an_open() {
    for (code, error) in [
        (2, TcpError::ProtocolUnreachable),
        (3, TcpError::Refused),
        (9, TcpError::Prohibited),
        (10, TcpError::Prohibited),
        (13, TcpError::Prohibited),
    ] {
        let mut h = Host::new(TcpConfig::default());
        let (_, id, syn) = h.connecting();
        h.inject(&unreachable(code, &syn));
        assert_eq!((h.stack.state(id), h.stack.error(id)), (Some(State::Closed), Some(error)), "code {code}");
        assert!(Events(events(&mut h)).contains(Events::CLOSED));
        assert!(h.run(300 * SEC).is_empty(), "nothing is tried again");
        h.close(id);
        h.assert_home();
    }
}

fn unreachable(code: u8, s: &Seg) -> Vec<u8> {
    error(false, 3, code, 0, &quote_seg(s))
}

/// Soft errors end nothing: the application may know, and if nothing else comes, the last one says why.
//= RFC 9293 section 3.9.2.2, SHLD-25
//= RFC 9293 section 3.9.2.2, MUST-56
//= RFC 9293 section 3.9.1.8, MUST-47
#[test]
fn a_soft_error_is_told_and_the_open_goes_on() {
    let soft = [
        (3, 0, TcpError::NetUnreachable),
        (3, 1, TcpError::HostUnreachable),
        (3, 5, TcpError::HostUnreachable),
        (11, 0, TcpError::HostUnreachable),
        (11, 1, TcpError::HostUnreachable),
        (12, 0, TcpError::Protocol),
    ];
    for (ty, code, why) in soft {
        let mut h = Host::new(TcpConfig::default());
        let (p, id, syn) = h.connecting();
        h.inject(&error(false, ty, code, 0, &quote_seg(&syn)));
        assert_eq!(h.stack.state(id), Some(State::SynSent));
        assert!(Events(events(&mut h)).contains(Events::SOFT_ERROR));
        assert_eq!((h.stack.take_soft_error(id), h.stack.take_soft_error(id)), (Some(why), None));
        let again = h.run(SEC);
        assert_eq!((again.len(), again[0].seq), (1, syn.seq));
        let out = h.raw(&p, SYN_ACK, ISS, p.ack, &Default::default(), b"");
        assert!(out.len() == 1 && out[0].is_pure_ack());
        assert_eq!(h.stack.state(id), Some(State::Established));
    }
    let mut h = Host::new(TcpConfig::default());
    let (_, id, syn) = h.connecting();
    h.inject(&unreachable(1, &syn));
    h.run(300 * SEC);
    assert_eq!(h.stack.error(id), Some(TcpError::HostUnreachable), "more than a timeout");
}

/// What many stacks do, by choice: RFC 5461 section 4.1.
#[test]
fn soft_errors_may_end_an_open_by_choice() {
    let mut h = Host::new(TcpConfig { icmp_soft_errors_abort_syn: true, ..TcpConfig::default() });
    let (_, id, syn) = h.connecting();
    h.inject(&unreachable(1, &syn));
    assert_eq!(h.stack.error(id), Some(TcpError::HostUnreachable));
    let (_, id, segs) = in_flight(&mut h, &Opts::default());
    h.inject(&unreachable(1, &segs[0]));
    assert_eq!(h.stack.state(id), Some(State::Established), "only an open");
}

/// In the synchronized states no error is the end, hard or soft.
//= RFC 5927 section 5.2
#[test]
fn an_established_connection_survives_every_error() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, id, segs) = in_flight(&mut h, &Opts::default());
    for ty in [3, 4, 5, 11, 12] {
        for code in 0..16 {
            if (ty, code) != (3, 4) {
                h.inject(&error(false, ty, code, 0, &quote_seg(&segs[1])));
            }
        }
    }
    assert_eq!(h.stack.state(id), Some(State::Established));
    assert!(Events(events(&mut h)).contains(Events::SOFT_ERROR));
    assert_eq!(h.stack.take_soft_error(id), Some(TcpError::Protocol));
    assert!(h.ack(&mut p, 3000).is_empty());
    let mut h = Host::new(TcpConfig::default());
    let (_, id, segs) = in_flight(&mut h, &V6);
    for ty in [1, 3, 4] {
        for code in 0..8 {
            h.inject(&error(true, ty, code, 0, &quote_seg(&segs[1])));
        }
    }
    assert_eq!(h.stack.state(id), Some(State::Established));
    assert_eq!(h.stack.take_soft_error(id), Some(TcpError::Protocol));
}

/// Progress shows that the complaint is over.
#[test]
fn an_ack_clears_a_soft_error() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, id, segs) = in_flight(&mut h, &Opts::default());
    h.inject(&unreachable(0, &segs[0]));
    h.ack(&mut p, 1000);
    assert_eq!(h.stack.take_soft_error(id), None);
}

/// Only what is in flight can be complained of: others must guess that.
//= RFC 5927 section 4.1
#[test]
fn errors_out_of_the_flight_are_ignored() {
    let mut h = Host::new(TcpConfig::default());
    let (_, id, syn) = h.connecting();
    for seq in [syn.seq.wrapping_sub(1), syn.seq.wrapping_add(1), syn.seq ^ 0x8000_0000] {
        h.inject(&error(false, 3, 3, 0, &quote_tcp(&syn, seq)));
    }
    assert_eq!(h.stack.state(id), Some(State::SynSent));
    let (_, id, segs) = in_flight(&mut h, &Opts::default());
    let first = segs[0].seq;
    for off in [-1i32, 3000, 3001, 1 << 30] {
        h.inject(&error(false, 3, 1, 0, &quote_tcp(&segs[0], first.wrapping_add(off as u32))));
    }
    assert_eq!(h.stack.take_soft_error(id), None);
    // No such connection; quoted source not ours; quote too short for a sequence number.
    let mut other = segs[0].clone();
    other.dst_port ^= 1;
    h.inject(&unreachable(3, &other));
    let mut q = quote_seg(&segs[0]);
    h.inject(&error(false, 3, 1, 0, &q[..26]));
    q[15] ^= 0x40;
    h.inject(&error(false, 3, 1, 0, &q));
    assert_eq!(h.stack.counters().dropped(DropReason::IcmpUnsolicited), 3 + 4 + 3);
    h.inject(&error(false, 3, 1, 0, &q[..12]));
    assert_eq!(h.stack.counters().dropped(DropReason::ParseIcmp), 1);
}

/// RFC 6633: source quench is no signal.
//= RFC 9293 section 3.9.2.2, MUST-55
#[test]
fn source_quench_is_ignored() {
    let mut h = Host::new(TcpConfig::default());
    let (_, id, segs) = in_flight(&mut h, &Opts::default());
    let before = h.stack.info(id).unwrap().cwnd_bytes;
    h.inject(&error(false, 4, 0, 0, &quote_seg(&segs[0])));
    assert_eq!(h.stack.info(id).unwrap().cwnd_bytes, before);
    assert_eq!(h.stack.take_soft_error(id), None);
    assert_eq!(h.stack.counters().dropped(DropReason::IcmpUnhandled), 1);
}

/// A half-open passive connection is given up as SYN-SENT would be: the listener forgets it.
#[test]
fn a_hard_error_ends_a_handshake() {
    let mut h = Host::new(TcpConfig::default());
    let (_, out) = h.syn(&Opts::default());
    h.inject(&unreachable(1, &out[0]));
    let mut forged = out[0].clone();
    forged.seq ^= 1;
    h.inject(&unreachable(3, &forged));
    assert_eq!(h.run(2 * SEC).len(), 1, "the SYN-ACK goes again");
    h.inject(&unreachable(3, &out[0]));
    assert!(h.run(300 * SEC).is_empty());
    h.assert_home();
}

/// With several cores the error comes to any of them: the one that owns the flow it quotes acts on it.
#[test]
fn errors_are_handed_to_the_owner_of_the_flow() {
    let mut h = Host::new(TcpConfig::default());
    let (_, id, segs) = in_flight(&mut h, &Opts::default());
    h.stack.set_owners(linerate_net::Owners::equal(2, 0));
    let (mut here, mut there) = (0, 0);
    for port in 1..64 {
        let mut other = segs[0].clone();
        other.dst_port = port;
        let frame = support::frame_of(&mut h.stack, &unreachable(3, &other));
        let now = h.now;
        match h.stack.ingress(frame, now) {
            linerate_net::Ingress::Done => here += 1,
            linerate_net::Ingress::Handoff { frame, parsed, owner } => {
                assert_eq!(owner, 1);
                there += 1;
                h.stack.ingress_handed(frame, parsed, now);
            }
        }
    }
    assert!(here > 10 && there > 10 && here + there == 63);
    assert_eq!(
        h.stack.counters().dropped(DropReason::IcmpUnsolicited),
        63,
        "nobody's, wherever it is looked at"
    );
    assert_eq!(h.stack.counters().icmp_in, 63, "counted once");
    // A flow of ours is ours, whatever the table says.
    h.inject(&unreachable(1, &segs[0]));
    assert_eq!(h.stack.take_soft_error(id), Some(TcpError::HostUnreachable));
    h.assert_ledger();
}

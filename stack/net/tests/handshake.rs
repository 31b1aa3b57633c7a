//! Opening: RFC 9293 sections 3.5 and 3.10.7.1 to .4, RFC 5961, RFC 6298.

mod support;

use linerate_net::route::Route;
use linerate_net::{DropReason, Events, State, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::addr;
use support::peer::*;

fn host() -> Host {
    Host::new(TcpConfig::default())
}

/// RFC 9293 MUST-14 (MSS from the MTU), RFC 7323 section 2 and 3.2; the layout is Linux's: MSS, SACK permitted,
/// timestamps, NOP, window scale.
#[test]
fn a_syn_is_answered_with_every_option_it_offered() {
    let mut h = host();
    let (p, out) = h.syn(&Opts { wscale: Some(7), sack: true, ts: true, ..Opts::default() });
    assert_eq!(out.len(), 1);
    let s = &out[0];
    assert_eq!((s.flags, s.ack, s.wnd), (SYN_ACK, ISS + 1, 65_535));
    assert_eq!((s.options.mss, s.options.wscale, s.options.sack_permitted), (Some(1460), Some(11), true));
    assert_eq!(s.options.timestamps.unwrap().1, p.tsval.wrapping_add((h.now.0 / MS) as u32), "TSecr echoes");
    let o = &s.raw_options;
    assert_eq!(
        (&o[..6], &o[6..8], &o[16..20]),
        (&[2, 4, 5, 180, 4, 2][..], &[8, 10][..], &[1, 3, 3, 11][..])
    );
}

/// RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2: an option that was not offered is not in the SYN-ACK.
#[test]
fn a_syn_without_options_gets_only_mss() {
    let (_, out) = host().syn(&Opts { mss: None, ..Opts::default() });
    assert_eq!(out[0].raw_options, [2, 4, 5, 180]);
}

/// MUST-67: the IPv6 header is 20 bytes longer.
#[test]
fn the_mss_of_ipv6_is_smaller() {
    let (_, out) = host().syn(&Opts { v6: true, ..Opts::default() });
    assert_eq!(out[0].options.mss, Some(1440));
}

/// SHLD-6, MUST-67: a route's MTU bounds the MSS; one that is too small for any header is taken as RFC 791's 68.
#[test]
//= RFC 9293 section 3.7.1, SHLD-6
fn the_mss_follows_the_routes_mtu() {
    for (mtu, v6, want) in [(1400, false, 1360), (9000, false, 1460), (30, false, 28), (30, true, 8)] {
        let mut h = host();
        let dst = addr(1, v6);
        let prefix_len = if v6 { 128 } else { 32 };
        let route = Route { dst, prefix_len, gateway: None, metric: 0, mtu: Some(mtu), prefsrc: None };
        h.stack = support::stack_with_route(0, 256, TcpConfig::default(), 7, route);
        h.listener = h.stack.listen(None, PORT, 4).unwrap();
        h.stack.neigh().set(dst, support::MACS[1], linerate_net::neigh::Known::Permanent, 0);
        let (_, out) = h.syn(&Opts { v6, ..Opts::default() });
        assert_eq!(out[0].options.mss, Some(want), "MTU {mtu}");
    }
}

#[test]
fn a_passive_open_completes_with_the_third_segment() {
    let mut h = host();
    let (_, id) = h.accepted(&Opts::default());
    assert_eq!(h.stack.state(id), Some(State::Established));
    let (ready, e) = h.stack.next_ready().unwrap();
    assert!(ready == id && e.contains(Events::CONNECTED));
}

/// The window of the third segment is scaled, that of the SYN is not (RFC 7323 section 2.2).
#[test]
fn the_peers_window_is_scaled_after_the_syn() {
    let mut h = host();
    let (_, id) = h.accepted(&Opts { wscale: Some(3), wnd: 1000, ..Opts::default() });
    assert_eq!(h.stack.info(id).unwrap().snd_wnd, 8000);
}

/// RFC 9293 section 3.10.7.3.
#[test]
fn an_active_open_completes() {
    let mut h = host();
    let (mut p, id, syn) = h.connecting();
    assert_eq!((syn.flags, syn.ack, syn.wnd, syn.dst), (SYN, 0, 65_535, addr(1, false)));
    assert_eq!(
        (syn.options.mss, syn.options.wscale, syn.options.sack_permitted),
        (Some(1460), Some(11), true)
    );
    let o = TcpOptions { mss: Some(1200), wscale: Some(2), sack_permitted: true, ..TcpOptions::EMPTY };
    let out = h.raw(&p, SYN_ACK, ISS, p.ack, &o, b"");
    assert_eq!(out.len(), 1);
    assert!(out[0].is_pure_ack() && out[0].ack == ISS + 1 && out[0].seq == p.ack);
    assert_eq!(out[0].options.timestamps, None, "the peer did not take them");
    let i = h.stack.info(id).unwrap();
    assert_eq!((i.state, i.smss, i.snd_wnd), (State::Established, 1200, 65_000));
    p.seq = ISS + 1;
    h.send(&mut p, ACK | PSH, b"hi");
    assert_eq!(h.read(id), b"hi");
}

/// Data that comes right behind the SYN-ACK is within the window that our SYN announced.
#[test]
fn data_in_the_burst_of_the_syn_ack_is_kept() {
    let mut h = host();
    let (p, id, _) = h.connecting();
    h.put(&p, SYN_ACK, ISS, p.ack, &TcpOptions::EMPTY, b"");
    h.put(&p, ACK, ISS + 1, p.ack, &TcpOptions::EMPTY, b"banner");
    h.turn();
    assert_eq!(h.read(id), b"banner");
}

/// MUST-10, figure 8 of RFC 9293: both sides' SYNs cross, both answer with SYN-ACK, and that is all.
#[test]
fn simultaneous_open() {
    let mut h = host();
    let (mut p, id, syn) = h.connecting();
    let out = h.raw(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"");
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].flags, out[0].seq, out[0].ack), (SYN_ACK, syn.seq, ISS + 1));
    assert_eq!(h.stack.state(id), Some(State::SynReceived));
    let out = h.raw(&p, SYN_ACK, ISS, p.ack, &TcpOptions::EMPTY, b"");
    assert!(out.iter().all(|s| !s.has(SYN)), "a SYN-ACK is not answered by another: {out:?}");
    assert_eq!(h.stack.state(id), Some(State::Established));
    p.seq = ISS + 1;
    h.send(&mut p, ACK, b"x");
    assert_eq!(h.read(id), b"x");
}

/// The same, but the peer's SYN-ACK is lost and its first ACK does it.
#[test]
fn simultaneous_open_by_a_plain_ack() {
    let mut h = host();
    let (mut p, id, _) = h.connecting();
    h.raw(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"");
    p.seq = ISS + 1;
    assert!(h.send(&mut p, ACK, b"").is_empty());
    assert_eq!(h.stack.state(id), Some(State::Established));
}

/// RFC 9293 section 3.10.4: CLOSE in SYN-RECEIVED is queued until ESTABLISHED; the SYN-ACK stays one.
#[test]
fn shutdown_in_syn_received_waits_for_the_handshake() {
    let mut h = host();
    let (mut p, id, _) = h.connecting();
    h.put(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"");
    h.stack.shutdown(id);
    let out = h.turn();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].flags, SYN_ACK);
    p.seq = ISS + 1;
    let out = h.send(&mut p, ACK, b"");
    assert_eq!(out.last().unwrap().flags, FIN_ACK);
    assert_eq!(h.stack.state(id), Some(State::FinWait1));
}

/// RFC 6298 (2.1), (5.5): 1 s, then doubled; MUST-23: given up after at least 3 minutes.
#[test]
fn syns_are_repeated_with_backoff_and_given_up() {
    let mut h = host();
    let (_, id, syn) = h.connecting();
    let start = h.now.0;
    let out = h.run(400 * SEC);
    let at: Vec<_> = out.iter().map(|s| (s.at - start) / SEC).collect();
    assert_eq!(at, [1, 3, 7, 15, 31, 63, 127]);
    assert!(out.iter().all(|s| s.flags == SYN && s.seq == syn.seq));
    assert_eq!(h.stack.error(id), Some(TcpError::TimedOut));
    h.close(id);
    h.assert_home();
}

/// RFC 9293 section 3.10.7.3, second: only a RST that acknowledges our SYN refuses it.
#[test]
fn a_refused_open() {
    let mut h = host();
    let (p, id, _) = h.connecting();
    h.raw(&p, RST, ISS, 0, &TcpOptions::EMPTY, b"");
    h.raw(&p, RST_ACK, ISS, p.ack.wrapping_add(5), &TcpOptions::EMPTY, b"");
    assert_eq!(h.stack.state(id), Some(State::SynSent));
    h.raw(&p, RST_ACK, 0, p.ack, &TcpOptions::EMPTY, b"");
    assert_eq!(h.stack.error(id), Some(TcpError::Refused));
}

/// RFC 9293 section 3.10.7.3, first: an ACK of something else gets RST with its own number (an old connection at the
/// peer: half-open discovery, figure 10).
#[test]
fn a_wrong_ack_in_syn_sent_is_answered_by_rst() {
    let mut h = host();
    let (p, id, _) = h.connecting();
    let out = h.raw(&p, ACK, 555, 777, &TcpOptions::EMPTY, b"");
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].flags, out[0].seq), (RST, 777));
    assert_eq!(h.stack.state(id), Some(State::SynSent));
}

/// SYN-ACKs are repeated until the peer is given up; then the half-open connection is gone without a word.
#[test]
fn syn_acks_are_repeated_and_given_up() {
    let mut h = host();
    let start = h.now.0;
    let (_, first) = h.syn(&Opts::default());
    let out = h.run(200 * SEC);
    let at: Vec<_> = out.iter().map(|s| (s.at - start) / SEC).collect();
    assert_eq!(at, [1, 3, 7, 15, 31]);
    assert!(out.iter().all(|s| s.flags == SYN_ACK && s.seq == first[0].seq && s.ack == ISS + 1));
    h.assert_home();
    assert_eq!(h.stack.next_accepting(), None);
}

/// A repeated SYN gets the same SYN-ACK again: no second connection, no new ISS.
#[test]
fn a_duplicate_syn_gets_the_same_syn_ack() {
    let mut h = host();
    let o = Opts { ts: true, ..Opts::default() };
    let (p, first) = h.syn(&o);
    h.run(10 * MS);
    let out = h.raw(&p, SYN, ISS, 0, &h.syn_options(&p, &o), b"");
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].flags, out[0].seq, out[0].ack), (SYN_ACK, first[0].seq, ISS + 1));
    assert_eq!(h.stack.half_opens(), 1);
}

/// RFC 9293 section 3.10.7.1: SEQ=0, ACK=SEG.SEQ+SEG.LEN, the SYN itself and its data counted.
#[test]
fn a_syn_to_a_closed_port_is_refused() {
    let mut h = host();
    let mut p = Peer::new(5000, false);
    p.stack_port = 81;
    let out = h.raw(&p, SYN, 500, 0, &TcpOptions::EMPTY, b"abc");
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].flags, out[0].seq, out[0].ack, out[0].src_port), (RST_ACK, 0, 504, 81));
    assert_eq!(h.stack.counters().dropped(DropReason::NoListener), 1);
    h.assert_home();
}

/// RFC 9293 section 3.10.7.1: SEQ=SEG.ACK and no ACK. Also a SYN-ACK that nobody asked for (to a listener, too).
#[test]
fn an_ack_to_nobody_is_reset_with_its_own_number() {
    let mut h = host();
    for (port, flags) in [(81, ACK), (80, ACK), (80, SYN_ACK), (81, FIN_ACK)] {
        let mut p = Peer::new(5000, false);
        p.stack_port = port;
        let out = h.raw(&p, flags, 500, 600, &TcpOptions::EMPTY, b"");
        assert_eq!(out.len(), 1, "{flags:?}");
        assert_eq!((out[0].flags, out[0].seq, out[0].ack), (RST, 600, 0));
    }
    h.assert_home();
}

/// RFC 9293 section 3.10.7.1: a RST is never answered.
#[test]
fn a_rst_is_never_answered() {
    let mut h = host();
    for port in [80, 81] {
        for flags in [RST, RST_ACK, RST | SYN] {
            let mut p = Peer::new(5000, false);
            p.stack_port = port;
            assert!(h.raw(&p, flags, 500, 600, &TcpOptions::EMPTY, b"").is_empty());
        }
    }
    h.assert_home();
}

/// RFC 9293 section 3.10.7.4, fifth: an unacceptable ACK in SYN-RECEIVED gets RST, the connection stays.
#[test]
fn a_wrong_third_segment_is_reset() {
    let mut h = host();
    let (p, out) = h.syn(&Opts::default());
    let bad = out[0].seq.wrapping_add(100);
    let reply = h.raw(&p, ACK, ISS + 1, bad, &TcpOptions::EMPTY, b"");
    assert_eq!((reply.len(), reply[0].flags, reply[0].seq), (1, RST, bad));
    let good = out[0].seq.wrapping_add(1);
    assert!(h.raw(&p, ACK, ISS + 1, good, &TcpOptions::EMPTY, b"").is_empty());
    assert!(h.stack.accept(h.listener).is_some());
}

/// MUST-11: a passive open goes back to LISTEN on RST without a word to the application.
#[test]
fn a_reset_handshake_leaves_the_listener() {
    let mut h = host();
    let (p, _) = h.syn(&Opts::default());
    assert!(h.raw(&p, RST, ISS + 1, 0, &TcpOptions::EMPTY, b"").is_empty());
    h.assert_home();
    h.accepted(&Opts::default());
}

/// RFC 5961 section 4.2: a SYN in a synchronized state, wherever it stands, gets a challenge ACK and nothing else.
#[test]
fn a_syn_on_an_established_connection_is_challenged() {
    for seq in [ISS, ISS + 1, ISS + 5000, ISS.wrapping_add(1 << 30)] {
        let mut h = host();
        let (p, id) = h.accepted(&Opts::default());
        let out = h.raw(&p, SYN, seq, 0, &TcpOptions::EMPTY, b"");
        assert_eq!(out.len(), 1);
        assert!(out[0].is_pure_ack() && out[0].ack == p.seq && out[0].seq == p.first);
        // Section 7: limited.
        assert!(h.raw(&p, SYN, seq, 0, &TcpOptions::EMPTY, b"").is_empty());
        assert_eq!(h.stack.state(id), Some(State::Established));
    }
}

/// MUST-57: silently.
#[test]
fn syns_to_broadcast_and_multicast_are_dropped() {
    let mut h = host();
    let p = Peer::new(5000, false);
    for (dst, mac) in
        [("10.0.0.255", [0xff; 6]), ("255.255.255.255", [0xff; 6]), ("224.0.0.1", [1, 0, 0x5e, 0, 0, 1])]
    {
        let f = tcp_frame_to(&p, dst.parse().unwrap(), mac, SYN, 1, 0, &TcpOptions::EMPTY, b"");
        h.inject(&f);
    }
    let f = tcp_frame_to(&p, addr(0, false), [0xff; 6], SYN, 1, 0, &TcpOptions::EMPTY, b"");
    h.inject(&f);
    assert!(h.turn().is_empty() && h.others.is_empty());
    let c = h.stack.counters();
    assert_eq!((c.dropped(DropReason::BroadcastTcp), c.dropped(DropReason::NotLocal)), (3, 1));
    h.assert_home();
}

/// MUST-46.
#[test]
fn connecting_to_nobody_is_refused() {
    let mut h = host();
    let now = h.now;
    for a in ["10.0.0.255", "255.255.255.255", "224.0.0.5", "0.0.0.0", "ff02::1", "::"] {
        assert!(h.stack.connect(a.parse().unwrap(), 80, now).is_err(), "{a}");
    }
    assert_eq!(h.stack.conns(), 0);
}

/// RFC 9293 MUST-8: the ISN of one tuple moves with the clock, by 250 a millisecond (RFC 6528).
#[test]
//= RFC 9293 section 3.4.1, MUST-8, SHLD-1, MUST-9
//= RFC 6528 section 3
fn initial_sequence_numbers_follow_the_clock() {
    let mut h = host();
    let mut p = Peer::new(5000, false);
    p.stack_port = PORT;
    let first = h.raw(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"")[0].seq;
    h.raw(&p, RST, ISS + 1, 0, &TcpOptions::EMPTY, b"");
    h.run(SEC);
    let second = h.raw(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"")[0].seq;
    assert_eq!(second.wrapping_sub(first), 250_000);
}

/// A handshake in trouble is nobody's connection yet: no application hears of it.
#[test]
fn a_handshake_under_way_tells_nobody_anything() {
    let mut h = host();
    let (_, out) = h.syn(&Opts::default());
    assert_eq!(out[0].flags, SYN_ACK);
    assert!(h.run(100 * SEC).len() >= 4, "the SYN-ACK is repeated past R1");
    assert_eq!(h.stack.next_ready(), None);
}

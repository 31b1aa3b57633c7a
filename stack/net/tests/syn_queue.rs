//! The SYN queue, SYN cookies and the accept queue: RFC 9293 SYN-RECEIVED, RFC 4987, RFC 5961.

mod support;

use std::sync::Arc;

use linerate_net::{DropReason, Events, ListenerId, State, SynCookies, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::peer::*;

const ALL: Opts =
    Opts { mss: Some(1200), wscale: Some(6), sack: true, ts: true, wnd: 30_000, rtt_ns: 0, v6: false };

fn host(syn_cookies: SynCookies) -> Host {
    Host::new(TcpConfig { syn_cookies, ..TcpConfig::default() })
}

/// A listener with this backlog, and peers' SYNs at it.
fn listening(h: &mut Host, backlog: usize, cfg: Option<TcpConfig>) -> ListenerId {
    let now = h.now;
    h.stack.close_listener(h.listener, now);
    h.listener = h.stack.listen_with(None, PORT, backlog, cfg.map(Arc::new)).unwrap();
    h.listener
}

/// The peer has seen a SYN-ACK.
fn answered(p: &mut Peer, out: &[Seg]) {
    assert_eq!((out.len(), out[0].flags), (1, SYN_ACK));
    p.first = out[0].seq.wrapping_add(1);
    p.ack = p.first;
    p.seq = ISS + 1;
    p.tsecr = out[0].options.timestamps.map_or(0, |t| t.0);
}

/// A half-open connection is no connection; its ACK makes it one, with all that the SYN said, and the data and FIN that
/// the ACK may bring.
#[test]
fn the_handshakes_ack_makes_the_connection() {
    for v6 in [false, true] {
        let mut h = host(SynCookies::Never);
        let (mut p, out) = h.syn(&Opts { v6, ..ALL });
        assert_eq!((h.stack.conns(), h.stack.half_opens()), (0, 1));
        answered(&mut p, &out);
        h.run(30 * MS);
        let out = h.send(&mut p, ACK | FIN, b"GET");
        assert!(out.last().is_some_and(|s| s.ack == p.seq), "{out:?}");
        assert_eq!((h.stack.conns(), h.stack.half_opens()), (1, 0));
        let id = h.stack.accept(h.listener).unwrap();
        let (ready, e) = h.stack.next_ready().unwrap();
        assert!(ready == id && e.contains(Events::CONNECTED) && e.contains(Events::READABLE));
        assert_eq!(h.read(id), b"GET");
        let i = h.stack.info(id).unwrap();
        assert_eq!((i.state, i.smss, i.snd_wnd), (State::CloseWait, 1188, 30_000 << 6));
        assert!(i.srtt_ns.abs_diff(30 * MS) < 10_000, "{} ns", i.srtt_ns);
    }
}

/// RFC 6298 (5.7), Karn: no RTT from an ACK that may answer either of two SYN-ACKs.
//= RFC 6298 section 3
#[test]
fn a_repeated_syn_ack_gives_no_rtt() {
    for by_timer in [false, true] {
        let mut h = host(SynCookies::Never);
        let o = Opts::default();
        let (mut p, out) = h.syn(&o);
        answered(&mut p, &out);
        match by_timer {
            true => assert_eq!(h.run(1500 * MS).len(), 1),
            false => assert_eq!(h.raw(&p, SYN, ISS, 0, &h.syn_options(&p, &o), b"").len(), 1),
        }
        h.run(10 * MS);
        h.send(&mut p, ACK, b"");
        let id = h.stack.accept(h.listener).unwrap();
        let i = h.stack.info(id).unwrap();
        assert_eq!((i.srtt_ns, i.rto_ns), (0, if by_timer { 3 * SEC } else { SEC }));
    }
}

/// RFC 5961 section 3.2 and MUST-11, in SYN-RECEIVED: a RST at RCV.NXT ends it, one beside gets a challenge ACK, one
/// outside the window nothing.
//= RFC 9293 section 3.10.7.4, MUST-11
#[test]
fn resets_in_syn_received() {
    let mut h = host(SynCookies::Never);
    let (p, out) = h.syn(&Opts::default());
    let nxt = out[0].seq.wrapping_add(1);
    assert!(h.raw(&p, RST, ISS, 0, &TcpOptions::EMPTY, b"").is_empty());
    let out = h.raw(&p, RST, ISS + 2, 0, &TcpOptions::EMPTY, b"");
    assert!(out.len() == 1 && out[0].is_pure_ack() && (out[0].seq, out[0].ack) == (nxt, ISS + 1));
    assert_eq!(h.stack.half_opens(), 1);
    assert!(h.raw(&p, RST, ISS + 1, 0, &TcpOptions::EMPTY, b"").is_empty());
    h.assert_home();
}

/// RFC 9293 section 3.10.7.4, fourth: a SYN in the window of a passive SYN-RECEIVED goes back to LISTEN.
//= RFC 9293 section 3.10.7.4
#[test]
fn a_new_syn_in_syn_received_goes_back_to_listen() {
    let mut h = host(SynCookies::Never);
    let (p, _) = h.syn(&Opts::default());
    assert!(h.raw(&p, SYN, ISS + 50, 0, &TcpOptions::EMPTY, b"").is_empty());
    assert_eq!(h.stack.half_opens(), 0);
    assert_eq!(h.raw(&p, SYN, ISS + 50, 0, &TcpOptions::EMPTY, b"")[0].ack, ISS + 51, "a new handshake");
}

/// RFC 7323 section 5: what is older than the SYN, or lacks the option, completes nothing.
//= RFC 7323 section 5.3
#[test]
fn timestamps_are_checked_in_syn_received() {
    let mut h = host(SynCookies::Never);
    let (mut p, out) = h.syn(&ALL);
    answered(&mut p, &out);
    let old = TcpOptions {
        timestamps: h.syn_options(&p, &ALL).timestamps.map(|(v, e)| (v - 9, e)),
        ..TcpOptions::EMPTY
    };
    for options in [old, TcpOptions::EMPTY] {
        h.raw(&p, ACK, ISS + 1, p.ack, &options, b"");
        assert_eq!((h.stack.conns(), h.stack.half_opens()), (0, 1));
    }
    h.send(&mut p, ACK, b"");
    assert_eq!((h.stack.conns(), h.stack.half_opens()), (1, 0));
}

/// Every half-open connection has its own times, and all of them end: no timer a connection, none lost.
#[test]
fn many_syn_acks_are_repeated_in_time() {
    let mut h = Host::with_frames(4096, TcpConfig { synack_retries: 3, ..TcpConfig::default() });
    listening(&mut h, 1000, None);
    let mut due = Vec::new();
    for n in 0..500u64 {
        h.run(7 * MS);
        let (p, _) = h.syn(&Opts::default());
        due.extend([1, 3, 7].map(|s| (h.now.0 / MS + s * 1000, p.port)));
        let _ = n;
    }
    due.retain(|(at, _)| *at > h.now.0 / MS);
    due.sort();
    let mut seen: Vec<_> = h.run(20 * SEC).iter().map(|s| (s.at.div_ceil(MS), s.dst_port)).collect();
    seen.sort();
    assert_eq!(seen.len(), due.len());
    assert!(
        seen.iter().zip(&due).all(|(s, d)| s.1 == d.1 && s.0.abs_diff(d.0) <= 1),
        "{:?}",
        (&seen[..5], &due[..5])
    );
    h.assert_home();
}

/// The queue is full: cookies, if allowed, and connections come of them without any memory in between.
//= RFC 4987 section 3.6
#[test]
fn a_full_syn_queue_sends_cookies() {
    let mut h = host(SynCookies::Auto);
    listening(&mut h, 2, None);
    h.syn(&ALL);
    h.syn(&ALL);
    for (o, wnd, smss) in [
        (ALL, 30_000 << 6, 1200 - 12),
        // Without timestamps there is no place for the window's scale.
        (Opts { ts: false, mss: Some(1350), ..ALL }, 30_000, 1300),
        (Opts { v6: true, mss: None, ..ALL }, 30_000 << 6, 1220 - 12),
    ] {
        let (mut p, out) = h.syn(&o);
        assert_eq!(h.stack.half_opens(), 2, "nothing is kept");
        assert_eq!((out[0].options.wscale.is_some(), out[0].options.sack_permitted), (o.ts, o.ts));
        answered(&mut p, &out);
        h.run(40 * SEC);
        h.syn(&ALL);
        h.syn(&ALL);
        let out = h.send(&mut p, ACK, b"GET /");
        assert!(out.iter().all(|s| s.has(ACK) && !s.has(RST)), "{out:?}");
        let id = h.stack.accept(h.listener).unwrap();
        assert_eq!(h.read(id), b"GET /");
        let i = h.stack.info(id).unwrap();
        assert_eq!((i.snd_wnd, i.smss as u32), (wnd, smss));
        let data = h.write(id, b"200");
        assert_eq!(data[0].data, b"200");
        assert!(
            !o.ts || data[0].options.timestamps.unwrap().0.wrapping_sub(p.tsecr) < 1 << 31,
            "TSval runs on"
        );
        h.ack(&mut p, 3);
        assert_eq!(h.stack.unacked(id), 0);
        h.close(id);
    }
    let c = h.stack.counters();
    assert_eq!(c.tcp_syn_cookies_in, 3);
    assert!(c.tcp_syn_cookies_out >= 3 && c.dropped(DropReason::SynQueueFull) == 0);
}

/// A cookie is for one peer, one SYN and two minutes at most; and only if some were sent lately.
#[test]
fn a_cookie_can_not_be_guessed_or_kept() {
    let mut h = host(SynCookies::Always);
    let (mut p, out) = h.syn(&Opts::default());
    assert_eq!(h.stack.half_opens(), 0);
    answered(&mut p, &out);
    let send = |h: &mut Host, port: u16, seq: u32, ack: u32| {
        let q = Peer { port, ..p.clone() };
        h.raw(&q, ACK, seq, ack, &TcpOptions::EMPTY, b"")
    };
    // No RST: one of these might have overtaken the handshake's last segment.
    assert!(send(&mut h, p.port + 1, p.seq, p.ack).is_empty());
    assert!(send(&mut h, p.port, p.seq + 1, p.ack).is_empty());
    assert!(send(&mut h, p.port, p.seq, p.ack + 1).is_empty());
    h.run(129 * SEC);
    let out = send(&mut h, p.port, p.seq, p.ack);
    assert_eq!((out.len(), out[0].flags, out[0].seq), (1, RST, p.ack), "no cookie is out any more");
    assert_eq!((h.stack.conns(), h.stack.counters().tcp_syn_cookies_in), (0, 0));

    let mut h = host(SynCookies::Auto);
    let (mut p, _) = h.syn(&Opts::default());
    p.port += 1;
    assert_eq!(h.raw(&p, ACK, 5, 6, &TcpOptions::EMPTY, b"")[0].flags, RST, "no flood, no cookies");
}

/// Linux's way, ours too: the ACK that finds the accept queue full is ignored; the SYN-ACK comes again, and the peer's
/// answer to that finds room. SYNs are dropped meanwhile.
#[test]
fn a_full_accept_queue_holds_the_handshake() {
    let mut h = host(SynCookies::Auto);
    listening(&mut h, 2, None);
    let mut peers: Vec<_> = (0..2).map(|_| h.syn(&Opts::default())).collect();
    let (_, refused) = h.syn(&Opts::default());
    assert_eq!(refused.len(), 1, "a cookie");
    for (p, out) in &mut peers {
        answered(p, out);
        assert!(h.send(p, ACK, b"").is_empty());
    }
    let (mut late, out) = (peers[0].0.clone(), refused);
    late.port += 2;
    answered(&mut late, &out);
    assert!(h.send(&mut late, ACK, b"x").is_empty(), "ignored");
    assert_eq!((h.stack.conns(), h.syn(&Opts::default()).1.len()), (2, 0));
    assert_eq!(h.stack.counters().dropped(DropReason::ListenOverflow), 2);
    assert!(h.stack.accept(h.listener).is_some());
    late.seq -= 1;
    assert_eq!(
        h.send(&mut late, ACK, b"x").len(),
        1,
        "the peer sends its data again, and the cookie is good still"
    );

    // The same with a half-open connection.
    let mut h = host(SynCookies::Never);
    listening(&mut h, 1, None);
    let (mut a, out) = h.syn(&Opts::default());
    answered(&mut a, &out);
    h.send(&mut a, ACK, b"");
    assert!(h.stack.accept(h.listener).is_some());
    let (mut b, out) = h.syn(&Opts::default());
    let (b_out, mut c) = (out, a.clone());
    answered(&mut b, &b_out);
    c.port = 39_999;
    assert!(
        h.raw(&c, SYN, ISS, 0, &TcpOptions::EMPTY, b"").is_empty(),
        "the SYN queue is full, and no cookies"
    );
    assert_eq!(h.stack.counters().dropped(DropReason::SynQueueFull), 1);
    h.send(&mut b, ACK, b"");
    assert_eq!((h.stack.conns(), h.stack.half_opens()), (2, 0));
    let (mut d, out) = (c.clone(), h.raw(&c, SYN, ISS, 0, &TcpOptions::EMPTY, b""));
    assert!(out.is_empty(), "one waits to be accepted");
    assert!(h.stack.accept(h.listener).is_some());
    let out = h.raw(&d, SYN, ISS, 0, &TcpOptions::EMPTY, b"");
    answered(&mut d, &out);
}

#[test]
fn an_ignored_ack_is_answered_by_the_next_syn_ack() {
    let mut h = host(SynCookies::Never);
    listening(&mut h, 2, None);
    let mut peers: Vec<_> = (0..2).map(|_| h.syn(&Opts::default())).collect();
    for (p, out) in &mut peers {
        answered(p, out);
    }
    let mut third = {
        let mut p = peers[0].0.clone();
        h.send(&mut p, ACK, b"");
        let (p, out) = h.syn(&Opts::default());
        (p, out)
    };
    answered(&mut third.0, &third.1);
    let mut p = peers[1].0.clone();
    h.send(&mut p, ACK, b"");
    let mut q = third.0.clone();
    assert!(h.send(&mut q, ACK, b"").is_empty());
    assert_eq!((h.stack.conns(), h.stack.half_opens()), (2, 1), "the queue of two is full");
    let out = h.run(SEC + MS);
    assert_eq!((out.len(), out[0].flags, out[0].dst_port), (1, SYN_ACK, q.port));
    assert!(h.stack.accept(h.listener).is_some());
    h.send(&mut q, ACK, b"");
    assert_eq!((h.stack.conns(), h.stack.half_opens()), (3, 0));
}

/// Linux's TCP_DEFER_ACCEPT: the bare ACK is held back, data completes the handshake, and so does any ACK once the time is
/// over.
#[test]
fn accepting_can_wait_for_data() {
    let cfg = TcpConfig { defer_accept_ns: 3 * SEC, ..TcpConfig::default() };
    let mut h = Host::new(TcpConfig::default());
    listening(&mut h, 8, Some(cfg));
    let (mut p, out) = h.syn(&Opts::default());
    answered(&mut p, &out);
    assert!(h.send(&mut p, ACK, b"").is_empty() && h.stack.conns() == 0);
    h.run(500 * MS);
    h.send(&mut p, ACK, b"GET");
    assert_eq!(h.stack.conns(), 1);

    let (mut p, out) = h.syn(&Opts::default());
    answered(&mut p, &out);
    h.send(&mut p, ACK, b"");
    let start = h.now.0;
    let at: Vec<_> = h.run(4 * SEC).iter().filter(|s| s.has(SYN)).map(|s| (s.at - start) / SEC).collect();
    assert_eq!(at, [3], "one SYN-ACK, when the time is over");
    h.send(&mut p, ACK, b"");
    assert_eq!(h.stack.conns(), 2);
}

/// Who only ever accepts, and never asks which listener has something, leaves no list growing.
#[test]
fn accepting_without_being_told() {
    let mut h = host(SynCookies::Auto);
    for _ in 0..300 {
        let (p, id) = h.accepted(&Opts::default());
        h.raw(&p, RST, p.seq, 0, &TcpOptions::EMPTY, b"");
        h.close(id);
    }
    let told = std::iter::from_fn(|| h.stack.next_accepting()).count();
    assert_eq!(told, 0);
    let (mut p, out) = h.syn(&Opts::default());
    answered(&mut p, &out);
    h.send(&mut p, ACK, b"");
    assert_eq!(h.stack.next_accepting(), Some(h.listener));
}

/// A handshake that is completed after its listener is gone: RST, as for any segment to nobody.
#[test]
fn a_closed_listener_forgets_its_handshakes() {
    let mut h = host(SynCookies::Auto);
    let (mut p, out) = h.syn(&Opts::default());
    answered(&mut p, &out);
    let now = h.now;
    h.stack.close_listener(h.listener, now);
    h.assert_home();
    assert!(h.run(10 * SEC).is_empty());
    assert_eq!(h.send(&mut p, ACK, b"")[0].flags, RST);
}

/// TIME-WAIT gives its place to a SYN only if somebody takes that (RFC 6191, RFC 9293 MAY-2).
//= RFC 9293 section 3.6.1, MAY-2
#[test]
fn time_wait_stays_if_nobody_takes_the_syn() {
    for close_first in [false, true] {
        let mut h = host(SynCookies::Auto);
        let (mut p, id) = h.accepted(&Opts::default());
        h.shutdown(id);
        if close_first {
            h.close(id);
        }
        h.ack(&mut p, 1);
        h.send(&mut p, FIN_ACK, b"");
        let (now, seq) = (h.now, p.seq + 100);
        h.stack.close_listener(h.listener, now);
        let out = h.raw(&p, SYN, seq, 0, &TcpOptions::EMPTY, b"");
        assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq, "{out:?}");
        assert_eq!((h.stack.conns(), h.stack.time_waits()), (!close_first as usize, close_first as usize));
        h.listener = h.stack.listen(None, PORT, 1).unwrap();
        h.syn(&Opts::default());
        assert!(h.raw(&p, SYN, seq, 0, &TcpOptions::EMPTY, b"").is_empty(), "no room: silence");
        assert_eq!((h.stack.conns(), h.stack.time_waits()), (!close_first as usize, close_first as usize));
        h.stack.close_listener(h.listener, now);
        h.listener = h.stack.listen(None, PORT, 1).unwrap();
        assert_eq!(h.raw(&p, SYN, seq, 0, &TcpOptions::EMPTY, b"")[0].flags, SYN_ACK);
        assert_eq!((h.stack.conns(), h.stack.time_waits(), h.stack.half_opens()), (0, 0, 1));
    }
}

/// A connection that was reset before it was accepted is told when it is.
#[test]
fn reset_in_the_accept_queue() {
    let mut h = host(SynCookies::Auto);
    let (mut p, out) = h.syn(&Opts::default());
    answered(&mut p, &out);
    h.send(&mut p, ACK, b"");
    h.send(&mut p, RST, b"");
    let id = h.stack.accept(h.listener).unwrap();
    assert!(h.stack.next_ready().unwrap().1.contains(Events::CLOSED));
    assert_eq!(h.stack.error(id), Some(TcpError::Reset));
    h.close(id);
    h.assert_home();
}

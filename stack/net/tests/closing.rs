//! Closing: RFC 9293 sections 3.6 and 3.10.4 to .5, RFC 1337, RFC 6191, RFC 2525 section 2.17.

mod support;

use linerate_net::{DropReason, Events, FlowId, State, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::peer::*;

fn open(o: Opts) -> (Host, Peer, FlowId) {
    let mut h = Host::new(TcpConfig { quickack_segs: 0, ..TcpConfig::default() });
    let (p, id) = h.accepted(&o);
    h.stack.next_ready();
    (h, p, id)
}

/// The stack closes first; the peer goes on sending (MAY-1: half-close is supported).
#[test]
fn half_close_by_us() {
    let (mut h, mut p, id) = open(Opts::default());
    assert_eq!(h.stack.write(id, b"bye"), 3);
    let out = h.shutdown(id);
    assert_eq!(out.len(), 1, "FIN goes with the last data");
    assert_eq!((out[0].flags, &out[0].data[..]), (FIN_ACK | PSH, &b"bye"[..]));
    assert_eq!(h.stack.write(id, b"more"), 0);
    h.ack(&mut p, 4);
    assert_eq!(h.stack.state(id), Some(State::FinWait2));
    h.run(300 * SEC);
    assert_eq!(h.stack.state(id), Some(State::FinWait2), "the application still listens: no timeout");
    h.send(&mut p, ACK | PSH, b"still here");
    assert_eq!(h.read(id), b"still here");
    let out = h.send(&mut p, FIN_ACK, b"");
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq);
    assert!(h.stack.at_eof(id));
    assert_eq!(h.stack.state(id), Some(State::TimeWait));
    h.close(id);
    assert_eq!((h.stack.conns(), h.stack.time_waits()), (0, 1));
    h.run(61 * SEC);
    h.assert_home();
}

/// The peer closes first; we go on sending.
#[test]
fn half_close_by_the_peer() {
    let (mut h, mut p, id) = open(Opts::default());
    let out = h.send(&mut p, FIN_ACK | PSH, b"last");
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq, "{out:?}");
    assert!(h.stack.next_ready().unwrap().1.contains(Events::READABLE));
    assert_eq!(h.read(id), b"last");
    assert!(h.stack.at_eof(id));
    assert_eq!(h.stack.state(id), Some(State::CloseWait));
    assert_eq!(h.write(id, b"reply")[0].data, b"reply");
    h.ack(&mut p, 5);
    let out = h.close(id);
    assert_eq!((out.len(), out[0].flags), (1, FIN_ACK));
    h.ack(&mut p, 6);
    h.assert_home();
}

/// RFC 9293 figure 13: FINs cross.
#[test]
fn simultaneous_close() {
    let (mut h, mut p, id) = open(Opts::default());
    h.shutdown(id);
    let out = h.send(&mut p, FIN_ACK, b"");
    assert_eq!(h.stack.state(id), Some(State::Closing));
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq);
    assert!(h.ack(&mut p, 1).is_empty());
    assert_eq!(h.stack.state(id), Some(State::TimeWait));
    h.close(id);
    h.run(61 * SEC);
    h.assert_home();
}

/// The application has let go when the peer's FIN comes: it is acknowledged at once all the same, and TIME-WAIT lasts
/// its 2 MSL although a delayed ACK was pending (RFC 9293 section 3.10.7.4, eighth; MUST-13).
#[test]
fn the_last_fin_of_a_detached_connection_is_acknowledged_at_once() {
    let (mut h, mut p, id) = open(Opts::default());
    h.send(&mut p, ACK, b"x");
    assert_eq!(h.read(id), b"x");
    h.close(id);
    h.ack(&mut p, 1);
    let out = h.send(&mut p, FIN_ACK, b"");
    assert_eq!(out.len(), 1, "the FIN is acknowledged");
    assert!(out[0].is_pure_ack() && out[0].ack == p.seq);
    assert_eq!((h.stack.conns(), h.stack.time_waits()), (0, 1));
    h.run(59 * SEC);
    assert_eq!(h.stack.time_waits(), 1);
    h.run(2 * SEC);
    h.assert_home();
}

/// The FIN comes with the ACK of ours: FIN-WAIT-1 to TIME-WAIT by one segment.
#[test]
fn fin_and_ack_of_our_fin_in_one_segment() {
    let (mut h, mut p, id) = open(Opts::default());
    h.close(id);
    p.ack = p.first + 1;
    let out = h.send(&mut p, FIN_ACK, b"");
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq, "{out:?}");
    assert_eq!((h.stack.conns(), h.stack.time_waits()), (0, 1));
}

/// SHLD-3, RFC 2525 section 2.17.
#[test]
fn close_with_unread_data_resets() {
    let (mut h, mut p, id) = open(Opts::default());
    h.send(&mut p, ACK, b"nobody will read this");
    let out = h.close(id);
    assert_eq!(out.len(), 1);
    assert!(out[0].has(RST) && out[0].seq == p.first);
    h.assert_home();
}

#[test]
fn a_fin_is_retransmitted_with_backoff() {
    let (mut h, p, id) = open(Opts::default());
    let fin = h.close(id);
    let start = h.now.0;
    let out = h.run(3 * SEC);
    assert!(out.len() >= 3 && out.iter().all(|s| s.flags == fin[0].flags && s.seq == p.first), "{out:?}");
    // RTO is SRTT 10 ms + 200 ms.
    let at: Vec<_> = out.iter().map(|s| (s.at - start) / (210 * MS)).collect();
    assert_eq!(at[..3], [1, 3, 7]);
}

/// A FIN behind a closed window goes out as the probe (RFC 9293 section 3.8.6.1), and is taken or not.
#[test]
fn a_fin_probes_a_zero_window() {
    let (mut h, mut p, id) = open(Opts { wnd: 0, ..Opts::default() });
    assert!(h.close(id).is_empty());
    let out = h.run(SEC);
    assert!(!out.is_empty() && out.iter().all(|s| s.flags == FIN_ACK && s.seq == p.first), "{out:?}");
    h.ack(&mut p, 1);
    assert_eq!(h.stack.state(id), Some(State::FinWait2));
}

/// The last data and the FIN are lost together: both come again, in this order, by the timer alone.
#[test]
fn lost_data_and_fin_come_again() {
    let (mut h, mut p, id) = open(Opts::default());
    assert_eq!(h.stack.write(id, &[9; 2500]), 2500);
    let out = h.close(id);
    assert!(out.len() == 3 && out[2].has(FIN));
    let mut got = 0;
    for _ in 0..10 {
        for s in h.run(2 * SEC) {
            if p.off(&s) == got {
                got += s.data.len() as u32 + s.has(FIN) as u32;
            }
        }
        h.ack(&mut p, got);
    }
    assert_eq!(got, 2501);
    assert_eq!(h.stack.state(id), Some(State::FinWait2));
}

/// The application shuts down and closes before the handshake's end: nothing but the FIN follows it.
#[test]
fn shutdown_before_the_connection_is_established() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, id, _) = h.connecting();
    assert!(h.shutdown(id).is_empty());
    let out = h.raw(&p, SYN_ACK, ISS, p.ack, &TcpOptions::EMPTY, b"");
    assert!(out.iter().any(|s| s.has(FIN)) && out.iter().all(|s| s.ack == ISS + 1), "{out:?}");
    assert_eq!(h.stack.state(id), Some(State::FinWait1));
    p.seq = ISS + 1;
    h.ack(&mut p, 1);
    h.send(&mut p, FIN_ACK, b"");
    assert_eq!(h.stack.state(id), Some(State::TimeWait));
}

/// MUST-13: 2 MSL, here 60 s, and then it is gone.
#[test]
fn time_wait_lasts_sixty_seconds() {
    let (mut h, mut p, id) = open(Opts::default());
    h.close(id);
    h.ack(&mut p, 1);
    h.send(&mut p, FIN_ACK, b"");
    h.run(60 * SEC - 1);
    assert_eq!(h.stack.time_waits(), 1);
    h.run(2);
    h.assert_home();
}

fn time_wait(o: Opts) -> (Host, Peer) {
    let (mut h, mut p, id) = open(o);
    h.close(id);
    h.ack(&mut p, 1);
    h.send(&mut p, FIN_ACK, b"");
    assert_eq!((h.stack.conns(), h.stack.time_waits()), (0, 1));
    (h, p)
}

/// RFC 9293 section 3.10.7.4, eighth, TIME-WAIT: acknowledge, and restart the 2 MSL timeout.
#[test]
fn time_wait_acknowledges_a_repeated_fin_and_starts_anew() {
    for ts in [false, true] {
        let (mut h, p) = time_wait(Opts { ts, ..Opts::default() });
        h.run(40 * SEC);
        let out = h.send_at(&p, -1, FIN_ACK, b"");
        assert_eq!(out.len(), 1);
        assert!(out[0].is_pure_ack() && out[0].ack == p.seq && out[0].seq == p.first + 1);
        assert_eq!(out[0].options.timestamps.is_some(), ts);
        h.run(40 * SEC);
        assert_eq!(h.stack.time_waits(), 1, "2 MSL since the last FIN are not over");
        h.run(21 * SEC);
        h.assert_home();
    }
}

/// RFC 1337, fix F1.
#[test]
fn a_rst_does_not_end_time_wait() {
    let (mut h, p) = time_wait(Opts::default());
    assert!(h.send_at(&p, 0, RST, b"").is_empty());
    assert!(h.send_at(&p, 0, RST_ACK, b"").is_empty());
    assert_eq!(h.stack.time_waits(), 1);
    assert_eq!(h.stack.counters().dropped(DropReason::TimeWait), 2);
}

/// MAY-2, SHLD-4, RFC 6191: a newer timestamp opens anew, beyond the old sequence numbers on both sides.
#[test]
fn a_syn_with_a_newer_timestamp_takes_time_waits_place() {
    let o = Opts { ts: true, ..Opts::default() };
    let (mut h, mut p) = time_wait(o.clone());
    let old_nxt = p.first + 1;
    h.run(SEC);
    // Even a lower sequence number will do.
    let options = h.syn_options(&p, &o);
    let out = h.raw(&p, SYN, ISS - 500, 0, &options, b"");
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].flags, out[0].ack), (SYN_ACK, ISS - 499));
    assert!((out[0].seq.wrapping_sub(old_nxt) as i32) > 0, "a greater ISS");
    assert_eq!((h.stack.half_opens(), h.stack.time_waits()), (1, 0));
    (p.seq, p.ack) = (ISS - 499, out[0].seq.wrapping_add(1));
    h.send(&mut p, ACK, b"");
    assert!(h.stack.accept(h.listener).is_some());
}

/// RFC 6191: an older timestamp does not; nor, without timestamps, a lower sequence number. The ACK of RFC 9293
/// section 3.10.7.4 tells the peer where the old connection stands.
#[test]
fn an_old_syn_does_not_take_time_waits_place() {
    let o = Opts { ts: true, ..Opts::default() };
    let (mut h, p) = time_wait(o.clone());
    let mut options = h.syn_options(&p, &o);
    options.timestamps = options.timestamps.map(|(v, e)| (v - 5000, e));
    let out = h.raw(&p, SYN, p.seq + 5000, 0, &options, b"");
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq);
    let (mut h, p) = time_wait(Opts::default());
    let out = h.raw(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"");
    assert!(out.len() == 1 && out[0].is_pure_ack());
    assert_eq!(h.stack.time_waits(), 1);
    let out = h.raw(&p, SYN, p.seq + 1, 0, &TcpOptions::EMPTY, b"");
    assert_eq!((out.len(), out[0].flags), (1, SYN_ACK), "a greater sequence number does");
}

/// Nobody will read what FIN-WAIT-2 waits for: 60 s, then gone.
#[test]
fn fin_wait_2_of_a_detached_connection_ends() {
    let (mut h, mut p, id) = open(Opts::default());
    h.close(id);
    h.ack(&mut p, 1);
    h.run(59 * SEC);
    assert_eq!(h.stack.conns(), 1);
    h.run(2 * SEC);
    h.assert_home();
    let out = h.send(&mut p, FIN_ACK, b"");
    assert_eq!((out.len(), out[0].flags), (1, RST));
}

/// SHLD-3: data that comes after close() is lost, and the peer is told.
#[test]
fn data_after_close_is_reset() {
    let (mut h, mut p, id) = open(Opts::default());
    h.close(id);
    let out = h.send(&mut p, ACK, b"too late");
    assert_eq!(out.len(), 1);
    assert!(out[0].has(RST) && out[0].seq == p.first + 1);
    assert_eq!(h.stack.counters().tcp_rsts_out, 1);
    h.assert_home();
}

#[test]
fn abort_sends_rst() {
    let (mut h, p, id) = open(Opts::default());
    h.write(id, &[7; 500]);
    let now = h.now;
    h.stack.abort(id, now);
    let out = h.turn();
    assert_eq!(out.len(), 1);
    assert!(out[0].has(RST) && p.off(&out[0]) == 500 && out[0].ack == p.seq);
    h.assert_home();
}

/// An orphan goes on by itself: what was written arrives, then FIN, then it is gone.
#[test]
fn an_orphan_delivers_what_it_has_and_its_fin() {
    let (mut h, mut p, id) = open(Opts { wnd: 2500, ..Opts::default() });
    let all: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
    let mut out = h.write(id, &all);
    out.extend(h.close(id));
    let mut got = Vec::new();
    let mut fin = false;
    for _ in 0..100 {
        for s in out.drain(..) {
            if p.off(&s) as usize == got.len() {
                got.extend_from_slice(&s.data);
                fin |= s.has(FIN);
            }
        }
        if fin {
            break;
        }
        out = h.ack(&mut p, got.len() as u32);
        out.extend(h.run(50 * MS));
    }
    assert!(fin && got == all, "{} bytes, FIN {fin}", got.len());
    h.ack(&mut p, 10_001);
    h.send(&mut p, FIN_ACK, b"");
    h.run(61 * SEC);
    h.assert_home();
}

/// RFC 9293 section 3.10.7.1: after a reset the connection is CLOSED although the application holds it still; what comes
/// then is answered as if there were none.
#[test]
fn segments_for_a_closed_connection_are_reset() {
    let (mut h, mut p, id) = open(Opts::default());
    h.send(&mut p, RST, b"");
    assert_eq!(h.stack.error(id), Some(TcpError::Reset));
    let out = h.send(&mut p, ACK, b"hello?");
    assert_eq!(out.len(), 1);
    assert_eq!((out[0].flags, out[0].seq), (RST, p.ack));
    h.close(id);
    h.assert_home();
}

/// The application may read what came before a reset.
#[test]
fn data_before_a_reset_stays_readable() {
    let (mut h, mut p, id) = open(Opts::default());
    h.send(&mut p, ACK, b"last words");
    h.send(&mut p, RST, b"");
    assert!(h.stack.next_ready().unwrap().1.contains(Events::CLOSED));
    assert_eq!(h.read(id), b"last words");
    assert!(h.stack.at_eof(id));
    h.close(id);
    h.assert_home();
}

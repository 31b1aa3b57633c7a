//! Sending: RFC 9293 sections 3.7 and 3.8, RFC 5681, 6298, 6582, 6675, 6928, 8985.

mod support;

use linerate_net::{Events, FlowId, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::peer::*;

fn open_with(tcp: TcpConfig, o: Opts) -> (Host, Peer, FlowId) {
    let mut h = Host::new(tcp);
    let (p, id) = h.accepted(&o);
    (h, p, id)
}

/// MSS 1000, a window of 65,000, RTT 10 ms: SRTT is 10 ms and RTO 210 ms.
fn open(o: Opts) -> (Host, Peer, FlowId) {
    open_with(TcpConfig::default(), o)
}

fn sacked() -> Opts {
    Opts { sack: true, ..Opts::default() }
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * 7 + i / 256) as u8).collect()
}

/// (milliseconds since `start`, offset, length) of data segments.
fn timed(p: &Peer, start: u64, out: &[Seg]) -> Vec<(u64, u32, usize)> {
    out.iter().filter(|s| !s.data.is_empty()).map(|s| ((s.at - start) / MS, p.off(s), s.data.len())).collect()
}

/// SHLD-7: a small segment waits while anything is unacknowledged; a full one does not.
#[test]
fn nagle() {
    let (mut h, mut p, id) = open(Opts::default());
    assert_eq!(p.data(&h.write(id, &[1; 100])), [(0, 100)]);
    assert!(h.write(id, &[2; 100]).is_empty());
    assert!(h.write(id, &[2; 200]).is_empty());
    assert_eq!(p.data(&h.write(id, &[3; 1000])), [(100, 1000)], "a full segment leaves, the rest waits");
    assert_eq!(h.ack_data(&mut p, 1100), [(1100, 300)]);
}

/// MUST-17.
#[test]
fn nodelay_sends_small_segments_at_once() {
    let (mut h, p, id) = open(Opts::default());
    h.stack.set_nodelay(id, true);
    for i in 0..4 {
        assert_eq!(p.data(&h.write(id, &[1; 100])), [(i * 100, 100)]);
    }
}

/// MUST-38: no small segment only because the window has a small rest.
#[test]
fn the_sender_avoids_silly_windows() {
    let (mut h, mut p, id) = open(Opts { wnd: 2500, ..Opts::default() });
    assert_eq!(p.data(&h.write(id, &[1; 5000])), [(0, 1000), (1000, 1000)]);
    // The window opens by a little, twice; the second time a full segment fits.
    p.wnd = 2400;
    assert_eq!(h.ack_data(&mut p, 400), []);
    p.wnd = 2600;
    assert_eq!(h.ack_data(&mut p, 400), [(2000, 1000)]);
}

/// RFC 9293 section 3.8.6.2.1 (3): half the largest window ever seen will do.
#[test]
fn a_peer_with_a_tiny_window_is_served() {
    let (mut h, mut p, id) = open(Opts { wnd: 300, ..Opts::default() });
    assert_eq!(p.data(&h.write(id, &[1; 1000])), [(0, 300)]);
    assert_eq!(h.ack_data(&mut p, 300), [(300, 300)]);
}

/// RFC 6928: 10 segments; RFC 5681 section 3.1: slow start doubles.
#[test]
fn the_initial_window_is_ten_segments_and_doubles() {
    let (mut h, mut p, id) = open(Opts::default());
    let out = h.write(id, &bytes(60_000));
    assert_eq!(p.data(&out).len(), 10);
    assert_eq!(p.data(&out)[9], (9000, 1000));
    let mut out = h.ack(&mut p, 8_000);
    out.extend(h.ack(&mut p, 10_000));
    assert_eq!(p.data(&out).len(), 20);
}

/// An ACK of more than L = 8 segments opens the window by 8: what leaves at once is bounded.
//= RFC 9406 section 4.2
#[test]
fn slow_start_takes_eight_segments_of_an_ack() {
    for (l, sent) in [(linerate_tcp::limits::SLOW_START_L_SEGS, 18), (u32::MAX, 20)] {
        let cfg = TcpConfig { slow_start_l_segs: l, ..TcpConfig::default() };
        let (mut h, mut p, id) = open_with(cfg, Opts::default());
        h.write(id, &bytes(60_000));
        let out = h.ack(&mut p, 10_000);
        assert_eq!(p.data(&out).len(), sent);
    }
}

/// RFC 5681 section 3.1: the handshake was lossy, so the initial window is one segment.
#[test]
fn the_initial_window_after_a_lost_syn_ack_is_one_segment() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, out) = h.syn(&Opts::default());
    p.first = out[0].seq.wrapping_add(1);
    p.ack = p.first;
    h.run(2 * SEC);
    h.send(&mut p, ACK, b"");
    let id = h.stack.accept(h.listener).unwrap();
    assert_eq!(p.data(&h.write(id, &bytes(20_000))), [(0, 1000)]);
}

/// RFC 6298 (5.4) to (5.6).
#[test]
fn the_rto_doubles() {
    let (mut h, p, id) = open(Opts::default());
    let data = bytes(600);
    h.write(id, &data);
    let start = h.now.0;
    let out = h.run(7 * SEC);
    assert_eq!(timed(&p, start, &out), [210, 630, 1470, 3150, 6510].map(|t| (t, 0, 600)));
    assert!(out.iter().all(|s| s.data == data), "the same bytes");
}

/// MUST-18: the ACK of what was sent twice is no sample; RFC 6298 (5.7): new data has the old RTO.
#[test]
fn karn() {
    let (mut h, mut p, id) = open(Opts::default());
    let srtt = h.stack.info(id).unwrap().srtt_ns;
    h.write(id, &[1; 600]);
    h.run(SEC);
    h.ack(&mut p, 600);
    assert_eq!(h.stack.info(id).unwrap().srtt_ns, srtt);
    h.write(id, &[1; 600]);
    h.run(50 * MS);
    h.ack(&mut p, 1200);
    assert!(h.stack.info(id).unwrap().srtt_ns > srtt);
}

/// RFC 5681 section 3.1: after a timeout one segment, then slow start over what was lost.
#[test]
fn after_a_timeout_slow_start_begins_with_one_segment() {
    let (mut h, mut p, id) = open(Opts::default());
    h.write(id, &bytes(10_000));
    let out = h.run(250 * MS);
    assert_eq!(p.data(&out), [(0, 1000)]);
    assert_eq!(h.ack_data(&mut p, 1000), [(1000, 1000), (2000, 1000)]);
    let info = h.stack.info(id).unwrap();
    assert!(info.ssthresh_bytes <= 7000 && info.ssthresh_bytes >= 2000);
}

/// RFC 5681 section 3.2 and RFC 3042: two duplicate ACKs let new data leave, the third the lost segment.
#[test]
fn three_duplicate_acks_retransmit_without_sack() {
    let (mut h, mut p, id) = open(Opts::default());
    let data = bytes(30_000);
    h.write(id, &data);
    assert_eq!(h.ack_data(&mut p, 0), [(10_000, 1000)], "limited transmit");
    assert_eq!(h.ack_data(&mut p, 0), [(11_000, 1000)]);
    let out = h.ack(&mut p, 0);
    assert_eq!(p.data(&out)[0], (0, 1000));
    assert_eq!(out[0].data, data[..1000]);
    assert_eq!(h.stack.counters().tcp_timeouts, 0);
}

/// RFC 6582 section 3.2: a partial ACK retransmits the next hole at once; the full one ends recovery.
#[test]
fn new_reno_partial_ack() {
    let (mut h, mut p, id) = open(Opts::default());
    h.write(id, &bytes(10_000));
    for _ in 0..3 {
        h.ack(&mut p, 0);
    }
    let out = h.ack(&mut p, 4000);
    assert_eq!(p.data(&out)[0], (4000, 1000), "{out:?}");
    assert_eq!(p.data(&out).len(), 1);
    let out = h.ack(&mut p, 10_000);
    assert!(out.is_empty());
    assert_eq!(h.stack.counters().tcp_timeouts, 0);
    let out = h.write(id, &bytes(30_000));
    let n = p.data(&out).len();
    assert!((2..=7).contains(&n), "after recovery the window is ssthresh: {n} segments");
}

/// RFC 6582 section 3.2 step 2: duplicates of an ACK that recovery ended with do not start another.
#[test]
fn a_window_is_reduced_once() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &bytes(10_000));
    h.sack(&mut p, 0, &[(1000, 10_000)]);
    let after_first = h.stack.info(id).unwrap().ssthresh_bytes;
    h.sack(&mut p, 0, &[(1000, 10_000)]);
    h.sack(&mut p, 0, &[(1000, 10_000)]);
    assert_eq!(h.stack.info(id).unwrap().ssthresh_bytes, after_first);
}

/// RFC 6675, RFC 8985: only the holes are sent again.
#[test]
fn sack_recovery_fills_only_the_holes() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &bytes(10_000));
    h.run(10 * MS);
    let out = h.sack(&mut p, 0, &[(4000, 10_000), (1000, 3000)]);
    assert_eq!(p.data(&out), [(0, 1000), (3000, 1000)]);
    let out = h.ack(&mut p, 10_000);
    assert!(out.is_empty());
    assert!(h.run(SEC).is_empty());
    assert_eq!((h.stack.counters().tcp_retransmits, h.stack.unacked(id)), (2, 0));
}

/// RFC 2018 section 8: what was SACKed may be reneged; after a timeout it is sent again until acknowledged.
#[test]
fn a_reneging_receiver_gets_everything() {
    let (mut h, mut p, id) = open(sacked());
    let data = bytes(5000);
    h.write(id, &data);
    h.run(10 * MS);
    h.sack(&mut p, 0, &[(1000, 5000)]);
    // The peer drops what it had SACKed and takes only the retransmission of the first segment.
    let mut got = 1000;
    for _ in 0..40 {
        let mut out = h.ack(&mut p, got);
        out.extend(h.run(2 * SEC));
        for s in &out {
            if p.off(s) == got {
                got += s.data.len() as u32;
            }
        }
    }
    assert_eq!(got, 5000);
}

/// RFC 8985 section 6.2: one SACK of a later segment, and a quarter of min RTT later the earlier one is lost.
#[test]
fn rack_marks_by_time() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 1000]);
    let start = h.now.0;
    h.run(MS);
    h.write(id, &[2; 1000]);
    h.run(10 * MS);
    assert_eq!(h.sack_data(&mut p, 0, &[(1000, 2000)]), []);
    let out = h.run(5 * MS);
    assert_eq!(p.data(&out), [(0, 1000)]);
    assert_eq!(
        (out[0].at - start) / 100_000,
        125,
        "12.5 ms after it was sent: RTT of the other, and min RTT / 4"
    );
}

/// The reordering timer also runs when the ACK moved SND.UNA (RFC 8985 section 6.2, step 5).
#[test]
fn the_reordering_timer_survives_a_cumulative_ack() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 2000]);
    let start = h.now.0;
    h.run(MS);
    h.write(id, &[2; 1000]);
    h.run(10 * MS);
    assert_eq!(h.sack_data(&mut p, 1000, &[(2000, 3000)]), []);
    let out = h.run(50 * MS);
    assert_eq!(p.data(&out)[0], (1000, 1000));
    assert!(out[0].at - start < 15 * MS, "after {} ms", (out[0].at - start) / MS);
}

/// RFC 8985 section 7.2 and 7.3: after two RTTs the last segment once more, then only the RTO.
#[test]
fn a_tail_loss_probe_after_two_rtts() {
    let (mut h, p, id) = open(sacked());
    h.write(id, &bytes(3000));
    let start = h.now.0;
    let out = h.run(200 * MS);
    assert_eq!(timed(&p, start, &out), [(20, 2000, 1000)]);
    assert_eq!(h.stack.tcp_counters().loss_probes, 1);
    let out = h.run(100 * MS);
    assert_eq!(timed(&p, start, &out), [(230, 0, 1000)], "then the retransmission timer");
}

/// RFC 8985 section 7.3: new data is a better probe.
#[test]
fn a_tail_loss_probe_prefers_new_data() {
    let (mut h, p, id) = open(sacked());
    h.write(id, &bytes(12_000));
    let start = h.now.0;
    let out = h.run(100 * MS);
    assert_eq!(timed(&p, start, &out), [(20, 10_000, 1000)]);
}

/// MUST-36, SHLD-29, SHLD-30, MUST-37: the first probe after an RTO, doubled, and for ever while they are acknowledged.
#[test]
fn a_zero_window_is_probed_for_ever() {
    let (mut h, mut p, id) = open(Opts { wnd: 0, ..Opts::default() });
    assert!(h.write(id, &bytes(5000)).is_empty());
    let start = h.now.0;
    let mut gaps = Vec::new();
    let mut last = start;
    while h.now.0 < start + 24 * 3600 * SEC {
        let out = h.run(100 * MS);
        for s in &out {
            gaps.push((s.at - last) / (10 * MS));
            last = s.at;
            assert!(s.data.len() <= 1 && p.off(s) == 0, "{s:?}");
        }
        if !out.is_empty() {
            assert!(h.ack(&mut p, 0).is_empty());
        } else if gaps.len() > 12 {
            h.run(10 * SEC).iter().for_each(|s| last = s.at);
            h.ack(&mut p, 0);
        }
        assert_eq!(h.stack.error(id), None, "after {} s and {} probes", (h.now.0 - start) / SEC, gaps.len());
    }
    assert_eq!(gaps[..5], [21, 42, 84, 168, 336]);
    p.wnd = 10_000;
    let out = h.ack(&mut p, 0);
    // The byte of the probe was not taken: it comes again at once, with what follows it.
    assert_eq!(p.data(&out), [(0, 1000), (1000, 1000), (2000, 1000), (3000, 1000), (4000, 1000)]);
}

/// RFC 6429: an orphan does not wait for ever for a window, though the peer answers every probe.
#[test]
fn an_orphan_with_a_closed_window_is_given_up() {
    let (mut h, mut p, id) = open(Opts { wnd: 0, ..Opts::default() });
    h.write(id, &bytes(5000));
    h.close(id);
    for _ in 0..10_000 {
        if !h.run(SEC).is_empty() {
            h.ack(&mut p, 0);
        }
    }
    h.assert_home();
}

/// Probes that nobody answers end the connection: R2.
#[test]
fn unanswered_probes_are_given_up() {
    let (mut h, _, id) = open(Opts { wnd: 0, ..Opts::default() });
    h.write(id, &bytes(5000));
    h.run(3600 * SEC);
    assert_eq!(h.stack.error(id), Some(TcpError::TimedOut));
}

/// SHLD-11: R2 is at least 100 s. MUST-12: the application hears of it.
#[test]
fn silence_is_given_up() {
    let (mut h, _, id) = open(Opts::default());
    h.write(id, &bytes(5000));
    h.run(100 * SEC);
    assert_eq!(h.stack.error(id), None);
    h.run(1500 * SEC);
    assert_eq!(h.stack.error(id), Some(TcpError::TimedOut));
    let events = std::iter::from_fn(|| h.stack.next_ready()).last().unwrap().1;
    assert!(events.contains(Events::CLOSED));
    h.close(id);
    h.assert_home();
}

/// MUST-61.
#[test]
fn the_last_segment_of_a_write_is_pushed() {
    let (mut h, p, id) = open(Opts::default());
    h.stack.set_nodelay(id, true);
    let out = h.write(id, &bytes(2500));
    let psh: Vec<_> = out.iter().map(|s| (p.off(s), s.has(PSH))).collect();
    assert_eq!(psh, [(0, false), (1000, false), (2000, true)]);
}

/// DESIGN rule 2: a frame whose transmission is not complete is not rewritten; its retransmission waits.
#[test]
fn a_retransmission_waits_for_the_completion() {
    let (mut h, p, id) = open(Opts::default());
    h.completes = false;
    let data = bytes(1000);
    h.write(id, &data);
    assert!(h.run(5 * SEC).is_empty(), "the port still has the frame");
    h.complete_all();
    let out = h.turn();
    assert_eq!(p.data(&out), [(0, 1000)]);
    assert_eq!(out[0].data, data);
    h.complete_all();
}

/// MUST-15, and the timestamps option comes out of the segment (MUST-16).
#[test]
fn the_default_mss() {
    for (v6, ts, want) in [(false, false, 536), (true, false, 1220), (false, true, 524)] {
        let (mut h, p, id) = open(Opts { mss: None, v6, ts, ..Opts::default() });
        assert_eq!(p.data(&h.write(id, &bytes(1300)))[0], (0, want));
    }
}

/// A peer that asks for absurdly small segments gets small ones, but not absurd ones.
#[test]
fn a_tiny_mss_has_a_floor() {
    for mss in [0, 1, 63] {
        let (mut h, mut p, id) = open(Opts { mss: Some(mss), ..Opts::default() });
        let data = bytes(1000);
        let mut out = h.write(id, &data);
        let mut got = Vec::new();
        while got.len() < 1000 {
            for s in out.drain(..) {
                assert!(s.data.len() <= 64 && p.off(&s) as usize == got.len());
                got.extend(s.data);
            }
            let n = got.len() as u32;
            out = h.ack(&mut p, n);
        }
        assert_eq!(got, data);
    }
}

/// The application's room is bounded, and it is told when there is room again.
#[test]
fn the_send_buffer_is_bounded_and_writable_tells() {
    let (mut h, mut p, id) = open_with(
        TcpConfig { snd_buf_bytes: 5000, snd_buf_max_bytes: 0, ..TcpConfig::default() },
        Opts::default(),
    );
    while h.stack.next_ready().is_some() {}
    assert_eq!(h.stack.write(id, &bytes(9000)), 5000);
    assert_eq!((h.stack.write(id, b"x"), h.stack.room(id)), (0, 0));
    h.turn();
    assert!(h.stack.next_ready().is_none());
    h.ack(&mut p, 1000);
    assert!(h.stack.next_ready().is_none(), "not for every segment");
    h.ack(&mut p, 3000);
    let (ready, e) = h.stack.next_ready().unwrap();
    assert!(ready == id && e.contains(Events::WRITABLE));
    assert_eq!(h.stack.room(id), 3000);
}

/// RFC 5681 section 4.1: after an RTO without sending data the window restarts; ACKs of the peer's data don't count as data.
#[test]
fn the_window_restarts_after_idleness() {
    let (mut h, mut p, id) = open(Opts::default());
    h.write(id, &bytes(60_000));
    for off in (0..=60_000).step_by(5_000).skip(1) {
        h.run(5 * MS);
        h.ack(&mut p, off);
    }
    assert!(h.stack.info(id).unwrap().cwnd_bytes > 30_000);
    for _ in 0..20 {
        h.run(100 * MS);
        h.send(&mut p, ACK, b"from the peer");
    }
    assert_eq!(p.data(&h.write(id, &bytes(60_000))).len(), 10);
}

/// MUST-34: a peer that takes its window back; SHLD-15, -17: nothing new is sent, the connection stays.
#[test]
fn a_shrinking_window_is_survived() {
    let (mut h, mut p, id) = open(Opts::default());
    let data = bytes(20_000);
    h.write(id, &data);
    p.wnd = 1500;
    let out = h.ack(&mut p, 2000);
    assert_eq!(p.data(&out), []);
    let out = h.run(SEC);
    assert!(p.data(&out).iter().all(|d| d.0 < 10_000) && !out.is_empty());
    p.wnd = 65_000;
    let mut got = 10_000;
    let mut out = h.ack(&mut p, got);
    for _ in 0..20 {
        out.extend(h.run(50 * MS));
        for s in out.drain(..) {
            if p.off(&s) == got {
                assert_eq!(s.data, data[got as usize..][..s.data.len()]);
                got += s.data.len() as u32;
            }
        }
        out = h.ack(&mut p, got);
    }
    assert_eq!(got, 20_000);
}

/// An ACK of part of a segment (a peer or middlebox that cuts them) trims what is sent again.
#[test]
fn a_partial_ack_of_a_segment_trims_it() {
    let (mut h, mut p, id) = open(Opts::default());
    let data = bytes(1000);
    h.write(id, &data);
    h.ack(&mut p, 333);
    let out = h.run(300 * MS);
    assert_eq!(p.data(&out), [(333, 667)]);
    assert_eq!(out[0].data, data[333..]);
}

/// Nonsense in SACK blocks: reversed, empty, beyond SND.NXT, half the sequence space long.
#[test]
fn absurd_sack_blocks_do_nothing() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &bytes(5000));
    for b in [
        (3000, 2000),
        (1000, 1000),
        (4000, 9000),
        (1000, 1 << 31),
        (0u32.wrapping_sub(9000), 9000),
        (1 << 31, 0),
    ] {
        assert_eq!(h.sack_data(&mut p, 0, &[b]), []);
        h.run(MS / 10);
    }
    assert_eq!(h.stack.info(id).unwrap().in_flight_bytes, 5000);
    h.ack(&mut p, 5000);
    assert_eq!(h.stack.unacked(id), 0);
}

/// MUST-24 to MUST-29: off by default; when on, after the idle time, then every 75 s, and nine lost ones are enough.
#[test]
fn keepalive() {
    let (mut h, _, _) = open(Opts::default());
    assert!(h.run(10 * 3600 * SEC).is_empty());
    let cfg = TcpConfig { keepalive: true, ..TcpConfig::default() };
    let (mut h, mut p, id) = open_with(cfg, Opts::default());
    let start = h.now.0;
    let out = h.run(7300 * SEC);
    let at: Vec<_> = out.iter().map(|s| ((s.at - start) / SEC, p.off(s), s.data.len())).collect();
    assert_eq!(at, [(7200, u32::MAX, 0), (7275, u32::MAX, 0)]);
    h.send(&mut p, ACK, b"");
    let answered = h.now.0;
    let out = h.run(7300 * SEC);
    assert_eq!((out[0].at - answered) / SEC, 7200);
    h.run(800 * SEC);
    assert_eq!(h.stack.error(id), Some(TcpError::TimedOut));
}

/// RFC 9293 MUST-65, and no option at all that was not agreed on.
#[test]
fn segments_carry_only_agreed_options() {
    for ts in [false, true] {
        let (mut h, p, id) = open(Opts { ts, ..Opts::default() });
        let out = h.write(id, &bytes(3000));
        assert!(out.iter().all(|s| s.raw_options.len() == if ts { 12 } else { 0 }));
        let out = h.raw(&p, ACK, p.seq + 5000, p.ack, &TcpOptions::EMPTY, b"");
        assert!(out.iter().all(|s| s.options.mss.is_none()));
    }
}

/// 10 segments at twice the window an RTT (10 ms): 2 MB/s, so two a millisecond.
#[test]
fn a_paced_window_leaves_over_the_round_trip() {
    let (mut h, p, id) = open_with(TcpConfig { pacing: true, ..TcpConfig::default() }, Opts::default());
    let start = h.now.0;
    let mut out = h.write(id, &bytes(60_000));
    assert!((1..=2).contains(&p.data(&out).len()), "a quantum at once");
    out.extend(h.run(3 * MS));
    let sent = p.data(&out).len();
    assert!((5..=8).contains(&sent), "{sent} of 10 in 3 ms");
    out.extend(h.run(3 * MS));
    assert_eq!(p.data(&out).len(), 10);
    let bursts: std::collections::BTreeSet<u64> = out.iter().map(|s| s.at - start).collect();
    assert!(bursts.len() >= 5, "{bursts:?}");
    assert_eq!(h.stack.info(id).unwrap().pacing_bytes_per_s, 2_000_000);
}

#[test]
fn congestion_control_changes_on_a_living_connection() {
    use linerate_tcp::cc::CcKind;
    let (mut h, mut p, id) = open(sacked());
    let data = bytes(60_000);
    let mut got = 0;
    h.write(id, &data);
    for (i, name) in ["bbr", "cubic", "bbr", "reno", "bbr"].iter().enumerate() {
        // With segments in flight, of which one is lost.
        let off = 4000 * (i as u32 + 1);
        h.ack(&mut p, off - 2000);
        assert!(h.stack.set_congestion_control(id, name));
        assert_eq!(h.stack.info(id).unwrap().cc, CcKind::from_name(name).unwrap());
        h.run(5 * MS);
        let out = h.sack(&mut p, off - 2000, &[(off - 1000, off)]);
        got += p.data(&out).len();
        got += p.data(&h.run(20 * MS)).len();
        h.ack(&mut p, off);
        assert_eq!(h.stack.info(id).unwrap().bbr.is_some(), *name == "bbr");
    }
    assert!(got > 5, "{got}");
    assert!(!h.stack.set_congestion_control(id, "vegas"));
    h.assert_ledger();
}

/// MUST-18: what stood behind a hole arrived long before the retransmission that filled it, so its age at the
/// cumulative ACK is no round-trip time (its own ACKs were lost).
#[test]
fn what_stood_behind_a_retransmitted_segment_is_no_rtt_sample() {
    let (mut h, mut p, id) = open(sacked());
    assert_eq!(h.write(id, &bytes(3000)).len(), 3);
    h.run(30 * SEC);
    h.ack(&mut p, 3000);
    let srtt_ms = h.stack.info(id).unwrap().srtt_ns / MS;
    assert!(srtt_ms <= 10, "SRTT is {srtt_ms} ms on a path of 10 ms");
}

//! Receiving: RFC 9293 sections 3.8.6 and 3.10.7.4, RFC 5681 section 4.2, RFC 2018, 2883, 5961, 7323.

mod support;

use linerate_net::{DropReason, FlowId, State, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::peer::*;

fn open_with(tcp: TcpConfig, o: Opts) -> (Host, Peer, FlowId) {
    let mut h = Host::new(TcpConfig { quickack_segs: 0, ..tcp });
    let (p, id) = h.accepted(&o);
    (h, p, id)
}

fn open(o: Opts) -> (Host, Peer, FlowId) {
    open_with(TcpConfig::default(), o)
}

fn small(rcv_buf_bytes: u32) -> (Host, Peer, FlowId) {
    open_with(TcpConfig { rcv_buf_bytes, rcv_buf_max_bytes: 0, ..TcpConfig::default() }, Opts::default())
}

fn blocks(p: &Peer, s: &Seg) -> Vec<(u32, u32)> {
    s.options.sack.as_slice().iter().map(|(a, b)| (a.wrapping_sub(p.seq), b.wrapping_sub(p.seq))).collect()
}

/// SHLD-18, MUST-40.
#[test]
fn a_single_segment_is_acknowledged_within_40_ms() {
    let (mut h, mut p, _) = open(Opts::default());
    assert!(h.send(&mut p, ACK, &[1; 1000]).is_empty());
    let start = h.now.0;
    let out = h.run(SEC);
    assert_eq!(out.len(), 1);
    assert!(out[0].is_pure_ack() && out[0].ack == p.seq && out[0].at - start <= 40 * MS);
}

/// SHLD-19.
#[test]
fn every_second_segment_is_acknowledged_at_once() {
    let (mut h, mut p, _) = open(Opts::default());
    for _ in 0..5 {
        assert!(h.send(&mut p, ACK, &[1; 1000]).is_empty());
        let out = h.send(&mut p, ACK, &[1; 1000]);
        assert!(out.len() == 1 && out[0].ack == p.seq);
    }
    assert!(h.run(SEC).is_empty(), "no delayed ACK is left over");
}

/// The first segments of a connection are acknowledged at once: the peer is in slow start.
#[test]
fn a_young_connection_is_acknowledged_at_once() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, _) = h.accepted(&Opts::default());
    assert_eq!(h.send(&mut p, ACK, &[1; 1000]).len(), 1);
}

/// An answer of the application carries the ACK.
#[test]
fn data_carries_the_delayed_ack() {
    let (mut h, mut p, id) = open(Opts::default());
    h.send(&mut p, ACK, b"ping");
    let out = h.write(id, b"pong");
    assert!(out.len() == 1 && out[0].ack == p.seq && out[0].data == b"pong");
    h.ack(&mut p, 4);
    assert!(h.run(SEC).is_empty());
}

/// RFC 5681 section 4.2; RFC 2018 section 4: the block of the segment that caused the ACK comes first.
#[test]
fn out_of_order_data_is_acknowledged_at_once_newest_block_first() {
    let (mut h, p, _) = open(Opts { sack: true, ..Opts::default() });
    let out = h.send_at(&p, 1000, ACK, &[2; 1000]);
    assert!(out.len() == 1 && out[0].ack == p.seq);
    assert_eq!(blocks(&p, &out[0]), [(1000, 2000)]);
    let out = h.send_at(&p, 5000, ACK, &[2; 1000]);
    assert_eq!(blocks(&p, &out[0]), [(5000, 6000), (1000, 2000)]);
    let out = h.send_at(&p, 3000, ACK, &[2; 1000]);
    assert_eq!(blocks(&p, &out[0]), [(3000, 4000), (5000, 6000), (1000, 2000)]);
    let out = h.send_at(&p, 2000, ACK, &[2; 1000]);
    assert_eq!(blocks(&p, &out[0]), [(1000, 4000), (5000, 6000)]);
}

/// With timestamps 3 blocks fit: RFC 2018 section 3.
#[test]
fn three_blocks_beside_timestamps() {
    for (ts, n) in [(true, 3), (false, 4)] {
        let (mut h, p, _) = open(Opts { sack: true, ts, ..Opts::default() });
        let mut out = Vec::new();
        for i in 1..=5 {
            out = h.send_at(&p, i * 2000, ACK, &[2; 1000]);
        }
        assert_eq!(out[0].options.sack.len(), n);
        assert_eq!(out[0].options.timestamps.is_some(), ts);
    }
}

/// RFC 2018 section 2.
#[test]
fn no_sack_unless_agreed() {
    let (mut h, p, _) = open(Opts::default());
    let out = h.send_at(&p, 1000, ACK, &[2; 1000]);
    assert!(out.len() == 1 && out[0].options.sack.is_empty());
}

/// RFC 2018 section 4: an ACK of out-of-order data is owed its SACK blocks even when we have data to send, whose header
/// has no room for them.
#[test]
fn sack_is_not_swallowed_by_data_of_ours() {
    let (mut h, p, id) = open(Opts { sack: true, ..Opts::default() });
    h.put(&p, ACK, p.seq + 1000, p.ack, &TcpOptions::EMPTY, &[2; 1000]);
    let out = h.write(id, b"data of ours");
    assert!(out.iter().any(|s| blocks(&p, s) == [(1000, 2000)]), "{out:?}");
}

/// RFC 2883 section 4: a duplicate below RCV.NXT, then one of what is held out of order, with the block that holds it
/// second.
#[test]
fn duplicates_are_reported_by_d_sack_once() {
    let (mut h, mut p, _) = open(Opts { sack: true, ..Opts::default() });
    h.send(&mut p, ACK, &[1; 1000]);
    let out = h.send_at(&p, -1000, ACK, &[1; 1000]);
    assert!(out.len() == 1 && out[0].ack == p.seq);
    assert_eq!(blocks(&p, &out[0]), [(0u32.wrapping_sub(1000), 0)]);
    h.send_at(&p, 1000, ACK, &[2; 1000]);
    h.send_at(&p, 2000, ACK, &[2; 1000]);
    h.send_at(&p, 5000, ACK, &[2; 1000]);
    let out = h.send_at(&p, 1000, ACK, &[2; 1000]);
    assert_eq!(blocks(&p, &out[0]), [(1000, 2000), (1000, 3000), (5000, 6000)]);
    let out = h.send_at(&p, 7000, ACK, &[2; 1000]);
    assert_eq!(blocks(&p, &out[0])[0], (7000, 8000), "reported once");
}

/// RFC 5681 section 4.2: all or part of a gap.
#[test]
fn filling_a_gap_is_acknowledged_at_once() {
    let (mut h, mut p, id) = open(Opts { sack: true, ..Opts::default() });
    h.send_at(&p, 1000, ACK, &[2; 1000]);
    h.send_at(&p, 3000, ACK, &[4; 1000]);
    let out = h.send(&mut p, ACK, &[1; 1000]);
    assert_eq!((out.len(), out[0].ack), (1, p.seq + 1000));
    p.seq += 1000;
    assert_eq!(blocks(&p, &out[0]), [(1000, 2000)]);
    let out = h.send(&mut p, ACK, &[3; 1000]);
    assert_eq!((out.len(), out[0].ack), (1, p.seq + 1000));
    assert!(out[0].options.sack.is_empty());
    let got = h.read(id);
    assert!(got.chunks(1000).zip(1u8..).all(|(c, i)| c.iter().all(|b| *b == i)) && got.len() == 4000);
}

/// RFC 7323 section 5.3: R1, with an ACK; RST is exempt.
#[test]
fn paws_drops_old_timestamps() {
    let (mut h, mut p, id) = open(Opts { ts: true, ..Opts::default() });
    h.send(&mut p, ACK, b"a");
    let ms = (h.now.0 / MS) as u32;
    let old = TcpOptions { timestamps: Some((p.tsval + ms - 5000, p.tsecr)), ..TcpOptions::EMPTY };
    let out = h.raw(&p, ACK, p.seq, p.ack, &old, b"old");
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq);
    assert_eq!(h.stack.counters().dropped(DropReason::Paws), 1);
    assert_eq!(h.read(id), b"a");
    h.raw(&p, RST, p.seq, p.ack, &old, b"");
    assert_eq!(h.stack.error(id), Some(TcpError::Reset));
}

/// RFC 7323 section 3.2: a segment without the option, once it was agreed on, is dropped; RST is taken.
#[test]
fn segments_without_agreed_timestamps_are_dropped() {
    let (mut h, p, id) = open(Opts { ts: true, ..Opts::default() });
    h.raw(&p, ACK, p.seq, p.ack, &TcpOptions::EMPTY, b"bare");
    assert_eq!((h.stack.readable(id), h.stack.counters().dropped(DropReason::Paws)), (0, 1));
    h.raw(&p, RST, p.seq, p.ack, &TcpOptions::EMPTY, b"");
    assert_eq!(h.stack.error(id), Some(TcpError::Reset));
}

/// RFC 7323 section 5.5: after 24 days of idleness TS.Recent is not trusted.
#[test]
fn paws_forgets_after_24_days() {
    let (mut h, mut p, id) = open(Opts { ts: true, ..Opts::default() });
    h.send(&mut p, ACK, b"a");
    h.run(25 * 24 * 3600 * SEC);
    let ms = (h.now.0 / MS) as u32;
    // The peer's clock has gone back (it may wrap in the meantime): 1000 ms before TS.Recent.
    p.tsval = p.tsval.wrapping_sub(ms).wrapping_add(100_000 - 1000);
    h.send(&mut p, ACK, b"b");
    assert_eq!(h.read(id), b"ab");
}

/// RFC 9293 section 3.10.7.4, first: answered by an ACK that says where the window is.
#[test]
fn data_out_of_the_window_is_answered_by_ack() {
    let (mut h, p, id) = small(10_000);
    for off in [10_000, 60_000, -5000] {
        let out = h.send_at(&p, off, ACK, &[1; 1000]);
        assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq, "{off}: {out:?}");
    }
    assert_eq!(h.stack.readable(id), 0);
    let c = h.stack.counters();
    assert_eq!((c.dropped(DropReason::OutOfWindow), c.dropped(DropReason::OldDuplicate)), (2, 1));
}

/// RFC 9293 section 3.10.7.4: "tailor" the segment; the part within the window is kept.
#[test]
fn data_beyond_the_window_is_trimmed() {
    let (mut h, mut p, id) = small(10_000);
    for _ in 0..9 {
        h.send(&mut p, ACK, &[1; 1000]);
    }
    let out = h.send(&mut p, FIN_ACK, &[2; 1400]);
    assert_eq!(out.last().unwrap().ack, p.seq - 401, "1000 bytes fit, and the FIN behind them does not");
    assert_eq!(h.stack.readable(id), 10_000);
    assert_eq!(h.stack.state(id), Some(State::Established));
}

/// MUST-39 and RFC 9293 section 3.8.6: a full buffer closes the window, reading opens it, and the peer is told.
#[test]
fn zero_window_then_update_after_reading() {
    let (mut h, mut p, id) = small(4000);
    let mut out = Vec::new();
    for _ in 0..4 {
        out.extend(h.send(&mut p, ACK, &[1; 1000]));
    }
    out.extend(h.run(SEC));
    assert_eq!(out.last().unwrap().wnd, 0);
    // A probe is answered, its byte not taken.
    let out = h.send_at(&p, 0, ACK, b"?");
    assert!(out.len() == 1 && out[0].ack == p.seq && out[0].wnd == 0);
    assert_eq!(h.read(id).len(), 4000);
    let out = h.turn();
    assert_eq!(out.len(), 1, "the window update does not wait for anything");
    assert_eq!((out[0].ack, out[0].wnd), (p.seq, 4000));
}

/// MUST-39: the window opens by an MSS or half the buffer at a time, not by a byte.
#[test]
fn silly_windows_are_not_offered() {
    let (mut h, mut p, id) = small(4000);
    for _ in 0..4 {
        h.send(&mut p, ACK, &[1; 1000]);
    }
    h.run(SEC);
    for read in 1..=1400 {
        h.stack.consume(id, 1);
        let out = h.turn();
        assert!(out.is_empty(), "{read} bytes read: {out:?}");
        if read % 100 == 0 {
            assert_eq!(h.send_at(&p, 0, ACK, b"?")[0].wnd, 0, "{read}");
        }
    }
    h.stack.consume(id, 1100);
    let out = h.turn();
    assert!(out.len() == 1 && out[0].wnd == 2500, "{out:?}");
}

/// SHLD-14: the right edge never moves left, whatever is read, and when, and with whatever scale (RFC 7323 section 2.4).
#[test]
fn the_window_never_shrinks() {
    for rcv_buf_bytes in [3000, 70_000, 1 << 20, 100 << 20] {
        let cfg = TcpConfig { rcv_buf_bytes, rcv_buf_max_bytes: 0, ..TcpConfig::default() };
        let shift = cfg.wscale();
        let (mut h, mut p, id) = open_with(cfg, Opts { wscale: Some(2), sack: true, ..Opts::default() });
        let mut rng = support::Rng(rcv_buf_bytes as u64);
        // The edge that the SYN-ACK announced.
        let mut edge = p.seq + rcv_buf_bytes.min(65_535);
        for i in 0..4000 {
            let room = edge.wrapping_sub(p.seq);
            let n = (1 + rng.below(1400) as u32).min(room) as usize;
            let out = match rng.below(4) {
                0 => {
                    let unread = h.stack.readable(id);
                    h.stack.consume(id, rng.below(unread as u64 + 1) as usize);
                    h.turn()
                }
                1 if room > 3000 => h.send_at(&p, 1 + rng.below(1000) as i32, ACK, &[3; 700]),
                _ => {
                    let before = h.stack.info(id).unwrap().rcv_nxt.0;
                    let out = h.send(&mut p, ACK, &vec![3; n]);
                    let after = h.stack.info(id).unwrap().rcv_nxt.0;
                    assert!(after.wrapping_sub(before) as usize >= n, "{i}: all that was announced is taken");
                    p.seq = after;
                    out
                }
            };
            for s in out {
                let new = s.ack.wrapping_add((s.wnd as u32) << shift);
                assert!(
                    (new.wrapping_sub(edge) as i32) >= 0,
                    "step {i}: edge moved left by {}",
                    edge.wrapping_sub(new)
                );
                edge = new;
            }
        }
    }
}

/// RFC 5961 section 3.2: exact match resets, in the window is challenged, elsewhere is dropped in silence.
#[test]
fn a_rst_must_hit_rcv_nxt() {
    let (mut h, p, id) = open(Opts::default());
    for off in [-1, -60_000, 2_000_000] {
        assert!(h.send_at(&p, off, RST, b"").is_empty(), "{off}");
    }
    let out = h.send_at(&p, 1, RST, b"");
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq);
    // RFC 5961 section 7: the next one is not answered.
    assert!(h.send_at(&p, 2, RST, b"").is_empty());
    assert_eq!(h.stack.state(id), Some(State::Established));
    h.send_at(&p, 0, RST, b"");
    assert_eq!(h.stack.error(id), Some(TcpError::Reset));
}

/// MUST-66: also with a zero window.
#[test]
fn a_rst_is_taken_with_a_zero_window() {
    let (mut h, mut p, id) = small(1000);
    h.send(&mut p, ACK, &[1; 1000]);
    h.run(SEC);
    h.send_at(&p, 0, RST, b"");
    assert_eq!(h.stack.error(id), Some(TcpError::Reset));
}

/// RFC 5961 section 5.2: an ACK of what was never sent, or far too old, is challenged and its data dropped.
#[test]
fn absurd_acks_are_challenged() {
    let (mut h, p, id) = open(Opts::default());
    for ack in [p.ack + 1, p.ack.wrapping_sub(70_000)] {
        h.run(SEC);
        let out = h.raw(&p, ACK, p.seq, ack, &TcpOptions::EMPTY, b"injected");
        assert!(out.len() == 1 && out[0].is_pure_ack(), "{out:?}");
    }
    assert_eq!((h.stack.readable(id), h.stack.counters().dropped(DropReason::BadAck)), (0, 2));
}

/// RFC 9293 section 3.10.7.4, fifth.
#[test]
fn a_segment_without_ack_is_dropped() {
    let (mut h, p, id) = open(Opts::default());
    assert!(h.raw(&p, PSH, p.seq, p.ack, &TcpOptions::EMPTY, b"data").is_empty());
    assert_eq!((h.stack.readable(id), h.stack.counters().dropped(DropReason::TcpNoAck)), (0, 1));
}

/// RFC 6093: urgent data stays in line.
#[test]
fn urgent_data_stays_in_the_stream() {
    let (mut h, mut p, id) = open(Opts::default());
    h.send(&mut p, ACK | URG, b"urgent");
    h.send(&mut p, ACK | PSH, b" and not");
    assert_eq!(h.read(id), b"urgent and not");
}

/// SHLD-31: a FIN that overtakes data waits for it, with data of its own and without.
#[test]
fn a_fin_out_of_order_waits() {
    for data in [&b"tail"[..], b""] {
        let (mut h, mut p, id) = open(Opts { sack: true, ..Opts::default() });
        let out = h.send_at(&p, 4, FIN_ACK, data);
        assert!(out.len() == 1 && out[0].ack == p.seq, "{out:?}");
        assert!(!h.stack.at_eof(id));
        let out = h.send(&mut p, ACK, b"head");
        assert_eq!(out.last().map(|s| s.ack), Some(p.seq + data.len() as u32 + 1));
        assert_eq!(h.stack.state(id), Some(State::CloseWait));
        assert_eq!(h.read(id), [b"head", data].concat());
        assert!(h.stack.at_eof(id));
    }
}

/// A FIN on a copy of data that is held out of order already.
#[test]
fn a_fin_on_duplicate_out_of_order_data_counts() {
    let (mut h, mut p, id) = open(Opts::default());
    h.send_at(&p, 4, ACK, b"tail");
    h.send_at(&p, 4, FIN_ACK, b"tail");
    h.send(&mut p, ACK, b"head");
    assert_eq!(h.read(id), b"headtail");
    assert_eq!(h.stack.state(id), Some(State::CloseWait));
}

/// RFC 9293 section 3.8.4 and MUST-29's other side: a keep-alive probe of the peer is answered.
#[test]
fn a_keepalive_is_answered() {
    let (mut h, p, _) = open(Opts::default());
    let out = h.send_at(&p, -1, ACK, b"");
    assert!(out.len() == 1 && out[0].is_pure_ack() && out[0].ack == p.seq);
}

/// Overlaps of any kind: each byte once, the first copy counts.
#[test]
fn overlapping_segments_give_each_byte_once() {
    let (mut h, mut p, id) = open(Opts { sack: true, ..Opts::default() });
    h.send_at(&p, 2, ACK, b"cdef");
    h.send_at(&p, 4, ACK, b"efgh");
    h.send_at(&p, 8, ACK, b"ij");
    h.send_at(&p, 1, ACK, b"bcdefghijk");
    let out = h.send_at(&p, 0, ACK, b"ab");
    p.seq += 11;
    assert_eq!(out.last().unwrap().ack, p.seq);
    let out = h.send_at(&p, -3, ACK, b"ijkl");
    assert_eq!(
        out[0].options.sack.as_slice(),
        [(p.seq - 3, p.seq)],
        "RFC 2883 section 4.3: what came before"
    );
    assert_eq!(h.read(id), b"abcdefghijkl");
}

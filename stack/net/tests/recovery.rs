//! Loss detection and repair: RFC 6298's timer, RFC 8985's RACK and tail loss probe, RFC 6582, RFC 9937.

mod support;

use linerate_net::{FlowId, TcpConfig};
use support::peer::*;

fn open(o: Opts) -> (Host, Peer, FlowId) {
    open_with(TcpConfig::default(), o)
}

fn open_with(tcp: TcpConfig, o: Opts) -> (Host, Peer, FlowId) {
    let mut h = Host::new(tcp);
    let (p, id) = h.accepted(&o);
    (h, p, id)
}

fn sacked() -> Opts {
    Opts { sack: true, ..Opts::default() }
}

/// (milliseconds since `start`, offset) of data segments.
fn timed(p: &Peer, start: u64, out: &[Seg]) -> Vec<(u64, u32)> {
    out.iter().filter(|s| !s.data.is_empty()).map(|s| ((s.at - start) / MS, p.off(s))).collect()
}

fn ssthresh(h: &Host, id: FlowId) -> u32 {
    h.stack.info(id).unwrap().ssthresh_bytes
}

/// (5.1): the timer of what was sent first goes on while more is sent.
//= RFC 6298 section 5
#[test]
fn new_data_does_not_postpone_the_rto() {
    let (mut h, p, id) = open(Opts::default());
    h.stack.set_nodelay(id, true);
    let start = h.now.0;
    let mut out = Vec::new();
    for _ in 0..8 {
        out.extend(h.write(id, &[1; 100]));
        out.extend(h.run(40 * MS));
    }
    let again: Vec<_> = timed(&p, start, &out).into_iter().filter(|(t, off)| *off == 0 && *t > 0).collect();
    assert_eq!(again, [(210, 0)]);
}

/// What was backed off stays so until there is a new sample, and an ACK of a retransmission is none (Karn).
//= RFC 6298 section 5
#[test]
fn the_backoff_stays_until_there_is_a_sample() {
    let (mut h, mut p, id) = open(Opts::default());
    h.write(id, &[1; 600]);
    h.run(700 * MS);
    h.ack(&mut p, 600);
    let start = h.now.0;
    let out = h.write(id, &[2; 600]);
    assert_eq!(timed(&p, start, &out), [(0, 600)]);
    let out = h.run(900 * MS);
    assert_eq!(timed(&p, start, &out), [(840, 600)], "two doublings of 210 ms");
    h.ack(&mut p, 1200);
    h.write(id, &[3; 600]);
    h.run(10 * MS);
    h.ack(&mut p, 1800);
    let rto = h.stack.info(id).unwrap().rto_ns / MS;
    assert!(rto <= 215, "{rto} ms after a sample");
}

/// With timestamps the ACK of a retransmission says which transmission it is of, so it is a sample.
//= RFC 7323 section 4.1
#[test]
fn timestamps_measure_retransmissions_too() {
    let (mut h, mut p, id) = open(Opts { ts: true, ..Opts::default() });
    h.write(id, &[1; 600]);
    let out = h.run(300 * MS);
    let again = out.iter().find(|s| !s.data.is_empty()).unwrap();
    p.tsecr = again.options.timestamps.unwrap().0;
    let before = h.stack.info(id).unwrap().srtt_ns;
    h.ack(&mut p, 600);
    let info = h.stack.info(id).unwrap();
    assert!(info.srtt_ns > before && info.rto_ns < 600 * MS, "{info:?}");
}

/// (2.4) the RFC's minimum, by option.
//= RFC 6298 section 2
#[test]
fn an_rto_of_a_second_at_least_by_option() {
    let (mut h, p, id) = open_with(TcpConfig { rto_min_ns: SEC, ..TcpConfig::default() }, Opts::default());
    h.write(id, &[1; 600]);
    let start = h.now.0;
    let out = h.run(4 * SEC);
    assert_eq!(timed(&p, start, &out), [(1010, 0), (3030, 0)]);
}

/// (5.7) a SYN was lost and nothing was measured: 3 s for the first data.
//= RFC 6298 section 5
#[test]
fn three_seconds_after_a_lost_syn() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, out) = h.syn(&Opts::default());
    p.first = out[0].seq.wrapping_add(1);
    p.ack = p.first;
    h.run(2 * SEC);
    h.send(&mut p, ACK, b"");
    let id = h.stack.accept(h.listener).unwrap();
    h.write(id, &[1; 600]);
    let start = h.now.0;
    let out = h.run(4 * SEC);
    assert_eq!(timed(&p, start, &out), [(3000, 0)]);
}

/// The probe is never longer away than the RTO, and only one goes before it.
//= RFC 8985 section 7.2
#[test]
fn one_probe_and_then_the_rto() {
    let (mut h, p, id) = open(sacked());
    h.write(id, &[1; 2500]);
    let start = h.now.0;
    let out = h.run(500 * MS);
    assert_eq!(timed(&p, start, &out), [(20, 2000), (230, 0)]);
    // One segment in flight: the peer's delayed ACK is allowed for.
    let (mut h, p, id) = open(sacked());
    h.write(id, &[1; 1000]);
    let start = h.now.0;
    let out = h.run(500 * MS);
    assert_eq!(timed(&p, start, &out), [(210, 0), (420, 0)], "20 + 200 ms would be beyond the RTO");
}

/// No second probe before an RTT was measured since the last.
//= RFC 8985 section 7.3
#[test]
fn a_probe_needs_a_sample_since_the_last() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 1000]);
    h.run(215 * MS);
    assert_eq!(h.stack.tcp_counters().loss_probes, 1);
    h.ack(&mut p, 1000);
    h.write(id, &[1; 2000]);
    h.run(25 * MS);
    assert_eq!(h.stack.tcp_counters().loss_probes, 1);
    h.ack(&mut p, 3000);
    h.write(id, &[1; 2000]);
    h.run(60 * MS);
    assert_eq!(h.stack.tcp_counters().loss_probes, 2);
}

/// The probe's answer goes beyond it and nobody reported a duplicate: it repaired a loss, and that is congestion.
//= RFC 8985 section 7.4.2
#[test]
fn a_loss_that_the_probe_repaired_is_congestion() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 3000]);
    h.run(25 * MS);
    h.ack(&mut p, 3000);
    assert_eq!(ssthresh(&h, id), u32::MAX, "not known yet");
    h.write(id, &[1; 1000]);
    h.run(10 * MS);
    h.ack(&mut p, 4000);
    assert!(ssthresh(&h, id) < 10_000);
    assert!(h.stack.info(id).unwrap().cwnd_bytes < 10_000);
}

/// A D-SACK, or, of a peer without, a duplicate ACK: original and probe both arrived.
//= RFC 8985 section 7.4.2
#[test]
fn a_probe_that_repaired_nothing_is_no_congestion() {
    for dsack in [&[(2000u32, 3000u32)][..], &[]] {
        let (mut h, mut p, id) = open(sacked());
        h.write(id, &[1; 3000]);
        h.run(25 * MS);
        h.ack(&mut p, 3000);
        h.write(id, &[1; 1000]);
        h.sack(&mut p, 3000, dsack);
        h.run(10 * MS);
        h.ack(&mut p, 4000);
        assert_eq!(ssthresh(&h, id), u32::MAX, "{dsack:?}");
    }
}

/// New data sent while RACK waits does not stop its timer.
//= RFC 8985 section 6.2
#[test]
fn the_reordering_timer_survives_new_data() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 2000]);
    let start = h.now.0;
    h.run(MS);
    h.write(id, &[2; 1000]);
    h.run(10 * MS);
    h.sack(&mut p, 0, &[(2000, 3000)]);
    let mut out = h.write(id, &[3; 1000]);
    assert_eq!(timed(&p, start, &out), [(11, 3000)]);
    out = h.run(50 * MS);
    assert_eq!(timed(&p, start, &out), [(12, 0)]);
}

/// The timer begins recovery: one segment leaves, the rest as ACKs come (no burst of all that is lost).
//= RFC 9937 section 6.2
#[test]
fn recovery_by_the_reordering_timer_is_paced() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 9000]);
    h.run(MS);
    h.write(id, &[2; 1000]);
    h.run(10 * MS);
    h.sack(&mut p, 0, &[(9000, 10_000)]);
    let out = h.run(5 * MS);
    assert_eq!(p.data(&out), [(0, 1000)], "lost are nine");
    assert_eq!(h.sack_data(&mut p, 1000, &[(9000, 10_000)]), [(1000, 1000), (2000, 1000)], "slow start");
}

/// After a timeout only the first segment and what was sent long enough ago are lost.
//= RFC 8985 section 6.3
#[test]
fn a_timeout_leaves_recent_segments_alone() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 10_000]);
    let start = h.now.0;
    h.run(10 * MS);
    h.sack(&mut p, 0, &[(1000, 10_000)]);
    // The retransmission is lost, too; new data leaves 5 ms before the timer.
    h.run(205 * MS);
    let mut out = h.write(id, &[2; 1000]);
    out.extend(h.run(9 * MS));
    assert_eq!(timed(&p, start, &out), [(215, 10_000), (220, 0)]);
    let info = h.stack.info(id).unwrap();
    assert_eq!((info.in_flight_bytes, info.cwnd_bytes), (2000, 1000), "the head again, and the new one");
}

/// What had been SACKed is forgotten at a timeout, and known again by the next SACK.
//= RFC 2018 section 8
#[test]
fn the_scoreboard_is_forgotten_at_a_timeout() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 10_000]);
    h.run(10 * MS);
    h.sack(&mut p, 0, &[(1000, 5000), (6000, 10_000)]);
    let out = h.run(300 * MS);
    assert!(p.data(&out).contains(&(0, 1000)));
    let out = h.sack(&mut p, 1000, &[(6000, 10_000)]);
    assert_eq!(p.data(&out), [(1000, 1000), (2000, 1000)], "the peer says no more that it has them");
    let out = h.sack(&mut p, 5000, &[(6000, 10_000)]);
    assert_eq!(p.data(&out), [(5000, 1000)], "what it says it has is not sent");
}

/// Step 2: duplicate ACKs of what was sent before the timeout start no fast retransmit.
//= RFC 6582 section 3.2
#[test]
fn no_fast_retransmit_for_what_a_timeout_repairs() {
    let (mut h, mut p, id) = open(Opts::default());
    h.write(id, &[1; 10_000]);
    h.run(250 * MS);
    h.ack(&mut p, 10_000);
    let before = ssthresh(&h, id);
    h.write(id, &[1; 10_000]);
    for _ in 0..4 {
        h.ack(&mut p, 10_000);
    }
    assert_eq!((ssthresh(&h, id), h.stack.tcp_counters().retransmits), (before, 1));
}

/// Step 5: each partial ACK sends what it stops at, at once, and the window does not grow by what duplicates had counted.
//= RFC 6582 section 3.2
#[test]
fn partial_acks_send_one_hole_each() {
    let (mut h, mut p, id) = open(Opts::default());
    h.write(id, &[1; 10_000]);
    for _ in 0..3 {
        h.ack(&mut p, 0);
    }
    for off in [3000, 5000, 8000] {
        assert_eq!(h.ack_data(&mut p, off), [(off, 1000)]);
    }
    assert!(h.ack(&mut p, 10_000).is_empty());
    assert_eq!(h.stack.counters().tcp_timeouts, 0);
}

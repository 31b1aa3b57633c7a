use super::*;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

/// A bottleneck with a queue, in steps of a sixteenth of the round trip.
struct Path {
    bw: f64,
    rtt: u64,
    queue: f64,
    /// Bytes that the queue holds; more are lost.
    limit: f64,
    /// (bytes, C.delivered and in flight when they were sent), one a step.
    flying: VecDeque<(f64, u64, f64)>,
}

struct Flow {
    b: Bbr,
    cwnd: u32,
    now: u64,
    delivered: u64,
    /// (phase, when it began)
    log: Vec<(Phase, u64)>,
}

const SMSS: u32 = 1000;

fn flow(min_rtt: u64) -> Flow {
    let start = Start { now: Instant(SEC), min_rtt, srtt: min_rtt, seed: 7 };
    let b = Bbr::new(10 * SMSS, SMSS, &start);
    Flow { b, cwnd: 10 * SMSS, now: SEC, delivered: 0, log: vec![(Phase::Startup, SEC)] }
}

impl Flow {
    /// A step of a sender that always has data.
    fn tick(&mut self, p: &mut Path) {
        let step = p.rtt / 16;
        let secs = step as f64 / SEC as f64;
        self.now += step;
        let (acked, prior, in_flight) =
            if p.flying.len() >= 16 { p.flying.pop_front().unwrap() } else { (0.0, 0, 0.0) };
        self.delivered += acked as u64;
        let pipe = p.flying.iter().map(|f| f.0).sum::<f64>() + p.queue;
        let room = (self.cwnd as f64 - pipe).max(0.0);
        let paced = self.b.pacing_rate * secs;
        let sent = paced.min(room);
        p.queue += sent;
        let served = p.queue.min(p.bw * secs);
        p.queue -= served;
        let lost = (p.queue - p.limit).max(0.0);
        p.queue -= lost;
        let rtt = p.rtt + (p.queue / p.bw * SEC as f64) as u64;
        p.flying.push_back((served, self.delivered, pipe + sent));
        if acked == 0.0 {
            return;
        }
        let delivered = self.delivered - prior;
        let sample = RateSample {
            rate: delivered as f64 / (16.0 * secs),
            delivered,
            prior_delivered: Some(prior),
            tx_in_flight: in_flight as u32,
            lost: lost as u64,
            newly_acked: acked as u32,
            newly_lost: lost as u32,
            too_high: (lost > pipe * 0.02).then_some((pipe as u32, false)),
            ..RateSample::default()
        };
        let d = Delivered {
            sample,
            now: Instant(self.now),
            rtt: Some(rtt),
            pipe: (pipe + sent) as u32,
            delivered: self.delivered,
            limited: room < paced,
            recovering: lost > 0.0,
        };
        self.cwnd = self.b.on_ack(self.cwnd, &d).0;
        if self.log.last().unwrap().0 != self.b.phase {
            self.log.push((self.b.phase, self.now));
        }
    }

    fn run(&mut self, p: &mut Path, ns: u64) {
        let end = self.now + ns;
        while self.now < end {
            self.tick(p);
        }
    }
}

fn path(bw: f64, rtt: u64) -> Path {
    Path { bw, rtt, queue: 0.0, limit: f64::INFINITY, flying: VecDeque::new() }
}

#[test]
fn finds_the_bandwidth_and_then_cycles() {
    let mut p = path(12_500_000.0, 40 * MS);
    let mut f = flow(40 * MS);
    f.run(&mut p, 20 * SEC);
    assert!((f.b.bw / p.bw - 1.0).abs() < 0.02, "{} of {}", f.b.bw, p.bw);
    assert_eq!(f.b.min_rtt(), 40 * MS);
    let phases: Vec<Phase> = f.log.iter().map(|l| l.0).collect();
    assert_eq!(phases[..2], [Phase::Startup, Phase::Drain]);
    // The doubling takes as many rounds as it must: 6 from 10 segments to 500, 3 to be sure, the queue's own.
    assert!(f.log[1].1 - SEC < 16 * 40 * MS, "{:?}", f.log[1]);
    // Each probe is preceded by its round of refilling and followed by going down.
    for w in phases.windows(2) {
        match w[0] {
            Phase::ProbeBwRefill => assert_eq!(w[1], Phase::ProbeBwUp),
            Phase::ProbeBwUp => assert_eq!(w[1], Phase::ProbeBwDown),
            _ => {}
        }
    }
    let probes: Vec<u64> = f.log.iter().filter(|l| l.0 == Phase::ProbeBwUp).map(|l| l.1).collect();
    assert!(probes.len() >= 4, "{:?}", f.log);
    // 2 to 3 s, and anew after a probe for the RTT in between.
    assert!(probes.windows(2).all(|w| (2 * SEC..=6 * SEC).contains(&(w[1] - w[0]))), "{probes:?}");
}

#[test]
fn probes_the_rtt_every_five_seconds_for_200_ms() {
    let mut p = path(12_500_000.0, 40 * MS);
    let mut f = flow(40 * MS);
    // A standing queue that is not ours: the smallest RTT is never seen again by chance.
    f.run(&mut p, 3 * SEC);
    p.rtt = 45 * MS;
    f.run(&mut p, 27 * SEC);
    let at: Vec<u64> = f.log.iter().filter(|l| l.0 == Phase::ProbeRtt).map(|l| l.1).collect();
    assert!((3..=6).contains(&at.len()), "{:?}", f.log);
    for (i, l) in f.log.iter().enumerate().filter(|(_, l)| l.0 == Phase::ProbeRtt) {
        let Some(next) = f.log.get(i + 1) else { continue };
        assert!((200 * MS..500 * MS).contains(&(next.1 - l.1)), "{} ms", (next.1 - l.1) / MS);
        assert_eq!(next.0, Phase::ProbeBwCruise);
    }
    assert_eq!(f.b.min_rtt(), 45 * MS, "after 10 s the old minimum is forgotten");
}

#[test]
fn a_shallow_buffer_bounds_what_is_in_flight() {
    let mut p = path(12_500_000.0, 40 * MS);
    p.limit = 50_000.0;
    let mut f = flow(40 * MS);
    f.run(&mut p, 10 * SEC);
    let bdp = 500_000;
    assert!(f.b.inflight_longterm < 2 * bdp, "inflight_longterm {}", f.b.inflight_longterm);
    assert!(f.b.inflight_longterm > bdp / 2);
    assert!(f.b.bw > 0.9 * p.bw, "{}", f.b.bw);
    assert!(f.log.iter().any(|l| l.0 == Phase::ProbeBwCruise));
}

#[test]
fn a_round_with_losses_lowers_the_short_term_bounds_until_the_next_probe() {
    let mut p = path(12_500_000.0, 40 * MS);
    let mut f = flow(40 * MS);
    while f.b.phase != Phase::ProbeBwCruise {
        f.tick(&mut p);
    }
    assert_eq!(f.b.inflight_shortterm, INFINITE);
    let before = f.b.clone();
    f.b.on_congestion();
    f.run(&mut p, 80 * MS);
    assert!(f.b.inflight_shortterm < INFINITE && f.b.bw_shortterm.is_finite());
    let mut undone = f.b.clone();
    undone.on_spurious(&before);
    assert_eq!(undone.inflight_shortterm, INFINITE);
    while f.b.phase != Phase::ProbeBwRefill {
        f.tick(&mut p);
    }
    assert_eq!(f.b.inflight_shortterm, INFINITE);
}

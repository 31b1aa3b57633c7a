//! Congestion control over a bottleneck, in virtual time: long paths, random loss, drop-tail queues.

mod support;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use linerate_net::{FlowId, Instant, Stack, TcpConfig};
use linerate_tcp::cc::CcKind;
use support::{Rng, addr, deliver, stack};

const MS: u64 = 1_000_000;
const SEC: u64 = 1_000_000_000;

/// A path: one bottleneck each way, the same both ways.
#[derive(Clone, Copy)]
struct Path {
    rate_bps: u64,
    /// There and back, without queueing.
    rtt_ns: u64,
    /// What the drop-tail queue holds.
    queue_bytes: u64,
    /// Data packets lost, of a million.
    loss_ppm: u64,
}

/// One direction: (leaves the bottleneck at, bytes) queued, what is on the wire.
#[derive(Default)]
struct Way {
    queue: VecDeque<(u64, u64)>,
    queued: u64,
    wire: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>>,
    sent: u64,
}

struct Line {
    path: Path,
    ends: [Stack; 2],
    ways: [Way; 2],
    now: Instant,
    rng: Rng,
    dropped: u64,
    lost: u64,
}

impl Line {
    fn new(seed: u64, path: Path, frames: u32, cfg: &TcpConfig) -> Self {
        Self {
            path,
            ends: [stack(0, frames, cfg.clone(), seed), stack(1, frames, cfg.clone(), seed + 1)],
            ways: Default::default(),
            now: Instant(SEC),
            rng: Rng(seed),
            dropped: 0,
            lost: 0,
        }
    }

    fn put(&mut self, from: usize, bytes: Vec<u8>) {
        let (way, now, len) = (&mut self.ways[from], self.now.0, bytes.len() as u64);
        while way.queue.front().is_some_and(|q| q.0 <= now) {
            way.queued -= way.queue.pop_front().unwrap().1;
        }
        if way.queued > 0 && way.queued + len > self.path.queue_bytes {
            self.dropped += 1;
            return;
        }
        let left = way.queue.back().map_or(now, |q| q.0) + len * 8 * SEC / self.path.rate_bps;
        way.queue.push_back((left, len));
        way.queued += len;
        if len > 200 && self.rng.below(1_000_000) < self.path.loss_ppm {
            self.lost += 1;
            return;
        }
        way.sent += 1;
        way.wire.push(Reverse((left + self.path.rtt_ns / 2, way.sent, bytes)));
    }

    fn flush(&mut self, i: usize) {
        loop {
            let s = &mut self.ends[i];
            s.on_timers(self.now);
            s.output(self.now);
            let mut sent = Vec::new();
            let (pool, batch) = s.pool_and_batch();
            while let Some(tx) = batch.pop() {
                sent.push(pool.tx_bytes(&tx).to_vec());
                assert!(pool.complete(tx.into_index()));
            }
            if sent.is_empty() {
                return;
            }
            for bytes in sent {
                self.put(i, bytes);
            }
        }
    }

    /// The next thing that happens.
    fn step(&mut self) {
        let wire = self.ways.iter().filter_map(|w| w.wire.peek().map(|p| p.0.0));
        let timers = self.ends.iter().filter_map(|s| s.next_deadline().map(|t| t.0));
        let next = wire.chain(timers).min().expect("something is always under way");
        self.now = Instant(next.max(self.now.0));
        for from in 0..2 {
            while self.ways[from].wire.peek().is_some_and(|p| p.0.0 <= self.now.0) {
                let Reverse((_, _, bytes)) = self.ways[from].wire.pop().unwrap();
                deliver(&mut self.ends[1 - from], &bytes, self.now);
            }
        }
    }
}

/// A connection from stack 0 to stack 1 that always has something to send.
struct Bulk {
    from: FlowId,
    to: Option<FlowId>,
    got: u64,
}

/// Flows of these kinds, which begin `gap_ns` after each other; bytes that each delivered from `from_ns` to `to_ns` after
/// the start of the first.
fn run(path: Path, kinds: &[CcKind], gap_ns: u64, seed: u64, from_ns: u64, to_ns: u64) -> (Vec<f64>, Line) {
    let bdp = path.rate_bps / 8 * path.rtt_ns / SEC;
    let buf = (4 * (bdp + path.queue_bytes.min(2 * bdp))).max(1 << 20) as u32;
    let cfg = TcpConfig {
        rcv_buf_bytes: buf,
        rcv_buf_max_bytes: 0,
        snd_buf_bytes: buf,
        snd_buf_max_bytes: 0,
        ..TcpConfig::default()
    };
    run_with(path, &cfg, kinds.len() as u32 * buf / 700 + 4096, kinds, gap_ns, seed, from_ns, to_ns)
}

#[allow(clippy::too_many_arguments)]
fn run_with(
    path: Path,
    cfg: &TcpConfig,
    frames: u32,
    kinds: &[CcKind],
    gap_ns: u64,
    seed: u64,
    from_ns: u64,
    to_ns: u64,
) -> (Vec<f64>, Line) {
    let mut line = Line::new(seed, path, frames, cfg);
    let listener = line.ends[1].listen(None, 80, 16).unwrap();
    let zeros = vec![0; 64 << 10];
    let start = line.now.0;
    let mut flows: Vec<Bulk> = Vec::new();
    let mut before = vec![0; kinds.len()];
    loop {
        let at = line.now.0 - start;
        if at >= from_ns && before.iter().all(|b| *b == 0) {
            before = (0..kinds.len()).map(|i| flows.get(i).map_or(0, |f| f.got)).collect();
        }
        if at >= to_ns {
            break;
        }
        if flows.len() < kinds.len() && at >= flows.len() as u64 * gap_ns {
            let from = line.ends[0].connect(addr(1, false), 80, line.now).unwrap();
            line.ends[0].configure(from, |c| c.cc = kinds[flows.len()]);
            flows.push(Bulk { from, to: None, got: 0 });
        }
        while let Some(id) = line.ends[1].accept(listener) {
            let flow = flows.iter_mut().find(|f| {
                let (a, b) = (line.ends[0].flow_key(f.from).unwrap(), line.ends[1].flow_key(id).unwrap());
                a.local_port == b.remote_port
            });
            flow.unwrap().to = Some(id);
        }
        for f in &mut flows {
            while line.ends[0].write(f.from, &zeros) > 0 {}
            let Some(to) = f.to else { continue };
            let n = line.ends[1].readable(to);
            line.ends[1].consume(to, n);
            f.got += n as u64;
        }
        while line.ends[0].next_ready().is_some() || line.ends[1].next_ready().is_some() {}
        line.flush(0);
        line.flush(1);
        line.step();
        if std::env::var("TRACE").is_ok() && at / SEC != (line.now.0 - start) / SEC {
            for f in &flows {
                let i = line.ends[0].info(f.from).unwrap();
                eprintln!("{:3} s got {:6.1} MB {i:?}", at / SEC, f.got as f64 / 1e6);
            }
        }
    }
    let secs = (to_ns - from_ns) as f64 / SEC as f64;
    let mbps = flows.iter().zip(before).map(|(f, b)| (f.got - b) as f64 * 8.0 / 1e6 / secs).collect();
    (mbps, line)
}

const GIGABIT: Path =
    Path { rate_bps: 1_000_000_000, rtt_ns: 100 * MS, queue_bytes: 12_500_000, loss_ppm: 0 };

/// CUBIC as RFC 9438 section 4 defines it, a window an RTT, each segment lost with probability `p`: the average window
/// in segments. (Equation 6 of section 5.1 is for losses that are evenly spread, which random ones are not; and it has
/// neither Reno-friendly region nor fast convergence.)
fn cubic_window(p: f64, rtt: f64) -> f64 {
    let (c, beta) = (0.4f64, 0.7f64);
    let mut rng = Rng(1);
    let (mut w, mut w_max, mut prior, mut k, mut w_est, mut t) = (100.0f64, 0.0, 0.0, 0.0, 0.0, -1.0);
    let (mut sum, mut rounds) = (0.0, 0);
    while rounds < 500_000 {
        if t < 0.0 {
            k = if w_max > w { ((w_max - w) / c).cbrt() } else { 0.0 };
            w_max = w_max.max(w);
            (w_est, t) = (w, 0.0);
        }
        (sum, rounds) = (sum + w, rounds + 1);
        if (rng.below(1 << 40) as f64 / (1u64 << 40) as f64) < 1.0 - (1.0 - p).powf(w) {
            prior = w;
            w_max = if w < w_max { w * (1.0 + beta) / 2.0 } else { w };
            w = (w * beta).max(2.0);
            t = -1.0;
            // The round in which it is repaired.
            (sum, rounds) = (sum + w, rounds + 1);
            continue;
        }
        t += rtt;
        w_est += if w_est >= prior { 1.0 } else { 3.0 * (1.0 - beta) / (1.0 + beta) };
        let cubic = |t: f64| c * (t - k).powi(3) + w_max;
        w = if cubic(t) < w_est { w.max(w_est) } else { cubic(t + rtt).clamp(w, 1.5 * w) };
    }
    sum / rounds as f64
}

/// Mbit/s of payload that a window of so many segments gives.
fn window_mbps(segments: f64, rtt: f64) -> f64 {
    segments * 1448.0 * 8.0 / rtt / 1e6
}

const HUNDRED_MBIT: Path = Path { rate_bps: 100_000_000, queue_bytes: 1_250_000, ..GIGABIT };

//= RFC 9438 section 5.1
#[test]
fn cubic_has_the_response_function_of_its_rfc() {
    let path = Path { loss_ppm: 1000, ..HUNDRED_MBIT };
    let mean =
        (1..=9).map(|seed| run(path, &[CcKind::Cubic], 0, seed, 20 * SEC, 220 * SEC).0[0]).sum::<f64>() / 9.0;
    let expected = window_mbps(cubic_window(1e-3, 0.1), 0.1);
    assert!((mean / expected - 1.0).abs() < 0.1, "{mean:.2} Mbit/s, the RFC's functions {expected:.2}");
}

#[test]
fn bbr_fills_a_long_lossy_path() {
    let path = Path { loss_ppm: 1000, ..HUNDRED_MBIT };
    let (mbps, _) = run(path, &[CcKind::Bbr], 0, 1, 3 * SEC, 13 * SEC);
    assert!(mbps[0] > 85.0, "{mbps:?} Mbit/s of 100");
}

#[test]
fn cubic_fills_a_path_without_losses() {
    let (mbps, line) = run(HUNDRED_MBIT, &[CcKind::Cubic], 0, 1, 3 * SEC, 13 * SEC);
    assert!(mbps[0] > 85.0, "{mbps:?} Mbit/s of 100, {} dropped", line.dropped);
}

/// Two flows of one kind, the second 2 s later, share alike.
#[test]
fn equal_flows_share_alike() {
    let path = Path { rate_bps: 50_000_000, rtt_ns: 40 * MS, queue_bytes: 250_000, loss_ppm: 0 };
    for (kind, least) in [(CcKind::Cubic, 0.9), (CcKind::NewReno, 0.9), (CcKind::Bbr, 0.8)] {
        let (mbps, _) = run(path, &[kind, kind], 2 * SEC, 1, 10 * SEC, 40 * SEC);
        let (sum, squares) = (mbps.iter().sum::<f64>(), mbps.iter().map(|m| m * m).sum::<f64>());
        let jain = sum * sum / (2.0 * squares);
        assert!(jain >= least && sum > 40.0, "{kind:?}: {mbps:?}, Jain {jain:.3}");
    }
}

/// With `TABLE` set, prints who gets what beside whom (stack/tcp/README.md).
#[test]
fn slow_fairness() {
    if std::env::var("TABLE").is_err() {
        return;
    }
    for bdps in [0.5, 1.0, 4.0] {
        let path = Path {
            rate_bps: 50_000_000,
            rtt_ns: 40 * MS,
            queue_bytes: (250_000.0 * bdps) as u64,
            loss_ppm: 0,
        };
        for kinds in [
            [CcKind::Cubic, CcKind::Cubic],
            [CcKind::Bbr, CcKind::Bbr],
            [CcKind::Cubic, CcKind::Bbr],
            [CcKind::Cubic, CcKind::NewReno],
        ] {
            let (mbps, line) = run(path, &kinds, 2 * SEC, 1, 30 * SEC, 90 * SEC);
            println!("queue {bdps} BDP, {kinds:?}: {mbps:.1?} Mbit/s, {} dropped", line.dropped);
        }
    }
}

/// With `TABLE` set, prints the table of stack/tcp/README.md (minutes). `CC`, `LOSS_PPM`, `SECS`: only that part of it.
#[test]
fn slow_table() {
    let var = |name: &str| std::env::var(name).ok();
    if var("TABLE").is_none() {
        return;
    }
    let secs = var("SECS").map_or(60, |s| s.parse().unwrap());
    let queue_bytes = var("QUEUE").map_or(GIGABIT.queue_bytes, |s| s.parse().unwrap());
    for kind in [CcKind::Cubic, CcKind::NewReno, CcKind::Bbr] {
        if var("CC").is_some_and(|k| CcKind::from_name(&k) != Some(kind)) {
            continue;
        }
        for loss_ppm in [0, 100, 1_000, 10_000] {
            if var("LOSS_PPM").is_some_and(|l| l.parse() != Ok(loss_ppm)) {
                continue;
            }
            let path = Path { loss_ppm, queue_bytes, ..GIGABIT };
            let (mbps, line) = run(path, &[kind], 0, 1, 10 * SEC, secs * SEC);
            println!("{} loss {loss_ppm} ppm: {mbps:.1?} Mbit/s, {} dropped", kind.name(), line.dropped);
        }
    }
}

/// One flow at 1 Gbit/s over 100 ms with buffers that begin at 128 and 256 KiB: they grow to what the path needs.
#[test]
fn buffers_grow_to_a_long_fat_path() {
    let cfg = TcpConfig::default();
    let (mbps, line) = run_with(GIGABIT, &cfg, 65_536, &[CcKind::Cubic], 0, 5, 5 * SEC, 8 * SEC);
    assert!(mbps[0] >= 900.0, "{mbps:?} Mbit/s, {} dropped", line.dropped);
}

/// 10 Mbit/s over 20 ms: the bandwidth-delay product is 25 KB, and the buffers stay near their beginning.
#[test]
fn buffers_stay_small_on_a_slow_path() {
    let cfg = TcpConfig::default();
    let path = Path { rate_bps: 10_000_000, rtt_ns: 20 * MS, queue_bytes: 50_000, loss_ppm: 0 };
    let (mbps, mut line) = run_with(path, &cfg, 8_192, &[CcKind::Cubic], 0, 6, 5 * SEC, 10 * SEC);
    assert!(mbps[0] >= 9.0, "{mbps:?}");
    let held = line.ends.each_mut().map(|e| e.frames_held());
    assert!(held[0] <= 400 && held[1] <= 100, "frames held: {held:?}");
}

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
    let cfg = TcpConfig { rcv_buf_bytes: buf, snd_buf_bytes: buf, ..TcpConfig::default() };
    let mut line = Line::new(seed, path, kinds.len() as u32 * buf / 700 + 4096, &cfg);
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

//! What the rings and a veth pair do on this machine.
//!
//! ```text
//! cargo run --release -p linerate-port --example xsk_speed
//! ```
//!
//! The veth part needs root; it works in a network namespace of its own.

use std::hint::black_box;
use std::time::{Duration, Instant};

use linerate_frame::{Batch, Burst, Frame, Pool, RxCsum};
use linerate_port::af_xdp::{Xsk, XskConfig};
use linerate_port::ring::{CompletionRing, Desc, FillRing, RxRing, TxRing, memory_pair};
use linerate_port::{Caps, Port, Umem, UmemConfig};

#[path = "../tests/port/support/mod.rs"]
mod support;

const BURST: u32 = 64;
/// Bursts between two looks at the clock, which costs as much as thirty descriptors.
const BURSTS: u32 = 16;
const ROUNDS: u32 = 10_000;

/// The best of five: other work on the machine only ever adds.
fn ns_per_desc(what: &str, mut round: impl FnMut() -> Duration) {
    let best = (0..5).map(|_| (0..ROUNDS).map(|_| round()).sum::<Duration>()).min().unwrap_or_default();
    println!("{what:<40} {:5.2} ns", best.as_nanos() as f64 / f64::from(ROUNDS * BURSTS * BURST));
}

fn clock_cost() -> Duration {
    let t = Instant::now();
    for _ in 0..10_000 {
        black_box(Instant::now());
    }
    t.elapsed() / 10_000
}

fn timed(clock: Duration, mut burst: impl FnMut()) -> Duration {
    let t = Instant::now();
    (0..BURSTS).for_each(|_| burst());
    t.elapsed().saturating_sub(clock)
}

fn rings() {
    let clock = clock_cost();
    let (mut kernel, rx) = memory_pair::<Desc>(2048);
    let mut rx = RxRing::new(rx);
    ns_per_desc("rx ring: ready, take, release", || {
        for i in 0..kernel.usable(BURSTS * BURST) {
            kernel.put(Desc { addr: u64::from(i) * 2048, len: 60, options: 0 });
        }
        kernel.publish();
        timed(clock, || {
            for _ in 0..rx.ready(BURST) {
                black_box(rx.take());
            }
            rx.release();
        })
    });
    let (tx, mut kernel) = memory_pair::<Desc>(2048);
    let mut tx = TxRing::new(tx);
    ns_per_desc("tx ring: room, put, publish", || {
        let took = timed(clock, || {
            for i in 0..tx.room(BURST) {
                tx.put(u64::from(i) * 2048, 60);
            }
            tx.publish();
        });
        for _ in 0..kernel.usable(BURSTS * BURST) {
            black_box(kernel.take());
        }
        kernel.publish();
        took
    });
    let (fill, mut kernel) = memory_pair::<u64>(2048);
    let mut fill = FillRing::new(fill);
    ns_per_desc("fill ring: room, put, publish", || {
        let took = timed(clock, || {
            for i in 0..fill.room(BURST) {
                fill.put(u64::from(i) * 2048);
            }
            fill.publish();
        });
        for _ in 0..kernel.usable(BURSTS * BURST) {
            black_box(kernel.take());
        }
        kernel.publish();
        took
    });
    let (mut kernel, done) = memory_pair::<u64>(2048);
    let mut done = CompletionRing::new(done);
    ns_per_desc("completion ring: ready, take, release", || {
        for i in 0..kernel.usable(BURSTS * BURST) {
            kernel.put(u64::from(i) * 2048);
        }
        kernel.publish();
        timed(clock, || {
            for _ in 0..done.ready(BURST) {
                black_box(done.take());
            }
            done.release();
        })
    });
}

struct End {
    xsk: Xsk,
    pool: Pool,
}

fn open(ifindex: u32) -> End {
    let umem = UmemConfig { frames: 16_384, chunk_bytes: 2048, hugepages: false };
    let umem = Umem::new(&umem).expect("memory");
    let caps = Caps::ethernet(1500, [2, 0, 0, 0, 0, 1], RxCsum::MaybePartial);
    let xsk = Xsk::open(&umem, &XskConfig::new(ifindex, 0, caps), None).unwrap_or_else(|e| panic!("{e}"));
    End { xsk, pool: Pool::new(umem.region().clone()) }
}

/// Frames of `len` bytes, kept and lent again and again, so that only the port is measured.
fn frames(end: &mut End, n: usize, len: usize) -> Vec<Frame> {
    let mut made = Vec::new();
    for _ in 0..n {
        let mut f = end.pool.alloc().expect("a frame");
        if let Some(chunk) = end.pool.writable(&mut f) {
            chunk[128..142].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
        }
        end.pool.set_range(&mut f, 128, len);
        made.push(f);
    }
    made
}

fn send(end: &mut End, frames: &[Frame], batch: &mut Batch) {
    for f in frames {
        if let Some(tx) = end.pool.lend(f, f.start(), f.len()) {
            batch.push(tx);
        }
    }
    end.xsk.tx_burst(&mut end.pool, batch);
    end.xsk.wake().unwrap_or_else(|e| panic!("{e}"));
    end.xsk.reap(&mut end.pool);
}

fn veth(len: usize) {
    support::netns::with_veth(1, 1500, |a, b| {
        let redirect =
            support::sys::Redirect::attach(b, 1, support::sys::XDP_FLAGS_DRV_MODE).expect("XDP program");
        let (mut a, mut b) = (open(a), open(b));
        let lent = frames(&mut a, BURST as usize, len);
        let mut batch = Batch::default();
        let second = Duration::from_secs(1);

        let t = Instant::now();
        while t.elapsed() < second {
            send(&mut a, &lent, &mut batch);
        }
        let s = a.xsk.stats();
        let mpps = s.tx_packets as f64 / t.elapsed().as_secs_f64() / 1e6;
        let per_call = s.tx_packets as f64 / s.wakeups as f64;
        println!("veth tx {len:>4} B, peer drops: {mpps:.2} Mpps, {per_call:.0} packets a system call");

        redirect.set(0, b.xsk.as_fd()).expect("XSKMAP");
        b.xsk.refill(&mut b.pool);
        let (mut burst, mut user) = (Burst::default(), Duration::ZERO);
        let (t, clock, before) = (Instant::now(), clock_cost(), a.xsk.stats().tx_packets);
        while t.elapsed() < second {
            send(&mut a, &lent, &mut batch);
            let r = Instant::now();
            b.xsk.rx_burst(&mut b.pool, &mut burst);
            burst.drain().for_each(|f| b.pool.free(f));
            b.xsk.refill(&mut b.pool);
            user += r.elapsed().saturating_sub(clock);
        }
        let (rx, tx) = (b.xsk.stats(), a.xsk.stats().tx_packets - before);
        let mpps = rx.rx_packets as f64 / t.elapsed().as_secs_f64() / 1e6;
        let ns = user.as_nanos() as f64 / rx.rx_packets as f64;
        println!(
            "veth tx -> rx {len:>4} B, both on one core: {mpps:.2} Mpps, {} of {tx} lost; rx_burst + free + refill \
             {ns:.1} ns a packet",
            tx - rx.rx_packets.min(tx)
        );
        lent.into_iter().for_each(|f| a.pool.free(f));
        a.xsk.close(&mut a.pool);
        b.xsk.close(&mut b.pool);
        assert!(a.pool.ledger().is_home() && b.pool.ledger().is_home(), "frames lost");
    });
}

fn main() {
    println!(
        "per descriptor, bursts of {BURST}, rings of 2048 on memory, best of 5 x {} M:",
        ROUNDS * BURSTS * BURST / 1_000_000
    );
    rings();
    veth(60);
    veth(1514);
}

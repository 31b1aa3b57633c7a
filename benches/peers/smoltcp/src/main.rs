//! linerate beside smoltcp: the same workloads in the same process, rounds interleaved; medians and their ratios.

#![forbid(unsafe_code)]

mod smol;

use std::time::Instant;

use linerate_benches::figures::median;
use linerate_benches::workload::BULK_BUFFER_BYTES;
use linerate_benches::{Contender, Pair};
use linerate_net::TcpConfig;
use smol::Smoltcp;

const BULK_BYTES: u64 = 256 << 20;

struct Row {
    what: &'static str,
    unit: &'static str,
    /// Units a round of each contender does (ours, theirs), what a second of them is called, and the bar.
    work: [f64; 2],
    bar: f64,
}

fn ours(conns: usize) -> Pair {
    let cfg = TcpConfig {
        rcv_buf_bytes: BULK_BUFFER_BYTES as u32,
        rcv_buf_max_bytes: 0,
        snd_buf_bytes: BULK_BUFFER_BYTES as u32,
        snd_buf_max_bytes: 0,
        nodelay: true,
        ..TcpConfig::default()
    };
    let mut pair = Pair::new(8192, cfg);
    pair.open(conns);
    pair
}

fn theirs(conns: usize, buffer_bytes: usize) -> Smoltcp {
    let mut pair = Smoltcp::new(buffer_bytes);
    pair.open(conns);
    pair
}

/// Runs both in turn, `rounds` times after one that does not count, and prints a line.
fn compare(
    rounds: usize,
    row: &Row,
    mut a: impl Contender,
    mut b: impl Contender,
    run: impl Fn(&mut dyn Contender, u64),
) -> bool {
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        let mut timed = |i: usize, c: &mut dyn Contender| {
            let start = Instant::now();
            run(c, row.work[i] as u64);
            if round > 0 {
                rates[i].push(row.work[i] / start.elapsed().as_secs_f64());
            }
        };
        // Each goes first as often as second.
        if round % 2 == 0 {
            timed(0, &mut a);
            timed(1, &mut b);
        } else {
            timed(1, &mut b);
            timed(0, &mut a);
        }
    }
    let ratios: Vec<f64> = rates[0].iter().zip(&rates[1]).map(|(a, b)| a / b).collect();
    let spread = |r: &[f64]| {
        let (lo, hi) = (r.iter().copied().fold(f64::MAX, f64::min), r.iter().copied().fold(0.0, f64::max));
        format!("{:.3e}..{:.3e}", lo, hi)
    };
    let ratio = median(&ratios);
    println!(
        "{:<44} {:>12} {:>12.4e} {:>12.4e} {:>7.2}x {:>6} {}  ({} | {})",
        row.what,
        row.unit,
        median(&rates[0]),
        median(&rates[1]),
        ratio,
        format!(">={}", row.bar),
        if ratio >= row.bar { "ok" } else { "MISSED" },
        spread(&rates[0]),
        spread(&rates[1]),
    );
    ratio >= row.bar
}

/// Cost of a transaction with 64 connections and with `many`, ours alone: 64 in flight, in turn over all of them.
fn flat(rounds: usize, many: usize) -> bool {
    const N: u64 = 400_000;
    let (mut few, mut all) = (ours(64), ours(many));
    let mut ns = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        let mut timed = |i: usize, c: &mut Pair, over: usize| {
            let start = Instant::now();
            c.exchange(64, over, N);
            if round > 0 {
                ns[i].push(start.elapsed().as_nanos() as f64 / N as f64);
            }
        };
        timed(0, &mut few, 64);
        timed(1, &mut all, 64);
        timed(2, &mut all, many);
    }
    let [few, open, turn] = [0, 1, 2].map(|i| median(&ns[i]));
    let ok = turn / few <= 1.3;
    println!("exchange of 1 B, 64 in flight: {few:.0} ns with 64 connections;");
    println!(
        "  {many} open: {open:.0} ns on 64 of them ({:.2}x), {turn:.0} ns in turn on all ({:.2}x, bar <=1.3x: {})",
        open / few,
        turn / few,
        if ok { "ok" } else { "MISSED" }
    );
    ok
}

fn main() {
    let mut args = std::env::args().skip(1);
    let rounds = args.next().map_or(7, |r| r.parse().expect("a number of rounds"));
    let only = args.next().unwrap_or_default();
    let wanted = |what: &str| what.contains(&only);
    println!("{:<44} {:>12} {:>12} {:>12} {:>8} {:>6}", "", "unit", "linerate", "smoltcp", "ratio", "bar");
    let mut ok = true;
    if wanted("bulk") {
        let row = Row { what: "bulk", unit: "B/s", work: [BULK_BYTES as f64; 2], bar: 1.5 };
        ok &= compare(rounds, &row, ours(1), theirs(1, BULK_BUFFER_BYTES), |c, n| c.bulk(n));
    }
    if wanted("rr1") {
        let row =
            Row { what: "rr1: request-response 1 B, 1 connection", unit: "1/s", work: [400e3; 2], bar: 1.5 };
        ok &= compare(rounds, &row, ours(1), theirs(1, 4096), |c, n| c.exchange(1, 1, n));
    }
    if wanted("rr64") {
        let row = Row {
            what: "rr64: request-response 1 B, 64 connections",
            unit: "1/s",
            work: [400e3; 2],
            bar: 1.5,
        };
        ok &= compare(rounds, &row, ours(64), theirs(64, 4096), |c, n| c.exchange(64, 64, n));
    }
    if wanted("crr1") {
        let row =
            Row { what: "crr1: connect, 1 B, close, 1 at a time", unit: "1/s", work: [100e3; 2], bar: 1.5 };
        ok &= compare(rounds, &row, ours(0), theirs(0, 4096), |c, n| c.connect_close(1, n));
    }
    if wanted("crr64") {
        let row =
            Row { what: "crr64: connect, 1 B, close, 64 at a time", unit: "1/s", work: [100e3; 2], bar: 1.5 };
        ok &= compare(rounds, &row, ours(0), theirs(0, 4096), |c, n| c.connect_close(64, n));
    }
    if wanted("many") {
        let row = Row {
            what: "many: 64 in flight over 1,000 connections",
            unit: "1/s",
            work: [400e3, 4e3],
            bar: 1.5,
        };
        ok &= compare(rounds.min(3), &row, ours(1000), theirs(1000, 4096), |c, n| c.exchange(64, 1000, n));
    }
    if wanted("flat") {
        ok &= flat(rounds, 100_000);
    }
    std::process::exit(!ok as i32);
}

//! A scenario from its seed: anything that a stack may meet, small cases as often as large ones.

use linerate_net::TcpConfig;
use linerate_port::sim::{GilbertElliott, SimConfig};
use linerate_tcp::cc::{CcKind, IdleRestart};
use linerate_tcp::config::{MtuProbing, SynCookies};

use crate::dice::Dice;
use crate::scenario::{Change, EndPlan, FlowPlan, HostPlan, Leave, NoisePlan, Pace, Scenario, When};
use crate::{MS, SEC, US};

/// Bytes that all flows of a scenario send together, at most: keeps a run within some ten thousand packets.
const TOTAL_BYTES_MAX: u64 = 4 << 20;
/// Seconds of the bottleneck's rate that they may fill.
const TOTAL_SECS_MAX: u64 = 30;
/// The queue holds at most this much time at the bottleneck's rate: bufferbloat, but not for ever.
const QUEUE_SECS_MAX: u64 = 3;
/// Packets of a source of noise at most.
const NOISE_PACKETS_MAX: u64 = 20_000;

/// The scenario of `seed`.
pub fn scenario(seed: u64) -> Scenario {
    let mut d = Dice::new(seed);
    let d = &mut d;
    let there = wire(d);
    let back = if d.chance(0.5) { there } else { wire(d) };
    let pairs = if d.chance(0.5) { 1 } else { d.range(2, 4) as usize };
    let slowest = [there, back].iter().map(|w| w.rate_bps).filter(|r| *r > 0).min();
    let total = slowest.map_or(TOTAL_BYTES_MAX, |r| (r / 8 * TOTAL_SECS_MAX).clamp(5_000, TOTAL_BYTES_MAX));
    let flows = match d.range(0, 9) {
        0..4 => 1,
        4..9 => d.range(2, 5),
        _ => d.range(6, 20),
    };
    let bytes = if d.chance(0.5) { d.scaled(1, total) } else { d.range(total / 4, total) };
    let budget = bytes / flows + 1;
    let wires = [there, back];
    Scenario {
        seed,
        wires,
        changes: changes(d, &wires),
        hosts: hosts(d, 2 * pairs),
        flows: (0..flows).map(|_| flow(d, pairs, budget)).collect(),
        noise: noise(d, &wires, 2 * pairs),
        measure_ns: None,
    }
}

fn wire(d: &mut Dice) -> SimConfig {
    let rate_bps = if d.chance(0.2) { 0 } else { d.scaled(100_000, 1_000_000_000) };
    let delay_ns = d.scaled(10 * US, 300 * MS);
    let queue_most = (rate_bps / 8 * QUEUE_SECS_MAX).clamp(6_000, 4 << 20);
    let queue_bytes = if d.chance(0.2) { queue_most } else { d.scaled(3_000, queue_most) };
    let burst = |d: &mut Dice| GilbertElliott {
        good_to_bad: d.pick(&[0.001, 0.01, 0.05]),
        bad_to_good: d.pick(&[0.3, 0.5, 0.8]),
        bad_loss: d.pick(&[0.5, 0.9]),
    };
    SimConfig {
        delay_ns,
        jitter_ns: if d.chance(0.3) { d.scaled(1, 2 * delay_ns) } else { 0 },
        loss: if d.chance(0.5) { 0.0 } else { d.pick(&[0.0001, 0.001, 0.01, 0.03, 0.1, 0.2]) },
        burst_loss: if d.chance(0.15) { Some(burst(d)) } else { None },
        duplicate: if d.chance(0.2) { d.pick(&[0.001, 0.01, 0.1]) } else { 0.0 },
        reorder: if d.chance(0.3) { d.pick(&[0.001, 0.01, 0.1, 0.5]) } else { 0.0 },
        reorder_ns: d.scaled(10 * US, 2 * SEC),
        corrupt: if d.chance(0.15) { d.pick(&[0.0001, 0.001, 0.01]) } else { 0.0 },
        rate_bps,
        queue_bytes,
        queue_pkts: if d.chance(0.1) { d.range(2, 50) as u32 } else { 0 },
        ecn_mark_bytes: if d.chance(0.3) { queue_bytes / d.range(2, 8) } else { 0 },
    }
}

/// The route gets slower for a while, or nothing gets through.
fn changes(d: &mut Dice, wires: &[SimConfig; 2]) -> Vec<Change> {
    let mut all = Vec::new();
    while all.len() < 8 && d.chance(0.25) {
        let way = d.range(0, 1) as usize;
        let from_ns = SEC + d.scaled(MS, 30 * SEC);
        let (to, most_ns) = match d.range(0, 2) {
            0 => (SimConfig { loss: 1.0, ..wires[way] }, 60 * SEC),
            1 => {
                let delay_ns = wires[way].delay_ns + d.scaled(10 * MS, 5 * SEC);
                (SimConfig { delay_ns, ..wires[way] }, 30 * SEC)
            }
            _ => (SimConfig { rate_bps: wires[way].rate_bps / 10, ..wires[way] }, 30 * SEC),
        };
        all.push(Change { at_ns: from_ns, way, to });
        all.push(Change { at_ns: from_ns + d.scaled(MS, most_ns), way, to: wires[way] });
    }
    all.sort_by_key(|c| c.at_ns);
    // The last word is the plan's, so that an outage never stays.
    if let Some(last) = all.last().map(|c| c.at_ns) {
        all.extend([0, 1].map(|way| Change { at_ns: last + SEC, way, to: wires[way] }));
    }
    all
}

fn hosts(d: &mut Dice, n: usize) -> Vec<HostPlan> {
    let same = tcp(d);
    let all_the_same = d.chance(0.5);
    let host = |d: &mut Dice| HostPlan {
        frames: d.scaled(256, 8192) as u32,
        completion_ns: if d.chance(0.3) { d.scaled(US, 10 * MS) } else { 0 },
        access_ns: if d.chance(0.5) { 0 } else { d.scaled(US, 50 * MS) },
        backlog: if d.chance(0.1) { d.range(1, 3) as usize } else { 64 },
        tcp: if all_the_same { same.clone() } else { tcp(d) },
    };
    (0..n).map(|_| host(d)).collect()
}

/// TCP's settings, each option on or off.
fn tcp(d: &mut Dice) -> TcpConfig {
    let buf = |d: &mut Dice| if d.chance(0.5) { 1 << 20 } else { d.scaled(2_000, 4 << 20) as u32 };
    TcpConfig {
        rcv_buf_bytes: buf(d),
        snd_buf_bytes: buf(d),
        timestamps: d.chance(0.8),
        sack: d.chance(0.8),
        window_scaling: d.chance(0.85),
        nodelay: d.chance(0.3),
        cc: d.pick(&[CcKind::Cubic, CcKind::Cubic, CcKind::NewReno, CcKind::Bbr]),
        pacing: d.chance(0.2),
        idle_restart: d.pick(&[IdleRestart::Window, IdleRestart::Decay, IdleRestart::Keep]),
        rto_min_ns: d.pick(&[200 * MS, 200 * MS, SEC]),
        delack_ns: d.pick(&[40 * MS, 40 * MS, MS, 400 * MS]),
        stretch_acks: d.chance(0.7),
        quickack_segs: d.pick(&[16, 16, 0]),
        keepalive: d.chance(0.1),
        keepalive_idle_ns: d.scaled(SEC, 100 * SEC),
        mss_max: if d.chance(0.1) { d.scaled(100, 1460) as u16 } else { 0 },
        window_clamp_bytes: if d.chance(0.05) { d.scaled(2_000, 1 << 20) as u32 } else { 0 },
        cork: d.chance(0.05),
        mtu_probing: d.pick(&[MtuProbing::Off, MtuProbing::OnBlackHole, MtuProbing::Always]),
        syn_cookies: d.pick(&[SynCookies::Auto, SynCookies::Auto, SynCookies::Always]),
        ..TcpConfig::default()
    }
}

fn flow(d: &mut Dice, pairs: usize, budget: u64) -> FlowPlan {
    let (left, right) =
        (d.range(1, pairs as u64) as usize - 1, d.range(1, pairs as u64) as usize - 1 + pairs);
    let mut ends = ends(d, budget);
    for e in &mut ends {
        e.nodelay = d.chance(0.3);
        if d.chance(0.15) && !matches!(e.when, When::Turns { .. }) {
            e.write.most = d.scaled(1, 5_000);
            e.bytes = e.bytes.min(e.write.most * 2_000);
        }
    }
    FlowPlan {
        hosts: if d.chance(0.8) { [left, right] } else { [right, left] },
        ipv6: d.chance(0.4),
        start_ns: SEC + if d.chance(0.5) { 0 } else { d.scaled(US, 5 * SEC) },
        ends,
    }
}

/// What the applications do.
fn ends(d: &mut Dice, budget: u64) -> [EndPlan; 2] {
    let end = EndPlan::default();
    let bulk = EndPlan { bytes: budget, ..end };
    match d.range(0, 8) {
        0 | 1 => [bulk, end],
        2 => [end, bulk],
        3 => [bulk, bulk],
        4 => turns(d, budget),
        5 => slow_reader(d, budget),
        6 => {
            let gap_ns = d.scaled(US, 200 * MS);
            let most = d.scaled(1, 3_000);
            let write = Pace { most, gap_ns };
            [EndPlan { bytes: budget.min(most * d.range(1, 300)), write, ..end }, end]
        }
        7 => [bulk, EndPlan { when: When::AfterEof, ..bulk }],
        _ => {
            let n = d.range(0, budget);
            let leave = if d.chance(0.5) { Leave::AbortAfter(n) } else { Leave::CloseAfter(n) };
            let mut ends = [bulk, bulk];
            ends[d.range(0, 1) as usize].leave = leave;
            ends
        }
    }
}

fn turns(d: &mut Dice, budget: u64) -> [EndPlan; 2] {
    let (asks, answers, rounds) = (d.scaled(1, 3_000), d.scaled(1, 30_000), d.range(1, 100));
    let rounds = rounds.min(budget / (asks + answers) + 1);
    let end = EndPlan::default();
    [
        EndPlan {
            bytes: asks * rounds,
            when: When::Turns { mine: asks, theirs: answers, first: true },
            ..end
        },
        EndPlan {
            bytes: answers * rounds,
            when: When::Turns { mine: answers, theirs: asks, first: false },
            ..end
        },
    ]
}

fn slow_reader(d: &mut Dice, budget: u64) -> [EndPlan; 2] {
    let read = Pace { most: d.scaled(1, 1 << 16), gap_ns: d.scaled(US, SEC) };
    let bytes = budget.min(read.most * d.range(1, 300));
    let mut ends = [EndPlan { bytes, ..EndPlan::default() }, EndPlan { read, ..EndPlan::default() }];
    if d.chance(0.5) {
        ends.reverse();
    }
    ends
}

fn noise(d: &mut Dice, wires: &[SimConfig; 2], hosts: usize) -> Vec<NoisePlan> {
    let mut all = Vec::new();
    while all.len() < 3 && d.chance(0.25) {
        let way = d.range(0, 1) as usize;
        let bytes = d.scaled(64, 1514) as usize;
        // A tenth to four fifths of the bottleneck while it is on; at most 50,000 packets a second.
        let rate_bps = if wires[way].rate_bps == 0 { 10_000_000 } else { wires[way].rate_bps };
        let gap_ns = (bytes as u64 * 8 * SEC / rate_bps * 10 / d.range(1, 8)).max(20 * US);
        let half = hosts as u64 / 2;
        let receivers = if way == 0 { half..hosts as u64 } else { 0..half };
        all.push(NoisePlan {
            way,
            bytes,
            gap_ns,
            on_ns: d.scaled(MS, SEC),
            off_ns: if d.chance(0.3) { 0 } else { d.scaled(MS, 5 * SEC) },
            to: d.chance(0.3).then(|| d.range(receivers.start, receivers.end - 1) as usize),
            ect: d.chance(0.3),
            packets: d.scaled(10, NOISE_PACKETS_MAX),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over some hundred seeds every kind of trouble and of application comes up.
    #[test]
    fn everything_comes_up() {
        let all: Vec<_> = (0..400).map(scenario).collect();
        let with = |f: &dyn Fn(&Scenario) -> bool| all.iter().filter(|s| f(s)).count();
        assert!(with(&|s| s.wires[0].loss > 0.0) > 100);
        assert!(with(&|s| s.wires[0].burst_loss.is_some()) > 20);
        assert!(with(&|s| s.wires[0].reorder > 0.0 && s.wires[0].duplicate > 0.0) > 10);
        assert!(with(&|s| s.wires[0].ecn_mark_bytes > 0) > 50);
        assert!(with(&|s| !s.changes.is_empty()) > 50);
        assert!(with(&|s| !s.noise.is_empty()) > 50);
        assert!(with(&|s| s.flows.len() > 5) > 20);
        assert!(with(&|s| s.flows.iter().any(FlowPlan::is_rough)) > 50);
        assert!(with(&|s| s.flows.iter().any(|f| f.ipv6)) > 100);
        assert!(with(&|s| s.hosts.len() == 8) > 20);
        let sends = |s: &Scenario| s.flows.iter().flat_map(|f| f.ends).map(|e| e.bytes).sum::<u64>();
        assert!(all.iter().all(|s| sends(s) <= 2 * TOTAL_BYTES_MAX + 400_000));
    }
}

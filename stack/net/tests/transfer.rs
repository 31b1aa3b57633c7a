//! Two stacks over a bad wire: every byte arrives, once, in order, and every frame comes home.

mod support;

use linerate_net::{Events, FlowId, Instant, TcpConfig};
use support::{Faults, Net, Rng, addr};

const SEC: u64 = 1_000_000_000;

/// Byte `i` of the stream that `from` sends.
fn byte(from: usize, i: usize) -> u8 {
    ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15 + from as u64 * 2) >> 32) as u8
}

struct End {
    id: FlowId,
    sent: usize,
    received: usize,
    shut: bool,
}

/// Writes what fits and reads what came, checking each byte.
fn turn(net: &mut Net, i: usize, end: &mut End, total: usize, pieces: &mut Rng, block: &mut Vec<u8>) {
    let now = net.now;
    let s = &mut net.stacks[i];
    while let Some((id, _)) = s.next_ready() {
        assert_eq!(id, end.id);
    }
    loop {
        let got = s.recv(end.id);
        if got.is_empty() {
            break;
        }
        for (k, b) in got.iter().enumerate() {
            assert_eq!(*b, byte(1 - i, end.received + k), "byte {} to {i}", end.received + k);
        }
        let n = got.len();
        end.received += n;
        s.consume(end.id, n);
    }
    while end.sent < total && s.room(end.id) > 0 {
        let n = (1 + pieces.below(20_000) as usize).min(total - end.sent);
        block.clear();
        block.extend((end.sent..end.sent + n).map(|k| byte(i, k)));
        let written = s.write(end.id, block);
        end.sent += written;
        if written < n {
            break;
        }
    }
    if end.sent == total && !end.shut {
        end.shut = true;
        s.shutdown(end.id);
    }
    let _ = now;
}

/// Connects, moves `total` bytes each way, closes both ends; panics if a byte or a frame is lost.
fn transfer(seed: u64, faults: Faults, total: usize, ipv6: bool, tcp: TcpConfig) -> Instant {
    let mut net = Net::new(seed, faults, 4096, tcp);
    let listener = net.stacks[1].listen(None, 80, 16).unwrap();
    let now = net.now;
    let client = net.stacks[0].connect(addr(1, ipv6), 80, now).unwrap();
    net.run_stack(0);
    let until = net.now + 3600 * SEC;
    let server = loop {
        if let Some(id) = net.stacks[1].accept(listener) {
            break id;
        }
        assert!(net.step(until), "seed {seed}: no connection");
    };
    let end = |id| End { id, sent: 0, received: 0, shut: false };
    let mut ends = [end(client), end(server)];
    let mut pieces = Rng(seed ^ 77);
    let mut block = Vec::new();
    let mut steps = 0u64;
    while ends.iter().any(|e| e.received < total) {
        for (i, e) in ends.iter_mut().enumerate() {
            turn(&mut net, i, e, total, &mut pieces, &mut block);
            net.run_stack(i);
        }
        steps += 1;
        if !net.step(until) {
            let info: Vec<_> =
                ends.iter().enumerate().map(|(i, e)| (e.received, net.stacks[i].info(e.id))).collect();
            panic!("seed {seed}: stuck at {:?}: {info:#?}", net.now);
        }
        if steps.is_multiple_of(997) {
            net.assert_ledger("under way");
        }
    }
    let done = net.now;
    for (i, e) in ends.iter_mut().enumerate() {
        turn(&mut net, i, e, total, &mut pieces, &mut block);
        let now = net.now;
        net.stacks[i].close(e.id, now);
    }
    net.run_for(400 * SEC);
    for i in 0..2 {
        assert_eq!((net.stacks[i].conns(), net.stacks[i].time_waits()), (0, 0), "seed {seed}");
        let (l, _) = net.ledger(i);
        assert!(l.is_home(), "seed {seed}: stack {i}: {l:?}");
    }
    done
}

const BAD: Faults = Faults {
    delay_ns: 1_000_000,
    jitter_ns: 300_000,
    loss_permille: 50,
    duplicate_permille: 20,
    reorder_permille: 50,
    corrupt_permille: 0,
};

#[test]
fn clean_wire() {
    for ipv6 in [false, true] {
        let faults = Faults { delay_ns: 100_000, ..Faults::default() };
        let start = 1_000_000_000;
        let done = transfer(1, faults, 10 << 20, ipv6, TcpConfig::default());
        assert!(done.0 - start < SEC, "10 MiB at 200 us RTT took {} ms", (done.0 - start) / 1_000_000);
    }
}

/// 10 MiB each way under 5 % loss, reordering and duplication, for 200 seeds.
#[test]
fn lossy_wire_200_seeds() {
    let threads: Vec<_> = (0..2)
        .map(|half| {
            std::thread::spawn(move || {
                for seed in (half..200).step_by(2) {
                    transfer(seed, BAD, 10 << 20, seed % 4 >= 2, TcpConfig::default());
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn without_any_option() {
    let plain = TcpConfig { timestamps: false, sack: false, window_scaling: false, ..TcpConfig::default() };
    for seed in 0..10 {
        transfer(seed, BAD, 1 << 20, false, plain.clone());
    }
}

#[test]
fn new_reno_and_corruption() {
    let cfg = TcpConfig { cc: linerate_tcp::cc::CcKind::NewReno, ..TcpConfig::default() };
    for seed in 0..10 {
        transfer(seed, Faults { corrupt_permille: 10, ..BAD }, 1 << 20, seed % 2 == 0, cfg.clone());
    }
}

/// A tiny receive buffer: window updates, silly window avoidance and zero-window probes do the work.
#[test]
fn tiny_windows() {
    for seed in 0..10 {
        let cfg = TcpConfig {
            rcv_buf_bytes: 3000,
            rcv_buf_max_bytes: 0,
            snd_buf_bytes: 5000,
            snd_buf_max_bytes: 0,
            ..TcpConfig::default()
        };
        transfer(seed, BAD, 100_000, false, cfg);
    }
}

/// The connection tells what happened to it.
#[test]
fn events_of_a_connection() {
    let mut net = Net::new(3, Faults { delay_ns: 1000, ..Faults::default() }, 256, TcpConfig::default());
    let l = net.stacks[1].listen(None, 80, 4).unwrap();
    let now = net.now;
    let c = net.stacks[0].connect(addr(1, false), 80, now).unwrap();
    net.run_for(SEC / 100);
    let (id, e) = net.stacks[0].next_ready().unwrap();
    assert!(id == c && e.contains(Events::CONNECTED) && e.contains(Events::WRITABLE));
    assert_eq!(net.stacks[1].next_accepting(), Some(l));
    let s = net.stacks[1].accept(l).unwrap();
    assert_eq!(net.stacks[0].write(c, b"hello"), 5);
    net.run_for(SEC / 100);
    let (id, e) = std::iter::from_fn(|| net.stacks[1].next_ready()).last().unwrap();
    assert!(id == s && e.contains(Events::READABLE));
    assert_eq!(net.stacks[1].recv(s), b"hello");
    // Spliced back: the very frame leaves again.
    assert_eq!(net.stacks[1].splice(s, s), 5);
    net.run_for(SEC / 100);
    assert_eq!(net.stacks[0].recv(c), b"hello");
    net.stacks[0].consume(c, 5);
    let now = net.now;
    net.stacks[0].abort(c, now);
    net.run_for(SEC / 100);
    let (_, e) = net.stacks[1].next_ready().unwrap();
    assert!(e.contains(Events::CLOSED));
    assert_eq!(net.stacks[1].error(s), Some(linerate_net::TcpError::Reset));
    let now = net.now;
    net.stacks[1].close(s, now);
    assert_eq!(net.stacks[1].conns() + net.stacks[0].conns(), 0);
    net.assert_ledger("end");
}

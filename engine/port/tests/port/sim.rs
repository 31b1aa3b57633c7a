//! The simulated link as a port.

use linerate_frame::{Batch, Burst, Pool, Region, RxCsum};
use linerate_port::sim::{SimClock, SimConfig, SimLink, SimPort};
use linerate_port::{Caps, Port};

use super::conformance::{self, End, Rig};

fn end(port: SimPort) -> End<SimPort> {
    End { port, pool: Pool::new(Region::heap(512, 2048)) }
}

fn to_next_arrival(a: &mut SimPort, b: &mut SimPort) {
    if let Some(at) = a.next_event().into_iter().chain(b.next_event()).min() {
        a.set_now(at.max(a.clock().now_ns()));
    }
}

#[test]
fn conforms() {
    let slow =
        SimConfig { delay_ns: 1_000_000, jitter_ns: 50_000, rate_bps: 1_000_000_000, ..Default::default() };
    for config in [SimConfig::default(), slow] {
        conformance::all(|| {
            let (a, b) = SimLink::new(1, config);
            Rig { a: end(a), b: end(b), pass_time: to_next_arrival, tx_depth: None }
        });
    }
}

/// What arrived and when, of 2000 frames through everything that can happen.
fn history(seed: u64) -> Vec<(u64, Vec<u8>)> {
    let config = SimConfig {
        delay_ns: 10_000_000,
        jitter_ns: 300_000,
        loss: 0.02,
        duplicate: 0.01,
        reorder: 0.02,
        reorder_ns: 2_000_000,
        corrupt: 0.01,
        rate_bps: 50_000_000,
        queue_pkts: 40,
        ..SimConfig::default()
    };
    let (mut a, mut b) = SimLink::new(seed, config);
    let mut pool = Pool::new(Region::heap(256, 2048));
    let (mut batch, mut burst, mut seen) = (Batch::default(), Burst::default(), Vec::new());
    for n in 0..2000u32 {
        let mut f = pool.alloc().unwrap();
        pool.writable(&mut f).unwrap()[128..132].copy_from_slice(&n.to_be_bytes());
        pool.set_range(&mut f, 128, 100 + n as usize % 1000);
        batch.push(pool.send(f));
        a.tx_burst(&mut pool, &mut batch);
        a.set_now(u64::from(n) * 90_000);
        while b.rx_burst(&mut pool, &mut burst) > 0 {
            burst.drain().for_each(|f| {
                seen.push((a.clock().now_ns(), pool.bytes(&f).to_vec()));
                pool.free(f);
            });
        }
    }
    let s = a.egress_stats();
    assert!(
        s.queue_dropped > 0 && s.lost > 0 && s.duplicated > 0 && s.reordered > 0 && s.corrupted > 0,
        "{s:?}"
    );
    assert_eq!(s.sent, 2000);
    assert!(pool.ledger().is_home());
    seen
}

#[test]
fn same_seed_same_run() {
    assert!(history(5) == history(5));
    assert!(history(5) != history(6));
}

#[test]
fn the_two_directions_dont_touch_each_other() {
    let run = |reverse_traffic: bool| {
        let (mut a, mut b) = SimLink::new(3, SimConfig { loss: 0.3, ..SimConfig::default() });
        let mut pool = Pool::new(Region::heap(64, 2048));
        let mut batch = Batch::default();
        for _ in 0..200 {
            for port in [Some(&mut a), reverse_traffic.then_some(&mut b)].into_iter().flatten() {
                let mut f = pool.alloc().unwrap();
                pool.set_range(&mut f, 128, 60);
                batch.push(pool.send(f));
                port.tx_burst(&mut pool, &mut batch);
            }
        }
        a.egress_stats()
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn links_share_a_clock_and_change_on_the_fly() {
    let clock = SimClock::default();
    let caps = Caps::raw_ip(1500, RxCsum::Verified);
    let config = SimConfig { delay_ns: 100, ..SimConfig::default() };
    let (mut a, mut b) = SimLink::with(1, clock.clone(), [caps; 2], [config; 2]);
    let (c, _d) = SimLink::with(2, clock.clone(), [caps; 2], [config; 2]);
    let mut pool = Pool::new(Region::heap(8, 2048));
    let mut send = |a: &mut SimPort| {
        let mut batch = Batch::default();
        let mut f = pool.alloc().unwrap();
        pool.set_range(&mut f, 128, 60);
        batch.push(pool.send(f));
        a.tx_burst(&mut pool, &mut batch);
    };
    send(&mut a);
    assert_eq!((a.next_event(), b.next_event()), (None, Some(100)));
    c.set_now(99);
    let mut dry = Pool::new(Region::heap(1, 2048));
    let kept = dry.alloc().unwrap();
    assert_eq!(b.rx_burst(&mut dry, &mut Burst::default()), 0);
    clock.set_ns(100);
    assert_eq!(b.rx_burst(&mut dry, &mut Burst::default()), 0, "arrived, but there is no frame for it");
    assert_eq!((b.stats().kernel.fill_ring_empty, b.next_event()), (1, None));
    a.set_egress(SimConfig { loss: 1.0, ..a.egress() });
    send(&mut a);
    assert_eq!((a.egress_stats().lost, a.egress_stats().no_frame, b.next_event()), (1, 1, None));
    dry.free(kept);
}

#[test]
#[should_panic(expected = "goes back")]
fn time_does_not_go_back() {
    let (a, _b) = SimLink::new(1, SimConfig::default());
    a.set_now(5);
    a.set_now(4);
}

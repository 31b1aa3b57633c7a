//! Tests of the module above.

use super::*;
use linerate_frame::{Pool, Region};

const S: u64 = 1_000_000_000;
const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
const V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const HOP: IpAddr = IpAddr::V4(V4);
const V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

fn table(resolver: Resolver) -> NeighTable {
    NeighTable::new(resolver, 1, 0)
}

fn pool(frames: u32) -> Pool {
    Pool::new(Region::heap(frames, 512))
}

/// Everything that poll wants, as text; frames go home.
fn polled(t: &mut NeighTable, pool: &mut Pool, now_ns: u64) -> Vec<alloc::string::String> {
    let mut said = Vec::new();
    while let Some(action) = t.poll(now_ns) {
        said.push(match action {
            NeighAction::Solicit { unicast: None, .. } => "multicast".into(),
            NeighAction::Solicit { unicast: Some(mac), .. } => alloc::format!("unicast {:x}", mac[5]),
            NeighAction::Ask { .. } => "ask".into(),
            NeighAction::Failed { .. } => "failed".into(),
            NeighAction::Drop { frame, reason, .. } => {
                let said = alloc::format!("drop {} {}", frame.index().0, reason.as_str());
                pool.free(frame);
                said
            }
        });
    }
    said
}

fn resolve(t: &mut NeighTable, now_ns: u64) {
    assert_eq!(t.lookup(HOP, now_ns), Resolved::Pending);
    assert!(matches!(t.poll(now_ns), Some(NeighAction::Solicit { unicast: None, .. })));
    t.on_arp(ArpOp::Reply, V4, A, true, now_ns);
    assert_eq!(t.state(HOP), Some(NeighState::Reachable));
}

#[test]
fn an_answer_lets_the_waiting_packets_go_in_order() {
    let (mut t, mut p) = (table(Resolver::Own), pool(NEIGH_PENDING_PKTS as u32 + 8));
    assert_eq!(t.lookup(HOP, 0), Resolved::Pending);
    assert_eq!(t.next_deadline(), Some(0));
    let frames: Vec<u32> = (0..=NEIGH_PENDING_PKTS)
        .map(|i| {
            let frame = p.alloc().unwrap();
            let index = frame.index().0;
            match t.enqueue(HOP, frame) {
                Ok(()) => assert!(i < NEIGH_PENDING_PKTS),
                Err(oldest) => p.free(oldest),
            }
            index
        })
        .collect();
    assert_eq!(t.frames_held(), NEIGH_PENDING_PKTS);
    assert_eq!(polled(&mut t, &mut p, 0), ["multicast"]);
    assert!(t.take_resolved().is_none());
    t.on_arp(ArpOp::Reply, V4, A, true, 1);
    for index in &frames[1..] {
        let (frame, mac) = t.take_resolved().unwrap();
        assert_eq!((frame.index().0, mac), (*index, A));
        p.free(frame);
    }
    assert_eq!((t.frames_held(), t.lookup(HOP, 2)), (0, Resolved::Mac(A)));
    assert!(p.ledger().is_home());
}

#[test]
fn silence_fails_after_three_questions_a_second_apart() {
    let (mut t, mut p) = (table(Resolver::Own), pool(2));
    t.lookup(HOP, 0);
    t.enqueue(HOP, p.alloc().unwrap()).unwrap();
    t.enqueue(HOP, p.alloc().unwrap()).unwrap();
    for i in 0..3 {
        assert_eq!(polled(&mut t, &mut p, i * S), ["multicast"]);
        assert_eq!(polled(&mut t, &mut p, i * S + S - 1), [""; 0]);
        assert_eq!(t.lookup(HOP, i * S), Resolved::Pending);
    }
    let said = polled(&mut t, &mut p, 3 * S);
    assert_eq!(said, ["failed", "drop 0 neigh_failed", "drop 1 neigh_failed"]);
    assert_eq!(t.lookup(HOP, 3 * S), Resolved::Unreachable);
    assert!(p.ledger().is_home());
    let refused = t.enqueue(HOP, p.alloc().unwrap()).unwrap_err();
    p.free(refused);
    assert_eq!(polled(&mut t, &mut p, 4 * S), [""; 0]);
    assert_eq!((t.len(), t.lookup(HOP, 4 * S)), (0, Resolved::Pending));
}

#[test]
fn a_late_answer_heals_a_failure() {
    let (mut t, mut p) = (table(Resolver::Own), pool(1));
    t.lookup(HOP, 0);
    for i in 0..4 {
        polled(&mut t, &mut p, i * S);
    }
    assert_eq!(t.state(HOP), Some(NeighState::Failed));
    t.on_arp(ArpOp::Reply, V4, A, true, 3 * S + 1);
    assert_eq!(t.lookup(HOP, 3 * S + 2), Resolved::Mac(A));
}

#[test]
fn an_idle_entry_goes_stale_and_use_probes_it() {
    let (mut t, mut p) = (table(Resolver::Own), pool(1));
    resolve(&mut t, 0);
    let kept = t.generation();
    assert_eq!(polled(&mut t, &mut p, 15 * S - 1), [""; 0]);
    assert_eq!(t.state(HOP), Some(NeighState::Reachable), "at least half of REACHABLE_TIME");
    assert_eq!(polled(&mut t, &mut p, 45 * S), [""; 0]);
    assert_eq!(t.state(HOP), Some(NeighState::Stale), "at most one and a half");
    assert_ne!(t.generation(), kept, "who kept the address has to look it up again");
    assert_eq!(t.next_deadline(), None, "nobody uses it, nobody asks");

    assert_eq!(t.lookup(HOP, 50 * S), Resolved::Mac(A));
    assert_eq!(polled(&mut t, &mut p, 55 * S - 1), [""; 0]);
    for i in 0..3 {
        assert_eq!(polled(&mut t, &mut p, (55 + i) * S), ["unicast a"]);
        assert_eq!(t.lookup(HOP, (55 + i) * S), Resolved::Mac(A));
    }
    let kept = t.generation();
    assert_eq!(polled(&mut t, &mut p, 58 * S), [""; 0]);
    assert_eq!(t.state(HOP), None);
    assert_ne!(t.generation(), kept);
    assert_eq!(t.lookup(HOP, 58 * S), Resolved::Pending);
    assert_eq!(polled(&mut t, &mut p, 58 * S), ["multicast"]);
}

#[test]
fn progress_of_tcp_keeps_an_entry_reachable_without_a_packet() {
    let (mut t, mut p) = (table(Resolver::Own), pool(1));
    resolve(&mut t, 0);
    let kept = t.generation();
    for now_ns in (0..600).map(|i| i * S) {
        t.on_confirmed(HOP, now_ns);
        assert_eq!(polled(&mut t, &mut p, now_ns), [""; 0]);
    }
    assert_eq!((t.state(HOP), t.generation()), (Some(NeighState::Reachable), kept));
    polled(&mut t, &mut p, 700 * S);
    t.lookup(HOP, 700 * S);
    assert_eq!(t.state(HOP), Some(NeighState::Delay));
    t.on_confirmed(HOP, 704 * S);
    assert_eq!(polled(&mut t, &mut p, 706 * S), [""; 0]);
    assert_eq!(t.state(HOP), Some(NeighState::Reachable));
    t.on_confirmed(IpAddr::V6(V6), 0);
    assert_eq!(t.len(), 1);
}

#[test]
fn an_answered_probe_confirms() {
    let (mut t, mut p) = (table(Resolver::Own), pool(1));
    t.on_arp(ArpOp::Request, V4, A, true, 0);
    assert_eq!(t.state(HOP), Some(NeighState::Stale));
    t.lookup(HOP, 0);
    assert_eq!(polled(&mut t, &mut p, 5 * S), ["unicast a"]);
    t.on_arp(ArpOp::Reply, V4, A, true, 5 * S + 1);
    assert_eq!(t.state(HOP), Some(NeighState::Reachable));
}

#[test]
fn a_new_address_moves_the_generation() {
    let mut t = table(Resolver::Own);
    resolve(&mut t, 0);
    let kept = t.generation();
    t.on_arp(ArpOp::Request, V4, A, true, 1);
    assert_eq!(t.generation(), kept);
    t.on_arp(ArpOp::Request, V4, B, false, 2);
    assert_ne!(t.generation(), kept);
    assert_eq!((t.state(HOP), t.lookup(HOP, 3)), (Some(NeighState::Stale), Resolved::Mac(B)));
}

#[test]
fn packets_that_waited_count_as_use() {
    let (mut t, mut p) = (table(Resolver::Own), pool(1));
    t.lookup(IpAddr::V6(V6), 0);
    t.enqueue(IpAddr::V6(V6), p.alloc().unwrap()).unwrap();
    t.on_ns(V6, Some(A), 1);
    assert_eq!(t.state(IpAddr::V6(V6)), Some(NeighState::Delay));
    p.free(t.take_resolved().unwrap().0);
    assert!(p.ledger().is_home());
}

#[test]
fn advertisements() {
    let mut t = table(Resolver::Own);
    let ip = IpAddr::V6(V6);
    let flags = |router, solicited, override_| NaFlags { router, solicited, override_ };
    assert!(!t.on_na(V6, Some(A), flags(true, true, true), 0));
    assert!(t.is_empty());
    t.lookup(ip, 0);
    assert!(!t.on_na(V6, Some(A), flags(true, true, true), 1));
    assert_eq!((t.state(ip), t.lookup(ip, 1)), (Some(NeighState::Reachable), Resolved::Mac(A)));
    assert!(!t.on_na(V6, Some(B), flags(false, false, false), 2), "discarded, router flag and all");
    assert_eq!(t.state(ip), Some(NeighState::Stale));
    assert!(t.on_na(V6, Some(B), flags(false, true, true), 3), "a router no more");
    assert_eq!((t.state(ip), t.lookup(ip, 3)), (Some(NeighState::Reachable), Resolved::Mac(B)));
}

#[test]
fn permanent_entries_neither_age_nor_learn() {
    let (mut t, mut p) = (table(Resolver::Own), pool(1));
    assert!(t.set(HOP, A, Known::Permanent, 0));
    assert!(!t.set(HOP, [0xff; 6], Known::Permanent, 0));
    t.on_arp(ArpOp::Request, V4, B, true, 1);
    t.on_confirmed(HOP, 2);
    assert_eq!(polled(&mut t, &mut p, 1_000_000 * S), [""; 0]);
    assert_eq!((t.state(HOP), t.lookup(HOP, 3)), (Some(NeighState::Permanent), Resolved::Mac(A)));
    let kept = t.generation();
    assert!(t.remove(HOP) && !t.remove(HOP));
    assert_ne!(t.generation(), kept);
}

#[test]
fn the_kernel_is_asked_and_never_bypassed() {
    let (mut t, mut p) = (table(Resolver::Kernel), pool(1));
    t.on_arp(ArpOp::Request, V4, A, true, 0);
    t.on_ns(V6, Some(A), 0);
    assert!(t.is_empty());
    t.lookup(HOP, 0);
    t.enqueue(HOP, p.alloc().unwrap()).unwrap();
    assert_eq!(polled(&mut t, &mut p, 0), ["ask"]);
    t.on_arp(ArpOp::Reply, V4, A, true, 1);
    assert_eq!(t.lookup(HOP, 1), Resolved::Pending);
    t.set(HOP, A, Known::Stale, 2);
    p.free(t.take_resolved().unwrap().0);
    assert_eq!(polled(&mut t, &mut p, 2 + 5 * S), ["ask"]);
    t.set(HOP, A, Known::Stale, 6 * S);
    assert_eq!(t.state(HOP), Some(NeighState::Probe), "the kernel's STALE doesn't end our question");
    assert_eq!(polled(&mut t, &mut p, 9 * S), ["ask"]);
    assert_eq!(polled(&mut t, &mut p, 10 * S), ["ask"]);
    assert_eq!(polled(&mut t, &mut p, 11 * S), [""; 0]);
    assert_eq!((t.state(HOP), t.lookup(HOP, 12 * S)), (Some(NeighState::Stale), Resolved::Mac(A)));
    t.fail(HOP, 13 * S);
    assert_eq!(t.lookup(HOP, 13 * S), Resolved::Pending);
    t.enqueue(HOP, p.alloc().unwrap()).unwrap();
    t.fail(HOP, 13 * S);
    assert_eq!(polled(&mut t, &mut p, 13 * S), ["failed", "drop 0 neigh_failed"]);
    assert!(p.ledger().is_home());
}

fn nth(i: u32) -> Ipv4Addr {
    (0x0a01_0000 + i).into()
}

#[test]
fn a_flood_of_strangers_displaces_only_strangers() {
    let mut t = table(Resolver::Own);
    resolve(&mut t, 0);
    t.lookup(IpAddr::V6(V6), 0);
    let kept = t.generation();
    for i in 0..2 * NEIGH_LIMIT as u32 {
        t.on_arp(ArpOp::Request, nth(i), B, true, 10 + u64::from(i));
    }
    assert_eq!((t.len(), t.generation()), (NEIGH_LIMIT, kept));
    assert_eq!(t.state(HOP), Some(NeighState::Reachable));
    assert_eq!(t.state(IpAddr::V6(V6)), Some(NeighState::Incomplete));
    assert_eq!(t.state(nth(0).into()), None, "the oldest went first");
    assert_eq!(t.state(nth(2 * NEIGH_LIMIT as u32 - 1).into()), Some(NeighState::Stale));
}

#[test]
fn a_full_table_makes_room_for_us() {
    let (mut t, mut p) = (table(Resolver::Own), pool(1));
    t.lookup(HOP, 0);
    t.enqueue(HOP, p.alloc().unwrap()).unwrap();
    for i in 1..NEIGH_LIMIT as u32 {
        assert!(t.set(nth(i).into(), B, Known::Permanent, 1));
    }
    t.on_arp(ArpOp::Request, nth(5000), B, true, 2);
    assert_eq!(t.state(nth(5000).into()), None);
    assert_eq!(t.lookup(nth(5000).into(), 2), Resolved::Pending);
    assert_eq!(polled(&mut t, &mut p, 2), ["drop 0 neigh_queue_full", "multicast"]);
    assert!(t.set(nth(5000).into(), B, Known::Permanent, 3));
    assert_eq!(t.lookup(HOP, 3), Resolved::Unreachable);
}

#[test]
fn waiting_frames_are_bounded_over_all_neighbours() {
    let more = NEIGH_PENDING_TOTAL_PKTS as u32 + 44;
    let (mut t, mut p) = (table(Resolver::Own), pool(more));
    for i in 0..more {
        t.lookup(nth(i).into(), 0);
        match t.enqueue(nth(i).into(), p.alloc().unwrap()) {
            Ok(()) => assert!(i < NEIGH_PENDING_TOTAL_PKTS as u32),
            Err(frame) => p.free(frame),
        }
    }
    assert_eq!(t.frames_held(), NEIGH_PENDING_TOTAL_PKTS);
    let oldest = t.enqueue(nth(0).into(), p.alloc().unwrap()).unwrap_err();
    assert_eq!(oldest.index().0, 0);
    p.free(oldest);
    while let Some(frame) = t.drain() {
        p.free(frame);
    }
    assert_eq!(t.frames_held(), 0);
    assert!(p.ledger().is_home());
}

/// Random traffic: every frame is accounted for at every step, nothing exceeds its bound, a kept address of the
/// present generation is what a lookup would give, and time to sleep is never in the past after a poll.
#[test]
fn random_traffic_keeps_the_books() {
    for seed in 1..=30u64 {
        let mut state = seed;
        let mut rng = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        let resolver = if seed % 3 == 0 { Resolver::Kernel } else { Resolver::Own };
        let (mut t, mut p) = (NeighTable::new(resolver, seed, 0), pool(64));
        let mut kept: BTreeMap<IpAddr, ([u8; 6], u32)> = BTreeMap::new();
        let mut now_ns = 0;
        for _ in 0..1_500 {
            now_ns += u64::from(rng()) / if rng() % 4 == 0 { 1 } else { 256 };
            let n = rng() % 12;
            let v6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n as u16 + 2);
            let ip = if n % 2 == 0 { nth(n).into() } else { IpAddr::V6(v6) };
            let mac = [2, 0, 0, 0, n as u8, (rng() % 8 == 0) as u8];
            let bit = |r: u32| r & 1 == 1;
            match rng() % 10 {
                0..=2 => match t.lookup(ip, now_ns) {
                    Resolved::Mac(mac) => {
                        kept.insert(ip, (mac, t.generation()));
                    }
                    Resolved::Pending | Resolved::Unreachable => {
                        if let Some(frame) = p.alloc()
                            && let Err(frame) = t.enqueue(ip, frame)
                        {
                            p.free(frame);
                        }
                    }
                },
                3 if n % 2 == 0 => {
                    let op = if bit(rng()) { ArpOp::Reply } else { ArpOp::Request };
                    t.on_arp(op, nth(n), mac, bit(rng()), now_ns);
                }
                4 if n % 2 == 1 => t.on_ns(v6, bit(rng()).then_some(mac), now_ns),
                3 | 4 => {
                    let flags = NaFlags { router: bit(rng()), solicited: bit(rng()), override_: bit(rng()) };
                    t.on_na(v6, bit(rng()).then_some(mac), flags, now_ns);
                }
                5 => t.on_confirmed(ip, now_ns),
                6 if rng() % 4 == 0 => {
                    t.remove(ip);
                }
                6 if resolver == Resolver::Kernel => {
                    let known = if bit(rng()) { Known::Reachable } else { Known::Stale };
                    assert!(t.set(ip, mac, known, now_ns));
                }
                6 => t.fail(ip, now_ns),
                7 => {
                    while let Some((frame, mac)) = t.take_resolved() {
                        assert!(is_unicast_mac(mac));
                        p.free(frame);
                    }
                }
                _ => {
                    while let Some(action) = t.poll(now_ns) {
                        match action {
                            NeighAction::Drop { frame, .. } => p.free(frame),
                            NeighAction::Ask { .. } => assert_eq!(resolver, Resolver::Kernel),
                            NeighAction::Solicit { .. } => assert_eq!(resolver, Resolver::Own),
                            NeighAction::Failed { ip } => {
                                assert_eq!(t.state(ip), Some(NeighState::Failed))
                            }
                        }
                    }
                    assert!(t.next_deadline().is_none_or(|at_ns| at_ns > now_ns));
                }
            }
            assert_eq!(p.ledger().held as usize, t.frames_held(), "seed {seed}");
            for (ip, (mac, generation)) in &kept {
                if *generation == t.generation() {
                    let known = t.known(*ip).expect("a kept address of an entry that is gone");
                    assert_eq!(known.1, *mac, "seed {seed}: {ip} {:?}", known.0);
                    assert_ne!(known.0, NeighState::Stale, "seed {seed}");
                }
            }
        }
        while let Some(frame) = t.drain() {
            p.free(frame);
        }
        assert!(p.ledger().is_home());
    }
}

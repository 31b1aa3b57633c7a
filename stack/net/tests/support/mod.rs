//! Two stacks and the wire between them, in virtual time, from a seed.
#![allow(dead_code)] // each test file uses a part of it

pub mod icmp;
pub mod peer;

use std::collections::BinaryHeap;
use std::net::IpAddr;

use linerate_frame::{Frame, Ledger, Pool, Region, RxCsum};
use linerate_net::addr::IfAddr;
use linerate_net::neigh::Resolver;
use linerate_net::route::Route;
use linerate_net::{Ingress, Instant, Link, Stack, StackConfig, TcpConfig};

/// SplitMix64: the same run from the same seed, on any machine, for ever.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}

/// What the wire does to packets.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub delay_ns: u64,
    pub jitter_ns: u64,
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    pub reorder_permille: u64,
    pub corrupt_permille: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    at: std::cmp::Reverse<(u64, u64)>,
    to: usize,
    bytes: Vec<u8>,
}

pub struct Net {
    pub stacks: [Stack; 2],
    pub now: Instant,
    pub faults: Faults,
    pub rng: Rng,
    /// Largest IP packet that the wire takes, and whether a router tells of larger ones.
    pub mtu: Option<(usize, bool)>,
    wire: BinaryHeap<InFlight>,
    sequence: u64,
    /// Every packet that was put on the wire, if kept: (time, sender, bytes).
    pub log: Option<Vec<(u64, usize, Vec<u8>)>>,
}

pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

pub fn addr(host: usize, ipv6: bool) -> IpAddr {
    match ipv6 {
        false => format!("10.0.0.{}", host + 1).parse().unwrap(),
        true => format!("fd00::{}", host + 1).parse().unwrap(),
    }
}

pub fn stack(host: usize, frames: u32, tcp: TcpConfig, seed: u64) -> Stack {
    stack_with_routes(host, frames, tcp, seed, &[])
}

/// A stack with one more route.
pub fn stack_with_route(host: usize, frames: u32, tcp: TcpConfig, seed: u64, route: Route) -> Stack {
    stack_with_routes(host, frames, tcp, seed, &[route])
}

fn stack_with_routes(host: usize, frames: u32, tcp: TcpConfig, seed: u64, more: &[Route]) -> Stack {
    let mut rng = Rng(seed);
    let addrs = [addr(host, false), addr(host, true)]
        .map(|a| IfAddr { addr: a, prefix_len: if a.is_ipv4() { 24 } else { 64 } });
    let routes = addrs.map(|a| Route {
        dst: a.addr,
        prefix_len: a.prefix_len,
        gateway: None,
        metric: 0,
        mtu: None,
        prefsrc: None,
    });
    let cfg = StackConfig {
        link: Link::Ethernet(MACS[host]),
        mtu: 1500,
        addrs: addrs.to_vec(),
        routes: routes.iter().chain(more).copied().collect(),
        resolver: Resolver::Own,
        tcp,
        secret: [rng.next(), rng.next(), rng.next(), rng.next()],
    };
    Stack::new(cfg, Pool::new(Region::heap(frames, 2048)), Instant(0)).unwrap()
}

impl Net {
    pub fn new(seed: u64, faults: Faults, frames: u32, tcp: TcpConfig) -> Self {
        Self {
            stacks: [stack(0, frames, tcp.clone(), seed ^ 1), stack(1, frames, tcp, seed ^ 2)],
            now: Instant(1_000_000_000),
            faults,
            rng: Rng(seed),
            mtu: None,
            wire: BinaryHeap::new(),
            sequence: 0,
            log: None,
        }
    }

    /// What a stack wants to send goes onto the wire, and its timers run.
    pub fn run_stack(&mut self, i: usize) {
        loop {
            let s = &mut self.stacks[i];
            s.on_timers(self.now);
            s.output(self.now);
            let mut sent = Vec::new();
            let (pool, batch) = s.pool_and_batch();
            while let Some(tx) = batch.pop() {
                sent.push(pool.tx_bytes(&tx).to_vec());
                assert!(pool.complete(tx.into_index()));
            }
            if sent.is_empty() {
                break;
            }
            for bytes in sent {
                self.put(i, bytes);
            }
        }
    }

    fn put(&mut self, from: usize, bytes: Vec<u8>) {
        if let Some(log) = &mut self.log {
            log.push((self.now.0, from, bytes.clone()));
        }
        let f = self.faults;
        if let Some((mtu, tells)) = self.mtu
            && bytes.len() - 14 > mtu
        {
            if tells {
                let told = icmp::too_big_about(mtu as u32, &bytes);
                self.deliver(from, &told);
            }
            return;
        }
        let copies = 1 + self.rng.chance(f.duplicate_permille) as usize;
        for _ in 0..copies {
            if self.rng.chance(f.loss_permille) {
                continue;
            }
            let mut at = self.now.0 + f.delay_ns;
            if f.jitter_ns > 0 {
                at += self.rng.below(f.jitter_ns);
            }
            if self.rng.chance(f.reorder_permille) {
                at += self.rng.below(f.delay_ns.max(1) * 2);
            }
            let mut bytes = bytes.clone();
            if self.rng.chance(f.corrupt_permille) {
                let bit = self.rng.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            self.sequence += 1;
            let at = std::cmp::Reverse((at, self.sequence));
            self.wire.push(InFlight { at, to: 1 - from, bytes });
        }
    }

    /// Gives a stack a frame with these bytes.
    pub fn deliver(&mut self, to: usize, bytes: &[u8]) {
        let now = self.now;
        deliver(&mut self.stacks[to], bytes, now);
    }

    /// Advances to the next thing that happens, and lets it happen. `false`: nothing ever will, or not before `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        let wire = self.wire.peek().map(|p| p.at.0.0);
        let timers = self.stacks.iter().filter_map(|s| s.next_deadline().map(|t| t.0));
        let Some(next) = wire.into_iter().chain(timers).min() else { return false };
        if next > until.0 {
            self.now = until;
            return false;
        }
        assert!(next >= self.now.0 || wire.is_none_or(|w| w >= self.now.0), "time never goes back");
        self.now = Instant(next.max(self.now.0));
        while self.wire.peek().is_some_and(|p| p.at.0.0 <= self.now.0) {
            let p = self.wire.pop().unwrap();
            self.deliver(p.to, &p.bytes);
        }
        self.run_stack(0);
        self.run_stack(1);
        true
    }

    /// Runs for a span of virtual time.
    pub fn run_for(&mut self, ns: u64) {
        let until = self.now + ns;
        self.run_stack(0);
        self.run_stack(1);
        while self.step(until) {}
        self.now = until;
    }

    pub fn ledger(&mut self, i: usize) -> (Ledger, usize) {
        let held = self.stacks[i].frames_held();
        (self.stacks[i].pool().ledger(), held)
    }

    pub fn assert_ledger(&mut self, what: &str) {
        for i in 0..2 {
            let (l, held) = self.ledger(i);
            assert!(l.accounts_for(held as u32), "{what}: stack {i}: {l:?}, {held} held by count");
        }
    }
}

pub fn deliver(stack: &mut Stack, bytes: &[u8], now: Instant) {
    let frame = frame_of(stack, bytes);
    match stack.ingress(frame, now) {
        Ingress::Done => {}
        Ingress::Handoff { .. } => panic!("one core only"),
    }
}

/// A received frame, as a port would make it.
pub fn frame_of(stack: &mut Stack, bytes: &[u8]) -> Frame {
    let pool = stack.pool();
    let index = pool.alloc_fill().expect("the pool keeps frames for receiving");
    let mut frame = pool.claim_rx(index, 256, bytes.len() as u32, RxCsum::Unknown).unwrap();
    pool.writable(&mut frame).unwrap()[256..256 + bytes.len()].copy_from_slice(bytes);
    frame
}

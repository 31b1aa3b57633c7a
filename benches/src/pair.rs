//! Two of our stacks, Ethernet between them: a wire that copies each packet from the sender's frame into the receiver's,
//! as a NIC would.

use std::net::{IpAddr, Ipv4Addr};

use linerate_frame::{BURST_PKTS, Frame, Pool, Region, RxCsum};
use linerate_net::addr::IfAddr;
use linerate_net::neigh::{Known, Resolver};
use linerate_net::route::Route;
use linerate_net::{Events, FlowId, Ingress, Instant, Link, Stack, StackConfig, TcpConfig};

use crate::workload::{CHUNK_BYTES, Contender, MTU};

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// Where a received packet stands in its frame: AF_XDP's headroom.
const RX_OFFSET: u32 = 256;
const CHUNK: u32 = 2048;
/// The first of the server's ports; [`LISTENERS`] of them, so that a client's 64,000 ports are not the limit.
const PORT: u16 = 8000;
const LISTENERS: usize = 32;

/// The client (0) and the server (1).
pub struct Pair {
    /// Both stacks.
    pub stacks: [Stack; 2],
    inbox: [Vec<Frame>; 2],
    clock: Clock,
    conns: Vec<FlowId>,
    /// The client's connections by their id, for events.
    connects: usize,
    /// Packets that crossed the wire.
    pub packets: u64,
    /// Packets that each host took in.
    pub passed: [u64; 2],
    /// The stations are passed by their names, for a counter of instructions.
    pub counted: bool,
    accepted: Vec<FlowId>,
    ready: [Vec<(FlowId, Events)>; 2],
}

enum Clock {
    Wall(std::time::Instant),
    /// Nanoseconds, and how many a turn takes.
    Virtual(u64, u64),
}

/// An IPv4 address of a host on the wire.
pub fn addr(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host as u8 + 1).into()
}

fn stack(host: usize, frames: u32, tcp: TcpConfig) -> Stack {
    let route = Route { dst: addr(host), prefix_len: 24, gateway: None, metric: 0, mtu: None, prefsrc: None };
    let cfg = StackConfig {
        link: Link::Ethernet(MACS[host]),
        mtu: MTU as u16,
        addrs: vec![IfAddr { addr: addr(host), prefix_len: 24 }],
        routes: vec![route],
        resolver: Resolver::Own,
        tcp,
        secret: [1, 2, 3, host as u64],
    };
    let mut stack =
        Stack::new(cfg, Pool::new(Region::heap(frames, CHUNK)), Instant(0)).expect("a fair configuration");
    assert!(stack.neigh().set(addr(1 - host), MACS[1 - host], Known::Permanent, 0));
    stack
}

impl Pair {
    /// Both ends with `frames` frames each. Time is the wall clock's.
    pub fn new(frames: u32, tcp: TcpConfig) -> Self {
        Self::with_clock(frames, tcp, Clock::Wall(std::time::Instant::now()))
    }

    /// The same with a time that advances by `turn_ns` with each turn: the same run each time.
    pub fn replayable(frames: u32, tcp: TcpConfig, turn_ns: u64) -> Self {
        Self::with_clock(frames, tcp, Clock::Virtual(1_000_000_000, turn_ns))
    }

    fn with_clock(frames: u32, tcp: TcpConfig, clock: Clock) -> Self {
        let mut stacks = [stack(0, frames, tcp.clone()), stack(1, frames, tcp)];
        for i in 0..LISTENERS as u16 {
            stacks[1].listen(None, PORT + i, 1 << 20).expect("nobody listens yet");
        }
        Self {
            stacks,
            inbox: [Vec::with_capacity(1024), Vec::with_capacity(1024)],

            clock,
            conns: Vec::new(),
            connects: 0,
            packets: 0,
            passed: [0; 2],
            counted: false,
            accepted: Vec::new(),
            ready: [Vec::with_capacity(1024), Vec::with_capacity(1024)],
        }
    }

    /// The client's connections, in the order they were opened.
    pub fn conns(&self) -> &[FlowId] {
        &self.conns
    }

    /// The server's ends that were accepted.
    pub fn accepted(&self) -> &[FlowId] {
        &self.accepted
    }

    /// Makes room in this harness's own lists.
    pub fn reserve(&mut self, conns: usize) {
        self.conns.reserve_exact(conns);
        self.accepted.reserve_exact(conns);
    }

    /// The time of the next turn.
    pub fn now(&self) -> Instant {
        match &self.clock {
            Clock::Wall(start) => Instant(1_000_000_000 + start.elapsed().as_nanos() as u64),
            Clock::Virtual(ns, _) => Instant(*ns),
        }
    }

    /// Virtual time passes (nothing with the wall clock).
    pub fn pass(&mut self, ns: u64) {
        if let Clock::Virtual(now, _) = &mut self.clock {
            *now += ns;
        }
    }

    /// First half of a host's turn: what came in. Its events are then in [`Self::events`].
    fn receive(&mut self, host: usize, now: Instant) {
        let stack = &mut self.stacks[host];
        for frame in self.inbox[host].drain(..) {
            self.passed[host] += 1;
            let done = match (self.counted, host) {
                (false, _) => stack.ingress(frame, now),
                (true, 0) => station_ack_in(stack, frame, now),
                (true, _) => station_data_in(stack, frame, now),
            };
            debug_assert!(matches!(done, Ingress::Done), "one core");
        }
        stack.on_timers(now);
        if host == 1 {
            while let Some(listener) = stack.next_accepting() {
                self.accepted.extend(stack.accept(listener));
            }
        }
        let ready = &mut self.ready[host];
        ready.clear();
        ready.extend(std::iter::from_fn(|| stack.next_ready()));
    }

    /// Second half: what it has to send crosses the wire.
    fn send(&mut self, host: usize, now: Instant) {
        let [a, b] = &mut self.stacks;
        let (from, to) = if host == 0 { (a, b) } else { (b, a) };
        if self.counted && host == 0 {
            station_output(from, now);
        } else {
            from.output(now);
        }
        let inbox = &mut self.inbox[1 - host];
        let (pool, batch) = from.pool_and_batch();
        while let Some(tx) = batch.pop() {
            let bytes = pool.tx_bytes(&tx);
            let to = to.pool();
            if let Some(index) = to.alloc_fill() {
                let len = bytes.len();
                let mut frame =
                    to.claim_rx(index, RX_OFFSET, len as u32, RxCsum::Unknown).expect("a fill frame");
                let at = RX_OFFSET as usize;
                to.writable(&mut frame).expect("nobody else has it")[at..at + len].copy_from_slice(bytes);
                inbox.push(frame);
            }
            self.packets += 1;
            let known = pool.complete(tx.into_index());
            debug_assert!(known, "it was being sent");
        }
    }

    /// One turn of each host: what came in, `app`, what goes out.
    pub fn turn(&mut self, mut app: impl FnMut(usize, &mut Stack, &[(FlowId, Events)], Instant)) {
        let now = self.now();
        for host in 0..2 {
            self.receive(host, now);
            app(host, &mut self.stacks[host], &self.ready[host], now);
            self.send(host, now);
        }
        if let Clock::Virtual(now, turn_ns) = &mut self.clock {
            *now += *turn_ns;
        }
    }

    /// Nothing on the wire and nothing to do but wait for timers.
    pub fn is_quiet(&self) -> bool {
        self.inbox.iter().all(Vec::is_empty) && self.stacks.iter().all(|s| !s.has_work())
    }

    /// Turns until nothing moves.
    pub fn settle(&mut self) {
        loop {
            self.turn(|_, _, _, _| {});
            if self.is_quiet() {
                return;
            }
        }
    }

    /// Bulk, at most so many bytes written a turn.
    ///
    /// # Panics
    /// If that is more than 64 KiB.
    pub fn bulk_by(&mut self, bytes: u64, chunk_bytes: usize) {
        static DATA: [u8; CHUNK_BYTES] = [7; CHUNK_BYTES];
        let id = self.conns[0];
        let (mut written, mut read) = (0, 0);
        while read < bytes {
            self.turn(|host, stack, ready, _| {
                if host == 1 {
                    for (id, _) in ready {
                        read += drain(stack, *id);
                    }
                } else if written < bytes {
                    let most = chunk_bytes.min((bytes - written) as usize);
                    written += stack.write(id, &DATA[..most]) as u64;
                }
            });
        }
        self.settle();
    }

    /// One transaction after the other on the first connection, at a station of its own.
    pub fn counted_exchange(&mut self, transactions: u64) {
        station_exchange(self, transactions);
    }

    fn connect(&mut self, now: Instant) -> FlowId {
        // A run of 32,000 connections to one port, then the next: a client has 64,512 ports a destination.
        let port = PORT + (self.connects / 32_000 % LISTENERS) as u16;
        self.connects += 1;
        self.stacks[0].connect(addr(1), port, now).expect("a free port")
    }
}

/// What bulk brings to the server: data. These stations are functions so that a counter can tell them apart.
#[inline(never)]
fn station_data_in(stack: &mut Stack, frame: Frame, now: Instant) -> Ingress {
    stack.ingress(frame, now)
}

/// What bulk brings to the client: ACKs.
#[inline(never)]
fn station_ack_in(stack: &mut Stack, frame: Frame, now: Instant) -> Ingress {
    // Or the compiler makes one function of the two.
    std::hint::black_box(0);
    stack.ingress(frame, now)
}

/// What the client's turns send.
#[inline(never)]
fn station_output(stack: &mut Stack, now: Instant) {
    stack.output(now);
}

#[inline(never)]
fn station_exchange(pair: &mut Pair, transactions: u64) {
    pair.exchange(1, 1, transactions);
}

/// Reads all there is; returns how much.
pub(crate) fn drain(stack: &mut Stack, id: FlowId) -> u64 {
    let mut read = 0;
    loop {
        let n = stack.recv(id).len();
        if n == 0 {
            return read;
        }
        stack.consume(id, n);
        read += n as u64;
    }
}

impl Contender for Pair {
    fn name(&self) -> &'static str {
        "linerate"
    }

    fn open(&mut self, conns: usize) {
        while self.conns.len() < conns {
            let now = self.now();
            for _ in 0..(conns - self.conns.len()).min(BURST_PKTS) {
                let id = self.connect(now);
                self.conns.push(id);
            }
            self.settle();
        }
    }

    fn bulk(&mut self, bytes: u64) {
        self.bulk_by(bytes, CHUNK_BYTES);
    }

    fn exchange(&mut self, in_flight: usize, over: usize, transactions: u64) {
        let conns = core::mem::take(&mut self.conns);
        let (mut begun, mut done) = (0u64, 0u64);
        while done < transactions {
            self.turn(|host, stack, ready, _| {
                if host == 1 {
                    for (id, _) in ready {
                        for _ in 0..drain(stack, *id) {
                            stack.write(*id, b"y");
                        }
                    }
                    return;
                }
                for (id, _) in ready {
                    done += drain(stack, *id);
                }
                while begun < (done + in_flight as u64).min(transactions) {
                    stack.write(conns[begun as usize % over], b"x");
                    begun += 1;
                }
            });
        }
        self.conns = conns;
        self.settle();
    }

    fn connect_close(&mut self, in_flight: usize, n: u64) {
        let (mut begun, mut done) = (0, 0);
        while done < n {
            while begun < (done + in_flight as u64).min(n) {
                let now = self.now();
                self.connect(now);
                begun += 1;
            }
            self.turn(|host, stack, ready, now| {
                for (id, events) in ready {
                    if host == 0 {
                        if events.contains(Events::CONNECTED) {
                            stack.write(*id, b"x");
                            stack.close(*id, now);
                        }
                    } else {
                        drain(stack, *id);
                        if stack.at_eof(*id) {
                            stack.close(*id, now);
                            done += 1;
                        }
                    }
                }
            });
        }
        self.settle();
        self.accepted.clear();
    }
}

//! One stack on a link without link layer, a clock, what the stack sent, and the peer's side of each connection.

use std::collections::VecDeque;
use std::net::IpAddr;

use linerate_frame::{Pool, Region, RxCsum};
use linerate_net::addr::IfAddr;
use linerate_net::neigh::Resolver;
use linerate_net::route::Route;
use linerate_net::{Counters, FlowId, Ingress, Instant, Link, ListenerId, Stack, StackConfig, TcpConfig};

use super::packet::{Packet, decode};
use super::text::{Wrong, show_span, wrong};

/// A packet that the stack sent.
#[derive(Debug)]
pub struct Sent {
    pub at: Instant,
    pub packet: Result<Packet, String>,
}

/// The peer's side of a connection. Sequence numbers are relative to each side's ISS.
pub struct Conn {
    pub name: String,
    pub peer_port: u16,
    /// 0: not known yet (an active open).
    pub stack_port: u16,
    pub flow: Option<FlowId>,
    pub peer_iss: u32,
    pub stack_iss: Option<u32>,
    /// What the peer sends next.
    pub peer_next: i64,
    /// Behind the last byte that the stack sent.
    pub stack_next: i64,
    /// Window field that the peer announces.
    pub wnd: u16,
    pub peer_offers_ts: bool,
    /// Timestamps were agreed on.
    pub ts: bool,
    /// The stack's first and last TSval.
    pub ts_first: Option<u32>,
    pub ts_last: u32,
    /// Fast Open's cookie that the stack gave, or sent.
    pub cookie: Vec<u8>,
    /// Bytes that the application has written and read.
    pub written: u64,
    pub read: u64,
}

impl Conn {
    fn new(name: &str, index: u16) -> Self {
        Self {
            name: name.into(),
            peer_port: 40_000 + index,
            stack_port: 80,
            flow: None,
            peer_iss: 1_000_000,
            stack_iss: None,
            peer_next: 0,
            stack_next: 0,
            wnd: 65_535,
            peer_offers_ts: false,
            ts: false,
            ts_first: None,
            ts_last: 0,
            cookie: Vec::new(),
            written: 0,
            read: 0,
        }
    }
}

/// What the settings of a script come to.
#[derive(Clone)]
pub struct Setup {
    pub tcp: TcpConfig,
    pub mtu: u16,
    pub frames: u32,
    pub v6: bool,
}

impl Default for Setup {
    /// The stack's own defaults, but every second segment is acknowledged and the first ones, too.
    fn default() -> Self {
        let tcp = TcpConfig {
            quickack_segs: 0,
            stretch_acks: false,
            // A window of a fixed size, that scripts can say.
            rcv_buf_bytes: 1 << 20,
            rcv_buf_max_bytes: 0,
            ..TcpConfig::default()
        };
        Self { tcp, mtu: 1500, frames: 256, v6: false }
    }
}

pub struct World {
    pub stack: Stack,
    pub v6: bool,
    pub start: Instant,
    pub now: Instant,
    pub sent: VecDeque<Sent>,
    pub conns: Vec<Conn>,
    pub listener: Option<ListenerId>,
    pub before: Counters,
    /// Segments come in without a turn of the stack between them.
    pub burst: bool,
}

pub fn host(n: u8, v6: bool) -> IpAddr {
    match v6 {
        false => IpAddr::from([10, 0, 0, n]),
        true => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)]),
    }
}

impl World {
    pub fn new(setup: &Setup) -> Self {
        let addrs = [false, true]
            .map(|v6| IfAddr { addr: host(1, v6), prefix_len: if v6 { 64 } else { 24 } })
            .to_vec();
        let any = |v6| Route {
            dst: if v6 { IpAddr::from([0u16; 8]) } else { IpAddr::from([0; 4]) },
            prefix_len: 0,
            gateway: None,
            metric: 0,
            mtu: None,
            prefsrc: None,
        };
        let cfg = StackConfig {
            link: Link::RawIp,
            mtu: setup.mtu,
            addrs,
            routes: vec![any(false), any(true)],
            resolver: Resolver::Own,
            tcp: setup.tcp.clone(),
            secret: [1, 2, 3, 4],
        };
        let now = Instant(1_000_000_000_000);
        let stack = Stack::new(
            cfg,
            Pool::new(Region::heap(setup.frames, u32::from(setup.mtu).next_power_of_two().max(4096))),
            now,
        )
        .unwrap();
        Self {
            before: stack.counters(),
            stack,
            v6: setup.v6,
            start: now,
            now,
            sent: VecDeque::new(),
            conns: Vec::new(),
            listener: None,
            burst: false,
        }
    }

    /// The connection of that name: made when it is first named.
    pub fn conn(&mut self, name: &str) -> usize {
        if let Some(i) = self.conns.iter().position(|c| c.name == name) {
            return i;
        }
        let index = self.conns.len();
        let mut conn = Conn::new(name, index as u16);
        // All connections are of one peer.
        conn.cookie =
            self.conns.iter().rev().map(|c| c.cookie.clone()).find(|c| !c.is_empty()).unwrap_or_default();
        self.conns.push(conn);
        index
    }

    /// An IP packet arrives.
    pub fn deliver(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        let pool = self.stack.pool();
        let Some(index) = pool.alloc_fill() else { return wrong("a free frame", "an empty pool") };
        let Some(mut frame) = pool.claim_rx(index, 256, bytes.len() as u32, RxCsum::Unknown) else {
            return wrong("a packet that fits a frame", format!("{} bytes", bytes.len()));
        };
        pool.writable(&mut frame).unwrap()[256..256 + bytes.len()].copy_from_slice(bytes);
        match self.stack.ingress(frame, self.now) {
            Ingress::Done => {}
            Ingress::Handoff { .. } => return wrong("one core", "a handoff"),
        }
        if !self.burst {
            self.turn();
        }
        Ok(())
    }

    /// The stack does what is due and sends what it wants to send.
    pub fn turn(&mut self) {
        loop {
            let before = self.sent.len();
            self.stack.on_timers(self.now);
            self.stack.output(self.now);
            let (pool, batch) = self.stack.pool_and_batch();
            while let Some(tx) = batch.pop() {
                let packet = decode(pool.tx_bytes(&tx));
                assert!(pool.complete(tx.into_index()));
                self.sent.push_back(Sent { at: self.now, packet });
            }
            if self.sent.len() == before {
                return;
            }
        }
    }

    /// Lets time pass up to `until`, or to the first packet that the stack sends if `stop`.
    pub fn run(&mut self, until: Instant, stop: bool) {
        while let Some(at) = self.stack.next_deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            self.turn();
            if stop && !self.sent.is_empty() {
                return;
            }
        }
        self.now = until;
        self.turn();
    }

    /// Time passes; what the stack sends before its end was not expected.
    pub fn wait(&mut self, ns: u64) -> Result<(), Wrong> {
        self.none()?;
        let from = self.now;
        let until = from + ns;
        self.run(until, false);
        match self.sent.front() {
            Some(s) if s.at < until => {
                let after = show_span(s.at.since(from));
                wrong("nothing meanwhile", format!("after {after}: {}", self.show_front()))
            }
            _ => Ok(()),
        }
    }

    /// The stack has nothing more to say now.
    pub fn none(&mut self) -> Result<(), Wrong> {
        if self.sent.is_empty() { Ok(()) } else { wrong("nothing", self.show_front()) }
    }

    /// Every frame is where it should be.
    pub fn check_frames(&mut self) -> Result<(), Wrong> {
        let held = self.stack.frames_held() as u32;
        let ledger = self.stack.pool().ledger();
        if ledger.accounts_for(held) {
            return Ok(());
        }
        wrong("every frame accounted for", format!("{ledger:?}, {held} held by count"))
    }
}

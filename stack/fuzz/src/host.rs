//! A stack under test: small, with its time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_frame::{HEADROOM_BYTES, Pool, Region, RxCsum};
use linerate_net::addr::IfAddr;
use linerate_net::neigh::Resolver;
use linerate_net::route::Route;
use linerate_net::{Ingress, Instant, Link, Stack, StackConfig, TcpConfig};

/// Frames of a stack: few, so that running short is part of the play.
pub const FRAMES: u32 = 256;
/// Packets that one turn may send at most: a window's worth of small segments, and then some.
const TURN_PACKETS_MAX: usize = 4_000;
/// Timers that may fire before a stack that nobody talks to is silent.
const TIMERS_MAX: usize = 2_000;
/// Hardware address of the stack.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Address of host `n`.
pub fn addr(n: u8, ipv6: bool) -> IpAddr {
    match ipv6 {
        false => Ipv4Addr::new(10, 0, 0, n).into(),
        true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into()).into(),
    }
}

/// See the module.
pub struct Host {
    /// The stack.
    pub stack: Stack,
    /// Its time, ns.
    pub now: u64,
}

impl Host {
    /// Host number `n`.
    pub fn new(n: u8, link: Link, tcp: TcpConfig) -> Self {
        let addrs = [false, true]
            .map(|ipv6| IfAddr { addr: addr(n, ipv6), prefix_len: if ipv6 { 64 } else { 24 } });
        let routes = addrs.map(|a| Route {
            dst: a.addr,
            prefix_len: a.prefix_len,
            gateway: None,
            metric: 0,
            mtu: None,
            prefsrc: None,
        });
        let cfg = StackConfig {
            link,
            mtu: 1500,
            addrs: addrs.to_vec(),
            routes: routes.to_vec(),
            resolver: Resolver::Own,
            tcp,
            secret: [1, 2, 3, 4 + u64::from(n)],
        };
        let now = 1_000_000_000;
        let pool = Pool::new(Region::heap(FRAMES, 2048));
        Self { stack: Stack::new(cfg, pool, Instant(now)).expect("a good configuration"), now }
    }

    /// The time.
    pub fn instant(&self) -> Instant {
        Instant(self.now)
    }

    /// A packet arrives; lost if there is no frame for it, or none so large.
    pub fn inject(&mut self, bytes: &[u8]) {
        let now = self.instant();
        let pool = self.stack.pool();
        let Some(bytes) = bytes.get(..bytes.len().min(pool.payload_bytes())) else { return };
        let Some(index) = pool.alloc_fill() else { return };
        let frame = pool.claim_rx(index, HEADROOM_BYTES, bytes.len() as u32, RxCsum::Unknown);
        let mut frame = frame.expect("fits");
        let at = HEADROOM_BYTES as usize;
        pool.writable(&mut frame).expect("just claimed")[at..at + bytes.len()].copy_from_slice(bytes);
        assert!(matches!(self.stack.ingress(frame, now), Ingress::Done));
    }

    /// Everything that is due, and all that is to be sent.
    pub fn turn(&mut self) -> Vec<Vec<u8>> {
        let now = self.instant();
        let mut sent = Vec::new();
        loop {
            self.stack.on_timers(now);
            self.stack.output(now);
            let (pool, batch) = self.stack.pool_and_batch();
            if batch.is_empty() {
                break;
            }
            while let Some(tx) = batch.pop() {
                sent.push(pool.tx_bytes(&tx).to_vec());
                assert!(pool.complete(tx.into_index()));
            }
            assert!(sent.len() <= TURN_PACKETS_MAX, "a turn without end");
        }
        self.stack.audit().unwrap_or_else(|e| panic!("{e}"));
        sent
    }

    /// Time goes on by `ns`, timer by timer; everything sent meanwhile.
    pub fn advance(&mut self, ns: u64) -> Vec<Vec<u8>> {
        let until = self.now + ns;
        let mut sent = self.turn();
        for _ in 0..TIMERS_MAX {
            let Some(at) = self.stack.next_deadline().filter(|at| at.0 <= until) else { break };
            self.now = self.now.max(at.0);
            sent.extend(self.turn());
        }
        self.now = until;
        sent.extend(self.turn());
        sent
    }

    /// Nobody says anything any more: every connection must end, every frame come home.
    pub fn assert_ends(&mut self) {
        for _ in 0..TIMERS_MAX {
            self.turn();
            let gone = self.stack.conns() == 0 && self.stack.time_waits() == 0;
            if gone && self.stack.frames_held() == 0 {
                let ledger = self.stack.pool().ledger();
                assert!(ledger.is_home(), "{ledger:?}");
                return;
            }
            let next = self.stack.next_deadline().expect("what is left waits for a timer");
            self.now = self.now.max(next.0);
        }
        let left = (self.stack.conns(), self.stack.time_waits(), self.stack.frames_held());
        panic!("left over: {left:?}");
    }
}

//! A host: a real stack, with a port that copies.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_frame::{FrameIndex, HEADROOM_BYTES, Pool, Region, RxCsum};
use linerate_net::addr::IfAddr;
use linerate_net::neigh::Resolver;
use linerate_net::route::Route;
use linerate_net::{Ingress, Instant, Link, ListenerId, Stack, StackConfig};

use crate::US;
use crate::dice::Dice;
use crate::scenario::HostPlan;

/// What every host listens on.
pub const PORT: u16 = 80;
/// Bytes of a chunk of packet memory.
pub const CHUNK_BYTES: u32 = 2048;
/// A stack that still has work (no frame, a transmission not complete) is asked again after this, as a core that spins
/// would.
const SPIN_NS: u64 = 100 * US;
/// Rounds of one turn at most; each round but the last sends something.
const TURN_ROUNDS_MAX: u32 = 10_000;

/// Address of host number `host`.
pub fn addr(host: usize, ipv6: bool) -> IpAddr {
    let n = host as u16 + 1;
    match ipv6 {
        false => Ipv4Addr::new(10, 0, 0, n as u8).into(),
        true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n).into(),
    }
}

/// Hardware address of host number `host`.
pub fn mac(host: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, host as u8 + 1]
}

/// Which host a frame is for; `None`: no single one.
pub fn host_of_mac(dst: &[u8]) -> Option<usize> {
    match dst {
        [2, 0, 0, 0, 0, n] if *n > 0 => Some(*n as usize - 1),
        _ => None,
    }
}

/// See the module.
pub struct Host {
    /// The stack.
    pub stack: Stack,
    /// Its only listener.
    pub listener: ListenerId,
    /// Its plan.
    pub plan: HostPlan,
    /// Transmissions under way and when they end.
    completions: VecDeque<(u64, FrameIndex)>,
    next_event_ns: Option<u64>,
    /// Frames that found the pool dry.
    pub no_frame: u64,
}

impl Host {
    /// Host number `host`; its secrets follow from `seed`.
    ///
    /// # Panics
    /// If the plan has impossible settings.
    pub fn new(host: usize, plan: &HostPlan, seed: u64, now_ns: u64) -> Self {
        let mut dice = Dice::new(seed ^ (host as u64) << 32);
        let addrs = [false, true]
            .map(|ipv6| IfAddr { addr: addr(host, ipv6), prefix_len: if ipv6 { 64 } else { 24 } });
        let routes = addrs.map(|a| Route {
            dst: a.addr,
            prefix_len: a.prefix_len,
            gateway: None,
            metric: 0,
            mtu: None,
            prefsrc: None,
        });
        let cfg = StackConfig {
            link: Link::Ethernet(mac(host)),
            mtu: 1500,
            addrs: addrs.to_vec(),
            routes: routes.to_vec(),
            resolver: Resolver::Own,
            tcp: plan.tcp.clone(),
            secret: [dice.bits(), dice.bits(), dice.bits(), dice.bits()],
        };
        let pool = Pool::new(Region::heap(plan.frames, CHUNK_BYTES));
        let mut stack = Stack::new(cfg, pool, Instant(now_ns)).expect("a plan's settings are possible");
        let listener = stack.listen(None, PORT, plan.backlog).expect("nobody listens yet");
        Self {
            stack,
            listener,
            plan: plan.clone(),
            completions: VecDeque::new(),
            next_event_ns: None,
            no_frame: 0,
        }
    }

    /// A frame arrives. `false`: there was no frame to receive it into.
    pub fn receive(&mut self, bytes: &[u8], now_ns: u64) -> bool {
        let pool = self.stack.pool();
        let Some(index) = pool.alloc_fill() else {
            self.no_frame += 1;
            return false;
        };
        let Some(mut frame) = pool.claim_rx(index, HEADROOM_BYTES, bytes.len() as u32, RxCsum::Unknown)
        else {
            unreachable!("a frame of the wire fits a chunk")
        };
        let Some(chunk) = pool.writable(&mut frame) else { unreachable!("just claimed") };
        let at = HEADROOM_BYTES as usize;
        chunk[at..at + bytes.len()].copy_from_slice(bytes);
        match self.stack.ingress(frame, Instant(now_ns)) {
            Ingress::Done => true,
            Ingress::Handoff { .. } => unreachable!("a stack without owners keeps its flows"),
        }
    }

    /// Ends transmissions that are due.
    pub fn complete(&mut self, now_ns: u64) {
        while let Some((_, index)) = self.completions.pop_front_if(|(at, _)| *at <= now_ns) {
            let known = self.stack.pool().complete(index);
            assert!(known, "a transmission ends once");
        }
    }

    /// Timers, then the applications (`apps`), then everything that is to be sent goes to `send`, until there is
    /// nothing more to do.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub fn turn(
        &mut self,
        now_ns: u64,
        mut apps: impl FnMut(&mut Stack) -> Result<(), String>,
        mut send: impl FnMut(&[u8]),
    ) -> Result<(), String> {
        let now = Instant(now_ns);
        for _ in 0..TURN_ROUNDS_MAX {
            self.stack.on_timers(now);
            apps(&mut self.stack)?;
            self.stack.output(now);
            let (pool, batch) = self.stack.pool_and_batch();
            let quiet = batch.is_empty();
            while let Some(tx) = batch.pop() {
                send(pool.tx_bytes(&tx));
                let index = tx.into_index();
                match self.plan.completion_ns {
                    0 => assert!(pool.complete(index), "a transmission ends once"),
                    lag => self.completions.push_back((now_ns + lag, index)),
                }
            }
            if quiet {
                self.plan_next(now_ns);
                return Ok(());
            }
        }
        Err(format!("livelock: more than {TURN_ROUNDS_MAX} rounds that send within one turn"))
    }

    fn plan_next(&mut self, now_ns: u64) {
        let spin = self.stack.has_work().then_some(now_ns + SPIN_NS);
        let timer = self.stack.next_deadline().map(|t| t.0);
        self.next_event_ns = spin.into_iter().chain(timer).min();
    }

    /// When this host has something to do by itself.
    pub fn next_event_ns(&self) -> Option<u64> {
        let completion = self.completions.front().map(|(at, _)| *at);
        self.next_event_ns.into_iter().chain(completion).min()
    }

    /// No connection, none in TIME-WAIT, no frame away from home.
    pub fn is_silent(&self) -> bool {
        self.stack.conns() == 0
            && self.stack.time_waits() == 0
            && self.stack.frames_held() == 0
            && self.completions.is_empty()
    }
}

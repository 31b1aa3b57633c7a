//! The run: virtual time goes from one thing that happens to the next, and everything is checked on the way.

use std::fmt;

use linerate_net::{FlowId, Stack};
use linerate_port::sim::{SimConfig, SimStats, Wire};
use linerate_wire::{parse, protocol};

use crate::capture::Capture;
use crate::digest::Digest;
use crate::flow::Flow;
use crate::host::{self, Host};
use crate::noise::Noise;
use crate::pattern::Pattern;
use crate::scenario::Scenario;
use crate::{MS, SEC, dice::Dice, sys};

/// Virtual time at the beginning: not 0, which a stack could mistake for "never".
const START_NS: u64 = SEC;
/// A connection that has got no further for so long hangs: more than the sum of all its retransmission timeouts
/// (15 doublings up to 120 s are 924 s), so either it moved or it was given up.
const STUCK_NS: u64 = 2_000 * SEC;
/// When all applications are done, what is left in the stacks (FINs to be repeated, TIME-WAIT) is over by then.
const LEFT_OVER_NS: u64 = 2_500 * SEC;
/// Packets that hosts send without any connection getting further: an ACK war, or retransmission without end.
const PACKETS_WITHOUT_PROGRESS_MAX: u64 = 50_000;
/// Rounds at one instant.
const ROUNDS_AT_ONCE_MAX: u64 = 20_000;
/// Turns of hosts between two audits: an audit walks over all connections and frames.
const AUDIT_EVERY: u64 = 64;
/// Every leap of time at least this long is audited: before a long silence everything must be watched by a timer.
const AUDIT_LEAP_NS: u64 = 100 * MS;
/// Heap beside packet memory and what is under way on the wires: tables, queues, histories.
const HEAP_BASE_BYTES: u64 = 16 << 20;

/// What went wrong, and when.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Virtual time.
    pub at_ns: u64,
    /// In words.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}.{:06} s: {}", self.at_ns / SEC, self.at_ns % SEC / 1000, self.what)
    }
}

/// What a connection came to.
#[derive(Clone, Debug, Default)]
pub struct FlowReport {
    /// Bytes that arrived at each end.
    pub received: [u64; 2],
    /// The same, within the measured time.
    pub measured: [u64; 2],
    /// It ended with an error at one end or both.
    pub failed: bool,
    /// When both applications were done.
    pub done_at_ns: Option<u64>,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One number for all frames that were sent, with their times.
    pub digest: u64,
    /// Frames that hosts sent.
    pub packets: u64,
    /// Virtual time that passed.
    pub virtual_ns: u64,
    /// TCP retransmissions of all hosts.
    pub retransmits: u64,
    /// Retransmission timeouts of all hosts.
    pub timeouts: u64,
    /// What the bottlenecks did.
    pub wires: [SimStats; 2],
    /// The connections.
    pub flows: Vec<FlowReport>,
    /// Most heap in use, bytes, packet memory included.
    pub heap_bytes: u64,
}

/// See the module.
pub struct World<'a> {
    scenario: &'a Scenario,
    now_ns: u64,
    hosts: Vec<Host>,
    bottleneck: [Wire; 2],
    /// What arrives at each host.
    access: Vec<Wire>,
    flows: Vec<Flow>,
    noise: Vec<Noise>,
    changes_done: usize,
    pattern: Pattern,
    digest: Digest,
    capture: Option<Capture>,
    packets: u64,
    packets_at_progress: u64,
    progress_at_ns: u64,
    turns: u64,
    measuring: bool,
    heap_before: i64,
}

impl<'a> World<'a> {
    /// A world before anything happened; with a capture, everything is written to it.
    pub fn new(scenario: &'a Scenario, capture: Option<Capture>) -> Self {
        sys::reset_peak();
        let heap_before = sys::live_bytes();
        let mut seeds = Dice::new(scenario.seed ^ 0x5eed);
        let hosts: Vec<_> =
            (0..).zip(&scenario.hosts).map(|(i, plan)| Host::new(i, plan, seeds.bits(), START_NS)).collect();
        let bottleneck = scenario.wires.map(|config| Wire::new(seeds.bits(), config));
        let access = scenario
            .hosts
            .iter()
            .map(|h| Wire::new(0, SimConfig { delay_ns: h.access_ns, ..SimConfig::default() }))
            .collect();
        Self {
            now_ns: START_NS,
            bottleneck,
            access,
            flows: (0..).zip(&scenario.flows).map(|(i, plan)| Flow::new(i, plan)).collect(),
            noise: scenario.noise.iter().map(|n| Noise::new(n, hosts.len(), START_NS)).collect(),
            hosts,
            changes_done: 0,
            pattern: Pattern::default(),
            digest: Digest::default(),
            capture,
            packets: 0,
            packets_at_progress: 0,
            progress_at_ns: START_NS,
            turns: 0,
            measuring: false,
            heap_before,
            scenario,
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// The first thing that was wrong. A panic of a stack passes through.
    pub fn run(mut self) -> Result<Report, Failure> {
        let end = self.run_checked();
        let end = end.map_err(|what| Failure { at_ns: self.now_ns, what: self.explain(what) });
        if let Some(Err(e)) = self.capture.take().map(Capture::finish) {
            eprintln!("capture: {e}");
        }
        end
    }

    fn explain(&self, mut what: String) -> String {
        for flow in self.flows.iter().filter(|f| f.done_at_ns.is_none()) {
            what.push('\n');
            what.push_str(&flow.describe(&self.hosts));
        }
        what
    }

    fn run_checked(&mut self) -> Result<Report, String> {
        let mut at_once = 0u64;
        while let Some(next) = self.next_event_ns() {
            if next > self.now_ns {
                at_once = 0;
                self.leap(next)?;
            }
            at_once += 1;
            if at_once > ROUNDS_AT_ONCE_MAX {
                return Err(format!("livelock: more than {ROUNDS_AT_ONCE_MAX} rounds at one instant"));
            }
            if self.scenario.measure_ns.is_some_and(|(_, to)| self.now_ns >= to) {
                return Ok(self.report());
            }
            self.round()?;
            if self.all_done() && self.hosts.iter().all(Host::is_silent) {
                break;
            }
        }
        self.check_end()?;
        Ok(self.report())
    }

    fn all_done(&self) -> bool {
        self.flows.iter().all(|f| f.done_at_ns.is_some())
    }

    fn next_event_ns(&self) -> Option<u64> {
        let wires = self.bottleneck.iter().chain(&self.access).filter_map(Wire::next_due_ns);
        let hosts = self.hosts.iter().filter_map(Host::next_event_ns);
        let apps = self.flows.iter().flat_map(|f| (0..2).filter_map(|e| f.wake_ns(e)));
        let done = self.all_done();
        let noise = self.noise.iter().filter(|_| !done).filter_map(Noise::next_ns);
        let change = self.scenario.changes.get(self.changes_done).map(|c| c.at_ns);
        let measure = self.scenario.measure_ns.map(|(from, to)| if self.measuring { to } else { from });
        let next = wires.chain(hosts).chain(apps).chain(noise).chain(change).chain(measure).min();
        next.map(|at| at.max(self.now_ns))
    }

    /// Time goes on; what could only be found in the silence before is looked for.
    fn leap(&mut self, next_ns: u64) -> Result<(), String> {
        if next_ns - self.now_ns >= AUDIT_LEAP_NS {
            self.audit()?;
        }
        self.now_ns = next_ns;
        let silence = self.now_ns - self.progress_at_ns;
        if self.all_done() {
            if silence > LEFT_OVER_NS {
                let left: Vec<_> = self
                    .hosts
                    .iter()
                    .map(|h| (h.stack.conns(), h.stack.time_waits(), h.stack.frames_held()))
                    .collect();
                return Err(format!("left over in the hosts (connections, TIME-WAIT, frames): {left:?}"));
            }
        } else if silence > STUCK_NS
            && self.flows.iter().any(|f| f.plan.start_ns < self.now_ns && f.done_at_ns.is_none())
        {
            return Err(format!("no progress for {} s", STUCK_NS / SEC));
        }
        Ok(())
    }

    /// Everything that happens now.
    fn round(&mut self) -> Result<(), String> {
        let now = self.now_ns;
        self.measure();
        while let Some(change) = self.scenario.changes.get(self.changes_done).filter(|c| c.at_ns <= now) {
            self.bottleneck[change.way].config = change.to;
            self.changes_done += 1;
        }
        if !self.all_done() {
            self.make_noise();
        }
        for way in 0..2 {
            self.switch(way);
        }
        for h in 0..self.hosts.len() {
            let arrived = self.arrivals(h);
            let host = &mut self.hosts[h];
            let due = host.next_event_ns().is_some_and(|at| at <= now);
            host.complete(now);
            if arrived || due || self.app_is_due(h) {
                self.turn(h)?;
            }
        }
        Ok(())
    }

    fn measure(&mut self) {
        if !self.measuring && self.scenario.measure_ns.is_some_and(|(from, _)| self.now_ns >= from) {
            self.measuring = true;
            for end in self.flows.iter_mut().flat_map(|f| &mut f.ends) {
                end.received_before = end.received;
            }
        }
    }

    fn make_noise(&mut self) {
        for n in &mut self.noise {
            while n.next_ns().is_some_and(|at| at <= self.now_ns) {
                let way = n.way;
                self.bottleneck[way].send(self.now_ns, n.send());
            }
        }
    }

    /// Frames that have passed the bottleneck go to their host.
    fn switch(&mut self, way: usize) {
        let now = self.now_ns;
        let n = self.hosts.len() / 2;
        let side = if way == 0 { n..2 * n } else { 0..n };
        let access = &mut self.access;
        let mut forward = |bytes: &[u8]| {
            let dst = bytes.get(..6).unwrap_or(&[]);
            match host::host_of_mac(dst) {
                Some(h) if side.contains(&h) => {
                    access[h].send(now, bytes);
                }
                _ if dst.first().is_some_and(|b| b & 1 == 1) => {
                    for h in side.clone() {
                        access[h].send(now, bytes);
                    }
                }
                _ => {}
            }
            true
        };
        while self.bottleneck[way].receive(now, &mut forward) {}
    }

    fn arrivals(&mut self, h: usize) -> bool {
        let now = self.now_ns;
        let Self { access, hosts, flows, capture, digest, .. } = self;
        let mut any = false;
        while access[h].receive(now, |bytes| {
            digest.number(now ^ (h as u64) << 56);
            hear(flows, h, bytes, now);
            let before = capture.as_ref().map(|_| hosts[h].stack.counters());
            let taken = hosts[h].receive(bytes, now);
            if let (Some(capture), Some(before)) = (capture.as_mut(), &before) {
                capture.received(h, now, bytes, taken, before, &hosts[h].stack);
            }
            taken
        }) {
            any = true;
        }
        any
    }

    fn app_is_due(&self, h: usize) -> bool {
        self.flows
            .iter()
            .any(|f| (0..2).any(|e| f.plan.hosts[e] == h && f.wake_ns(e).is_some_and(|at| at <= self.now_ns)))
    }

    fn turn(&mut self, h: usize) -> Result<(), String> {
        let now = self.now_ns;
        let way = usize::from(h >= self.hosts.len() / 2);
        let Self { hosts, flows, bottleneck, pattern, digest, capture, packets, .. } = self;
        let Host { listener, .. } = hosts[h];
        hosts[h].turn(
            now,
            |stack| applications(h, listener, stack, flows, pattern, now),
            |bytes| {
                *packets += 1;
                digest.number(now ^ (h as u64) << 48);
                digest.bytes(bytes);
                if let Some(capture) = capture {
                    capture.sent(h, now, bytes);
                }
                let fate = bottleneck[way].send(now, bytes);
                if let Some(capture) = capture {
                    capture.fate(way, now, bytes, fate);
                }
            },
        )?;
        self.turns += 1;
        if self.turns.is_multiple_of(AUDIT_EVERY) {
            self.audit()?;
        }
        self.check_progress()
    }

    fn check_progress(&mut self) -> Result<(), String> {
        let at = self.flows.iter().map(|f| f.progress_at_ns).filter(|at| *at <= self.now_ns).max();
        if let Some(at) = at.filter(|at| *at > self.progress_at_ns) {
            self.progress_at_ns = at;
            self.packets_at_progress = self.packets;
        }
        if self.packets - self.packets_at_progress > PACKETS_WITHOUT_PROGRESS_MAX {
            return Err(format!("livelock: {PACKETS_WITHOUT_PROGRESS_MAX} packets without progress"));
        }
        Ok(())
    }

    fn audit(&mut self) -> Result<(), String> {
        for (h, host) in self.hosts.iter().enumerate() {
            host.stack.audit().map_err(|e| format!("host {h}: {e}"))?;
        }
        let flying: u64 = self.bottleneck.iter().chain(&self.access).map(Wire::held_bytes).sum();
        let pools: u64 =
            self.hosts.iter().map(|h| u64::from(h.plan.frames) * u64::from(host::CHUNK_BYTES)).sum();
        let bufs: u64 = self
            .flows
            .iter()
            .flat_map(|f| f.plan.hosts)
            .map(|h| u64::from(self.hosts[h].plan.tcp.rcv_buf_bytes))
            .sum();
        let (heap, most) = (self.heap_bytes(), 2 * flying + pools + 2 * bufs + HEAP_BASE_BYTES);
        if heap > most {
            return Err(format!("{heap} bytes of heap in use, more than {most}"));
        }
        Ok(())
    }

    fn heap_bytes(&self) -> u64 {
        (sys::live_bytes() - self.heap_before).max(0) as u64
    }

    fn check_end(&mut self) -> Result<(), String> {
        self.audit()?;
        if !self.all_done() {
            return Err("nothing will ever happen again".to_string());
        }
        for (h, host) in self.hosts.iter_mut().enumerate() {
            let ledger = host.stack.pool().ledger();
            if !ledger.is_home() {
                return Err(format!("host {h}: frames are not home at the end: {ledger:?}"));
            }
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let counters: Vec<_> = self.hosts.iter().map(|h| h.stack.counters()).collect();
        let flow = |f: &Flow| FlowReport {
            received: [0, 1].map(|e| f.ends[e].received),
            measured: [0, 1].map(|e| f.ends[e].received - f.ends[e].received_before),
            failed: f.ends.iter().any(|e| e.error.is_some()),
            done_at_ns: f.done_at_ns,
        };
        Report {
            digest: self.digest.value(),
            packets: self.packets,
            virtual_ns: self.now_ns - START_NS,
            retransmits: counters.iter().map(|c| c.tcp_retransmits).sum(),
            timeouts: counters.iter().map(|c| c.tcp_timeouts).sum(),
            wires: [0, 1].map(|w| self.bottleneck[w].stats),
            flows: self.flows.iter().map(flow).collect(),
            heap_bytes: (sys::peak_bytes() - self.heap_before).max(0) as u64,
        }
    }
}

/// Which end hears from its peer by this frame: it must not give its peer up soon.
fn hear(flows: &mut [Flow], h: usize, bytes: &[u8], now_ns: u64) {
    let Ok(p) = parse(bytes) else { return };
    let (Some(net), l4) = (p.net, p.l4_off as usize) else { return };
    let (Some(ports), true) = (bytes.get(l4..l4 + 4), net.protocol == protocol::TCP) else { return };
    let (src, dst) = (u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]]));
    let n = flows.len();
    for f in flows.iter_mut().take(n) {
        let Some(peer) = f.plan.hosts.iter().find(|p| host::addr(**p, f.plan.ipv6) == net.src).copied()
        else {
            continue;
        };
        if let Some(e) = f.end_at(h, peer, dst, src) {
            f.ends[e].heard_at_ns = now_ns;
        }
    }
}

/// Connections are accepted, and every end that was told something, or wants to by itself, acts.
fn applications(
    h: usize,
    listener: linerate_net::ListenerId,
    stack: &mut Stack,
    flows: &mut [Flow],
    pattern: &Pattern,
    now_ns: u64,
) -> Result<(), String> {
    while let Some(l) = stack.next_accepting() {
        assert_eq!(l, listener, "there is one");
        while let Some(id) = stack.accept(l) {
            accept(h, id, stack, flows, pattern, now_ns)?;
        }
    }
    while let Some((id, events)) = stack.next_ready() {
        if let Some((f, e)) = end_of(flows, h, id) {
            flows[f].act(e, stack, pattern, now_ns)?;
        } else {
            return Err(format!("events {events:?} of {id:?}, which nobody has"));
        }
    }
    for f in flows.iter_mut() {
        for e in 0..2 {
            if f.plan.hosts[e] == h && f.wake_ns(e).is_some_and(|at| at <= now_ns) {
                f.act(e, stack, pattern, now_ns)?;
            }
        }
    }
    Ok(())
}

fn end_of(flows: &[Flow], h: usize, id: FlowId) -> Option<(usize, usize)> {
    let at = |f: &Flow| (0..2).find(|e| f.plan.hosts[*e] == h && f.ends[*e].id == Some(id));
    flows.iter().enumerate().find_map(|(i, f)| Some((i, at(f)?)))
}

fn accept(
    h: usize,
    id: FlowId,
    stack: &mut Stack,
    flows: &mut [Flow],
    pattern: &Pattern,
    now_ns: u64,
) -> Result<(), String> {
    let Some(key) = stack.flow_key(id).copied() else { return Ok(()) };
    let Some(f) = flows.iter_mut().find(|f| f.is_accepted_by(h, key.remote, key.remote_port)) else {
        return Err(format!("accepted {key:?}, which nobody opened"));
    };
    if f.ends[1].over {
        // The client has given up meanwhile.
        stack.abort(id, linerate_net::Instant(now_ns));
        return Ok(());
    }
    f.accepted(id, stack, now_ns)?;
    f.act(1, stack, pattern, now_ns)
}

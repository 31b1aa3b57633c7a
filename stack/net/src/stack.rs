//! The stack of one core: what it owns, and its turn.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use linerate_frame::{Batch, Frame, Pool};
use linerate_tcp::{Env, Instant, SeqNum, State, Tcb, TcpCounters, TimeWait};
use linerate_wire::FlowKey;
use linerate_wire::flow_key::HashKey;

use crate::addr::{AddrError, AddrSet, IfAddr};
use crate::auto::Auto;
use crate::config::{Link, StackConfig};
use crate::counters::Counters;
use crate::dgram::Dgrams;
use crate::drop_reason::DropReason;
use crate::egress::{Egress, Path};
use crate::flow::listeners::Listeners;
use crate::flow::lookup::{Conn, Flows};
use crate::flow::owner::Owners;
use crate::flow::{FlowId, ListenerId};
use crate::icmp::RateLimit;
use crate::ip_id::IpIds;
use crate::limits::{
    FRAG_TIMEOUT_V4_NS, FRAG_TIMEOUT_V6_NS, IPV4_TCP_HEADER_BYTES, IPV6_TCP_HEADER_BYTES, MTU_MIN,
    SEND_RESERVE_SHIFT, SHORT_OF_FRAMES_SHIFT, TRIM_AFTER_NS,
};
use crate::neigh::NeighTable;
use crate::pmtu::PmtuCache;
use crate::reassembly::Reassembly;
use crate::route::{Route, RouteError, RouteTable};
use crate::wheel::Wheel;

/// What can be wrong with a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// An address.
    Addr(AddrError),
    /// A route.
    Route(RouteError),
    /// RFC 791's smallest is 68; nothing useful fits below 576 (RFC 9293's default MSS plus headers).
    MtuTooSmall(u16),
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Addr(e) => write!(f, "address: {e}"),
            Self::Route(e) => write!(f, "route: {e}"),
            Self::MtuTooSmall(mtu) => write!(f, "MTU {mtu} is smaller than 576"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// See the crate.
pub struct Stack {
    pub(crate) pool: Pool,
    pub(crate) batch: Batch,
    pub(crate) link: Link,
    pub(crate) mtu: u16,
    pub(crate) addrs: AddrSet,
    pub(crate) routes: RouteTable,
    pub(crate) neigh: NeighTable,
    pub(crate) pmtu: PmtuCache,
    pub(crate) frags_v4: Reassembly,
    pub(crate) frags_v6: Reassembly,
    pub(crate) ip_ids: IpIds,
    pub(crate) dgrams: Dgrams,
    pub(crate) flows: Flows,
    pub(crate) listeners: Listeners,
    pub(crate) owners: Option<Owners>,
    pub(crate) wheel: Wheel,
    /// Connections to run output for.
    pub(crate) dirty: Vec<u32>,
    /// Its twin while the list is worked off: nothing is allocated in a turn.
    dirty_spare: Vec<u32>,
    /// Connections with events for the application.
    pub(crate) ready: VecDeque<FlowId>,
    /// Listeners with connections to accept.
    pub(crate) accepting: VecDeque<ListenerId>,
    pub(crate) tcp_cfg: Arc<linerate_tcp::TcpConfig>,
    pub(crate) fast_opens: crate::fast_open::FastOpens,
    /// SYN-ACKs of half-open connections that found no room, with their ISS.
    pub(crate) syn_acks_due: VecDeque<(u32, SeqNum)>,
    pub(crate) secret: [u64; 4],
    pub(crate) counters: Counters,
    pub(crate) tcp_counters: TcpCounters,
    /// Neighbours that the host's kernel is to resolve.
    pub(crate) asked: VecDeque<IpAddr>,
    /// What other cores are to learn.
    pub(crate) lessons: VecDeque<crate::arp_nd::Lesson>,
    /// What looks after our addresses, on the core that does.
    pub(crate) auto: Option<Box<Auto>>,
    pub(crate) icmp_limit: RateLimit,
    /// Challenge ACKs of half-open connections.
    pub(crate) challenge_limit: RateLimit,
    pub(crate) short_of_frames_below: usize,
    pub(crate) send_reserve_frames: usize,
    pub(crate) ip_id: u16,
    /// Active opens, for the search of a port (RFC 6056).
    pub(crate) next_port: u32,
}

impl Stack {
    /// A stack with its frames.
    ///
    /// # Errors
    /// If an address or a route of the configuration is impossible, or the MTU below 576.
    pub fn new(cfg: StackConfig, pool: Pool, now: Instant) -> Result<Self, ConfigError> {
        if cfg.mtu < 576 {
            return Err(ConfigError::MtuTooSmall(cfg.mtu));
        }
        let mut addrs = AddrSet::new();
        for a in &cfg.addrs {
            addrs.add(*a).map_err(ConfigError::Addr)?;
        }
        let mut routes = RouteTable::new();
        for r in cfg.routes {
            routes.add(r).map_err(ConfigError::Route)?;
        }
        let [k0, k1, seed, _] = cfg.secret;
        Ok(Self {
            short_of_frames_below: pool.free_len() >> SHORT_OF_FRAMES_SHIFT,
            send_reserve_frames: pool.free_len() >> SEND_RESERVE_SHIFT,
            pool,
            batch: Batch::default(),
            link: cfg.link,
            mtu: cfg.mtu,
            addrs,
            routes,
            neigh: NeighTable::new(cfg.resolver, seed, now.0),
            pmtu: PmtuCache::default(),
            frags_v4: Reassembly::new(FRAG_TIMEOUT_V4_NS),
            frags_v6: Reassembly::new(FRAG_TIMEOUT_V6_NS),
            ip_ids: IpIds::new(HashKey([k1, k0]), seed),
            dgrams: Dgrams::new(HashKey([k0, k1])),
            flows: Flows::new(HashKey([k0, k1])),
            listeners: Listeners::default(),
            owners: None,
            wheel: Wheel::new(now.0),
            dirty: Vec::new(),
            dirty_spare: Vec::new(),
            ready: VecDeque::new(),
            accepting: VecDeque::new(),
            tcp_cfg: Arc::new(cfg.tcp),
            syn_acks_due: VecDeque::new(),
            fast_opens: Default::default(),
            secret: cfg.secret,
            counters: Counters::default(),
            tcp_counters: TcpCounters::default(),
            asked: VecDeque::new(),
            lessons: VecDeque::new(),
            auto: None,
            icmp_limit: RateLimit::default(),
            challenge_limit: RateLimit::default(),
            ip_id: seed as u16,
            next_port: (seed >> 16) as u32,
        })
    }

    /// This core's frames.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// This core's frames, and what it wants to send, for a port.
    pub fn pool_and_batch(&mut self) -> (&mut Pool, &mut Batch) {
        (&mut self.pool, &mut self.batch)
    }

    /// Which flows belong to other cores.
    pub fn set_owners(&mut self, owners: Owners) {
        self.owners = Some(owners);
    }

    /// The neighbour table (for a mirror of the kernel's).
    pub fn neigh(&mut self) -> &mut NeighTable {
        &mut self.neigh
    }

    /// Our addresses.
    pub fn addrs(&self) -> impl Iterator<Item = &IfAddr> {
        self.addrs.iter()
    }

    /// Our routes.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Connections, TIME-WAIT not counted.
    pub fn conns(&self) -> usize {
        self.flows.len()
    }

    /// Handshakes that peers began, under way.
    pub fn half_opens(&self) -> usize {
        self.flows.half_opens.len()
    }

    /// Connections in TIME-WAIT.
    pub fn time_waits(&self) -> usize {
        self.flows.waiting_len()
    }

    /// Everything counted so far.
    pub fn counters(&self) -> Counters {
        let mut c = self.counters.clone();
        let t = &self.tcp_counters;
        c.tcp_segs_out += t.segs_out;
        c.tcp_fast_path = t.fast_path;
        c.tcp_retransmits = t.retransmits;
        c.tcp_timeouts = t.timeouts;
        c.tcp_rsts_out += t.rsts_out;
        c
    }

    /// TCP's own counters.
    pub fn tcp_counters(&self) -> &TcpCounters {
        &self.tcp_counters
    }

    /// Counts a loss that happened outside (a handoff ring that is full) and takes the frame home.
    pub fn drop_frame(&mut self, frame: Frame, reason: DropReason) {
        self.counters.drop(reason);
        self.pool.free(frame);
    }

    /// Frames that the stack holds, counted where they are: a walk over connections and neighbours.
    pub fn frames_held(&self) -> usize {
        let conns: usize = self.flows.conns.iter().flatten().map(|c| c.tcb.frames_held()).sum();
        conns + self.neigh.frames_held() + self.dgrams.frames_held()
    }

    /// What fragments hold: bytes of memory, upkeep included, and datagrams under way.
    pub fn fragments_held(&self) -> (usize, usize) {
        let both = [&self.frags_v4, &self.frags_v6];
        (both.iter().map(|f| f.charged()).sum(), both.iter().map(|f| f.queues()).sum())
    }

    /// Is there work that does not wait for a packet or a timer?
    pub fn has_work(&self) -> bool {
        !self.dirty.is_empty()
            || !self.syn_acks_due.is_empty()
            || !self.ready.is_empty()
            || !self.accepting.is_empty()
            || self.dgrams.has_ready()
            || !self.batch.is_empty()
    }

    /// When [`on_timers`](Self::on_timers) is needed next, whatever happens on the wire.
    pub fn next_deadline(&self) -> Option<Instant> {
        let tw = self.flows.next_waiting_deadline().map(|t| t.0);
        let pmtu = self.pmtu.next_deadline().map(|t| t.0);
        let auto = self.auto.as_ref().and_then(|a| a.next_deadline());
        let frags = [&self.frags_v4, &self.frags_v6].map(|f| f.next_deadline().map(|t| t.0));
        let syn_acks = self.flows.half_opens.next_deadline().map(|t| t.0);
        let [frags_v4, frags_v6] = frags;
        let next = [
            self.wheel.next_deadline(),
            self.neigh.next_deadline(),
            tw,
            pmtu,
            auto,
            frags_v4,
            frags_v6,
            syn_acks,
        ];
        next.into_iter().flatten().min().map(Instant)
    }

    /// Does everything that is due.
    pub fn on_timers(&mut self, now: Instant) {
        while let Some(slot) = self.wheel.expire(now.0) {
            self.on_conn_timer(slot, now);
        }
        self.poll_neighbours(now);
        self.poll_auto(now);
        self.repeat_syn_acks(now);
        self.flows.expire_waiting(now);
        self.pmtu.expire(now);
        self.expire_fragments(now);
    }

    fn on_conn_timer(&mut self, slot: u32, now: Instant) {
        let Some((tcb, mut env, mut egress)) = self.conn_env(slot, now) else { return };
        if tcb.next_deadline() > now {
            // The deadline moved out since the wheel was armed, or the connection has been idle for a while.
            tcb.trim(&env);
            self.settle(slot, now);
            return;
        }
        let more = tcb.on_deadline(&mut env, &mut egress);
        if tcb.in_trouble(env.cfg) {
            //= RFC 9293 section 3.8.3, MUST-20
            egress.doubt_path();
        }
        if more {
            self.mark_dirty(slot);
        }
        self.settle(slot, now);
    }

    /// Runs output for every connection that something happened to, as far as the batch has room.
    pub fn output(&mut self, now: Instant) {
        self.flush_resolved();
        self.flush_syn_acks(now);
        if self.dirty.is_empty() {
            return;
        }
        let spare = core::mem::take(&mut self.dirty_spare);
        let mut list = core::mem::replace(&mut self.dirty, spare);
        let mut done = 0;
        for slot in &list {
            if self.batch.room() == 0 {
                break;
            }
            done += 1;
            let slot = *slot;
            // The slot may have changed hands since it was listed: then there is nothing to do for it.
            let listed =
                self.flows.conns[slot as usize].as_mut().is_some_and(|c| core::mem::take(&mut c.dirty));
            if !listed {
                continue;
            }
            let Some((tcb, mut env, mut egress)) = self.conn_env(slot, now) else { continue };
            if tcb.output(&mut env, &mut egress) {
                self.mark_dirty(slot);
            }
            self.settle(slot, now);
        }
        // What found no room, then what could not finish, for the next turn.
        list.drain(..done);
        list.append(&mut self.dirty);
        self.dirty_spare = core::mem::replace(&mut self.dirty, list);
    }

    /// A connection's TCB together with what its calls need.
    pub(crate) fn conn_env(&mut self, slot: u32, now: Instant) -> Option<(&mut Tcb, Env<'_>, Egress<'_>)> {
        let generation = self.routes.generation().wrapping_add(self.pmtu.generation());
        if self.flows.conns.get_mut(slot as usize)?.path.path_generation != generation {
            self.renew_path(slot, generation);
        }
        let Conn { tcb, cfg, path, key, .. } = self.flows.conns.get_mut(slot as usize)?;
        let cfg = cfg.as_deref().unwrap_or(&self.tcp_cfg);
        let env = Env {
            now,
            short_of_frames: self.pool.free_len() < self.short_of_frames_below,
            ample_frames: self.pool.free_len() >= self.short_of_frames_below << (SHORT_OF_FRAMES_SHIFT - 1),
            pool: &mut self.pool,
            cfg,
            counters: &mut self.tcp_counters,
        };
        let egress = Egress {
            batch: &mut self.batch,
            neigh: &mut self.neigh,
            routes: &self.routes,
            counters: &mut self.counters,
            ip_id: &mut self.ip_id,
            link: self.link,
            key: *key,
            path,
            // The lower two bits are ECN's.
            tos: cfg.tos & !3,
            ttl: cfg.ttl.max(1),
            now,
        };
        Some((tcb, env, egress))
    }

    /// Routes or what is known of path MTUs changed: the connection's MSS follows.
    #[cold]
    fn renew_path(&mut self, slot: u32, generation: u32) {
        let Some(key) = self.flows.conns.get_mut(slot as usize).map(|c| c.key) else { return };
        let remote = key.remote;
        let path = self.path_mtu(remote);
        let label = self.flow_label(&key);
        let Some(conn) = self.flows.conns.get_mut(slot as usize) else { return };
        conn.path = Path::renew(generation, label, path.may_fragment);
        conn.tcb.set_path_mss(path.mtu - tcp_header_bytes(remote));
    }

    pub(crate) fn mark_dirty(&mut self, slot: u32) {
        if let Some(conn) = &mut self.flows.conns[slot as usize]
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// After anything happened to a connection: its events become known, its timer is armed, and if it is over its
    /// place is free.
    pub(crate) fn settle(&mut self, slot: u32, now: Instant) {
        let Some(conn) = &mut self.flows.conns[slot as usize] else { return };
        let state = conn.tcb.state();
        if conn.tcb.is_detached() {
            match state {
                State::Closed => return self.release(slot),
                // The ACK of the peer's FIN leaves first.
                State::TimeWait if !conn.tcb.wants_ack() => {
                    let tw = TimeWait::of(&conn.tcb, conn.tcb.next_deadline());
                    let key = conn.key;
                    self.release(slot);
                    self.flows.insert_waiting(key, tw);
                    return;
                }
                _ => {}
            }
        } else if conn.tcb.has_events() && !conn.ready {
            conn.ready = true;
            self.ready.push_back(FlowId { slot, generation: conn.generation });
        }
        if state == State::Closed {
            self.flows.unlink(slot);
        }
        let Some(conn) = &self.flows.conns[slot as usize] else { return };
        arm(&mut self.wheel, slot, conn.tcb.next_deadline());
        arm_trim(&mut self.wheel, slot, &conn.tcb, now);
    }

    /// Forgets a connection; its frames go home.
    pub(crate) fn release(&mut self, slot: u32) {
        let mut conn = self.flows.remove(slot);
        conn.tcb.release(&mut self.pool);
        self.wheel.cancel(slot);
    }

    /// MSS to announce towards `remote`: RFC 9293 MUST-67.
    //= RFC 9293 section 3.7.1, MUST-67, SHLD-6
    pub(crate) fn local_mss(&self, remote: IpAddr) -> u16 {
        self.route_mtu(remote) - tcp_header_bytes(remote)
    }

    /// Largest IP packet of the route to `dst`.
    pub(crate) fn route_mtu(&self, dst: IpAddr) -> u16 {
        self.routes.lookup(dst).and_then(|r| r.mtu).unwrap_or(self.mtu).clamp(MTU_MIN, self.mtu)
    }

    /// RFC 6528: M + F(localip, localport, remoteip, remoteport, secret), M a 4 us clock; and the offset of the
    /// timestamps clock (RFC 7323 section 5.4), which depends on the addresses alone so that TIME-WAIT can compare
    /// a new incarnation's timestamps with the old one's (RFC 6191).
    //= RFC 9293 section 3.4.1, MUST-8, SHLD-1, MUST-9
    //= RFC 6528 section 3
    //= RFC 7323 section 5.4
    pub(crate) fn opening(&self, key: &FlowKey, now: Instant) -> linerate_tcp::Opening {
        let [_, _, k0, k1] = self.secret;
        let f = key.hash_keyed(&HashKey([k0, k1]));
        let m = (now.0 / 4_000) as u32;
        let pair = FlowKey { local_port: 0, remote_port: 0, ..*key };
        linerate_tcp::Opening {
            iss: SeqNum((f as u32).wrapping_add(m)),
            ts_offset: pair.hash_keyed(&HashKey([k1, k0])) as u32,
            local_mss: self.local_mss(key.remote),
            ipv6: key.remote.is_ipv6(),
        }
    }
}

const fn tcp_header_bytes(remote: IpAddr) -> u16 {
    if remote.is_ipv4() { IPV4_TCP_HEADER_BYTES } else { IPV6_TCP_HEADER_BYTES }
}

/// The wheel fires a connection's slot at or before its deadline: it is armed anew only for an earlier one, so that
/// a deadline that moves out with every ACK costs nothing.
fn arm(wheel: &mut Wheel, slot: u32, deadline: Instant) {
    match deadline.armed() {
        Some(at) if wheel.deadline(slot).is_none_or(|armed| at.0 < armed) => {
            wheel.ensure(slot);
            wheel.arm(slot, at.0);
        }
        _ => {}
    }
}

/// A connection without a deadline whose queues were deep is looked at once more, to give their memory back.
fn arm_trim(wheel: &mut Wheel, slot: u32, tcb: &Tcb, now: Instant) {
    if tcb.holds_spare() && wheel.deadline(slot).is_none() {
        wheel.ensure(slot);
        wheel.arm(slot, now.0 + TRIM_AFTER_NS);
    }
}

//! Neighbours: from a next hop to its MAC address, one state machine for ARP and ND (RFC 4861 7.3).
//!
//! ```text
//!  lookup ─► INCOMPLETE ── answer ──► REACHABLE ── reachable time over ──► STALE ◄── a question of theirs
//!                │ 3 unanswered           ▲  ▲ progress of TCP, or           │
//!                ▼                        │  │ an answer                     │ lookup
//!             FAILED ── 1 s ─► (gone)     │  └────────── DELAY ◄─────────────┘
//!                                         │                │ 5 s without a sign of life
//!                                         └── answer ── PROBE ── 3 unanswered ─► (gone)
//! ```
//!
//! ARP has no such states of its own; RFC 1122 2.3.2.1 asks that stale entries be found out, and names unicast
//! polls as one way. [`arp`] and [`nd`] decide what a packet teaches; everything else is common.
//!
//! Who speaks on the wire is [`Resolver`]'s matter: in a network of our own we do; beside a kernel that has the
//! same address the kernel does, and the table mirrors the kernel's.
//!
//! No frame is lost here: each one that comes in leaves by [`NeighTable::take_resolved`], by
//! [`NeighAction::Drop`], by an `Err`, or by [`NeighTable::drain`] at the end.

pub mod arp;
pub mod nd;

use crate::drop_reason::DropReason;
use crate::wheel::Wheel;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use arp::ArpOp;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use linerate_frame::Frame;
use nd::NaFlags;

/// Entries at most: Linux's gc_thresh3 for a family. The link is full of hosts we never talk to, and an
/// attacker on it can invent as many as he likes.
pub const NEIGH_LIMIT: usize = 1024;
/// Packets that wait for one neighbour (RFC 1122 2.3.2.2 and RFC 4861 7.2.2 ask for at least one, the latest): the SYN-ACKs
/// of a crowd behind one router (Linux: unres_qlen, 101).
pub const NEIGH_PENDING_PKTS: usize = 256;
/// Packets that wait for all neighbours together: a scan of a silent subnet must not take the pool's frames.
pub const NEIGH_PENDING_TOTAL_PKTS: usize = 512;
/// RETRANS_TIMER: between solicitations (RFC 4861 10); also ARP's limit of one a second (RFC 1122 2.3.2.1).
pub const RETRANS_TIMER_NS: u64 = 1_000_000_000;
/// MAX_MULTICAST_SOLICIT (RFC 4861 10).
pub const MAX_MULTICAST_SOLICIT: u8 = 3;
/// MAX_UNICAST_SOLICIT (RFC 4861 10).
pub const MAX_UNICAST_SOLICIT: u8 = 3;
/// DELAY_FIRST_PROBE_TIME (RFC 4861 10): how long upper layers have to say that the neighbour is alive.
pub const DELAY_FIRST_PROBE_TIME_NS: u64 = 5_000_000_000;
/// REACHABLE_TIME (RFC 4861 10): how long a confirmation holds, before the random factor of 0.5 to 1.5.
pub const REACHABLE_TIME_NS: u64 = 30_000_000_000;
/// AdvReachableTime at most (RFC 4861 6.2.1).
const MAX_REACHABLE_MS: u32 = 3_600_000;
/// RetransTimer that we believe (our choice: a router may ask for more questions, not for a flood; a minute is patience).
const MIN_RETRANS_MS: u32 = 100;
/// The same, at most.
const MAX_RETRANS_MS: u32 = 60_000;
/// How long a neighbour that didn't answer counts as unreachable before it is asked again (our choice: one
/// RETRANS_TIMER, so that the limit of one question a second holds across attempts).
pub const FAILED_HOLD_NS: u64 = RETRANS_TIMER_NS;

/// Who asks on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolver {
    /// We do: by ARP and neighbour solicitations.
    Own,
    /// The host's kernel does. Its table is mirrored by [`NeighTable::set`] and [`NeighTable::remove`]; we ask it
    /// to resolve ([`NeighAction::Ask`]) and put neither ARP nor ND on the wire.
    Kernel,
}

/// What is known of a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// Send to this address.
    Mac([u8; 6]),
    /// Being asked for: the packet may wait ([`NeighTable::enqueue`]).
    Pending,
    /// It doesn't answer (or the table is full of entries that can't go).
    Unreachable,
}

/// States of an entry (RFC 4861 7.3.2), and two of our own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighState {
    /// Asked for, no address yet.
    Incomplete,
    /// Known to be reachable until a while ago.
    Reachable,
    /// Has an address of unknown worth; nobody uses it.
    Stale,
    /// Used while of unknown worth: TCP has a few seconds to confirm it.
    Delay,
    /// Asked by unicast whether it is still there.
    Probe,
    /// Didn't answer; kept for [`FAILED_HOLD_NS`].
    Failed,
    /// Set by hand: neither ages nor learns.
    Permanent,
}

impl NeighState {
    /// Is there an address to send to?
    pub fn has_mac(self) -> bool {
        !matches!(self, Self::Incomplete | Self::Failed)
    }

    /// Did we ask, so that an answer is expected? (One that comes after we gave up is still good.)
    fn is_soliciting(self) -> bool {
        matches!(self, Self::Incomplete | Self::Probe | Self::Failed)
    }
}

/// What the host says of a neighbour ([`NeighTable::set`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// Never ages, learns nothing (the kernel's PERMANENT and NOARP).
    Permanent,
    /// Confirmed just now (the kernel's REACHABLE).
    Reachable,
    /// An address of unknown worth (the kernel's STALE, DELAY and PROBE).
    Stale,
}

/// What [`NeighTable::poll`] wants done.
#[derive(Debug)]
pub enum NeighAction {
    /// Send an ARP request or neighbour solicitation for `ip`: to everybody (broadcast, solicited-node group), or to
    /// `unicast`.
    Solicit {
        /// Whose address is wanted.
        ip: IpAddr,
        /// The address to confirm.
        unicast: Option<[u8; 6]>,
    },
    /// Ask the kernel to resolve or confirm `ip`; its answer comes by [`NeighTable::set`].
    Ask {
        /// Whose address is wanted.
        ip: IpAddr,
    },
    /// `ip` didn't answer. Once a failure, whether or not packets waited; those follow as [`NeighAction::Drop`].
    Failed {
        /// Who didn't answer.
        ip: IpAddr,
    },
    /// Free this frame, and count `reason`; for [`DropReason::NeighFailed`] an ICMP host unreachable may be due.
    Drop {
        /// The next hop it waited for.
        ip: IpAddr,
        /// The packet.
        frame: Frame,
        /// Why it can't leave.
        reason: DropReason,
    },
}

/// What a packet teaches about its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lesson {
    Nothing,
    /// It is there, but nothing says that our packets reach it.
    Stale([u8; 6]),
    /// It answered us.
    Reachable([u8; 6]),
}

/// Can a host have this address? Not a group's, not all zero.
fn is_unicast_mac(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

struct Entry {
    ip: IpAddr,
    mac: [u8; 6],
    state: NeighState,
    is_router: bool,
    /// Solicitations sent in this state.
    solicits: u8,
    /// Last sign that our packets arrive.
    confirmed_ns: u64,
    /// Last lookup or lesson: the oldest goes first when room is needed.
    touched_ns: u64,
    pending: VecDeque<Frame>,
}

/// The neighbours of one link.
///
/// Connections keep a MAC address together with [`NeighTable::generation`] and look up again when it has moved.
/// The rule behind it: **a STALE entry's address is kept nowhere** (entering STALE moves the generation, a lookup leaves it
/// for DELAY), so an entry in use is never mistaken for an idle one, though its users don't look it up.
pub struct NeighTable {
    resolver: Resolver,
    /// A tree, not a hash table: bounded, without worst cases, and no secret needed.
    index: BTreeMap<IpAddr, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    wheel: Wheel,
    resolved: VecDeque<(Frame, [u8; 6])>,
    dropped: VecDeque<(IpAddr, Frame, DropReason)>,
    frames: usize,
    generation: u32,
    /// BaseReachableTime and RetransTimer, as routers say (RFC 4861 6.3.2).
    base_reachable_ns: u64,
    retrans_ns: u64,
    /// That times the random factor, drawn anew each time an entry becomes REACHABLE.
    reachable_ns: u64,
    rng: u64,
}

impl NeighTable {
    /// An empty table. `seed` draws the random factor of the reachable time (RFC 4861 6.3.2), which keeps the
    /// hosts of a link from probing in step.
    pub fn new(resolver: Resolver, seed: u64, now_ns: u64) -> Self {
        Self {
            resolver,
            index: BTreeMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            wheel: Wheel::new(now_ns),
            resolved: VecDeque::new(),
            dropped: VecDeque::new(),
            frames: 0,
            generation: 0,
            base_reachable_ns: REACHABLE_TIME_NS,
            retrans_ns: RETRANS_TIMER_NS,
            reachable_ns: REACHABLE_TIME_NS,
            rng: seed,
        }
    }

    /// Who asks on the wire.
    pub fn resolver(&self) -> Resolver {
        self.resolver
    }

    /// Entries, FAILED ones included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Every entry by address, with its MAC address where there is one.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, NeighState, Option<[u8; 6]>)> {
        self.index.iter().map(|(ip, key)| {
            let e = &self.entries[*key as usize];
            (*ip, e.state, e.state.has_mac().then_some(e.mac))
        })
    }

    /// The state of an entry.
    pub fn state(&self, ip: IpAddr) -> Option<NeighState> {
        self.index.get(&ip).map(|key| self.entries[*key as usize].state)
    }

    /// Moves whenever an address that a lookup gave out may be wrong, or wants to be looked up again (see the type).
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Frames inside: waiting, resolved and not taken, dropped and not taken.
    pub fn frames_held(&self) -> usize {
        self.frames
    }

    /// The MAC address of a unicast next hop on the link; asks for it if need be.
    pub fn lookup(&mut self, next_hop: IpAddr, now_ns: u64) -> Resolved {
        let key = match self.index.get(&next_hop) {
            Some(key) => *key,
            None => match self.create(next_hop, now_ns, false) {
                Some(key) => {
                    self.wheel.arm(key, now_ns);
                    key
                }
                None => return Resolved::Unreachable,
            },
        };
        let e = &mut self.entries[key as usize];
        e.touched_ns = now_ns;
        match e.state {
            NeighState::Incomplete => Resolved::Pending,
            NeighState::Failed => Resolved::Unreachable,
            NeighState::Stale => {
                // RFC 4861 7.3.3: use it, and give its users time to confirm it before it is probed.
                e.state = NeighState::Delay;
                self.wheel.arm(key, now_ns.saturating_add(DELAY_FIRST_PROBE_TIME_NS));
                Resolved::Mac(e.mac)
            }
            _ => Resolved::Mac(e.mac),
        }
    }

    /// Lets a packet wait for its next hop, after [`NeighTable::lookup`] said [`Resolved::Pending`].
    ///
    /// # Errors
    /// The frame that has to go: the oldest one that waits for this next hop if it has too many (RFC 4861
    /// 7.2.2: the latest is kept), or `packet` itself if nothing is being asked or too many wait altogether.
    pub fn enqueue(&mut self, next_hop: IpAddr, packet: Frame) -> Result<(), Frame> {
        let Some(key) = self.index.get(&next_hop) else { return Err(packet) };
        let e = &mut self.entries[*key as usize];
        if e.state == NeighState::Failed {
            return Err(packet);
        }
        if e.state == NeighState::Incomplete {
            let full = self.frames >= NEIGH_PENDING_TOTAL_PKTS || e.pending.len() >= NEIGH_PENDING_PKTS;
            if full && let Some(oldest) = e.pending.pop_front() {
                e.pending.push_back(packet);
                return Err(oldest);
            }
        }
        if self.frames >= NEIGH_PENDING_TOTAL_PKTS {
            return Err(packet);
        }
        self.frames += 1;
        match e.state {
            NeighState::Incomplete => e.pending.push_back(packet),
            _ => self.resolved.push_back((packet, e.mac)),
        }
        Ok(())
    }

    /// A packet whose next hop became known, and where to send it; oldest first for each next hop.
    pub fn take_resolved(&mut self) -> Option<(Frame, [u8; 6])> {
        let taken = self.resolved.pop_front()?;
        self.frames -= 1;
        Some(taken)
    }

    /// Learns from an ARP packet for our link. `target_is_us`: its target protocol address is one of ours.
    ///
    /// Answering a request, and noticing that the sender has our address (RFC 5227 2.4), are the caller's.
    pub fn on_arp(
        &mut self,
        op: ArpOp,
        sender_ip: Ipv4Addr,
        sender_mac: [u8; 6],
        target_is_us: bool,
        now_ns: u64,
    ) {
        let known = self.known(sender_ip.into());
        self.apply(sender_ip.into(), arp::learn(op, sender_ip, sender_mac, target_is_us, known), now_ns);
    }

    /// Learns from the source link-layer address option of a neighbour solicitation for us, or of a router
    /// solicitation or advertisement (the rule is the same). The answer is the caller's.
    pub fn on_ns(&mut self, src: Ipv6Addr, slla: Option<[u8; 6]>, now_ns: u64) {
        let known = self.known(src.into());
        self.apply(src.into(), nd::learn_from_source(src, slla, known), now_ns);
    }

    /// Learns from a neighbour advertisement. `true` if `target` was a router and says that it is none any more:
    /// its default route goes (RFC 4861 7.2.5). An advertisement of our own address (RFC 4862 5.4.4) is the
    /// caller's.
    pub fn on_na(&mut self, target: Ipv6Addr, tlla: Option<[u8; 6]>, flags: NaFlags, now_ns: u64) -> bool {
        let ip = IpAddr::V6(target);
        let Some((state, mac)) = self.known(ip) else { return false };
        if self.resolver == Resolver::Kernel || state == NeighState::Permanent {
            return false;
        }
        let takes_router = nd::takes_router_flag(flags, tlla, state, mac);
        self.apply(ip, nd::learn_from_na(flags, tlla, Some((state, mac))), now_ns);
        let e = &mut self.entries[self.index[&ip] as usize];
        let was_router = e.is_router;
        if takes_router {
            e.is_router = flags.router;
        }
        was_router && !e.is_router
    }

    /// Takes over what a router advertisement says of it (RFC 4861 6.3.4), within bounds: a forged one is not to make
    /// us flood the link, nor trust dead neighbours for days.
    pub fn on_router(&mut self, info: &crate::auto::RouterInfo) {
        if let Some(key) = self.index.get(&IpAddr::V6(info.router)) {
            self.entries[*key as usize].is_router = true;
        }
        if info.reachable_ms != 0 {
            self.base_reachable_ns = u64::from(info.reachable_ms.clamp(1_000, MAX_REACHABLE_MS)) * 1_000_000;
        }
        if info.retrans_ms != 0 {
            self.retrans_ns = u64::from(info.retrans_ms.clamp(MIN_RETRANS_MS, MAX_RETRANS_MS)) * 1_000_000;
        }
    }

    /// An upper layer saw that packets to `next_hop` arrive, as when TCP's peer acknowledges new data (RFC 4861 7.3.1).
    /// A search of the tree and a store: once a turn and connection is plenty.
    pub fn on_confirmed(&mut self, next_hop: IpAddr, now_ns: u64) {
        let Some(key) = self.index.get(&next_hop).copied() else { return };
        let e = &mut self.entries[key as usize];
        match e.state {
            // The timer finds out when it fires.
            NeighState::Reachable => e.confirmed_ns = now_ns,
            NeighState::Stale | NeighState::Delay | NeighState::Probe => {
                let mac = e.mac;
                self.know(key, mac, NeighState::Reachable, now_ns);
            }
            NeighState::Incomplete | NeighState::Failed | NeighState::Permanent => {}
        }
    }

    /// An upper layer doubts that packets to `next_hop` arrive (RFC 4861 section 7.3.3): it is made sure of before it is
    /// relied on again.
    pub fn on_doubted(&mut self, next_hop: IpAddr) {
        if let Some(key) = self.index.get(&next_hop).copied()
            && self.entries[key as usize].state == NeighState::Reachable
        {
            self.make_stale(key);
        }
    }

    /// Sets an entry by hand, or as the kernel has it. `false` if the table is full of entries that can't go, or
    /// `mac` is no host's.
    pub fn set(&mut self, ip: IpAddr, mac: [u8; 6], known: Known, now_ns: u64) -> bool {
        if !is_unicast_mac(mac) {
            return false;
        }
        let Some(key) = self.index.get(&ip).copied().or_else(|| self.create(ip, now_ns, false)) else {
            return false;
        };
        let state = match known {
            Known::Permanent => NeighState::Permanent,
            Known::Reachable => NeighState::Reachable,
            Known::Stale => NeighState::Stale,
        };
        // The kernel calls an entry STALE that we use: here it stays in use.
        let e = &self.entries[key as usize];
        let in_use = matches!(e.state, NeighState::Reachable | NeighState::Delay | NeighState::Probe);
        if state == NeighState::Stale && in_use && e.mac == mac {
            return true;
        }
        self.know(key, mac, state, now_ns);
        true
    }

    /// Takes out an entry (also a permanent one); packets that waited come out as [`NeighAction::Drop`].
    pub fn remove(&mut self, ip: IpAddr) -> bool {
        let Some(key) = self.index.get(&ip).copied() else { return false };
        self.delete(key, DropReason::NeighUnresolved);
        true
    }

    /// The kernel gave `ip` up (its FAILED): if we wait for it the failure comes out of [`NeighTable::poll`], else the
    /// entry goes.
    pub fn fail(&mut self, ip: IpAddr, now_ns: u64) {
        let Some(key) = self.index.get(&ip).copied() else { return };
        let e = &mut self.entries[key as usize];
        match e.state {
            NeighState::Incomplete => {
                e.solicits = MAX_MULTICAST_SOLICIT;
                self.wheel.arm(key, now_ns);
            }
            NeighState::Failed => {}
            _ => self.delete(key, DropReason::NeighFailed),
        }
    }

    /// The next thing to do, until `None`: two compares when there is nothing.
    #[inline]
    pub fn poll(&mut self, now_ns: u64) -> Option<NeighAction> {
        if let Some((ip, frame, reason)) = self.dropped.pop_front() {
            self.frames -= 1;
            return Some(NeighAction::Drop { ip, frame, reason });
        }
        while let Some(key) = self.wheel.expire(now_ns) {
            if let Some(action) = self.on_timer(key, now_ns) {
                return Some(action);
            }
        }
        None
    }

    /// When [`NeighTable::poll`] has something to do (0 for now); may be early, never late (see
    /// [`Wheel::next_deadline`]).
    pub fn next_deadline(&self) -> Option<u64> {
        if self.dropped.is_empty() { self.wheel.next_deadline() } else { Some(0) }
    }

    /// Any frame inside, until `None`: how a stack that ends takes its frames home.
    pub fn drain(&mut self) -> Option<Frame> {
        let waiting = || self.entries.iter_mut().find_map(|e| e.pending.pop_front());
        let resolved = self.resolved.pop_front().map(|(frame, _)| frame);
        let frame =
            resolved.or_else(|| self.dropped.pop_front().map(|(_, frame, _)| frame)).or_else(waiting)?;
        self.frames -= 1;
        Some(frame)
    }

    fn on_timer(&mut self, key: u32, now_ns: u64) -> Option<NeighAction> {
        let e = &mut self.entries[key as usize];
        let ip = e.ip;
        match e.state {
            NeighState::Incomplete if e.solicits < MAX_MULTICAST_SOLICIT => {
                Some(self.solicit(key, None, now_ns))
            }
            NeighState::Incomplete => {
                e.state = NeighState::Failed;
                self.dropped.extend(e.pending.drain(..).map(|frame| (ip, frame, DropReason::NeighFailed)));
                self.wheel.arm(key, now_ns.saturating_add(FAILED_HOLD_NS));
                Some(NeighAction::Failed { ip })
            }
            NeighState::Reachable => {
                let until_ns = e.confirmed_ns.saturating_add(self.reachable_ns);
                if until_ns > now_ns {
                    self.wheel.arm(key, until_ns);
                } else {
                    self.make_stale(key);
                }
                None
            }
            NeighState::Delay => {
                e.state = NeighState::Probe;
                e.solicits = 0;
                let mac = e.mac;
                Some(self.solicit(key, Some(mac), now_ns))
            }
            NeighState::Probe if e.solicits < MAX_UNICAST_SOLICIT => {
                let mac = e.mac;
                Some(self.solicit(key, Some(mac), now_ns))
            }
            // RFC 4861 7.3.3: the entry is deleted, so that the next packet asks everybody. A kernel that is asked
            // has its own probes, and says so when they fail.
            NeighState::Probe => {
                match self.resolver {
                    Resolver::Own => self.delete(key, DropReason::NeighFailed),
                    Resolver::Kernel => self.make_stale(key),
                }
                None
            }
            NeighState::Failed => {
                self.delete(key, DropReason::NeighFailed);
                None
            }
            NeighState::Stale | NeighState::Permanent => None,
        }
    }

    fn solicit(&mut self, key: u32, unicast: Option<[u8; 6]>, now_ns: u64) -> NeighAction {
        let e = &mut self.entries[key as usize];
        e.solicits += 1;
        self.wheel.arm(key, now_ns.saturating_add(self.retrans_ns));
        match self.resolver {
            Resolver::Own => NeighAction::Solicit { ip: e.ip, unicast },
            Resolver::Kernel => NeighAction::Ask { ip: e.ip },
        }
    }

    fn known(&self, ip: IpAddr) -> Option<(NeighState, [u8; 6])> {
        self.index.get(&ip).map(|key| &self.entries[*key as usize]).map(|e| (e.state, e.mac))
    }

    /// Takes a lesson from the wire to heart.
    fn apply(&mut self, ip: IpAddr, lesson: Lesson, now_ns: u64) {
        // The kernel sees the same packets, and what it makes of them comes by `set`.
        if self.resolver == Resolver::Kernel {
            return;
        }
        let (mac, state) = match lesson {
            Lesson::Nothing => return,
            Lesson::Stale(mac) => (mac, NeighState::Stale),
            Lesson::Reachable(mac) => (mac, NeighState::Reachable),
        };
        let Some(key) = self.index.get(&ip).copied().or_else(|| self.create(ip, now_ns, true)) else {
            return;
        };
        if self.entries[key as usize].state != NeighState::Permanent {
            self.know(key, mac, state, now_ns);
        }
    }

    /// Puts an address into an entry, and lets go the packets that waited for it.
    fn know(&mut self, key: u32, mac: [u8; 6], state: NeighState, now_ns: u64) {
        let e = &mut self.entries[key as usize];
        let in_use = e.state.has_mac() && e.state != NeighState::Stale;
        if in_use && (e.mac != mac || state == NeighState::Stale) {
            self.generation = self.generation.wrapping_add(1);
        }
        (e.mac, e.state, e.solicits, e.touched_ns) = (mac, state, 0, now_ns);
        match state {
            NeighState::Reachable => {
                e.confirmed_ns = now_ns;
                // RFC 4861 6.3.2: uniform between 0.5 and 1.5 times the base.
                self.rng = self.rng.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let base = self.base_reachable_ns;
                self.reachable_ns = base / 2 + (self.rng >> 16) % (base + 1);
                self.wheel.arm(key, now_ns.saturating_add(self.reachable_ns));
            }
            // The packets that waited use the entry: RFC 4861 7.3.3, as in `lookup`.
            NeighState::Stale if !e.pending.is_empty() => {
                e.state = NeighState::Delay;
                self.wheel.arm(key, now_ns.saturating_add(DELAY_FIRST_PROBE_TIME_NS));
            }
            _ => self.wheel.cancel(key),
        }
        self.resolved.extend(e.pending.drain(..).map(|frame| (frame, mac)));
    }

    fn make_stale(&mut self, key: u32) {
        self.entries[key as usize].state = NeighState::Stale;
        self.wheel.cancel(key);
        self.generation = self.generation.wrapping_add(1);
    }

    /// A new INCOMPLETE entry without a timer; `None` if there is no room and nothing that may go for it.
    fn create(&mut self, ip: IpAddr, now_ns: u64, learned: bool) -> Option<u32> {
        if self.index.len() >= NEIGH_LIMIT {
            let victim = self.victim(learned)?;
            self.delete(victim, DropReason::NeighQueueFull);
        }
        let entry = Entry {
            ip,
            mac: [0; 6],
            state: NeighState::Incomplete,
            is_router: false,
            solicits: 0,
            confirmed_ns: now_ns,
            touched_ns: now_ns,
            pending: VecDeque::new(),
        };
        let key = match self.free.pop() {
            Some(key) => {
                self.entries[key as usize] = entry;
                key
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.wheel.ensure(key);
        self.index.insert(ip, key);
        Some(key)
    }

    /// Who goes when the table is full: the FAILED, then the STALE, oldest first; then, if we are the ones who need
    /// the room, those being asked for and those in use. What others send us (`learned`) never displaces those.
    fn victim(&self, learned: bool) -> Option<u32> {
        let rank = |e: &Entry| match e.state {
            NeighState::Failed => Some(0),
            NeighState::Stale => Some(1),
            NeighState::Incomplete if !learned => Some(2),
            NeighState::Reachable | NeighState::Delay | NeighState::Probe if !learned => Some(3),
            _ => None,
        };
        // Called with a full table only: every slot of `entries` is live. A scan of 1,024 is about a microsecond.
        let candidates =
            self.entries.iter().enumerate().filter_map(|(i, e)| Some(((rank(e)?, e.touched_ns), i)));
        candidates.min().map(|(_, i)| i as u32)
    }

    fn delete(&mut self, key: u32, reason: DropReason) {
        let e = &mut self.entries[key as usize];
        let ip = e.ip;
        if e.state.has_mac() && e.state != NeighState::Stale {
            self.generation = self.generation.wrapping_add(1);
        }
        e.state = NeighState::Failed;
        self.dropped.extend(e.pending.drain(..).map(|frame| (ip, frame, reason)));
        self.wheel.cancel(key);
        self.index.remove(&ip);
        self.free.push(key);
    }
}

#[cfg(test)]
mod tests;

//! One world and the two threads that may be in it: packetdrill's own, and the one that makes its blocking calls.
//!
//! The world never runs by itself. Whoever changes it lets the sleeping call look again ([`Shared::rouse`]) before it
//! goes on, and time does not pass while a call that was woken has not read the clock yet: packetdrill stamps the
//! call's end with that reading.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use linerate_net::Instant;
use linerate_tcp::time::SEC;

use crate::errno::{Errno, Res};
use crate::world::World;

/// A woken call has this long, in real time, to look again or to read the clock: a bound, no more.
const GRACE: Duration = Duration::from_millis(100);
/// A receive gives up after this much virtual time without a packet: RFC 6298's longest timeout, and some more.
const RECEIVE_VIRTUAL_NS: u64 = 130 * SEC;
/// The same in real time.
const RECEIVE_REAL_NS: u64 = 3 * SEC;

/// A call that waits.
pub(crate) struct Sleeper {
    thread: ThreadId,
    /// The last change it has looked at.
    seen: u64,
    /// When its patience ends.
    until: Instant,
}

/// Who sleeps, and who was woken.
#[derive(Default)]
pub(crate) struct Sleepers {
    list: Vec<Sleeper>,
    /// Counts changes of the world.
    change: u64,
    /// Threads whose call ended and that did not read the clock since.
    unstamped: Vec<ThreadId>,
}

impl Sleepers {
    fn next_end(&self, now: Instant) -> Option<Instant> {
        self.list.iter().map(|s| s.until).filter(|u| *u > now && *u != Instant::NEVER).min()
    }

    fn all_looked(&self) -> bool {
        self.list.iter().all(|s| s.seen == self.change)
    }
}

/// How long a call may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    None,
    Ns(u64),
    Forever,
}

impl Patience {
    /// Of a call on a descriptor: not at all, for SO_RCVTIMEO or SO_SNDTIMEO, or until it succeeds.
    pub fn of(nonblock: bool, timeout_ns: Option<u64>) -> Self {
        match (nonblock, timeout_ns) {
            (true, _) => Self::None,
            (false, Some(ns)) => Self::Ns(ns),
            (false, None) => Self::Forever,
        }
    }
}

/// See the module.
pub(crate) struct Shared {
    world: Mutex<World>,
    /// The sleeping call is to look again.
    wake: Condvar,
    /// It has looked, or has read the clock.
    quiet: Condvar,
    /// packetdrill's own thread: it never waits for what only it can bring about.
    main: ThreadId,
}

type Guard<'a> = MutexGuard<'a, World>;

impl Shared {
    pub fn new(world: World) -> Self {
        Self {
            world: Mutex::new(world),
            wake: Condvar::new(),
            quiet: Condvar::new(),
            main: std::thread::current().id(),
        }
    }

    pub fn lock(&self) -> Guard<'_> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is this descriptor of this world?
    pub fn known(&self, fd: i32) -> Res<()> {
        self.lock().file(fd).map(|_| ())
    }

    /// The script is over: what it left open is closed here, unless it was closed already.
    pub fn end(&self) {
        let mut g = self.lock();
        while let Some(fd) = g.files.keys().next().copied() {
            if let Ok(file) = g.forget(fd) {
                file.reserved.close();
            }
        }
    }

    /// Now, in microseconds since 1970, without reading the clock as a call would.
    pub fn micros_now(&self) -> i64 {
        let g = self.lock();
        g.clock.micros(g.clock.now())
    }

    /// A call that ends at once.
    pub fn call<T>(&self, f: impl FnOnce(&mut World) -> Res<T>) -> Res<T> {
        let mut g = self.lock();
        g.pump();
        let r = f(&mut g);
        g.pump();
        drop(self.rouse(g));
        r
    }

    /// A call that may wait until `op` says `Some`. EAGAIN when its patience ends.
    pub fn wait<T>(&self, patience: Patience, mut op: impl FnMut(&mut World) -> Res<Option<T>>) -> Res<T> {
        let me = std::thread::current().id();
        let mut g = self.lock();
        g.pump();
        let until = match patience {
            Patience::None => Instant(0),
            Patience::Ns(ns) => g.clock.now() + ns,
            Patience::Forever => Instant::NEVER,
        };
        let mut slept = false;
        loop {
            let r = op(&mut g).transpose();
            g.pump();
            let r = match r {
                None if g.clock.now() >= until => Some(Err(Errno::EAGAIN)),
                // On packetdrill's own thread nobody else can bring about what an endless wait waits for.
                None if me == self.main && until == Instant::NEVER => Some(Err(Errno::EAGAIN)),
                r => r,
            };
            if let Some(r) = r {
                g.sleepers.list.retain(|s| s.thread != me);
                if slept {
                    g.sleepers.unstamped.push(me);
                }
                self.quiet.notify_all();
                drop(self.rouse(g));
                return r;
            }
            if me == self.main {
                g = self.pass(g, until);
                continue;
            }
            slept = true;
            g = self.sleep(g, me, until);
        }
    }

    fn sleep<'a>(&'a self, mut g: Guard<'a>, me: ThreadId, until: Instant) -> Guard<'a> {
        let seen = g.sleepers.change;
        match g.sleepers.list.iter_mut().find(|s| s.thread == me) {
            Some(s) => s.seen = seen,
            None => g.sleepers.list.push(Sleeper { thread: me, seen, until }),
        }
        self.quiet.notify_all();
        if g.clock.is_virtual() {
            return self.wake.wait(g).unwrap_or_else(PoisonError::into_inner);
        }
        let now = g.clock.now();
        let next = g.stack.next_deadline().unwrap_or(Instant::NEVER).min(until);
        let ns = next.since(now).min(SEC);
        let g = self.wake.wait_timeout(g, Duration::from_nanos(ns)).unwrap_or_else(PoisonError::into_inner).0;
        let mut g = g;
        g.pump();
        g
    }

    /// The world has changed: a sleeping call looks again before this returns.
    fn rouse<'a>(&'a self, mut g: Guard<'a>) -> Guard<'a> {
        if g.sleepers.list.is_empty() {
            return g;
        }
        g.sleepers.change += 1;
        self.wake.notify_all();
        self.quiet
            .wait_timeout_while(g, GRACE, |w| !w.sleepers.all_looked())
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// A call that was woken reads the clock before time goes on.
    fn await_stamps<'a>(&'a self, g: Guard<'a>) -> Guard<'a> {
        if g.sleepers.unstamped.is_empty() {
            return g;
        }
        let (mut g, late) = self
            .quiet
            .wait_timeout_while(g, GRACE, |w| !w.sleepers.unstamped.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            g.sleepers.unstamped.clear();
        }
        g
    }

    /// Time passes until something happens, `until` at the latest.
    fn pass<'a>(&'a self, mut g: Guard<'a>, until: Instant) -> Guard<'a> {
        let now = g.clock.now();
        let ends = g.sleepers.next_end(now);
        let next = g.stack.next_deadline().into_iter().chain(ends).min().unwrap_or(Instant::NEVER);
        let next = next.min(until).max(now);
        if g.clock.is_virtual() {
            g.clock.set(next);
        } else {
            // Others may come in meanwhile.
            let ns = next.since(now).min(SEC / 100);
            g = self.wake.wait_timeout(g, Duration::from_nanos(ns)).unwrap_or_else(PoisonError::into_inner).0;
        }
        g.pump();
        self.rouse(g)
    }

    fn run_until<'a>(&'a self, mut g: Guard<'a>, until: Instant) -> Guard<'a> {
        g.pump();
        while g.clock.now() < until {
            g = self.pass(g, until);
            if g.clock.now() < until {
                g = self.await_stamps(g);
            }
        }
        g
    }

    /// usleep: test time passes.
    pub fn usleep(&self, usec: u32) {
        let g = self.await_stamps(self.lock());
        let until = g.clock.now() + u64::from(usec) * 1_000;
        drop(self.run_until(g, until));
    }

    /// gettimeofday, in microseconds since 1970. Reading the virtual clock takes a microsecond of its time.
    pub fn micros(&self) -> i64 {
        let me = std::thread::current().id();
        let mut g = self.lock();
        let before = g.sleepers.unstamped.len();
        g.sleepers.unstamped.retain(|t| *t != me);
        if g.sleepers.unstamped.len() != before {
            self.quiet.notify_all();
        } else if g.clock.is_virtual() {
            let until = g.clock.now() + 1_000;
            while g.clock.now() < until {
                g = self.pass(g, until);
            }
        }
        let now = g.clock.now();
        g.clock.micros(now)
    }

    /// A packet arrives.
    pub fn netdev_send(&self, packet: &[u8]) {
        let mut g = self.lock();
        g.pump();
        g.inject(packet);
        g.pump();
        drop(self.rouse(g));
    }

    /// The oldest packet that left, and when (microseconds since 1970); waits for one. `None`: none will come.
    pub fn netdev_receive(&self) -> Option<(i64, Vec<u8>)> {
        let mut g = self.lock();
        g.pump();
        let most = if g.clock.is_virtual() { RECEIVE_VIRTUAL_NS } else { RECEIVE_REAL_NS };
        let until = g.clock.now() + most;
        loop {
            if let Some((at, packet)) = g.take_packet() {
                return Some((g.clock.micros(at), packet));
            }
            g = self.await_stamps(g);
            let now = g.clock.now();
            let ends = g.sleepers.next_end(now);
            let next = g.stack.next_deadline().into_iter().chain(ends).min();
            let over = match g.clock.is_virtual() {
                true => next.is_none_or(|n| n > until),
                false => now >= until,
            };
            if over && !g.has_packets() {
                return None;
            }
            if !g.has_packets() {
                g = self.pass(g, until);
            }
        }
    }
}

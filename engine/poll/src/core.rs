//! A core: one pinned thread and all it owns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};

use crossbeam_queue::ArrayQueue;
use linerate_frame::Burst;
use linerate_net::{Instant, Stack};
use linerate_port::Port;

use crate::clock;
use crate::handoff::{Mesh, Waker};
use crate::limits::INBOX_MESSAGES;
use crate::mirror::Message;
use crate::report::CoreReport;
use crate::service::ServiceSet;

/// A CPU, by the kernel's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CoreId(pub usize);

impl core::fmt::Display for CoreId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the control thread and a core share. Nothing of it is touched per packet.
pub struct Shared {
    pub(crate) waker: Arc<Waker>,
    stop: AtomicBool,
    /// Messages to the core (many senders, so an MPMC queue).
    pub(crate) inbox: ArrayQueue<Message>,
    /// Neighbours that the core wants the kernel to resolve.
    pub(crate) asks: ArrayQueue<std::net::IpAddr>,
    /// Wakes the control thread for `asks`.
    pub(crate) ask_waker: Arc<Waker>,
    wanted: AtomicU64,
    report: Mutex<(u64, Option<CoreReport>)>,
    reported: Condvar,
}

impl Shared {
    pub(crate) fn new(waker: Arc<Waker>, ask_waker: Arc<Waker>) -> Self {
        Self {
            waker,
            stop: AtomicBool::new(false),
            inbox: ArrayQueue::new(INBOX_MESSAGES),
            asks: ArrayQueue::new(INBOX_MESSAGES),
            ask_waker,
            wanted: AtomicU64::new(0),
            report: Mutex::new((0, None)),
            reported: Condvar::new(),
        }
    }

    /// Ends the core after its present turn.
    pub(crate) fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.waker.wake();
    }

    /// Asks the core for a report and waits for it; `None` if it doesn't answer within a second (it has ended).
    pub(crate) fn ask_report(&self) -> Option<CoreReport> {
        let serial = self.wanted.fetch_add(1, SeqCst) + 1;
        self.waker.wake();
        let lock = self.report.lock().ok()?;
        let limit = std::time::Duration::from_secs(1);
        let (lock, _) = self.reported.wait_timeout_while(lock, limit, |(got, _)| *got < serial).ok()?;
        if lock.0 < serial { None } else { lock.1.clone() }
    }
}

/// See the module.
pub struct Core<P: Port> {
    pub(crate) cpu: CoreId,
    pub(crate) stack: Stack,
    pub(crate) ports: Vec<P>,
    pub(crate) services: ServiceSet,
    pub(crate) mesh: Mesh,
    pub(crate) burst: Burst,
    pub(crate) shared: Arc<Shared>,
    /// The other cores' (see [`Lesson`](linerate_net::Lesson)).
    pub(crate) peers: Vec<Arc<Shared>>,
    pub(crate) busy_at: Instant,
    /// How long to spin before sleeping; `None`: [`SPIN_NS`](crate::limits::SPIN_NS).
    pub(crate) spin_ns: Option<u64>,
    pub(crate) turns: u64,
    pub(crate) sleeps: u64,
    reported: u64,
}

impl<P: Port> Core<P> {
    /// A core with its parts. The first port is the one it sends by.
    pub fn new(
        cpu: CoreId,
        stack: Stack,
        ports: Vec<P>,
        services: ServiceSet,
        mesh: Mesh,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            cpu,
            stack,
            ports,
            services,
            mesh,
            burst: Burst::default(),
            shared,
            peers: Vec::new(),
            busy_at: clock::now(),
            spin_ns: None,
            turns: 0,
            sleeps: 0,
            reported: 0,
        }
    }

    /// Turns until it is told to stop; then every connection is reset and every frame comes home.
    pub fn run(mut self) -> CoreReport {
        for port in &mut self.ports {
            port.refill(self.stack.pool());
        }
        while !self.shared.stop.load(SeqCst) {
            let now = clock::now();
            self.turns += 1;
            if self.turn(now) > 0 {
                self.busy_at = now;
            } else {
                self.idle(now);
            }
            self.answer();
        }
        self.shut_down()
    }

    /// Something to look at that comes neither from a port nor from a timer?
    pub(crate) fn has_messages(&self) -> bool {
        self.shared.stop.load(SeqCst)
            || self.shared.wanted.load(SeqCst) != self.reported
            || !self.shared.inbox.is_empty()
            || !self.mesh.is_empty()
    }

    fn answer(&mut self) {
        let wanted = self.shared.wanted.load(SeqCst);
        if wanted == self.reported {
            return;
        }
        self.reported = wanted;
        let report = self.report();
        if let Ok(mut slot) = self.shared.report.lock() {
            *slot = (wanted, Some(report));
        }
        self.shared.reported.notify_all();
    }

    fn report(&mut self) -> CoreReport {
        CoreReport {
            cpu: self.cpu.0,
            counters: self.stack.counters(),
            tcp: *self.stack.tcp_counters(),
            ports: self.ports.iter_mut().map(Port::stats).collect(),
            ledger: self.stack.pool().ledger(),
            held: self.stack.frames_held() + self.burst.len() + self.mesh.waiting(),
            conns: self.stack.conns(),
            time_waits: self.stack.time_waits(),
            turns: self.turns,
            sleeps: self.sleeps,
            handoffs_out: self.mesh.sent,
            handoffs_in: self.mesh.received,
            cpu_ns: clock::thread_cpu_ns(),
        }
    }

    fn shut_down(mut self) -> CoreReport {
        let now = clock::now();
        self.stack.abort_all(now);
        let (pool, batch) = self.stack.pool_and_batch();
        if let Some(port) = self.ports.first_mut() {
            // The peers learn of it, as far as one more burst reaches.
            port.reap(pool);
            port.tx_burst(pool, batch);
            let _ = port.wake();
        }
        while let Some((frame, _)) = self.mesh.take(self.stack.pool()) {
            self.stack.pool().free(frame);
        }
        self.stack.drain();
        let ports = self.ports.iter_mut().map(Port::stats).collect();
        for port in &mut self.ports {
            port.close(self.stack.pool());
        }
        CoreReport { ports, ..self.report() }
    }
}

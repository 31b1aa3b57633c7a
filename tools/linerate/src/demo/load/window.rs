//! The counted part of a load's time: warm-up before it, a hard end after it, and the CPU time at both edges.
//!
//! ```text
//!   start ──10 % warm-up──> opened ────── counted ──────> closed ──grace──> gave up waiting
//! ```

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::super::cpu;
use super::outcome::{Errors, Outcome};
use super::{GRACE, Job};

/// Latencies are kept to this; a slower exchange is recorded as this slow.
const SLOWEST_NS: u64 = 10_000_000_000;

struct Edge {
    at: Instant,
    client_cpu: Duration,
    server_cpu: Option<Duration>,
}

/// The counters of one load and when they count.
pub struct Window<'a> {
    job: &'a Job,
    counts_from: Instant,
    end: Instant,
    opened: Option<Edge>,
    closed: Option<Edge>,
    ops: u64,
    bytes: u64,
    latency_ns: Histogram<u64>,
    /// What failed so far.
    pub errors: Errors,
}

impl<'a> Window<'a> {
    /// Time runs from now.
    pub fn start(job: &'a Job) -> Self {
        let now = Instant::now();
        // Three significant digits: 0.1 %. The bounds are constants, so this can't fail.
        let latency_ns = Histogram::new_with_bounds(1, SLOWEST_NS, 3).expect("constant bounds");
        Self {
            job,
            counts_from: now + job.duration / 10,
            end: now + job.duration,
            opened: None,
            closed: None,
            ops: 0,
            bytes: 0,
            latency_ns,
            errors: Errors::default(),
        }
    }

    /// When the load ends.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Until when to wait for what is still under way.
    pub fn deadline(&self) -> Instant {
        self.end.max(Instant::now()) + GRACE
    }

    /// True while the load goes on; opens the window when the warm-up is over and closes it at the end.
    pub fn running(&mut self, now: Instant) -> bool {
        if now >= self.end || self.job.stop.load(Ordering::Relaxed) {
            self.close();
            return false;
        }
        if self.opened.is_none() && now >= self.counts_from {
            self.opened = Some(self.edge());
        }
        true
    }

    /// Starts counting now, whatever the warm-up says.
    pub fn open(&mut self) {
        self.opened = Some(self.edge());
    }

    /// Stops counting now.
    pub fn close(&mut self) {
        if self.closed.is_none() {
            self.closed = Some(self.edge());
        }
    }

    fn edge(&self) -> Edge {
        let server_cpu = self.job.server_cpu.as_ref().and_then(|probe| probe());
        // Last, so that the time the probe took is not counted at the start; at the end it is a few
        // microseconds.
        Edge { at: Instant::now(), client_cpu: cpu::thread_time(), server_cpu }
    }

    fn counts(&self) -> bool {
        self.opened.is_some() && self.closed.is_none()
    }

    /// One exchange was done and right; it took this long.
    #[inline]
    pub fn done(&mut self, took: Duration) {
        if self.counts() {
            self.ops += 1;
            self.latency_ns.saturating_record(took.as_nanos() as u64);
        }
    }

    /// Payload came.
    #[inline]
    pub fn moved(&mut self, bytes: u64) {
        if self.counts() {
            self.bytes += bytes;
        }
    }

    /// The figures.
    pub fn finish(mut self) -> Outcome {
        self.close();
        let (opened, closed) = (self.opened, self.closed);
        let mut outcome = Outcome {
            ops: self.ops,
            bytes: self.bytes,
            elapsed: Duration::ZERO,
            latency_ns: self.latency_ns,
            client_cpu: Duration::ZERO,
            server_cpu: None,
            errors: self.errors,
            cut: self.job.stop.load(Ordering::Relaxed),
        };
        if let (Some(a), Some(b)) = (opened, closed) {
            outcome.elapsed = b.at.saturating_duration_since(a.at);
            outcome.client_cpu = b.client_cpu.saturating_sub(a.client_cpu);
            outcome.server_cpu = a.server_cpu.zip(b.server_cpu).map(|(a, b)| b.saturating_sub(a));
        }
        outcome
    }
}

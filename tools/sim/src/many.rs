//! One run or many, panics caught: each ends in a report or a failure.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::capture::Capture;
use crate::world::{Failure, Report, World};
use crate::{Scenario, random};

thread_local! {
    /// What the last panic of this thread said, and where.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of runs are reported by the run, not by the default hook.
pub fn quiet_panics() {
    panic::set_hook(Box::new(|info| {
        let trace = std::backtrace::Backtrace::capture();
        let trace = if trace.status() == std::backtrace::BacktraceStatus::Captured {
            format!("\n{trace}")
        } else {
            String::new()
        };
        PANICKED.with(|p| *p.borrow_mut() = Some(format!("{info}{trace}")));
    }));
}

/// Runs a scenario.
///
/// # Errors
/// What was wrong; a panic is a failure like any other (without its time).
pub fn run(scenario: &Scenario, capture: Option<Capture>) -> Result<Report, Failure> {
    let run = panic::catch_unwind(AssertUnwindSafe(|| World::new(scenario, capture).run()));
    run.unwrap_or_else(|_| {
        let what = PANICKED.with(|p| p.borrow_mut().take()).unwrap_or_else(|| "panic".to_string());
        Err(Failure { at_ns: 0, what })
    })
}

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// Seeds that failed, with why.
    pub failures: Vec<(u64, Failure)>,
    /// Frames sent.
    pub packets: u64,
    /// TCP retransmissions.
    pub retransmits: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Connections.
    pub flows: u64,
    /// Connections that ended with an error (aborted, or excused by an outage).
    pub flows_failed: u64,
    /// Payload bytes delivered.
    pub bytes: u64,
    /// Virtual time.
    pub virtual_secs: f64,
    /// Real time.
    pub secs: f64,
    /// Most heap of one run.
    pub heap_bytes_max: u64,
    /// The digests of all runs, together.
    pub digest: u64,
}

impl Summary {
    fn add(&mut self, seed: u64, run: Result<Report, Failure>) {
        self.runs += 1;
        match run {
            Err(failure) => self.failures.push((seed, failure)),
            Ok(r) => {
                self.packets += r.packets;
                self.retransmits += r.retransmits;
                self.timeouts += r.timeouts;
                self.flows += r.flows.len() as u64;
                self.flows_failed += r.flows.iter().filter(|f| f.failed).count() as u64;
                self.bytes += r.flows.iter().flat_map(|f| f.received).sum::<u64>();
                self.virtual_secs += r.virtual_ns as f64 / 1e9;
                self.heap_bytes_max = self.heap_bytes_max.max(r.heap_bytes);
                self.digest = self.digest.wrapping_add(r.digest.wrapping_mul(2 * seed + 1));
            }
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} runs, {} failed; {} connections ({} ended with an error), {} packets, {} MiB delivered",
            self.runs,
            self.failures.len(),
            self.flows,
            self.flows_failed,
            self.packets,
            self.bytes >> 20
        )?;
        write!(
            f,
            "{} retransmissions, {} timeouts; {:.0} s of virtual time in {:.1} s; heap of one run at most {} MiB; digest {:016x}",
            self.retransmits,
            self.timeouts,
            self.virtual_secs,
            self.secs,
            self.heap_bytes_max >> 20,
            self.digest
        )
    }
}

/// Runs seeds `from..from + count` on `jobs` threads; stops early after `failures_max` failures. `told` hears of each
/// failure at once.
pub fn many(
    from: u64,
    count: u64,
    jobs: usize,
    failures_max: usize,
    told: impl Fn(u64, &Failure) + Sync,
) -> Summary {
    let began = Instant::now();
    let (next, enough) = (AtomicU64::new(from), AtomicBool::new(false));
    let sum = Mutex::new(Summary::default());
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                break;
            }
            let run = run(&random::scenario(seed), None);
            if let Err(failure) = &run {
                told(seed, failure);
            }
            let mut sum = sum.lock().unwrap_or_else(|e| e.into_inner());
            sum.add(seed, run);
            enough.fetch_or(sum.failures.len() >= failures_max, Ordering::Relaxed);
        }
    };
    std::thread::scope(|s| (0..jobs.max(1)).for_each(|_| drop(s.spawn(work))));
    let mut sum = sum.into_inner().unwrap_or_else(|e| e.into_inner());
    sum.secs = began.elapsed().as_secs_f64();
    sum.failures.sort_by_key(|(seed, _)| *seed);
    sum
}

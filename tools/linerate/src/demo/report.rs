//! The one JSON object of `linerate demo --json`.
//!
//! Stable keys: `port` (what was picked and rejected), `rows` (see [`Row`]), `drops` (reason -> count), `ledger`
//! (`frames`, `accounted`), `errors` (lines), `host`, `seconds`, `rounds`, `partial`.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;
use serde_json::{Value, json};

use super::rows::Row;
use super::run::{Plan, Results};

/// What the demo found; printed as a table or as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `{"picked", "bind", "attach", "rejected": [{"port", "reason"}]}`, from the engine.
    pub port: Value,
    /// The comparison.
    pub rows: Vec<Row>,
    /// Frames the engine dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// `{"frames", "accounted"}`, from the engine.
    pub ledger: Value,
    /// What went wrong; empty in a good run.
    pub errors: Vec<String>,
    /// The machine.
    pub host: Value,
    /// Length of one measurement.
    pub seconds: f64,
    /// Rounds asked for.
    pub rounds: usize,
    /// The run was stopped early.
    pub partial: bool,
}

impl Report {
    /// A report of `results`; the engine's part (`port`, `drops`, `ledger`) is still to be filled in.
    pub fn new(plan: &Plan, results: Results) -> Self {
        Self {
            port: Value::Null,
            rows: results.rows,
            drops: BTreeMap::new(),
            ledger: Value::Null,
            errors: results.errors,
            host: host(),
            seconds: plan.duration.as_secs_f64(),
            rounds: plan.rounds,
            partial: results.partial,
        }
    }
}

/// Kernel, CPU and the defaults that figures depend on; a fact that can't be read is null.
fn host() -> Value {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let cpu = read("/proc/cpuinfo").and_then(|text| {
        text.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1.to_owned()))
    });
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": cpu,
        "cpus": std::thread::available_parallelism().ok().map(usize::from),
        "congestion_default": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "congestion_used": super::socket::CONGESTION,
    })
}

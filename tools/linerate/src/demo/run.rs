//! The rounds: every measurement on both servers, one right after the other, in the order
//! linerate,kernel / kernel,linerate / ..., so that a drift of the machine hits both alike.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::load::{CpuProbe, Job, LoadThread, Outcome};
use super::rows::{Measure, ROWS, Row, RowDef, make_row};

/// A server that is measured.
pub trait Target {
    /// Its name in progress and errors.
    fn name(&self) -> &str;

    /// Where `measure` finds it. Called right before each measurement, outside the measured time: the place to
    /// switch the link's offloads, or to choose between links, for the `wire` measurements.
    fn prepare(&self, measure: Measure) -> io::Result<SocketAddr>;

    /// Its CPU time so far, if it can tell.
    fn cpu_probe(&self) -> Option<CpuProbe>;
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names of the rows wanted; empty for all.
    pub only: Vec<String>,
    /// How often each measurement is made on each server.
    pub rounds: usize,
    /// Length of one measurement, warm-up included.
    pub duration: Duration,
}

impl Plan {
    /// The first name in `only` that is no row.
    pub fn unknown_row(&self) -> Option<&str> {
        self.only.iter().map(String::as_str).find(|name| ROWS.iter().all(|def| def.name != *name))
    }

    /// The rows wanted, in table order.
    pub fn rows(&self) -> impl Iterator<Item = &'static RowDef> {
        ROWS.iter().filter(|def| self.only.is_empty() || self.only.iter().any(|name| name == def.name))
    }

    /// The measurements these rows need, in the order they are made.
    pub fn measures(&self) -> Vec<Measure> {
        let wanted = |measure: &Measure| self.rows().any(|def| def.measure == *measure);
        Measure::ALL.into_iter().filter(wanted).collect()
    }

    /// Number of measurements on both servers together, for progress.
    pub fn steps(&self) -> usize {
        self.measures().len() * self.rounds * 2
    }
}

/// What is about to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Measurements done.
    pub done: usize,
    /// Measurements in all.
    pub steps: usize,
    /// From 0.
    pub round: usize,
    /// The measurement that starts now.
    pub measure: Measure,
    /// The server it is made on.
    pub target: &'a str,
}

/// What the rounds gave.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The rows wanted, as far as both sides have figures.
    pub rows: Vec<Row>,
    /// What went wrong, a line each, with measurement, round and server.
    pub errors: Vec<String>,
    /// Stopped before the last measurement was over.
    pub partial: bool,
}

/// One measurement on one server.
struct Sample {
    measure: Measure,
    /// 0 linerate, 1 kernel.
    side: usize,
    outcome: Outcome,
}

/// Carries out `plan`. Setting `stop` ends it within a few milliseconds of a running load plus the time of
/// grace; what was measured until then is kept and marked partial.
pub fn run(
    plan: &Plan,
    client: &LoadThread,
    linerate: &dyn Target,
    kernel: &dyn Target,
    stop: &Arc<AtomicBool>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Results {
    let sides = [linerate, kernel];
    let measures = plan.measures();
    let steps = plan.steps();
    let mut samples = Vec::with_capacity(steps);
    let mut results = Results::default();
    let mut done = 0;
    'rounds: for round in 0..plan.rounds {
        for &measure in &measures {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let target = sides[side];
                if stop.load(Ordering::Relaxed) {
                    results.partial = true;
                    break 'rounds;
                }
                progress(Progress { done, steps, round, measure, target: target.name() });
                done += 1;
                let say = |what: &dyn std::fmt::Display| {
                    format!("{measure}, round {}, {}: {what}", round + 1, target.name())
                };
                match measure_once(plan, client, target, measure, stop) {
                    // Half a measurement is not a sample.
                    Ok(outcome) if outcome.cut => results.partial = true,
                    Ok(outcome) => {
                        if outcome.errors.total() > 0 {
                            results.errors.push(say(&outcome.errors));
                        }
                        samples.push(Sample { measure, side, outcome });
                    }
                    Err(error) => results.errors.push(say(&error)),
                }
            }
        }
    }
    results.rows = plan.rows().filter_map(|def| row_of(def, &samples)).collect();
    results
}

fn measure_once(
    plan: &Plan,
    client: &LoadThread,
    target: &dyn Target,
    measure: Measure,
    stop: &Arc<AtomicBool>,
) -> io::Result<Outcome> {
    let addr = target.prepare(measure)?;
    client.run(Job {
        load: measure.load(),
        addr,
        duration: plan.duration,
        server_cpu: target.cpu_probe(),
        stop: stop.clone(),
    })
}

fn row_of(def: &RowDef, samples: &[Sample]) -> Option<Row> {
    let of = |side| samples.iter().filter(move |s| s.measure == def.measure && s.side == side);
    let values = |side| of(side).map(|s| def.value(&s.outcome)).collect::<Vec<_>>();
    let errors = of(0).chain(of(1)).map(|s| s.outcome.errors.total()).sum();
    make_row(def, &values(0), &values(1), errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_rows_and_brings_their_measurement() {
        let plan = |only: &[&str]| Plan {
            only: only.iter().map(|name| name.to_string()).collect(),
            rounds: 3,
            duration: Duration::from_secs(1),
        };
        assert_eq!(plan(&["cpu_per_request", "rr_1_p50"]).measures(), [Measure::Http64, Measure::Rr1]);
        assert_eq!(plan(&["cpu_per_request", "rr_1_p50"]).steps(), 12);
        assert_eq!(plan(&["conns"]).rows().map(|def| def.name).collect::<Vec<_>>(), ["conns"]);
        assert_eq!(plan(&[]).measures(), Measure::ALL);
        assert_eq!(plan(&["conns", "cons"]).unknown_row(), Some("cons"));
    }
}

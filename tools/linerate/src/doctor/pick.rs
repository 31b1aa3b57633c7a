//! Which mode linerate would take, by what the trial showed.

use serde::Serialize;

use super::trial::Trial;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pick {
    pub port: &'static str,
    pub interface: String,
    pub queue: u32,
    pub attach: &'static str,
    pub bind: &'static str,
    /// What has to be said on the command line, because `--port auto` would stop before it gets there.
    pub option: Option<&'static str>,
}

/// The best mode that worked. Trials come best first.
pub fn pick(trials: &[Trial]) -> Option<Pick> {
    let best = trials.iter().find(|trial| trial.result == "ok")?;
    // A native attach that failed for another reason than the driver's ability is an error of the engine.
    let stops = |trial: &Trial| trial.attach == "native" && trial.step == Some("attach") && !trial.falls_back;
    let generic = best.attach == "generic";
    Some(Pick {
        port: "af_xdp",
        interface: best.interface.clone(),
        queue: best.queue,
        attach: best.attach,
        bind: best.mode.unwrap_or(best.bind),
        option: (generic && trials.iter().any(stops)).then_some("--link af_xdp-generic"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::trial::{MODES, skipped};
    use super::*;

    fn with(results: [&'static str; 3]) -> Vec<Trial> {
        let trial = |(mode, result)| Trial { result, ..Trial::new("x0", 0, mode) };
        MODES.into_iter().zip(results).map(trial).collect()
    }

    #[test]
    fn the_best_that_worked_is_taken() {
        let best = |results| pick(&with(results)).map(|pick| (pick.attach, pick.bind));
        assert_eq!(best(["ok", "ok", "ok"]), Some(("native", "zero-copy")));
        assert_eq!(best(["failed", "ok", "ok"]), Some(("native", "copy")));
        assert_eq!(best(["failed", "failed", "ok"]), Some(("generic", "copy")));
        assert_eq!(best(["failed", "failed", "failed"]), None);
        assert_eq!(pick(&skipped("x0", 0, "no root")), None);
    }

    #[test]
    fn generic_needs_an_option_where_the_engine_would_stop() {
        let mut trials = with(["failed", "failed", "ok"]);
        trials.iter_mut().take(2).for_each(|trial| trial.step = Some("attach"));
        assert_eq!(pick(&trials).unwrap().option, Some("--link af_xdp-generic"));
        trials.iter_mut().take(2).for_each(|trial| trial.falls_back = true);
        assert_eq!(pick(&trials).unwrap().option, None);
    }
}

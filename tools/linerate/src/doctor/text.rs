//! The report for people: what is fine first, in a line each; what hurts last.

use std::fmt::Write;

use linerate::load::errno_name;

use super::finding::{Finding, Level};
use super::report::Report;
use super::trial::Trial;

/// Columns of the level and of the topic.
const LEVEL: usize = 8;
const TOPIC: usize = 13;

pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let of = |level: Level| report.findings.iter().filter(move |finding| finding.level == level);
    of(Level::Ok).for_each(|finding| block(&mut out, finding));
    table(&mut out, &report.trials);
    for level in [Level::Note, Level::Warning, Level::Problem] {
        of(level).for_each(|finding| block(&mut out, finding));
    }
    let _ = writeln!(out, "\n{}", report.summary());
    out
}

fn block(out: &mut String, finding: &Finding) {
    if finding.level != Level::Ok {
        out.push('\n');
    }
    let _ = writeln!(out, "{:LEVEL$} {:TOPIC$} {}", finding.level.name(), finding.topic, finding.symptom);
    let lines = [
        ("cause", finding.cause.as_deref()),
        ("type", finding.command.as_deref()),
        ("linerate", finding.engine_does.as_deref()),
        ("source", finding.source),
    ];
    for (what, text) in lines {
        if let Some(text) = text {
            let _ = writeln!(out, "{:LEVEL$} {what:>TOPIC$} {text}", "");
        }
    }
}

fn table(out: &mut String, trials: &[Trial]) {
    let Some(first) = trials.first() else { return };
    if first.result == "skipped" {
        let why = first.why.as_deref().unwrap_or_default();
        let _ = writeln!(out, "\ntrial on {} queue {}: not made, {why}", first.interface, first.queue);
        return;
    }
    let _ = writeln!(out, "\ntrial on {} queue {}:", first.interface, first.queue);
    for trial in trials {
        let got = match (trial.result, trial.errno) {
            ("ok", _) => format!("ok, {}", trial.mode.unwrap_or_default()),
            (_, Some(errno)) => format!("{} at {}", errno_name(errno), trial.step.unwrap_or_default()),
            (_, None) => format!("refused at {}", trial.step.unwrap_or_default()),
        };
        let said = trial.kernel_said.as_ref().map(|text| format!(": \"{text}\"")).unwrap_or_default();
        let _ = writeln!(out, "  {:8} + {:10} {got}{said}", trial.attach, trial.bind);
    }
}

//! `linerate doctor`: asks the host, then tries it, then explains.
//!
//! ```text
//!   host, interface (read) ─┬─> check_host, check_interface ─┐
//!   trial (bind, undo) ─────┴─> check_trial, pick ───────────┴─> report ──> text | JSON
//! ```
//! Reading and trying know no advice; the checks are pure functions of what was read, with the advice.

mod caps;
mod check_host;
mod check_interface;
mod check_trial;
mod finding;
mod host;
mod interface;
mod pick;
mod quirks;
mod report;
#[cfg(test)]
mod root_test;
mod text;
mod throwaway;
mod trial;

use std::io::Write;
use std::process::ExitCode;

use linerate::nic::{NicError, link_names};

use finding::{Finding, Level};
use host::HostFacts;
use interface::InterfaceFacts;
use report::Report;
use trial::{Effects, Trial};

/// Say what this host and interface can do: ask, then really bind a socket in each mode, then explain
#[derive(clap::Args, Debug, Default, Clone)]
#[command(after_help = "\
Examples:
  sudo linerate doctor                      this host; the trial runs on a throw-away veth pair
  sudo linerate doctor --interface eth1     and this NIC; the trial attaches a program that passes everything
  linerate doctor --interface eth1 --no-trial --json

Exit code: 0 something usable was found (with --no-trial: nothing speaks against it), 1 linerate can't run here,
2 wrong usage.")]
pub struct DoctorArgs {
    /// Interface to look at and to try (some NICs lose their link for a moment when a program is attached)
    #[arg(long, short, value_name = "IF")]
    pub interface: Option<String>,
    /// Receive queue of the interface to bind to
    #[arg(long, value_name = "N", default_value_t = 0, requires = "interface")]
    pub queue: u32,
    /// Only ask; attach and bind nothing
    #[arg(long)]
    pub no_trial: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs `linerate doctor`.
pub fn run(args: &DoctorArgs) -> ExitCode {
    let report = match examine(args) {
        Ok(report) => report,
        Err(wrong) => {
            eprintln!("linerate doctor: {}", wrong.text);
            return ExitCode::from(wrong.exit_code);
        }
    };
    let out = if args.json {
        let json = serde_json::to_string_pretty(&report).expect("plain structs with string keys");
        json + "\n"
    } else {
        text::render(&report)
    };
    // Whoever closes the pipe early (`| head`) has seen enough.
    let _ = std::io::stdout().lock().write_all(out.as_bytes());
    if report.is_usable() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nothing could be reported.
struct Wrong {
    text: String,
    exit_code: u8,
}

impl From<NicError> for Wrong {
    fn from(error: NicError) -> Wrong {
        let exit_code = if matches!(error, NicError::NoSuchInterface { .. }) { 2 } else { 1 };
        Wrong { text: error.to_string(), exit_code }
    }
}

fn examine(args: &DoctorArgs) -> Result<Report, Wrong> {
    let interface = args.interface.as_deref().map(InterfaceFacts::read).transpose()?;
    if let Some(facts) = interface.as_ref().filter(|facts| args.queue >= facts.rx_queues.max(1)) {
        let last = facts.rx_queues.saturating_sub(1);
        let text = format!("{} has no queue {}: its receive queues are 0 to {last}", facts.name, args.queue);
        return Err(Wrong { text, exit_code: 2 });
    }
    let host = HostFacts::read();
    let again = as_root(args);
    let mut findings = check_host::check(&host, &again);
    findings.extend(interface.iter().flat_map(check_interface::check));
    let Tested { facts, trials, effects, finding } = test(args, &host, interface.as_ref(), &again);
    findings.extend(finding);
    let would_pick = pick::pick(&trials);
    if let Some(facts) = &facts {
        findings.extend(check_trial::check(facts, &trials, &effects, would_pick.as_ref()));
    }
    // The trial knows better than the table of drivers: a native attach that worked was not too large.
    if would_pick.as_ref().is_some_and(|pick| pick.attach == "native") {
        let doubts = findings.iter_mut().filter(|finding| finding.topic == "mtu");
        doubts.for_each(|finding| finding.level = finding.level.min(Level::Note));
    }
    findings.sort_by_key(|finding| finding.level);
    Ok(Report {
        version: 1,
        host,
        interface,
        interfaces: link_names().unwrap_or_default(),
        trials,
        trial_effects: effects,
        findings,
        would_pick,
        asked_only: args.no_trial,
    })
}

/// What came of the trial.
#[derive(Default)]
struct Tested {
    /// Of the interface that was tried.
    facts: Option<InterfaceFacts>,
    trials: Vec<Trial>,
    effects: Effects,
    /// Why there was none, if no other finding says it.
    finding: Option<Finding>,
}

fn test(args: &DoctorArgs, host: &HostFacts, interface: Option<&InterfaceFacts>, again: &str) -> Tested {
    let name = interface.map_or("a throw-away veth", |facts| facts.name.as_str());
    let skip = |why: &str| Tested { trials: trial::skipped(name, args.queue, why), ..Tested::default() };
    if args.no_trial {
        return skip("--no-trial");
    }
    if !host.capabilities.missing_to_run().is_empty() {
        return skip(&format!("it takes root: {again}"));
    }
    let Some(facts) = interface else {
        return match throwaway::trial() {
            Ok((facts, trials, effects)) => Tested { facts: Some(facts), trials, effects, finding: None },
            // A NIC may still work: no namespace is needed for one.
            Err(error) => {
                let finding = Finding::new(Level::Warning, "trial", "no throw-away veth pair could be made")
                    .cause(error.to_string())
                    .command("linerate doctor --interface IF");
                Tested { finding: Some(finding), ..skip("no veth pair could be made") }
            }
        };
    };
    if let Some(program) = facts.xdp {
        return skip(&format!("another XDP program (id {}) is attached and stays", program.id));
    }
    if quirks::may_reset_link(&facts.driver) {
        eprintln!(
            "linerate doctor: attaching a program to {} for a moment; driver {} may reset its link for it",
            facts.name, facts.driver
        );
    }
    let (trials, effects) = trial::run(facts, args.queue);
    Tested { facts: Some(facts.clone()), trials, effects, finding: None }
}

/// The command line that does the same with all rights.
fn as_root(args: &DoctorArgs) -> String {
    let exe =
        std::env::current_exe().map_or_else(|_| "linerate".to_owned(), |path| path.display().to_string());
    let mut line = format!("sudo {exe} doctor");
    if let Some(interface) = &args.interface {
        line += &format!(" --interface {interface}");
    }
    if args.queue != 0 {
        line += &format!(" --queue {}", args.queue);
    }
    for (flag, given) in [(" --no-trial", args.no_trial), (" --json", args.json)] {
        line += if given { flag } else { "" };
    }
    line
}

//! Everything that was found, as `--json` prints it.

use serde::Serialize;

use super::finding::{Finding, Level};
use super::host::HostFacts;
use super::interface::InterfaceFacts;
use super::pick::Pick;
use super::trial::{Effects, Trial};

/// The keys are stable; more may come.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of this format.
    pub version: u32,
    pub host: HostFacts,
    /// `null` without `--interface`.
    pub interface: Option<InterfaceFacts>,
    /// Interfaces of this network namespace.
    pub interfaces: Vec<String>,
    /// Without `--interface`: on a throw-away veth pair.
    pub trials: Vec<Trial>,
    pub trial_effects: Effects,
    pub findings: Vec<Finding>,
    /// `null`: it can't run, or nothing was tried.
    pub would_pick: Option<Pick>,
    /// `--no-trial`.
    #[serde(skip)]
    pub asked_only: bool,
}

impl Report {
    /// Something was found that runs; where nothing was to be tried, nothing that keeps it from running.
    pub fn is_usable(&self) -> bool {
        self.would_pick.is_some() || (self.asked_only && self.problems().is_empty())
    }

    pub fn summary(&self) -> String {
        if let Some(pick) = &self.would_pick {
            let (place, more) = match &self.interface {
                Some(interface) => (interface.name.clone(), String::new()),
                None => ("a veth of this host".to_owned(), format!("\n{}", self.on_an_interface())),
            };
            let option = pick.option.map(|option| format!(", with {option}")).unwrap_or_default();
            return format!("linerate would run on {place} ({}, {}){option}{more}", pick.attach, pick.bind);
        }
        let problems = self.problems();
        let place = self.interface.as_ref().map_or("this host", |interface| interface.name.as_str());
        // The first stands for the rest: host before interface before trial.
        match problems.first() {
            Some(problem) => {
                let command =
                    problem.command.as_ref().map(|command| format!("; type: {command}")).unwrap_or_default();
                format!("linerate can't run on {place}: {}{command}", problem.symptom)
            }
            None if self.asked_only => {
                format!("nothing speaks against running on {place}; nothing was tried (--no-trial)")
            }
            None => format!("nothing was found that runs on {place}"),
        }
    }

    fn on_an_interface(&self) -> String {
        format!("for a NIC: linerate doctor --interface IF (here: {})", self.interfaces.join(", "))
    }

    fn problems(&self) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.level == Level::Problem).collect()
    }
}

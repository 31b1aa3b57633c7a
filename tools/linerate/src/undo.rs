//! `linerate undo`: takes back what an engine that was killed changed on the host.

use std::process::ExitCode;

use clap::Args;
use linerate::nic::Outcome;
use serde_json::json;

/// Take back what an engine that was killed (kill -9, power) changed on this host. Every start does this by itself.
#[derive(Args)]
#[command(
    after_help = "Example:\n  linerate undo\n\nXDP programs and namespaces need no undo: they go with the process."
)]
pub struct UndoArgs {
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &UndoArgs) -> ExitCode {
    let undone = match linerate::nic::Journal::undo_stale() {
        Ok(undone) => undone,
        Err(e) => {
            eprintln!("linerate: {e}");
            return ExitCode::FAILURE;
        }
    };
    let failed = undone.iter().any(|u| matches!(u.outcome, Outcome::Failed(_)));
    if args.json {
        let lines: Vec<String> = undone.iter().map(ToString::to_string).collect();
        crate::say(&json!({"undone": lines, "failed": failed}).to_string());
    } else if undone.is_empty() {
        crate::say("linerate: nothing to undo");
    } else {
        undone.iter().for_each(|u| crate::say(&format!("linerate: {u}")));
    }
    ExitCode::from(failed as u8)
}

//! The `linerate` program: a file, or a folder, per subcommand.
#![forbid(unsafe_code)]

mod demo;
mod doctor;
mod serve;
mod services;
mod undo;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// A packet engine on AF_XDP with its own TCP/IP stack.
#[derive(Parser)]
#[command(name = "linerate", version, arg_required_else_help = true)]
#[command(
    after_help = "Start with:  linerate demo      (as root; makes its own network, leaves nothing behind)"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::cmd::DemoArgs),
    Serve(serve::ServeArgs),
    Doctor(doctor::DoctorArgs),
    Undo(undo::UndoArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    match cli.command {
        Command::Demo(args) => demo::cmd::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Undo(args) => undo::run(&args),
    }
}

/// Help and version as clap writes them; a mistake as one line, like every other error.
fn usage(e: &clap::Error) -> ExitCode {
    let mistake = e.use_stderr() && e.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !mistake {
        // Nobody reads it any more if this fails.
        let _ = e.print();
        return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
    }
    let text = e.to_string();
    let what = text.split("\n\n").next().unwrap_or_default();
    let what = what.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("linerate: {what} (see --help)");
    ExitCode::from(2)
}

/// One line (or more) to standard output. A reader that has gone away is its own affair; a full disk is said.
fn say(text: &str) {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n')) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => eprintln!("linerate: standard output: {e}"),
        _ => {}
    }
}

/// A flag that SIGINT, SIGTERM and SIGHUP set. A second signal ends the process at once.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // In this order: the second signal finds the flag set by the first.
        let registered = signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()));
        if let Err(e) = registered {
            eprintln!("linerate: no handler for signal {signal} ({e}): it will end the program at once");
        }
    }
    stop
}

/// What an engine that was killed left on the host is undone before anything new is begun.
fn undo_stale() {
    match linerate::nic::Journal::undo_stale() {
        Ok(undone) => undone.iter().for_each(|u| eprintln!("linerate: left by an earlier run: {u}")),
        Err(e) => eprintln!("linerate: the journal of host changes can't be read: {e}"),
    }
}

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
    match Cli::parse().command {
        Command::Demo(args) => demo::cmd::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Undo(args) => undo::run(&args),
    }
}

/// A flag that SIGINT and SIGTERM set. A second signal ends the process at once.
fn stop_on_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
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

//! The command: makes the network, starts both servers, runs the rounds, prints what came out.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use linerate::poll::{Engine, LaunchError};

use super::bench_net::{BenchNet, EngineTarget, KernelTarget};
use super::kernel_server::{Config, KernelServer};
use super::load::LoadThread;
use super::report::Report;
use super::run::{Plan, Progress, run as run_rounds};
use super::service::Ports;
use super::table;
use crate::serve::{PortArg, parse_seconds, picked_json};
use crate::stop_on_signals;

/// Measure linerate against kernel sockets, on a network of its own (needs root; leaves nothing behind).
#[derive(Args)]
#[command(
    after_help = "Example:\n  linerate demo\n  linerate demo --only http_64,rr_1_p50 --seconds 5 --rounds 10 --json\n\n\
Two anonymous network namespaces and two equal veth pairs: one for linerate, one for a plain epoll server on kernel \
sockets. The same client drives both, in turn, in one run. `ratio`: more is better for linerate, in every row."
)]
pub struct DemoArgs {
    /// Length of one measurement, warm-up included.
    #[arg(long, value_parser = parse_seconds, default_value = "1")]
    seconds: f64,
    /// How often each measurement is made on each server; the table shows medians.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000), default_value = "5")]
    rounds: u16,
    /// Rows to measure (default: all).
    #[arg(long, value_name = "ROW,...", value_delimiter = ',')]
    only: Vec<String>,
    /// CPUs of the servers; the client takes another one if there is one.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0")]
    cores: Vec<usize>,
    /// Port for linerate.
    #[arg(long, value_enum, default_value_t)]
    port: PortArg,
    /// One JSON object instead of the table. Keys: port {picked, bind, attach, rejected}, rows [{name, unit, better,
    /// linerate, kernel, ratio}], drops {reason: count}, ledger {frames, accounted}, errors, host, partial.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DemoArgs) -> ExitCode {
    let plan = Plan {
        only: args.only.clone(),
        rounds: args.rounds.into(),
        duration: Duration::from_secs_f64(args.seconds),
    };
    if let Some(name) = plan.unknown_row() {
        eprintln!("linerate: --only {name}: there is no such row; rows: {}", super::rows::names());
        return ExitCode::from(2);
    }
    match demo(args, &plan) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(DemoError::Launch(e)) if e.is_usage() => {
            eprintln!("linerate: {e}");
            ExitCode::from(2)
        }
        Err(e) => {
            eprintln!("linerate: {e}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(
        "demo needs root: it makes network namespaces and attaches an XDP program. Type: sudo linerate demo"
    )]
    NotRoot,
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Nic(#[from] linerate::nic::NicError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// `true`: every measurement was made without an error.
fn demo(args: &DemoArgs, plan: &Plan) -> Result<bool, DemoError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DemoError::NotRoot);
    }
    crate::undo_stale();
    let stop = stop_on_signals();
    let net = BenchNet::new(args.cores.len() as u32)?;
    let engine = Arc::new(net.launch(&args.cores, args.port.into())?);
    let ports = Ports::default();
    let server = KernelServer::start(
        Config { ip: net.kernel_address(), ports, core: args.cores.first().copied() },
        net.enter_server()?,
    )?;
    let client = LoadThread::start(client_core(&args.cores), net.enter_client()?)?;
    net.warm_up()?;

    let bar = progress_bar(plan, args.json);
    let results = {
        let linerate = EngineTarget::new(engine.clone(), &net, ports);
        let kernel = KernelTarget::new(&server, &net);
        run_rounds(plan, &client, &linerate, &kernel, &stop, &mut |p: Progress<'_>| {
            bar.set_length(p.steps as u64);
            bar.set_position(p.done as u64);
            bar.set_message(format!("round {}: {} {}", p.round + 1, p.measure, p.target));
        })
    };
    bar.finish_and_clear();
    let mut report = Report::new(plan, results);
    fill_in(&mut report, engine);
    server.stop()?;
    if args.json {
        crate::say(&serde_json::to_string(&report).map_err(io::Error::other)?);
    } else {
        crate::say(&table::render(&report));
    }
    Ok(report.errors.is_empty())
}

fn progress_bar(plan: &Plan, json: bool) -> ProgressBar {
    if json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(plan.steps() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}  (about {eta} left)") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What the engine has to say about the run: port, drops, ledger.
fn fill_in(report: &mut Report, engine: Arc<Engine>) {
    report.port = picked_json(&engine.picked);
    // While it runs, with frames in the fill ring and in the stack: that is when the count means something.
    let running = engine.report();
    report.ledger = serde_json::json!({"frames": running.frames(), "accounted": running.frames_accounted()});
    report.drops = running.drops();
}

/// A CPU that no server uses, the highest; `None` (anywhere) if they use all.
fn client_core(servers: &[usize]) -> Option<usize> {
    let cpus = rustix::thread::sched_getaffinity(None).ok()?;
    (0..rustix::thread::CpuSet::MAX_CPU).rev().find(|c| cpus.is_set(*c) && !servers.contains(c))
}

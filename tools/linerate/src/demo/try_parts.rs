//! Tries the kernel-socket half of the demo by itself: the kernel server against itself, so every ratio should
//! be near 1. Stands in until the command line and the engine's half are there.
//!
//! `linerate try [--server-netns N] [--client-netns N] [--ip A] [--wire-ip A] [--server-core N] [--client-core N]
//! [--seconds S] [--rounds N] [--only ROW,...] [--json]`

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{fs, io};

use rustix::fd::AsFd;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::kernel_server::{Config, KernelServer};
use super::load::{CpuProbe, LoadThread};
use super::report::Report;
use super::rows::Measure;
use super::run::{Plan, Target, run};
use super::service::Ports;
use super::table;

struct Fixed {
    name: &'static str,
    ip: IpAddr,
    wire_ip: IpAddr,
    ports: Ports,
    cpu: CpuProbe,
}

impl Target for Fixed {
    fn name(&self) -> &str {
        self.name
    }

    fn prepare(&self, measure: Measure) -> io::Result<SocketAddr> {
        Ok(self.ports.at(if measure.wire() { self.wire_ip } else { self.ip }, measure.service()))
    }

    fn cpu_probe(&self) -> Option<CpuProbe> {
        Some(self.cpu.clone())
    }
}

/// Runs it.
pub fn main(args: impl Iterator<Item = String>) -> ExitCode {
    match try_it(args.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("linerate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn enter(netns: Option<String>) -> impl FnOnce() -> io::Result<()> + Send + 'static {
    move || match netns {
        Some(name) => {
            let file = fs::File::open(format!("/run/netns/{name}"))?;
            Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
        }
        None => Ok(()),
    }
}

fn try_it(args: Vec<String>) -> io::Result<()> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let mut options = HashMap::new();
    let mut args = args.into_iter().filter(|arg| arg != "try");
    while let Some(name) = args.next() {
        let value = if name == "--json" { String::new() } else { args.next().unwrap_or_default() };
        options.insert(name, value);
    }
    let number = |name: &str, default: f64| {
        options.get(name).map_or(Ok(default), |v| v.parse().map_err(|_| bad(format!("{name} {v}: not a number"))))
    };
    let ip = |name: &str, default: IpAddr| {
        options.get(name).map_or(Ok(default), |v| v.parse().map_err(|_| bad(format!("{name} {v}: not an address"))))
    };
    let main_ip = ip("--ip", IpAddr::from([127, 0, 0, 1]))?;
    let config = Config {
        ip: IpAddr::from([0, 0, 0, 0]),
        ports: Ports::default(),
        core: Some(number("--server-core", 0.0)? as usize),
    };
    let server = KernelServer::start(config, enter(options.get("--server-netns").cloned()))?;
    let client = LoadThread::start(
        Some(number("--client-core", 1.0)? as usize),
        enter(options.get("--client-netns").cloned()),
    )?;
    let target = |name| {
        let wire_ip = ip("--wire-ip", main_ip)?;
        io::Result::Ok(Fixed { name, ip: main_ip, wire_ip, ports: server.ports(), cpu: server.cpu_probe() })
    };
    let plan = Plan {
        only: options
            .get("--only")
            .map_or(Vec::new(), |only| only.split(',').map(str::to_owned).collect()),
        rounds: number("--rounds", 3.0)? as usize,
        duration: Duration::from_secs_f64(number("--seconds", 1.0)?),
    };
    if let Some(name) = plan.unknown_row() {
        return Err(bad(format!("--only {name}: no such row")));
    }
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, stop.clone())?;
    let results = run(&plan, &client, &target("a")?, &target("b")?, &stop, &mut |p| {
        eprint!("\r{}/{} round {} {} {}      ", p.done + 1, p.steps, p.round + 1, p.measure, p.target);
    });
    eprintln!();
    let report = Report::new(&plan, results);
    if options.contains_key("--json") {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table::render(&report));
    }
    let stats = server.stop()?;
    eprintln!("kernel server: {stats:?}");
    Ok(())
}

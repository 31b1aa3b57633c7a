//! `linerate serve`: a built-in service on an interface that exists, beside the kernel.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use linerate::nic::NicError;
use linerate::poll::launch::launch;
use linerate::poll::{Engine, LaunchConfig, LaunchError, Picked, PortChoice, Report};
use serde_json::json;

use crate::demo::service::Service;
use crate::{say, services, stop_on_signals};

/// How often to look whether the interface is still there.
const LOOK_AT_INTERFACE: Duration = Duration::from_secs(1);

/// What to serve.
#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    /// HTTP/1.1: GET / answers 64 bytes, keep-alive.
    Http,
    /// Sends back what comes.
    Echo,
    /// Reads and checks the demo's pattern; at the end of the stream answers count and mismatches.
    Sink,
    /// Sends the demo's pattern: the client first sends how much (8 bytes, big endian).
    Source,
}

impl Kind {
    fn service(self) -> Service {
        match self {
            Self::Http => Service::Http,
            Self::Echo => Service::Echo,
            Self::Sink => Service::Sink,
            Self::Source => Service::Source,
        }
    }
}

/// Which port to use.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum PortArg {
    /// The best that works, in the order below.
    #[default]
    Auto,
    /// AF_XDP, program in the driver; zero-copy if the driver can.
    #[value(name = "af_xdp")]
    AfXdp,
    /// AF_XDP, program in the kernel's generic hook.
    #[value(name = "af_xdp-generic")]
    AfXdpGeneric,
}

impl From<PortArg> for PortChoice {
    fn from(p: PortArg) -> Self {
        match p {
            PortArg::Auto => Self::Auto,
            PortArg::AfXdp => Self::AfXdp,
            PortArg::AfXdpGeneric => Self::AfXdpGeneric,
        }
    }
}

/// Serve on an interface that exists. Only the given port is claimed: the kernel keeps everything else.
#[derive(Args)]
#[command(after_help = "Example:\n  linerate serve http --interface eth1 --port 80 --cores 0,1\n\n\
With an --address that the kernel does not have on the interface, linerate owns that address whole \
(ARP, ND, ping and all ports).")]
pub struct ServeArgs {
    /// What to serve.
    kind: Kind,
    /// The interface.
    #[arg(long, value_name = "IF")]
    interface: String,
    /// TCP port to claim.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Address to serve, ADDR or ADDR/LEN; may repeat. Default: all addresses of the interface.
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    address: Vec<(IpAddr, Option<u8>)>,
    /// CPUs to run on, one pinned thread each.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0")]
    cores: Vec<usize>,
    /// Which port to use.
    #[arg(long = "link", value_enum, default_value_t, value_name = "PORT")]
    link: PortArg,
    /// Stop by itself after this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    duration: Option<f64>,
    /// JSON lines on standard output: one when ready, one at the end.
    #[arg(long)]
    json: bool,
}

fn parse_address(s: &str) -> Result<(IpAddr, Option<u8>), String> {
    let (addr, len) = match s.split_once('/') {
        Some((a, l)) => (a, Some(l.parse::<u8>().map_err(|_| format!("{l} is not a prefix length"))?)),
        None => (s, None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| format!("{addr} is not an IP address"))?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    match len {
        Some(l) if l > most => Err(format!("a prefix length of {l} is more than {most}")),
        _ => Ok((addr, len)),
    }
}

pub fn parse_seconds(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(n) if n > 0.0 && n <= 1e7 => Ok(n),
        _ => Err(format!("{s} is not a number of seconds above 0")),
    }
}

pub fn run(args: &ServeArgs) -> ExitCode {
    match serve(args) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("linerate: {e}");
            ExitCode::from(if e.is_usage() { 2 } else { 1 })
        }
    }
}

fn serve(args: &ServeArgs) -> Result<ExitCode, LaunchError> {
    crate::undo_stale();
    let stop = stop_on_signals();
    let cfg = LaunchConfig {
        interface: args.interface.clone(),
        cores: args.cores.clone(),
        port: args.link.into(),
        addresses: args.address.clone(),
        tcp_ports: vec![args.port],
        tcp: linerate::net::TcpConfig::default(),
        frames_per_core: 0,
        spin_ns: None,
    };
    let (service, port) = (args.kind.service(), args.port);
    let engine = launch(&cfg, move |set, stack| services::add(set, stack, service, port))?;
    say_ready(args, &engine.picked);
    let gone = wait(&stop, args.duration, &args.interface);
    finish(args, engine);
    match gone {
        Some(e) => {
            eprintln!("linerate: {} is gone while serving on it: {e}", args.interface);
            Ok(ExitCode::FAILURE)
        }
        None => Ok(ExitCode::SUCCESS),
    }
}

fn say_ready(args: &ServeArgs, picked: &Picked) {
    if !picked.carrier {
        let i = &args.interface;
        eprintln!(
            "linerate: {i} is down or has no carrier: nothing arrives until it has (ip link set dev {i} up)"
        );
    }
    let addresses: Vec<String> = picked.addresses.iter().map(|(a, _)| a.to_string()).collect();
    if args.json {
        let ready = json!({"event": "ready", "port": picked_json(picked), "addresses": addresses, "tcp_port": args.port});
        return say(&ready.to_string());
    }
    for r in &picked.rejected {
        say(&format!("linerate: passed over {}: {}", r.port, r.reason));
    }
    let whole =
        if picked.addresses.iter().all(|a| a.1) { ", these addresses are linerate's alone" } else { "" };
    say(&format!(
        "linerate: serving on {} port {} ({}, {}, {}, driver {}, {} queue(s), MTU {}){whole}",
        addresses.join(" "),
        args.port,
        picked.port,
        picked.attach,
        picked.bind,
        picked.driver,
        picked.queues,
        picked.mtu
    ));
}

/// The JSON of what was picked: the same keys wherever linerate says it.
pub fn picked_json(p: &Picked) -> serde_json::Value {
    let rejected: Vec<_> = p.rejected.iter().map(|r| json!({"port": r.port, "reason": r.reason})).collect();
    json!({"picked": p.port, "bind": p.bind, "attach": p.attach, "driver": p.driver, "queues": p.queues, "mtu": p.mtu, "rejected": rejected})
}

/// Until a signal comes, the time is over, or the interface is gone: then why.
fn wait(stop: &Arc<AtomicBool>, seconds: Option<f64>, interface: &str) -> Option<NicError> {
    let until = seconds.map(|s| Instant::now() + Duration::from_secs_f64(s));
    let started_on = linerate::nic::if_index(interface).ok();
    let mut looked_at = Instant::now();
    while !stop.load(Relaxed) {
        let left = until.map_or(Duration::from_secs(3600), |u| u.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return None;
        }
        // The signal's handler unparks nobody: it interrupts this sleep, or is seen at its end.
        std::thread::park_timeout(left.min(Duration::from_millis(100)));
        if looked_at.elapsed() >= LOOK_AT_INTERFACE {
            looked_at = Instant::now();
            match linerate::nic::if_index(interface) {
                Ok(now) if Some(now) == started_on => {}
                Ok(_) => {
                    eprintln!(
                        "linerate: {interface} is another interface by now: stopping; start again to serve on it"
                    );
                    return None;
                }
                Err(e) => return Some(e),
            }
        }
    }
    None
}

fn finish(args: &ServeArgs, engine: Engine) {
    let before = engine.report();
    let conns: usize = before.cores.iter().map(|c| c.conns).sum();
    let last = engine.stop();
    if args.json {
        return say(&report_json(&last, conns, &before).to_string());
    }
    let drops: Vec<String> = last.drops().iter().map(|(k, v)| format!("{k} {v}")).collect();
    say(&format!(
        "linerate: {} packets in, {} out, {} connections accepted, {conns} open at the end; drops: {}; frames {} of {} accounted for",
        sum(&last, |c| c.counters.rx_packets),
        sum(&last, |c| c.counters.tx_packets),
        sum(&last, |c| c.counters.tcp_accepts),
        if drops.is_empty() { "none".into() } else { drops.join(", ") },
        last.frames_accounted(),
        last.frames(),
    ));
}

fn sum(r: &Report, f: impl Fn(&linerate::poll::CoreReport) -> u64) -> u64 {
    r.cores.iter().map(f).sum()
}

fn report_json(last: &Report, conns: usize, before: &Report) -> serde_json::Value {
    json!({
        "event": "done",
        "drops": last.drops(),
        "ledger": {"frames": last.frames(), "accounted": last.frames_accounted()},
        "ledger_running": {"frames": before.frames(), "accounted": before.frames_accounted()},
        "conns": conns,
        "time_waits": before.cores.iter().map(|c| c.time_waits).sum::<usize>(),
        "accepted": sum(last, |c| c.counters.tcp_accepts),
        "rx_packets": sum(last, |c| c.counters.rx_packets),
        "tx_packets": sum(last, |c| c.counters.tx_packets),
        "retransmits": sum(last, |c| c.counters.tcp_retransmits),
        "timeouts": sum(last, |c| c.counters.tcp_timeouts),
        "fast_path": sum(last, |c| c.counters.tcp_fast_path),
        "handoffs": sum(last, |c| c.handoffs_out),
        "cores": last.cores.iter().map(|c| json!({"cpu": c.cpu, "turns": c.turns, "sleeps": c.sleeps, "cpu_ns": c.cpu_ns, "handoffs_in": c.handoffs_in, "handoffs_out": c.handoffs_out, "rx_packets": c.counters.rx_packets})).collect::<Vec<_>>(),
        "steer": last.steer.iter().filter(|(_, n)| *n > 0).map(|(k, n)| ((*k).to_owned(), json!(n))).collect::<serde_json::Map<_, _>>(),
    })
}

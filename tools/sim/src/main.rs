//! `linerate-sim`: runs scenarios, replays the one of a seed, makes it simpler.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use linerate_sim::capture::Capture;
use linerate_sim::simplify::Simplification;
use linerate_sim::{Failure, Report, Scenario, many, random};

#[derive(Parser)]
#[command(
    name = "linerate-sim",
    version,
    about = "A network of linerate stacks in virtual time, from a seed"
)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs the scenario of one seed.
    Run {
        #[command(flatten)]
        one: One,
        /// Writes what both ends and the bottleneck saw, failed or not.
        #[arg(long, value_name = "FILE")]
        pcap: Option<PathBuf>,
        /// Prints the scenario.
        #[arg(long)]
        show: bool,
    },
    /// Runs many seeds; each that fails is written as a pcapng, with the command that replays it.
    Many {
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 2000)]
        count: u64,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Stops after so many failures.
        #[arg(long, default_value_t = 10)]
        failures: usize,
        /// Where the pcapng of a failing seed goes.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        pcap_to: PathBuf,
    },
    /// Finds the simplest form of a seed's scenario that still fails.
    Shrink {
        #[command(flatten)]
        one: One,
    },
}

#[derive(Args)]
struct One {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// Leaves these out: noise, changes, loss, burst, reorder, ...
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// These flows only, by number.
    #[arg(long, value_delimiter = ',')]
    flows: Option<Vec<usize>>,
}

impl One {
    fn scenario(&self) -> Result<(Scenario, Simplification), String> {
        let mut scenario = random::scenario(self.seed);
        let simpler = Simplification { without: self.without.clone(), flows: self.flows.clone() };
        simpler.apply(&mut scenario)?;
        Ok((scenario, simpler))
    }
}

fn main() -> ExitCode {
    many::quiet_panics();
    let done = match Cli::parse().what {
        What::Run { one, pcap, show } => run(&one, pcap, show),
        What::Many { from, count, jobs, failures, pcap_to } => {
            run_many(from, count, jobs, failures, &pcap_to)
        }
        What::Shrink { one } => shrink(&one),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("linerate-sim: {e}");
            ExitCode::from(2)
        }
    }
}

fn capture_to(path: &PathBuf, comment: &str, hosts: usize) -> Result<Capture, String> {
    let file = File::create(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Capture::new(Box::new(BufWriter::new(file)), comment, hosts)
        .map_err(|e| format!("{}: {e}", path.display()))
}

fn command(seed: u64, simpler: &Simplification) -> String {
    format!("cargo run --release -p linerate-sim -- run --seed {seed}{}", simpler.flags())
}

fn run(one: &One, pcap: Option<PathBuf>, show: bool) -> Result<bool, String> {
    let (scenario, simpler) = one.scenario()?;
    if show {
        println!("{scenario:#?}");
    }
    let command = command(one.seed, &simpler);
    let capture = match &pcap {
        Some(path) => Some(capture_to(path, &command, scenario.hosts.len())?),
        None => None,
    };
    match many::run(&scenario, capture) {
        Ok(report) => {
            print_report(&report);
            Ok(true)
        }
        Err(failure) => {
            if pcap.is_none() {
                write_pcap(one.seed, &scenario, &command, &PathBuf::from("."));
            }
            println!("seed {} failed {failure}\n{command}", one.seed);
            Ok(false)
        }
    }
}

fn print_report(r: &Report) {
    println!(
        "ok: {} packets, {} retransmissions, {} timeouts, {:.3} s of virtual time, {} KiB of heap, digest {:016x}",
        r.packets,
        r.retransmits,
        r.timeouts,
        r.virtual_ns as f64 / 1e9,
        r.heap_bytes >> 10,
        r.digest
    );
    for (way, w) in ["to the right", "to the left"].iter().zip(r.wires) {
        println!("  {way}: {w:?}");
    }
    for (i, f) in r.flows.iter().enumerate() {
        let done = f.done_at_ns.map_or(0.0, |at| at as f64 / 1e9);
        println!(
            "  flow {i}: received {:?} bytes, done at {done:.3} s{}",
            f.received,
            if f.failed { ", with an error" } else { "" }
        );
    }
}

/// The same run again, with a capture.
fn write_pcap(seed: u64, scenario: &Scenario, command: &str, folder: &std::path::Path) {
    let path = folder.join(format!("seed-{seed}.pcapng"));
    match capture_to(&path, command, scenario.hosts.len()) {
        Ok(capture) => {
            let _ = many::run(scenario, Some(capture));
            println!("wrote {}", path.display());
        }
        Err(e) => eprintln!("linerate-sim: {e}"),
    }
}

fn run_many(
    from: u64,
    count: u64,
    jobs: usize,
    failures: usize,
    pcap_to: &std::path::Path,
) -> Result<bool, String> {
    let told = |seed: u64, failure: &Failure| {
        let command = command(seed, &Simplification::default());
        write_pcap(seed, &random::scenario(seed), &command, pcap_to);
        println!("seed {seed} failed {failure}\n{command}\n");
    };
    let sum = many::many(from, count, jobs, failures, told);
    println!("{sum}");
    Ok(sum.failures.is_empty())
}

fn shrink(one: &One) -> Result<bool, String> {
    let (scenario, given) = one.scenario()?;
    if many::run(&scenario, None).is_ok() {
        println!("seed {} does not fail", one.seed);
        return Ok(true);
    }
    let best = Simplification::smallest(scenario.flows.len(), |s| {
        let mut simpler = scenario.clone();
        s.apply(&mut simpler).is_ok() && many::run(&simpler, None).is_err()
    });
    let flows = match (&given.flows, &best.flows) {
        (Some(given), Some(best)) => Some(best.iter().map(|b| given[*b]).collect()),
        (given, best) => best.clone().or(given.clone()),
    };
    let best = Simplification { without: [given.without, best.without].concat(), flows };
    println!("{}", command(one.seed, &best));
    Ok(false)
}

//! `idle [CONNECTIONS]`: what an idle connection weighs; a million of them by default.

use linerate_benches::{idle, sys};

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

fn main() {
    let conns = std::env::args().nth(1).map_or(1_000_000, |n| n.parse().expect("a number of connections"));
    let w = idle::weigh(conns);
    println!(
        "{conns} connections between two stacks, bytes an end: {:.1} opened, {:.1} used and idle",
        w.opened, w.used
    );
    println!(
        "heap of the process: {:.0} MiB, 32 MiB of it packet memory",
        w.total_bytes as f64 / (1 << 20) as f64
    );
    let ok = w.opened <= 512.0 && w.used <= 512.0 && w.total_bytes <= 2 << 30;
    println!("bars: 512 bytes an end, 2 GiB altogether: {}", if ok { "met" } else { "MISSED" });
    std::process::exit(!ok as i32);
}

//! One workload on our stack, for a profiler: `work bulk|rr|crr IN_FLIGHT OVER N`.

use linerate_benches::workload::BULK_BUFFER_BYTES;
use linerate_benches::{Contender, Pair};
use linerate_net::TcpConfig;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, what, in_flight, over, n] = &args[..] else { panic!("work bulk|rr|crr IN_FLIGHT OVER N") };
    let [in_flight, over, n]: [u64; 3] = [in_flight, over, n].map(|a| a.parse().expect("a number"));
    let cfg = TcpConfig {
        rcv_buf_bytes: BULK_BUFFER_BYTES as u32,
        rcv_buf_max_bytes: 0,
        snd_buf_bytes: BULK_BUFFER_BYTES as u32,
        snd_buf_max_bytes: 0,
        nodelay: true,
        ..TcpConfig::default()
    };
    let mut pair = Pair::new(8192, cfg);
    pair.open(over as usize);
    let start = std::time::Instant::now();
    match what.as_str() {
        "bulk" => pair.bulk(n),
        "rr" => pair.exchange(in_flight as usize, over as usize, n),
        "crr" => pair.connect_close(in_flight as usize, n),
        _ => panic!("{what}?"),
    }
    let ns = start.elapsed().as_nanos() as f64 / n as f64;
    println!("{what}: {ns:.2} ns each, {} packets", pair.packets);
}

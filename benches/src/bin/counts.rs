//! The program that `benches/counts/run` counts instructions of: `counts STATION` moves the same bytes each time, and
//! prints how often the station was passed. What is counted is the function of that name in [`linerate_benches::pair`].

use linerate_benches::{Contender, Pair};
use linerate_net::TcpConfig;

const BYTES: u64 = 4_000_000;
/// One a turn: its receiver acknowledges every second.
const SEGMENT_BYTES: usize = 1448;
const TRANSACTIONS: u64 = 4_000;

fn main() {
    let station = std::env::args().nth(1).expect("counts STATION");
    let cfg = TcpConfig {
        nodelay: true,
        stretch_acks: false,
        rcv_buf_bytes: 256 << 10,
        rcv_buf_max_bytes: 0,
        snd_buf_max_bytes: 0,
        ..TcpConfig::default()
    };
    let mut pair = Pair::replayable(2048, cfg, 10_000);
    pair.open(1);
    // Slow start, quick ACKs and the queues' memory are behind us.
    pair.bulk(2_000_000);
    let calls = match station.as_str() {
        "data_in" | "ack_in" | "output" => {
            let before = pair.passed;
            pair.counted = true;
            pair.bulk_by(BYTES, SEGMENT_BYTES);
            let [client, server] = [0, 1].map(|host| pair.passed[host] - before[host]);
            if station == "ack_in" { client } else { server }
        }
        "exchange" => {
            pair.exchange(1, 1, 1_000);
            pair.counted_exchange(TRANSACTIONS);
            TRANSACTIONS
        }
        other => panic!("no station {other}"),
    };
    println!("{calls}");
}

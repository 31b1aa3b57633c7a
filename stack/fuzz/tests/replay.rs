//! Without instrumentation: every input of the corpus, and some thousand random ones, through each target.

use std::path::Path;

use linerate_fuzz::{nd, one_connection, parse, reassembly, tcp_options, two_connections};

fn replay(target: &str, random: u64, mut run: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    for file in files {
        let bytes = std::fs::read(file.path()).expect("a file of the corpus");
        run(&bytes);
    }
    let mut x = 0x1234_5678_9abc_def1_u64;
    for n in 0..random {
        let len = [16, 64, 256, 700][(n % 4) as usize];
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x as u8
            })
            .collect();
        run(&bytes);
    }
}

#[test]
fn parse_replayed() {
    replay("parse", 5_000, parse::run);
}

#[test]
fn tcp_options_replayed() {
    replay("tcp_options", 20_000, tcp_options::run);
}

/// A fuzzer that never gets past the handshake is worthless: these inputs reach every state.
#[test]
fn one_connection_replayed() {
    let mut reached = 0;
    replay("one_connection", 2_000, |data| reached |= one_connection::run(data).0);
    for state in one_connection::STATES {
        assert!(reached & 1 << state as u16 != 0, "no input reaches {state:?}");
    }
}

#[test]
fn two_connections_replayed() {
    replay("two_connections", 500, two_connections::run);
}

#[test]
fn reassembly_replayed() {
    replay("reassembly", 2_000, reassembly::run);
}

#[test]
fn nd_replayed() {
    replay("nd", 2_000, nd::run);
}

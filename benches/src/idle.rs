//! What an idle connection weighs.

use linerate_net::TcpConfig;

use crate::workload::Contender;
use crate::{Pair, sys};

/// Bytes that one end of an established connection takes, all told: connection, flow table, timer, and what the
/// allocator adds; measured over `conns` connections between two stacks.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// After the handshake.
    pub opened: f64,
    /// A while after each has sent and received 20,000 bytes and one byte.
    pub used: f64,
    /// All memory of the process's heap at the end, packet memory and the two applications' lists included.
    pub total_bytes: u64,
}

/// Bytes that each connection carries before it is weighed again: more than a queue holds inline.
const BURST_BYTES: usize = 20_000;

/// Opens `conns` connections and weighs them. The program's allocator must be [`sys::Counting`].
///
/// # Panics
/// If a connection is not established, or bytes do not arrive.
pub fn weigh(conns: usize) -> Weight {
    let mut pair = Pair::replayable(8192, TcpConfig::default(), 10_000);
    pair.reserve(conns);
    let empty = sys::bytes();
    let each = |pair: &Pair| {
        assert!(pair.stacks.iter().all(|s| s.conns() == conns), "every connection stands");
        (sys::bytes() - empty) as f64 / conns as f64 / 2.0
    };
    pair.open(conns);
    let opened = each(&pair);
    pair.exchange(64, conns, conns as u64);
    for i in 0..conns {
        let id = pair.conns()[i];
        let mut read = 0;
        let mut data = &[7; BURST_BYTES][..];
        while read < BURST_BYTES as u64 {
            pair.turn(|host, stack, ready, _| {
                if host == 0 {
                    data = &data[stack.write(id, data)..];
                } else {
                    read += ready.iter().map(|(id, _)| crate::pair::drain(stack, *id)).sum::<u64>();
                }
            });
        }
    }
    for _ in 0..100 {
        pair.pass(100_000_000);
        pair.settle();
    }
    Weight { opened, used: each(&pair), total_bytes: sys::bytes() }
}

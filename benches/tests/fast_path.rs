//! On the fast path nothing is allocated, and no payload is copied. A test of its own: its allocator counts.

use linerate_benches::{Contender, Pair, sys};
use linerate_frame::RxCsum;
use linerate_net::{Ingress, TcpConfig};

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

/// One test, for the count is the process's.
#[test]
fn nothing_is_allocated_and_no_payload_copied() {
    // Buffers of a fixed size: one that grows has deeper queues.
    let cfg = TcpConfig {
        nodelay: true,
        rcv_buf_bytes: 256 << 10,
        rcv_buf_max_bytes: 0,
        snd_buf_max_bytes: 0,
        ..TcpConfig::default()
    };
    let mut pair = Pair::replayable(4096, cfg, 10_000);
    pair.open(64);
    pair.bulk(20_000_000);
    // Long enough that each connection had two segments under way once: a queue of one allocates nothing.
    pair.exchange(64, 64, 50_000);
    let (packets, fast) = (pair.packets, pair.stacks.each_ref().map(|s| s.tcp_counters().fast_path));
    let before = sys::allocations();
    pair.bulk(20_000_000);
    pair.exchange(64, 64, 10_000);
    assert_eq!(sys::allocations() - before, 0, "allocations on {} packets", pair.packets - packets);
    let fast = [0, 1].map(|i| pair.stacks[i].tcp_counters().fast_path - fast[i]).iter().sum::<u64>();
    assert!(
        fast * 100 >= (pair.packets - packets) * 99,
        "{fast} of {} packets were predicted",
        pair.packets - packets
    );

    // What is read is what arrived: the same bytes in the same frame.
    let (client, server) = (pair.conns()[0], pair.accepted()[0]);
    let now = pair.now();
    assert_eq!(pair.stacks[0].write(client, &[9; 1000]), 1000);
    pair.stacks[0].output(now);
    let packet = {
        let (pool, batch) = pair.stacks[0].pool_and_batch();
        let tx = batch.pop().expect("a segment");
        let bytes = pool.tx_bytes(&tx).to_vec();
        assert!(pool.complete(tx.into_index()));
        bytes
    };
    let pool = pair.stacks[1].pool();
    let index = pool.alloc_fill().expect("a free frame");
    let mut frame = pool.claim_rx(index, 256, packet.len() as u32, RxCsum::Unknown).expect("a fill frame");
    let at = &mut pool.writable(&mut frame).expect("nobody else has it")[256..256 + packet.len()];
    at.copy_from_slice(&packet);
    let payload = at[packet.len() - 1000..].as_ptr();
    assert!(matches!(pair.stacks[1].ingress(frame, now), Ingress::Done));
    assert_eq!(pair.stacks[1].recv(server).as_ptr(), payload);
    assert_eq!(pair.stacks[1].recv(server), [9; 1000]);
}

//! The in-process pair.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use linerate_frame::{Batch, Burst, Pool, Region, RxCsum};
use linerate_port::channel::ChannelPort;
use linerate_port::{Caps, Port};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::conformance::{self, End, Rig};

fn caps() -> Caps {
    Caps::ethernet(1500, [2, 0, 0, 0, 0, 1], RxCsum::Verified)
}

fn end(port: ChannelPort) -> End<ChannelPort> {
    End { port, pool: Pool::new(Region::heap(512, 2048)) }
}

#[test]
fn conforms() {
    conformance::all(|| {
        let (a, b) = ChannelPort::pair(128, caps());
        Rig { a: end(a), b: end(b), pass_time: |_, _| {}, tx_depth: Some(128) }
    });
}

#[test]
fn conforms_with_wakeup() {
    conformance::all(|| {
        let (a, b) = ChannelPort::pair_with_wakeup(64, caps()).unwrap();
        Rig { a: end(a), b: end(b), pass_time: |_, _| {}, tx_depth: Some(64) }
    });
}

#[test]
fn a_dry_pool_holds_the_sender_back_and_a_small_chunk_drops() {
    let (mut a, mut b) = ChannelPort::pair(8, caps());
    let mut pool = Pool::new(Region::heap(64, 2048));
    let mut dry = Pool::new(Region::heap(1, 512));
    let mut batch = Batch::default();
    for len in [1000, 60, 61] {
        let mut f = pool.alloc().unwrap();
        pool.set_range(&mut f, 128, len);
        batch.push(pool.send(f));
    }
    assert_eq!(a.tx_burst(&mut pool, &mut batch), 3);
    let mut burst = Burst::default();
    assert_eq!(b.rx_burst(&mut dry, &mut burst), 1);
    assert_eq!((b.stats().rx_oversize, b.stats().refill_short), (1, 1));
    burst.drain().for_each(|f| dry.free(f));
    assert_eq!(b.rx_burst(&mut dry, &mut burst), 1, "the last one waited");
    assert_eq!(burst.frames()[0].len(), 61);
    burst.drain().for_each(|f| dry.free(f));
}

/// A receiver that sleeps whenever there is nothing hears of every frame. The sender stops now and then until the
/// receiver has gone to sleep, and goes on just then: that is where a wake-up would be lost.
#[test]
fn wakes_a_sleeper_on_another_thread() {
    const N: u32 = 3_000;
    const GROUP: u32 = 10;
    let (mut a, mut b) = ChannelPort::pair_with_wakeup(32, caps()).unwrap();
    let sleeps = Arc::new(AtomicU32::new(0));
    let seen = sleeps.clone();
    let receiver = std::thread::spawn(move || {
        let mut pool = Pool::new(Region::heap(64, 2048));
        let (mut burst, mut next) = (Burst::default(), 0u32);
        while next < N {
            if b.rx_burst(&mut pool, &mut burst) == 0 {
                sleeps.fetch_add(1, SeqCst);
                let fd = b.fd().unwrap();
                let timeout = Timespec { tv_sec: 10, tv_nsec: 0 };
                let n = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)).unwrap();
                assert_eq!(n, 1, "a wake-up was lost before frame {next}");
            }
            let frames: Vec<_> = burst.drain().collect();
            for f in frames {
                assert_eq!(pool.bytes(&f), next.to_be_bytes());
                next += 1;
                pool.free(f);
            }
        }
        assert!(pool.ledger().is_home());
    });
    let mut pool = Pool::new(Region::heap(64, 2048));
    let mut batch = Batch::default();
    for group in 0..N / GROUP {
        // Read before the group is sent: the receiver sleeps again after it, whatever it does now.
        let slept = seen.load(SeqCst);
        for n in group * GROUP..(group + 1) * GROUP {
            let mut f = pool.alloc().unwrap();
            pool.writable(&mut f).unwrap()[128..132].copy_from_slice(&n.to_be_bytes());
            pool.set_range(&mut f, 128, 4);
            batch.push(pool.send(f));
            if n % 3 == 0 {
                a.tx_burst(&mut pool, &mut batch);
                a.wake().unwrap();
            }
        }
        while !batch.is_empty() {
            a.tx_burst(&mut pool, &mut batch);
            a.wake().unwrap();
            std::thread::yield_now();
        }
        while group % 2 == 0 && seen.load(SeqCst) == slept && !receiver.is_finished() {
            std::thread::yield_now();
        }
    }
    receiver.join().unwrap();
    assert!(a.stats().wakeups <= u64::from(N));
    assert!(seen.load(SeqCst) > 0 && pool.ledger().is_home());
}

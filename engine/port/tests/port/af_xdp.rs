//! AF_XDP over a real veth pair (copy mode: veth has no zero-copy).

use std::time::{Duration, Instant};

use linerate_frame::{Batch, Burst, Pool, RxCsum};
use linerate_port::af_xdp::{BindMode, Xsk, XskConfig, XskMode};
use linerate_port::{Caps, Port, PortError, Umem, UmemConfig};

use super::conformance::{self, End, Rig};
use super::support::netns::{ip, with_veth};
use super::support::sys::{Redirect, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};

fn caps(mtu: u16) -> Caps {
    Caps::ethernet(mtu, [2, 0, 0, 0, 0, 1], RxCsum::MaybePartial)
}

fn umem(frames: u32, mtu: u16) -> Umem {
    let chunk_bytes = Umem::chunk_for_mtu(mtu).unwrap();
    Umem::new(&UmemConfig { frames, chunk_bytes, hugepages: false }).unwrap()
}

fn config(ifindex: u32, queue_id: u32, mtu: u16) -> XskConfig {
    let rings = XskConfig::new(ifindex, queue_id, caps(mtu));
    XskConfig { rx_descs: 512, tx_descs: 128, fill_descs: 512, completion_descs: 128, ..rings }
}

fn end(ifindex: u32, mtu: u16, redirect: &Redirect, bind: BindMode) -> End<Xsk> {
    let umem = umem(1024, mtu);
    let port = Xsk::open(&umem, &XskConfig { bind, ..config(ifindex, 0, mtu) }, None).unwrap();
    assert_eq!(port.mode(), XskMode::Copy);
    redirect.set(0, port.as_fd()).unwrap();
    End { port, pool: Pool::new(umem.region().clone()) }
}

fn conforms(mtu: u16, xdp_flags: u32, bind: BindMode) {
    with_veth(1, mtu, |a, b| {
        let to_a = Redirect::attach(a, 1, xdp_flags).unwrap();
        let to_b = Redirect::attach(b, 1, xdp_flags).unwrap();
        // Each case opens the queue that the last one has just closed.
        conformance::all(|| Rig {
            a: end(a, mtu, &to_a, bind),
            b: end(b, mtu, &to_b, bind),
            pass_time: |_, _| {},
            tx_depth: Some(128),
        });
    });
}

#[test]
fn conforms_native() {
    conforms(1500, XDP_FLAGS_DRV_MODE, BindMode::Auto);
}

#[test]
fn conforms_generic() {
    conforms(1500, XDP_FLAGS_SKB_MODE, BindMode::Copy);
}

/// The largest MTU that veth attaches natively at without frags, in 4096-byte chunks.
#[test]
fn conforms_with_mtu_3500() {
    conforms(3500, XDP_FLAGS_DRV_MODE, BindMode::Copy);
}

fn sent(pool: &mut Pool, batch: &mut Batch, n: usize) {
    for _ in 0..n {
        let mut f = pool.alloc().unwrap();
        let bytes = pool.writable(&mut f).unwrap();
        bytes[128..142].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
        pool.set_range(&mut f, 128, 60);
        batch.push(pool.send(f));
    }
}

fn errno(r: Result<Xsk, PortError>) -> (i32, String) {
    let e = r.err().expect("an error");
    (e.errno().unwrap_or(0), e.to_string())
}

#[test]
fn bind_answers_are_explained() {
    with_veth(1, 1500, |a, _| {
        let u = umem(64, 1500);
        let (e, s) =
            errno(Xsk::open(&u, &XskConfig { bind: BindMode::ZeroCopy, ..config(a, 0, 1500) }, None));
        assert!(e == libc::EOPNOTSUPP && s.contains("use copy mode"), "{s}");
        let (e, s) = errno(Xsk::open(&u, &config(a, 1, 1500), None));
        assert!(e == libc::EINVAL && s.contains("queue 1") && s.contains("ethtool -l"), "{s}");
        let (e, s) = errno(Xsk::open(&u, &config(9999, 0, 1500), None));
        assert!(e == libc::ENODEV && s.contains("no such interface"), "{s}");
        let first = Xsk::open(&u, &config(a, 0, 1500), None).unwrap();
        let started = Instant::now();
        let (e, s) = errno(Xsk::open(&umem(64, 1500), &config(a, 0, 1500), None));
        assert!(e == libc::EBUSY && s.contains("another AF_XDP socket"), "{s}");
        assert!(started.elapsed() >= Duration::from_millis(500), "retried");
        let refused = |c: XskConfig, shared| Xsk::open(&u, &c, shared).err().unwrap().to_string();
        assert!(refused(config(a, 0, 1500), Some(&first)).contains("one with own rings a queue"));
        assert!(refused(config(a, 0, 3000), None).contains("4096"));
        assert!(refused(XskConfig { rx_descs: 100, ..config(a, 0, 1500) }, None).contains("power of two"));
        assert!(refused(XskConfig { tx_descs: 256, ..config(a, 0, 1500) }, None).contains("stalls"));
    });
}

/// Two cores' sockets on two queues over one UMEM; each frame comes by one and leaves by the other.
#[test]
fn queues_share_a_umem_and_frames_migrate() {
    with_veth(2, 1500, |a, b| {
        let (to_a, to_b) =
            (Redirect::attach(a, 2, XDP_FLAGS_DRV_MODE), Redirect::attach(b, 2, XDP_FLAGS_DRV_MODE));
        let (to_a, to_b) = (to_a.unwrap(), to_b.unwrap());
        let (ua, ub) = (umem(2048, 1500), umem(2048, 1500));
        let (mut pa, mut pb) = (Pool::split(ua.region().clone(), 2), Pool::split(ub.region().clone(), 2));
        let open = |u: &Umem, ifindex, to: &Redirect| {
            let x0 = Xsk::open(u, &config(ifindex, 0, 1500), None).unwrap();
            let x1 = Xsk::open(u, &config(ifindex, 1, 1500), Some(&x0)).unwrap();
            assert_eq!((x0.mode(), x1.mode()), (XskMode::Copy, XskMode::Copy));
            to.set(0, x0.as_fd()).unwrap();
            to.set(1, x1.as_fd()).unwrap();
            [x0, x1]
        };
        let (mut xa, mut xb) = (open(&ua, a, &to_a), open(&ub, b, &to_b));
        for q in 0..2 {
            xa[q].refill(&mut pa[q]);
            xb[q].refill(&mut pb[q]);
        }
        let (mut batch, mut burst) = (Batch::default(), Burst::default());
        const N: u64 = 20_000;
        let (mut out, mut back) = (0u64, 0u64);
        let until = Instant::now() + Duration::from_secs(30);
        while back < N {
            assert!(Instant::now() < until, "{out} out, {back} back");
            if out < N && out < back + 64 {
                sent(&mut pa[0], &mut batch, 16);
                out += xa[0].tx_burst(&mut pa[0], &mut batch) as u64;
                assert!(batch.is_empty());
                xa[0].wake().unwrap();
            }
            // B: came to core 0, handed to core 1, leaves by core 1's queue from the very same frame.
            xb[0].rx_burst(&mut pb[0], &mut burst);
            burst.drain().for_each(|f| batch.push(pb[1].send(f)));
            xb[1].tx_burst(&mut pb[1], &mut batch);
            assert!(batch.is_empty());
            xb[1].wake().unwrap();
            xb[1].reap(&mut pb[1]);
            // Core 1 collects all the frames: it gives them back through its own free list in life; here by hand.
            while pb[1].free_len() > 600 {
                let f = pb[1].alloc().unwrap();
                pb[0].free(f);
            }
            xb[0].refill(&mut pb[0]);
            back += xa[1].rx_burst(&mut pa[1], &mut burst) as u64;
            burst.drain().for_each(|f| pa[1].free(f));
            xa[1].refill(&mut pa[1]);
            xa[0].reap(&mut pa[0]);
        }
        assert_eq!((xb[1].stats().rx_packets, xa[0].stats().rx_packets), (0, 0));
        assert_eq!(xb[0].stats().desc_invalid + xb[1].stats().desc_invalid, 0);
        // The first socket may go first: the UMEM belongs to both. Each takes home its own frames and no other's.
        let still_lent = pb[1].ledger().fill;
        xb[0].close(&mut pb[0]);
        assert!(pb[1].ledger().fill > 0 && pb[1].ledger().fill < still_lent);
        xb[1].close(&mut pb[1]);
        xa[1].close(&mut pa[1]);
        xa[0].close(&mut pa[0]);
        assert!(pa[0].ledger().is_home() && pb[0].ledger().is_home());
    });
}

#[test]
fn kernel_drops_are_counted_and_a_link_down_is_told() {
    with_veth(1, 1500, |a, b| {
        let to_b = Redirect::attach(b, 1, XDP_FLAGS_DRV_MODE).unwrap();
        let (ua, ub) = (umem(1024, 1500), umem(1024, 1500));
        let (mut pa, mut pb) = (Pool::new(ua.region().clone()), Pool::new(ub.region().clone()));
        let mut xa = Xsk::open(&ua, &config(a, 0, 1500), None).unwrap();
        let small = XskConfig { rx_descs: 64, fill_level: 128, ..config(b, 0, 1500) };
        let mut xb = Xsk::open(&ub, &small, None).unwrap();
        to_b.set(0, xb.as_fd()).unwrap();
        let mut batch = Batch::default();
        let mut flood = |xa: &mut Xsk, pa: &mut Pool, n| {
            sent(pa, &mut batch, n);
            xa.tx_burst(pa, &mut batch);
            let r = xa.wake();
            xa.reap(pa);
            r
        };
        flood(&mut xa, &mut pa, 50).unwrap();
        let settle = || std::thread::sleep(Duration::from_millis(20));
        settle();
        assert_eq!(xb.stats().kernel.fill_ring_empty, 50, "never refilled: {:?}", xb.stats());
        xb.refill(&mut pb);
        flood(&mut xa, &mut pa, 100).unwrap();
        settle();
        let k = xb.stats().kernel;
        assert_eq!((k.rx_ring_full, k.fill_ring_empty), (36, 50), "{k:?}");
        ip(&["link", "set", "dev", "va", "down"]);
        let e = flood(&mut xa, &mut pa, 1).unwrap_err();
        assert_eq!(e.errno(), Some(libc::ENETDOWN), "{e}");
        assert!(xa.needs_poll_wake(), "the frame is still in the ring");
        ip(&["link", "set", "dev", "va", "up"]);
        xa.wake().unwrap();
        assert!(!xa.needs_poll_wake());
        xa.close(&mut pa);
        xb.close(&mut pb);
        assert!(pa.ledger().is_home() && pb.ledger().is_home());
    });
}

/// With XDP_MAX_TX_SKB_BUDGET one system call sends a burst of any size; without it, one every 32 descriptors.
#[test]
fn one_wakeup_a_burst_and_none_without_frames() {
    with_veth(1, 1500, |a, _| {
        let ua = umem(1024, 1500);
        let mut pa = Pool::new(ua.region().clone());
        let mut xa = Xsk::open(&ua, &config(a, 0, 1500), None).unwrap();
        xa.wake().unwrap();
        assert_eq!(xa.stats().wakeups, 0);
        let mut batch = Batch::default();
        for round in 1..=5 {
            sent(&mut pa, &mut batch, 128);
            assert_eq!(xa.tx_burst(&mut pa, &mut batch), 128);
            xa.wake().unwrap();
            xa.wake().unwrap();
            assert_eq!(xa.reap(&mut pa), 128);
            let calls = xa.stats().wakeups;
            assert!(calls == round || calls == round * 4, "{calls} calls for {round} bursts of 128");
        }
        xa.close(&mut pa);
        assert!(pa.ledger().is_home());
    });
}

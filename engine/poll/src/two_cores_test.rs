//! Two cores on real threads over in-memory ports, and a client that sends every packet to a queue by chance: what
//! lands on the wrong core is handed over, nothing is lost, every frame comes home.

use std::sync::Arc;
use std::thread;

use linerate_frame::{Batch, Burst, Pool, Region, RxCsum};
use linerate_net::addr::IfAddr;
use linerate_net::neigh::Resolver;
use linerate_net::route::Route;
use linerate_net::{Events, Ingress, Link, Owners, Stack, StackConfig, TcpConfig};
use linerate_port::channel::ChannelPort;
use linerate_port::{Caps, Port};

use crate::clock;
use crate::core::{Core, CoreId, Shared};
use crate::handoff::{Mesh, Waker};
use crate::report::CoreReport;
use crate::service::{Cx, Next, Service, ServiceSet};

const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const FLOWS: usize = 64;
const ROUNDS: u64 = 50;

struct Echo;

impl Service for Echo {
    type Conn = ();

    fn open(&mut self, cx: &mut Cx<'_>) {
        cx.stack.set_nodelay(cx.id, true);
    }

    fn ready(&mut self, (): &mut (), cx: &mut Cx<'_>, _: Events) -> Next {
        cx.echo();
        if cx.at_eof() { Next::Close } else { Next::Wait }
    }
}

fn stack(host: u8, mac: [u8; 6], pool: Pool) -> Stack {
    let addr = IfAddr { addr: [10, 0, 0, host].into(), prefix_len: 24 };
    let route = Route { dst: addr.addr, prefix_len: 24, gateway: None, metric: 0, mtu: None, prefsrc: None };
    let cfg = StackConfig {
        link: Link::Ethernet(mac),
        mtu: 1500,
        addrs: vec![addr],
        routes: vec![route],
        resolver: Resolver::Own,
        tcp: TcpConfig { nodelay: true, ..TcpConfig::default() },
        secret: [1, 2, 3, 4],
    };
    Stack::new(cfg, pool, clock::now()).unwrap()
}

/// Starts two cores; gives the client's ends of their ports, what stops them, and their threads.
#[allow(clippy::type_complexity)]
fn cores() -> (Vec<ChannelPort>, Vec<Arc<Shared>>, Vec<thread::JoinHandle<CoreReport>>) {
    let pools = Pool::split(Region::heap(4096, 2048), 2);
    let wakers: Vec<_> = (0..2).map(|_| Arc::new(Waker::new().unwrap())).collect();
    let ask = Arc::new(Waker::new().unwrap());
    let shared: Vec<_> = wakers.iter().map(|w| Arc::new(Shared::new(w.clone(), ask.clone()))).collect();
    let (mut ends, mut threads) = (Vec::new(), Vec::new());
    for (me, (pool, mesh)) in pools.into_iter().zip(Mesh::new(&wakers)).enumerate() {
        let caps = Caps::ethernet(1500, SERVER_MAC, RxCsum::Unknown);
        let (port, end) = ChannelPort::pair_with_wakeup(1024, caps).unwrap();
        ends.push(end);
        let (s, peer) = (shared[me].clone(), shared[1 - me].clone());
        let mut stack = stack(1, SERVER_MAC, pool);
        stack.set_owners(Owners::equal(2, me as u8));
        threads.push(thread::spawn(move || {
            let mut set = ServiceSet::default();
            set.add(&mut stack, 7, 256, Echo).unwrap();
            let mut core = Core::new(CoreId(me), stack, vec![port], set, mesh, s);
            // Sleeps at once: every wake-up path is used.
            core.spin_ns = Some(0);
            core.peers = vec![peer];
            core.run()
        }));
    }
    (ends, shared, threads)
}

#[test]
fn segments_on_the_wrong_core_are_handed_over() {
    let (mut ends, shared, threads) = cores();
    let mut client = stack(2, CLIENT_MAC, Pool::new(Region::heap(4096, 2048)));
    let until = clock::now() + 60_000_000_000;
    let (mut batch, mut burst, mut random) = (Batch::default(), Burst::default(), 1u64);
    let mut turn = |client: &mut Stack| {
        assert!(clock::now() < until, "stuck");
        let now = clock::now();
        for end in &mut ends {
            end.reap(client.pool());
            end.rx_burst(client.pool(), &mut burst);
            for frame in burst.drain() {
                assert!(matches!(client.ingress(frame, now), Ingress::Done));
            }
        }
        client.on_timers(now);
        client.output(now);
        let (pool, out) = client.pool_and_batch();
        while let Some(tx) = out.pop() {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let end = &mut ends[(random >> 40) as usize % 2];
            batch.push(tx);
            while end.tx_burst(pool, &mut batch) == 0 {
                thread::yield_now();
            }
            end.wake().unwrap();
        }
    };
    let now = clock::now();
    let flows: Vec<_> = (0..FLOWS).map(|_| client.connect([10, 0, 0, 1].into(), 7, now).unwrap()).collect();
    let mut answered = [0u64; FLOWS];
    let mut asked = [0u64; FLOWS];
    while answered.iter().any(|a| *a < ROUNDS) {
        turn(&mut client);
        while client.next_ready().is_some() {}
        for (i, flow) in flows.iter().enumerate() {
            let question = (asked[i] << 8 | i as u64).to_be_bytes();
            if client.readable(*flow) >= 8 {
                let expected = ((asked[i] - 1) << 8 | i as u64).to_be_bytes();
                assert_eq!(client.recv(*flow)[..8], expected, "flow {i}");
                client.consume(*flow, 8);
                answered[i] += 1;
            }
            if asked[i] == answered[i] && asked[i] < ROUNDS && client.write(*flow, &question) == 8 {
                asked[i] += 1;
            }
        }
    }
    let now = clock::now();
    flows.iter().for_each(|f| client.close(*f, now));
    while client.conns() > 0 {
        turn(&mut client);
    }
    shared.iter().for_each(|s| s.stop());
    let reports: Vec<CoreReport> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let accepted: Vec<u64> = reports.iter().map(|r| r.counters.tcp_accepts).collect();
    assert_eq!(accepted.iter().sum::<u64>(), FLOWS as u64);
    assert!(accepted.iter().all(|n| *n > 10), "both cores own flows: {accepted:?}");
    assert!(reports.iter().all(|r| r.handoffs_out > 500), "half of all packets land on the wrong core");
    // Two queues reorder (an ACK with an older timestamp falls to PAWS), and a loss probe may cross its answer.
    let harmless = ["old_duplicate", "tcp_closed", "time_wait", "paws"];
    for (reason, n) in reports.iter().flat_map(|r| r.counters.nonzero_drops()) {
        assert!(harmless.contains(&reason), "{reason} {n}");
    }
    // The core that ended last has seen everything come home.
    assert!(reports.iter().any(|r| r.ledger.is_home()), "{reports:#?}");
    client.drain();
    assert_eq!(client.pool().ledger().held, client.frames_held() as u32);
}

/// An idle core sleeps: hardly a turn in a tenth of a second.
#[test]
fn an_idle_core_sleeps() {
    let (ends, shared, threads) = cores();
    let start = clock::now();
    while clock::now().since(start) < 100_000_000 {
        thread::park_timeout(std::time::Duration::from_millis(20));
    }
    shared.iter().for_each(|s| s.stop());
    for t in threads {
        let report = t.join().unwrap();
        assert!(report.turns < 100, "{} turns, {} sleeps", report.turns, report.sleeps);
    }
    drop(ends);
}

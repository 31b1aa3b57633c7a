//! Frames and connections under pressure: DESIGN rules 1 and 2. Nothing is lost, nothing grows without bound, and
//! everything comes home.

mod support;

use linerate_net::{DropReason, FlowId, State, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::peer::*;
use support::{Faults, Net, addr};

fn pattern(i: usize) -> u8 {
    (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[3]
}

fn wire() -> Faults {
    Faults { delay_ns: 100_000, ..Faults::default() }
}

/// DESIGN rule 2: a reader that does not read hoards frames; before they run out its bytes are copied to the heap. Other
/// connections go on meanwhile, and nothing of the slow one is lost.
#[test]
fn a_slow_reader_is_copied_out() {
    let total = 600_000;
    let mut h = Host::with_frames(128, TcpConfig { rcv_buf_bytes: 1 << 20, ..TcpConfig::default() });
    let (mut slow, slow_id) = h.accepted(&Opts { wscale: Some(4), ..Opts::default() });
    let (mut quick, quick_id) = h.accepted(&Opts { wscale: Some(4), ..Opts::default() });
    let mut sent = 0;
    while sent < total {
        let n = 1400.min(total - sent);
        let data: Vec<u8> = (sent..sent + n).map(pattern).collect();
        h.send(&mut slow, ACK, &data);
        sent += n;
        assert_eq!(h.stack.info(slow_id).unwrap().rcv_nxt.0, slow.seq, "all of it is taken");
        h.send(&mut quick, ACK, b"request");
        assert_eq!(h.read(quick_id), b"request");
        let out = h.write(quick_id, b"answer");
        assert_eq!(quick.data(&out).len(), 1);
        let off = quick.off(&out[out.len() - 1]) + 6;
        h.ack(&mut quick, off);
        h.assert_ledger();
    }
    assert!(h.stack.tcp_counters().copied_out > 300, "{}", h.stack.tcp_counters().copied_out);
    let got = h.read(slow_id);
    assert!(got.len() == total && got.iter().enumerate().all(|(i, b)| *b == pattern(i)));
    let now = h.now;
    h.stack.abort_all(now);
    h.turn();
    h.assert_home();
}

/// Out-of-order data is copied out, too.
#[test]
fn an_out_of_order_hoard_is_copied_out() {
    let mut h = Host::with_frames(128, TcpConfig::default());
    let (mut p, id) = h.accepted(&Opts { sack: true, ..Opts::default() });
    for i in 1..=400 {
        h.send_at(&p, i * 100, ACK, &[i as u8; 100]);
    }
    h.assert_ledger();
    h.send(&mut p, ACK, &[0; 100]);
    let got = h.read(id);
    assert_eq!(got.len(), 40_100);
    assert!(got.chunks(100).enumerate().all(|(i, c)| c.iter().all(|b| *b == i as u8)));
    assert!(h.stack.tcp_counters().copied_out == 0 || h.stack.pool().free_len() > 0);
}

/// Writers can't take the frames that receiving and acknowledging need: the pool keeps a reserve, and who was refused is
/// told of room.
#[test]
fn writers_leave_frames_for_receiving() {
    let mut h = Host::with_frames(
        128,
        TcpConfig { snd_buf_bytes: 1 << 20, snd_buf_max_bytes: 0, ..TcpConfig::default() },
    );
    let mut conns: Vec<_> = (0..4).map(|_| h.accepted(&Opts::default())).collect();
    let mut written = [0usize; 4];
    for (w, (_, id)) in written.iter_mut().zip(&conns) {
        *w = h.stack.write(*id, &vec![5; 100_000]);
    }
    h.turn();
    assert!(h.stack.pool().free_len() >= 4, "{} frames left", h.stack.pool().free_len());
    // All of it gets out, and the rest with it.
    for _ in 0..2000 {
        for i in 0..4 {
            let (p, id) = &mut conns[i];
            let nxt = h.stack.info(*id).unwrap().snd_nxt.0.wrapping_sub(p.first);
            h.ack(p, nxt);
            written[i] += h.stack.write(*id, &vec![5; 100_000 - written[i]]);
        }
        h.turn();
        h.assert_ledger();
        if written.iter().all(|w| *w == 100_000) && conns.iter().all(|(_, id)| h.stack.unacked(*id) == 0) {
            break;
        }
    }
    assert_eq!(written, [100_000; 4]);
    assert!(conns.iter().all(|(_, id)| h.stack.unacked(*id) == 0));
}

/// A port that completes nothing for a while: the pool runs dry, and all is well when the completions come.
#[test]
fn outstanding_transmissions_exhaust_the_pool_and_it_recovers() {
    let mut h = Host::with_frames(64, TcpConfig::default());
    let (mut p, id) = h.accepted(&Opts::default());
    h.completes = false;
    let mut sent = 0;
    for _ in 0..200 {
        if h.stack.pool().free_len() > 0 {
            // Each ACK frees what it covers, but the frames stay with the port.
            sent += h.stack.write(id, &[1; 1000]) as u32;
            h.turn();
            h.ack(&mut p, sent);
        }
    }
    h.assert_ledger();
    let _ = h.stack.write(id, &[2; 50_000]);
    h.turn();
    h.run(SEC);
    h.assert_ledger();
    h.completes = true;
    h.complete_all();
    assert!(h.stack.pool().free_len() > 20);
    h.run(SEC);
    let n = h.stack.write(id, &[2; 1000]) as u32;
    assert_eq!(n, 1000, "there is room again");
    for _ in 0..60 {
        let nxt = h.stack.info(id).unwrap().snd_nxt.0.wrapping_sub(p.first);
        h.ack(&mut p, nxt);
    }
    assert_eq!(h.stack.unacked(id), 0);
    let now = h.now;
    h.stack.abort_all(now);
    h.turn();
    h.assert_home();
}

/// Connections to hosts that don't answer ARP: what waits for them is bounded per neighbour and altogether.
#[test]
fn the_neighbour_queue_is_bounded() {
    let mut h = Host::with_frames(4096, TcpConfig::default());
    let now = h.now;
    let mut ids = Vec::new();
    for host in 10..250 {
        for _ in 0..6 {
            ids.push(h.stack.connect(format!("10.0.0.{host}").parse().unwrap(), 80, now).unwrap());
        }
    }
    h.turn();
    assert!(h.stack.frames_held() <= linerate_net::neigh::NEIGH_PENDING_TOTAL_PKTS);
    h.assert_ledger();
    let c = h.stack.counters();
    let held = h.stack.frames_held() as u64;
    assert_eq!(c.dropped(DropReason::NeighQueueFull), 240 * 6 - held);
    h.run(300 * SEC);
    assert!(ids.iter().all(|id| h.stack.error(*id) == Some(TcpError::TimedOut)));
    for id in ids {
        h.close(id);
    }
    h.run(5 * SEC);
    h.assert_home();
}

/// MUST-42: many ports, and one port on different addresses.
#[test]
fn a_hundred_listeners() {
    let mut h = Host::new(TcpConfig::default());
    let listeners: Vec<_> = (0..100).map(|i| h.stack.listen(None, 1000 + i, 4).unwrap()).collect();
    let own = h.stack.listen(Some(addr(0, true)), 1050, 4).unwrap();
    assert!(h.stack.listen(None, 1050, 4).is_err());
    assert!(h.stack.listen(Some(addr(1, false)), 1, 4).is_err(), "not our address");
    for (v6, port) in (1000..1100).map(|port| (false, port)).chain([(true, 1050), (true, 1051)]) {
        let mut p = Peer::new(6000, v6);
        p.stack_port = port;
        let out = h.raw(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"");
        (p.seq, p.ack) = (ISS + 1, out[0].seq.wrapping_add(1));
        h.send(&mut p, ACK, b"");
        let want = if v6 && port == 1050 { own } else { listeners[port as usize - 1000] };
        assert_eq!(h.stack.next_accepting(), Some(want));
        let id = h.stack.accept(want).unwrap();
        assert_eq!(h.stack.flow_key(id).unwrap().local_port, port);
    }
    let now = h.now;
    h.stack.close_listeners(now);
    h.stack.abort_all(now);
    h.turn();
    h.assert_home();
    let out = h.raw(&Peer::new(6001, false), SYN, ISS, 0, &TcpOptions::EMPTY, b"");
    assert_eq!(out[0].flags, RST_ACK);
}

/// Closing a listener resets what was not accepted, and handshakes under way end.
#[test]
fn a_closed_listener_leaves_nothing() {
    let mut h = Host::new(TcpConfig::default());
    let (_, _) = h.syn(&Opts::default());
    let (mut p, out) = h.syn(&Opts::default());
    p.ack = out[0].seq.wrapping_add(1);
    h.send(&mut p, ACK, b"waits in the backlog");
    let now = h.now;
    h.stack.close_listener(h.listener, now);
    let out = h.turn();
    assert!(out.len() == 1 && out[0].has(RST) && out[0].dst_port == p.port);
    h.run(100 * SEC);
    h.assert_home();
}

/// Bulk both ways over a bad wire between stacks that have hardly any frames: copying out, the writers' reserve and
/// segments that find no frame, all at once; and still every byte arrives, in order.
#[test]
fn bulk_with_hardly_any_frames() {
    const TOTAL: usize = 300_000;
    for seed in 0..20 {
        let faults = Faults {
            delay_ns: 1_000_000,
            jitter_ns: 300_000,
            loss_permille: 30,
            duplicate_permille: 20,
            reorder_permille: 50,
            corrupt_permille: 5,
        };
        let mut net = Net::new(seed, faults, 96 + 16 * (seed as u32 % 5), TcpConfig::default());
        let l = net.stacks[1].listen(None, 80, 4).unwrap();
        let now = net.now;
        let client = net.stacks[0].connect(addr(1, seed % 2 == 1), 80, now).unwrap();
        let server = loop {
            net.run_for(10_000_000);
            if let Some(id) = net.stacks[1].accept(l) {
                break id;
            }
        };
        let ids = [client, server];
        let (mut sent, mut got) = ([0; 2], [0; 2]);
        let data: Vec<u8> = (0..TOTAL).map(pattern).collect();
        for turn in 0.. {
            assert!(turn < 200_000, "seed {seed}: stuck with {sent:?} sent and {got:?} received");
            for i in 0..2 {
                let s = &mut net.stacks[i];
                sent[i] += s.write(ids[i], &data[sent[i]..]);
                // One end reads late, so that what comes is hoarded.
                if i == 0 || turn % 16 == 0 {
                    while !s.recv(ids[i]).is_empty() {
                        let n = s.recv(ids[i]).len();
                        assert_eq!(s.recv(ids[i]), &data[got[i]..got[i] + n], "seed {seed}");
                        got[i] += n;
                        s.consume(ids[i], n);
                    }
                }
            }
            if got == [TOTAL; 2] {
                break;
            }
            net.run_for(500_000);
            net.assert_ledger("under way");
        }
        for (i, id) in ids.into_iter().enumerate() {
            let now = net.now;
            net.stacks[i].close(id, now);
        }
        net.run_for(400 * SEC);
        for i in 0..2 {
            assert_eq!(net.stacks[i].conns(), 0, "seed {seed}");
            assert!(net.ledger(i).0.is_home());
        }
    }
}

fn drain_events(net: &mut Net, i: usize) {
    while net.stacks[i].next_ready().is_some() {}
    while net.stacks[i].next_accepting().is_some() {}
}

/// 10,000 connections between two stacks: each sends its number, gets it back, and closes.
#[test]
fn ten_thousand_connections_come_and_go() {
    const N: usize = 10_000;
    let mut net = Net::new(11, wire(), 32_768, TcpConfig::default());
    let l = net.stacks[1].listen(None, 80, N).unwrap();
    let mut clients = Vec::new();
    let mut servers: Vec<FlowId> = Vec::new();
    for batch in 0..N / 500 {
        for _ in 0..500 {
            let now = net.now;
            clients.push(net.stacks[0].connect(addr(1, batch % 2 == 1), 80, now).unwrap());
        }
        net.run_for(2_000_000);
        servers.extend(std::iter::from_fn(|| net.stacks[1].accept(l)));
    }
    net.run_for(SEC);
    servers.extend(std::iter::from_fn(|| net.stacks[1].accept(l)));
    assert_eq!((clients.len(), servers.len(), net.stacks[0].conns(), net.stacks[1].conns()), (N, N, N, N));
    net.assert_ledger("open");
    for (i, id) in clients.iter().enumerate() {
        assert_eq!(net.stacks[0].write(*id, &i.to_be_bytes()), 8);
        if i % 500 == 0 {
            net.run_for(1_000_000);
        }
    }
    net.run_for(SEC);
    for id in &servers {
        let got = net.stacks[1].recv(*id).to_vec();
        assert_eq!(got.len(), 8);
        net.stacks[1].consume(*id, 8);
        assert_eq!(net.stacks[1].write(*id, &got), 8);
    }
    net.run_for(SEC);
    for (i, id) in clients.iter().enumerate() {
        assert_eq!(net.stacks[0].recv(*id), i.to_be_bytes(), "connection {i}");
        net.stacks[0].consume(*id, 8);
        let now = net.now;
        net.stacks[0].close(*id, now);
    }
    net.run_for(SEC);
    net.assert_ledger("half closed");
    for id in &servers {
        assert!(net.stacks[1].at_eof(*id));
        let now = net.now;
        net.stacks[1].close(*id, now);
    }
    net.run_for(SEC);
    assert_eq!((net.stacks[0].conns(), net.stacks[0].time_waits(), net.stacks[1].conns()), (0, N, 0));
    net.run_for(61 * SEC);
    for i in 0..2 {
        drain_events(&mut net, i);
        assert_eq!((net.stacks[i].conns(), net.stacks[i].time_waits()), (0, 0));
        assert!(net.ledger(i).0.is_home());
        assert!(!net.stacks[i].has_work());
    }
}

/// 100,000 connections in one flow table, found each by its key, by a scripted peer with many ports and addresses.
#[test]
fn a_hundred_thousand_connections_are_told_apart() {
    const N: u32 = 100_000;
    let mut h = Host::with_frames(4096, TcpConfig::default());
    let now = h.now;
    h.stack.close_listener(h.listener, now);
    let ports = 50_000;
    let listeners = [80, 81].map(|port| h.stack.listen(None, port, N as usize).unwrap());
    let peer = |i: u32| {
        let mut p = Peer::new(10_000 + (i % ports) as u16, false);
        p.stack_port = 80 + (i / ports) as u16;
        p
    };
    let mut ids = Vec::new();
    for i in 0..N {
        let mut p = peer(i);
        let out = h.raw(&p, SYN, i, 0, &TcpOptions::EMPTY, b"");
        (p.seq, p.ack) = (i + 1, out[0].seq.wrapping_add(1));
        h.send(&mut p, ACK, b"");
        ids.push((h.stack.accept(listeners[(i / ports) as usize]).unwrap(), p));
    }
    while h.stack.next_ready().is_some() {}
    assert_eq!(h.stack.conns(), N as usize);
    for k in 0..N {
        let i = (k.wrapping_mul(7919)) % N;
        let (id, p) = &ids[i as usize];
        h.put(p, ACK, p.seq, p.ack, &TcpOptions::EMPTY, &i.to_be_bytes());
        assert_eq!(h.stack.recv(*id), i.to_be_bytes());
        h.stack.consume(*id, 4);
        if k % 200 == 0 {
            h.turn();
        }
    }
    h.turn();
    for (id, p) in &ids {
        h.put(p, RST, p.seq + 4, 0, &TcpOptions::EMPTY, b"");
        assert_eq!(h.stack.state(*id), Some(State::Closed));
        let now = h.now;
        h.stack.close(*id, now);
    }
    h.turn();
    h.assert_home();
}

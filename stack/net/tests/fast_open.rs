//! Fast Open, server and client: RFC 7413.

mod support;

use linerate_net::{DropReason, Events, State, TcpConfig, TcpError};
use linerate_wire::tcp_options::{FastOpen, TcpOptions};
use support::addr;
use support::peer::*;

const HOUR: u64 = 3600 * SEC;

fn server() -> Host {
    Host::new(TcpConfig { fast_open_pending: 2, ..TcpConfig::default() })
}

fn syn(h: &mut Host, port: u16, fast_open: FastOpen, data: &[u8]) -> (Peer, Vec<Seg>) {
    let mut p = Peer::new(port, false);
    let options = TcpOptions { mss: Some(1000), fast_open, ..TcpOptions::EMPTY };
    let out = h.raw(&p, SYN, ISS, 0, &options, data);
    if let Some(s) = out.first() {
        p.first = s.seq.wrapping_add(1);
        (p.ack, p.seq) = (p.first, ISS + 1 + data.len() as u32);
    }
    (p, out)
}

/// The peer asks for a cookie and gets one.
fn cookie(h: &mut Host) -> FastOpen {
    let (mut p, out) = syn(h, 1111, FastOpen::REQUEST, b"");
    let given = out[0].options.fast_open;
    assert_eq!((out[0].ack, given.cookie().len()), (ISS + 1, 8));
    h.send(&mut p, ACK, b"");
    let id = h.stack.accept(h.listener).unwrap();
    h.stack.abort(id, h.now);
    h.turn();
    given
}

//= RFC 7413 section 4.2.2
#[test]
fn data_on_the_syn_is_answered_before_the_handshake_is_complete() {
    let mut h = server();
    let c = cookie(&mut h);
    let (mut p, out) = syn(&mut h, 2222, c, b"GET /");
    assert_eq!((out.len(), out[0].flags, out[0].ack), (1, SYN_ACK, ISS + 6));
    assert!(out[0].options.fast_open.is_none(), "the cookie is good still");
    let id = h.stack.accept(h.listener).unwrap();
    assert_eq!((h.stack.state(id), h.read(id)), (Some(State::SynReceived), b"GET /".to_vec()));
    let out = h.write(id, b"200 OK");
    assert_eq!((out.len(), &out[0].data[..], p.off(&out[0])), (1, &b"200 OK"[..], 0));
    assert!(out[0].has(ACK) && out[0].ack == ISS + 6);
    // FIN waits for the handshake.
    assert!(h.shutdown(id).is_empty());
    let out = h.ack(&mut p, 6);
    assert_eq!((out.len(), out[0].flags), (1, FIN_ACK));
    assert_eq!((h.stack.state(id), h.stack.unacked(id)), (Some(State::FinWait1), 0));
    assert_eq!(h.stack.counters().tcp_fast_opens_in, 1);
}

/// The SYN-ACK, or the client's ACK, is lost: SYN-ACK again, without a second delivery; then the data that was lost.
#[test]
fn losses_in_a_fast_opened_handshake() {
    let mut h = server();
    let c = cookie(&mut h);
    let (mut p, _) = syn(&mut h, 2222, c, b"GET /");
    let id = h.stack.accept(h.listener).unwrap();
    h.write(id, b"200 OK");
    let (_, out) = syn(&mut h, 2222, c, b"GET /");
    assert_eq!((out.len(), out[0].flags, out[0].ack), (1, SYN_ACK, ISS + 6));
    assert_eq!(h.run(1100 * MS).iter().filter(|s| s.flags == SYN_ACK).count(), 1);
    assert_eq!(h.read(id), b"GET /");
    assert!(h.ack(&mut p, 0).is_empty());
    assert_eq!(h.stack.state(id), Some(State::Established));
    let out = h.run(4 * SEC);
    assert_eq!(out[0].data, b"200 OK");
    h.ack(&mut p, 6);
    assert_eq!(h.stack.unacked(id), 0);
    h.close(id);
    h.assert_ledger();
}

/// Without a valid cookie the data is not used, and not acknowledged; a valid cookie of the last key is renewed.
//= RFC 7413 section 4.1.2
#[test]
fn bad_and_old_cookies() {
    let mut h = server();
    let c = cookie(&mut h);
    let bad = FastOpen::new(&[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let (mut p, out) = syn(&mut h, 2222, bad, b"GET /");
    assert_eq!((out[0].ack, out[0].options.fast_open), (ISS + 1, c));
    assert!(h.stack.accept(h.listener).is_none());
    p.seq = ISS + 1;
    h.send(&mut p, ACK, b"GET /");
    let id = h.stack.accept(h.listener).unwrap();
    assert_eq!(h.read(id), b"GET /");
    h.run(12 * HOUR);
    let (_, out) = syn(&mut h, 3333, c, b"GET /");
    let new = out[0].options.fast_open;
    assert!(out[0].ack == ISS + 6 && !new.cookie().is_empty() && new != c);
    h.run(12 * HOUR);
    assert_eq!(syn(&mut h, 4444, c, b"GET /").1[0].ack, ISS + 1, "too old");
    // Off by default: the option is not even seen.
    let mut h = Host::new(TcpConfig::default());
    assert!(syn(&mut h, 1, FastOpen::REQUEST, b"").1[0].options.fast_open.is_none());
}

/// No more than so many at a time: the others shake hands first. A reset tells the application.
//= RFC 7413 section 5.1
#[test]
fn pending_connections_are_bounded() {
    let mut h = server();
    let c = cookie(&mut h);
    let peers: Vec<_> = (0..3).map(|n| syn(&mut h, 2000 + n, c, b"x")).collect();
    assert_eq!(peers.iter().map(|p| p.1[0].ack).collect::<Vec<_>>(), [ISS + 2, ISS + 2, ISS + 1]);
    assert_eq!((h.stack.conns(), h.stack.half_opens()), (2, 1));
    let a = h.stack.accept(h.listener).unwrap();
    let mut p = peers[0].0.clone();
    h.send(&mut p, RST, b"");
    assert_eq!(h.stack.error(a), Some(TcpError::Reset));
    assert_eq!(syn(&mut h, 2003, c, b"x").1[0].ack, ISS + 2, "one has gone");
    assert_eq!(h.stack.counters().dropped(DropReason::ListenOverflow), 0);
}

/// An active open by the stack, with data; the SYN.
fn connect(h: &mut Host, data: &[u8]) -> (Peer, linerate_net::FlowId, usize, Seg) {
    let now = h.now;
    let (id, n) = h.stack.connect_fast_open((None, 0), (addr(1, false), PORT), data, None, now).unwrap();
    let out = h.turn();
    assert_eq!((out.len(), out[0].flags), (1, SYN));
    let mut p = Peer::new(PORT, false);
    p.stack_port = out[0].src_port;
    p.first = out[0].seq.wrapping_add(1);
    (p.ack, p.seq) = (p.first, ISS + 1);
    (p, id, n, out[0].clone())
}

fn syn_ack(h: &mut Host, p: &Peer, acked: u32, fast_open: FastOpen) -> Vec<Seg> {
    let options = TcpOptions { mss: Some(1000), fast_open, ..TcpOptions::EMPTY };
    h.raw(p, SYN_ACK, ISS, p.first.wrapping_add(acked), &options, b"")
}

/// A client that has a cookie.
fn client() -> Host {
    let mut h = Host::new(TcpConfig::default());
    let (p, id, n, syn) = connect(&mut h, b"GET /");
    assert!(n == 0 && syn.data.is_empty() && syn.options.fast_open.is_request());
    syn_ack(&mut h, &p, 0, FastOpen::new(&[9; 8]).unwrap());
    assert!(h.stack.next_ready().unwrap().1.contains(Events::CONNECTED));
    h.stack.abort(id, h.now);
    h.turn();
    h
}

//= RFC 7413 section 4.2.1
#[test]
fn a_client_with_a_cookie_sends_data_on_its_syn() {
    let mut h = client();
    let (p, id, n, syn) = connect(&mut h, &[5; 3000]);
    assert_eq!((n, syn.data.len(), syn.options.fast_open.cookie()), (960, 960, &[9; 8][..]));
    let out = syn_ack(&mut h, &p, 960, FastOpen::NONE);
    assert!(out.len() == 1 && out[0].is_pure_ack() && p.off(&out[0]) == 960);
    assert_eq!((h.stack.unacked(id), h.stack.state(id)), (0, Some(State::Established)));
    assert_eq!(h.stack.counters().tcp_fast_opens_out, 1);
    let out = h.write(id, b"more");
    assert_eq!(p.data(&out), [(960, 4)]);
}

/// The server took the SYN but not the data: it is sent again at once, and its loss says nothing of congestion.
#[test]
fn refused_data_is_sent_again() {
    let mut h = client();
    let (p, id, _, _) = connect(&mut h, b"GET /");
    let out = syn_ack(&mut h, &p, 0, FastOpen::NONE);
    assert_eq!(p.data(&out), [(0, 5)]);
    let i = h.stack.info(id).unwrap();
    assert_eq!((i.cwnd_bytes, i.in_flight_bytes), (10_000, 5));
    let mut q = p.clone();
    h.ack(&mut q, 5);
    assert_eq!(h.stack.unacked(id), 0);
    let (_, _, n, syn) = connect(&mut h, b"GET /");
    assert!(n == 0 && syn.options.fast_open.is_request(), "its cookie is no good any more");
}

/// A SYN with data that gets no answer is sent again without; if that gets one, there will be no more of them for a while.
//= RFC 7413 section 4.1.3
#[test]
fn a_black_hole_is_gone_round() {
    let mut h = client();
    let (p, id, _, _) = connect(&mut h, b"GET /");
    let again = h.run(1100 * MS);
    assert!(again.len() == 1 && again[0].data.is_empty() && again[0].options.fast_open.is_none());
    let out = syn_ack(&mut h, &p, 0, FastOpen::NONE);
    assert_eq!(p.data(&out), [(0, 5)]);
    h.stack.abort(id, h.now);
    h.turn();
    let (_, id, n, syn) = connect(&mut h, b"GET /");
    assert!(n == 0 && syn.data.is_empty() && syn.options.fast_open.is_none());
    h.stack.abort(id, h.now);
    h.run(HOUR);
    assert_eq!(connect(&mut h, b"GET /").2, 5);
}

/// Between two stacks, end to end: the second time it is one round trip less.
#[test]
fn two_stacks() {
    let tcp = TcpConfig { fast_open_pending: 10, ..TcpConfig::default() };
    let faults = support::Faults { delay_ns: 10 * MS, ..Default::default() };
    let mut net = support::Net::new(1, faults, 1024, tcp);
    let l = net.stacks[0].listen(None, 80, 10).unwrap();
    let mut took = Vec::new();
    for round in 0..3 {
        let now = net.now;
        let to = (addr(0, false), 80);
        let (id, n) = net.stacks[1].connect_fast_open((None, 0), to, b"ping", None, now).unwrap();
        let mut server = None;
        let mut sent = n;
        let start = net.now.0;
        while net.stacks[1].readable(id) == 0 {
            assert!(net.now.0 - start < 10 * SEC);
            net.run_for(MS);
            if sent == 0 && net.stacks[1].state(id) == Some(State::Established) {
                sent = net.stacks[1].write(id, b"ping");
            }
            server = server.or_else(|| net.stacks[0].accept(l));
            if let Some(s) = server
                && net.stacks[0].readable(s) == 4
            {
                net.stacks[0].consume(s, 4);
                net.stacks[0].write(s, b"pong");
            }
        }
        took.push((net.now.0 - start) / (10 * MS));
        let now = net.now;
        net.stacks[1].consume(id, 4);
        net.stacks[1].close(id, now);
        net.stacks[0].close(server.unwrap(), now);
        net.run_for(SEC);
        let _ = round;
    }
    assert!(took[0] >= 4 && took[1] <= took[0] - 2 && took[2] == took[1], "{took:?} times 10 ms");
    net.assert_ledger("end");
}

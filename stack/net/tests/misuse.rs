//! What a call that makes no sense is answered with: POSIX's names.

mod support;

use linerate_net::{How, SockError, State, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::addr;
use support::peer::*;

fn host() -> Host {
    Host::new(TcpConfig::default())
}

fn name<T: std::fmt::Debug>(r: Result<T, SockError>) -> &'static str {
    r.map_or_else(SockError::errno_name, |ok| panic!("{ok:?} instead of an error"))
}

//= RFC 9293 section 3.9.1.1, MUST-46
#[test]
fn connecting_to_what_is_no_host() {
    let mut h = host();
    let now = h.now;
    let mut connect = |to: &str, port| name(h.stack.connect(to.parse().unwrap(), port, now));
    assert_eq!(connect("10.0.0.255", 80), "EACCES");
    assert_eq!(connect("255.255.255.255", 80), "EACCES");
    assert_eq!(connect("224.0.0.5", 80), "ENETUNREACH");
    assert_eq!(connect("ff02::1", 80), "ENETUNREACH");
    assert_eq!(connect("0.0.0.0", 80), "ENETUNREACH");
    assert_eq!(connect("10.0.0.2", 0), "ENETUNREACH");
    assert_eq!(connect("192.0.2.1", 80), "ENETUNREACH", "no route");
}

#[test]
fn addresses_and_ports() {
    let mut h = host();
    let now = h.now;
    assert_eq!(name(h.stack.listen(None, PORT, 1)), "EADDRINUSE");
    assert_eq!(name(h.stack.bind(None, PORT, true, None)), "EADDRINUSE", "the other does not share");
    assert_eq!(name(h.stack.listen(Some(addr(1, false)), 81, 1)), "EADDRNOTAVAIL");
    assert_eq!(name(h.stack.bind(Some(addr(1, false)), 81, false, None)), "EADDRNOTAVAIL");
    let bound = h.stack.bind(None, 90, false, None).unwrap();
    assert_eq!(name(h.stack.listen(None, 90, 1)), "EADDRINUSE", "bound twice");
    assert_eq!(name(h.stack.try_accept(bound)), "EBADF", "not listening");
    let p = Peer { stack_port: 90, ..Peer::new(7, false) };
    assert!(h.raw(&p, SYN, 1, 0, &TcpOptions::EMPTY, b"")[0].has(RST), "bound is not listening");
    h.stack.listen_on(bound, 3).unwrap();
    assert_eq!(h.raw(&p, SYN, 1, 0, &TcpOptions::EMPTY, b"")[0].flags, SYN_ACK);
    assert_eq!(name(h.stack.try_accept(bound)), "EAGAIN");
    h.stack.close_listener(bound, now);
    assert_eq!(name(h.stack.try_accept(bound)), "EBADF");
    assert_eq!(name(h.stack.listen_on(bound, 1)), "EBADF");
    let to = (addr(1, false), 4242);
    h.stack.connect_from((None, 555), to, None, now).unwrap();
    assert_eq!(name(h.stack.connect_from((None, 555), to, None, now)), "EADDRINUSE");
    assert_eq!(name(h.stack.connect_from((Some(addr(1, false)), 0), to, None, now)), "EADDRNOTAVAIL");
}

#[test]
fn before_the_connection_is_there() {
    let mut h = host();
    let (p, id, _) = h.connecting();
    let mut buf = [0; 8];
    assert_eq!(name(h.stack.send(id, b"x")), "ENOTCONN");
    assert_eq!(name(h.stack.receive(id, &mut buf)), "ENOTCONN");
    assert_eq!(name(h.stack.shut(id, How::Both)), "ENOTCONN");
    h.raw(&p, RST_ACK, 0, p.ack, &TcpOptions::EMPTY, b"");
    assert_eq!(name(h.stack.send(id, b"x")), "ECONNREFUSED");
    assert_eq!(name(h.stack.receive(id, &mut buf)), "ECONNREFUSED");
    assert_eq!(name(h.stack.shut(id, How::Both)), "ENOTCONN");
}

#[test]
fn reading_and_writing() {
    let mut h = Host::new(TcpConfig { snd_buf_bytes: 5000, ..TcpConfig::default() });
    let (mut p, id) = h.accepted(&Opts { wnd: 100, ..Opts::default() });
    let mut buf = [0; 8];
    assert_eq!(name(h.stack.receive(id, &mut buf)), "EAGAIN");
    assert_eq!(h.stack.send(id, &[1; 9000]), Ok(5000));
    assert_eq!(name(h.stack.send(id, b"x")), "EAGAIN");
    h.send(&mut p, ACK, b"hello world");
    assert_eq!((h.stack.receive(id, &mut buf), &buf), (Ok(8), b"hello wo"));
    assert_eq!(h.stack.shut(id, How::Write), Ok(()));
    assert_eq!(name(h.stack.send(id, b"x")), "EPIPE");
    h.send(&mut p, FIN_ACK, b"");
    assert_eq!((h.stack.receive(id, &mut buf), h.stack.receive(id, &mut buf)), (Ok(3), Ok(0)));
    // Both sides have closed: RFC 9293 section 3.10.7.4 ends that in silence.
    h.send(&mut p, RST, b"");
    assert_eq!(name(h.stack.send(id, b"x")), "EPIPE");
    h.close(id);
    assert_eq!(name(h.stack.send(id, b"x")), "EBADF");
    assert_eq!(name(h.stack.receive(id, &mut buf)), "EBADF");
    assert_eq!(name(h.stack.shut(id, How::Write)), "EBADF");
}

#[test]
fn after_a_reset_what_came_can_be_read_and_then_the_reason() {
    let mut h = host();
    let (mut p, id) = h.accepted(&Opts::default());
    h.send(&mut p, ACK, b"last");
    h.send(&mut p, RST, b"");
    let mut buf = [0; 8];
    assert_eq!(h.stack.receive(id, &mut buf), Ok(4));
    assert_eq!(h.stack.receive(id, &mut buf), Err(SockError::Ended(TcpError::Reset)));
    let (mut p, id) = h.accepted(&Opts::default());
    h.send(&mut p, ACK, b"not wanted");
    assert_eq!(h.stack.shut(id, How::Read), Ok(()));
    assert_eq!((h.stack.readable(id), h.stack.state(id)), (0, Some(State::Established)));
}

/// SO_REUSEPORT: a group of listeners shares a port, each flow has one of them.
#[test]
fn listeners_in_a_group() {
    let mut h = host();
    let now = h.now;
    let group: Vec<_> = (0..3).map(|_| h.stack.bind(None, 99, true, None).unwrap()).collect();
    for id in &group {
        h.stack.listen_on(*id, 100).unwrap();
    }
    let mut count = [0; 3];
    for port in 0..90 {
        let mut p = Peer { stack_port: 99, ..Peer::new(20_000 + port, false) };
        let out = h.raw(&p, SYN, ISS, 0, &TcpOptions::EMPTY, b"");
        (p.seq, p.ack) = (ISS + 1, out[0].seq.wrapping_add(1));
        h.send(&mut p, ACK, b"");
        let who: Vec<_> = (0..3).filter(|i| h.stack.accept(group[*i]).is_some()).collect();
        assert_eq!(who.len(), 1);
        count[who[0]] += 1;
    }
    assert!(count.iter().all(|n| *n > 15), "{count:?}");
    h.stack.close_listener(group[1], now);
    assert_eq!(name(h.stack.listen(None, 99, 1)), "EADDRINUSE");
}

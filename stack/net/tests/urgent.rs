//! Urgent data in line: RFC 9293 section 3.8.5, RFC 6093.

mod support;

use linerate_net::{Events, FlowId, TcpConfig};
use support::peer::*;

fn open(wnd: u16) -> (Host, Peer, FlowId) {
    let mut h = Host::new(TcpConfig::default());
    let (p, id) = h.accepted(&Opts { wnd, ..Opts::default() });
    h.stack.next_ready();
    (h, p, id)
}

fn is_told(h: &mut Host) -> bool {
    h.stack.next_ready().is_some_and(|(_, e)| e.contains(Events::URGENT))
}

/// The application hears of it, can ask how much there is, and reads it in line.
//= RFC 9293 section 3.8.5, MUST-30, MUST-32, MUST-33, MUST-62
#[test]
fn received() {
    let (mut h, mut p, id) = open(65_000);
    h.send(&mut p, ACK, b"plain");
    assert!(!is_told(&mut h) && h.stack.urgent(id).is_none());
    p.urgent = 6;
    h.send(&mut p, ACK | URG, b"urgent, not");
    assert!(is_told(&mut h));
    assert_eq!(h.stack.urgent(id), Some(11), "five plain bytes before it");
    h.stack.consume(id, 10);
    assert_eq!(h.stack.urgent(id), Some(1));
    h.stack.consume(id, 1);
    assert_eq!(h.stack.urgent(id), None, "the mark");
    assert_eq!(h.read(id), b", not");
    p.urgent = 0;
    h.send(&mut p, ACK | URG, b"x");
    assert!(!is_told(&mut h), "a pointer to the segment's own start says nothing");
}

/// Any length, and known before the data comes; the mark only moves on.
//= RFC 9293 section 3.8.5, MUST-31
#[test]
fn announced_before_it_comes() {
    let (mut h, mut p, id) = open(65_000);
    p.urgent = 5000;
    h.send(&mut p, ACK | URG, &[1; 1000]);
    assert!(is_told(&mut h));
    assert_eq!((h.read(id).len(), h.stack.urgent(id)), (1000, Some(4000)));
    p.urgent = 3000;
    h.send(&mut p, ACK | URG, &[1; 1000]);
    assert!(!is_told(&mut h));
    h.send(&mut p, ACK, &[1; 1000]);
    assert_eq!((h.read(id).len(), h.stack.urgent(id)), (2000, Some(2000)));
}

//= RFC 9293 section 3.8.6, MUST-66
#[test]
fn heard_with_a_closed_window() {
    let mut h = Host::new(TcpConfig { rcv_buf_bytes: 2000, rcv_buf_max_bytes: 0, ..TcpConfig::default() });
    let (mut p, id) = h.accepted(&Opts::default());
    h.send(&mut p, ACK, &[1; 1000]);
    h.send(&mut p, ACK, &[1; 1000]);
    while h.stack.next_ready().is_some() {}
    assert_eq!(h.stack.info(id).unwrap().rcv_wnd, 0);
    p.urgent = 9;
    h.send_at(&p, 0, ACK | URG, b"");
    assert!(is_told(&mut h));
    assert_eq!(h.stack.urgent(id), Some(2009));
}

/// Every segment before the mark says where it is: the first octet that is not urgent. Retransmissions, too.
//= RFC 9293 section 3.8.5, MUST-30, MUST-62
#[test]
fn sent() {
    let (mut h, mut p, id) = open(65_000);
    assert_eq!(h.stack.write_urgent(id, &[7; 2500]), 2500);
    let first = h.turn();
    let marks = |p: &Peer, out: &[Seg]| -> Vec<_> {
        let data = out.iter().filter(|s| !s.data.is_empty());
        data.map(|s| (p.off(s), s.has(URG), s.urgent)).collect()
    };
    assert_eq!(marks(&p, &first), [(0, true, 2500), (1000, true, 1500), (2000, true, 500)]);
    let plain = h.write(id, b"plain");
    assert!(marks(&p, &plain).iter().all(|m| !m.1));
    let again = h.run(3 * SEC);
    assert!(marks(&p, &again).contains(&(0, true, 2500)), "{:?}", marks(&p, &again));
    h.ack(&mut p, 2505);
    let out = h.write(id, b"later");
    assert_eq!((out[0].has(URG), out[0].urgent), (false, 0));
}

/// The peer hears of it although its window is closed.
#[test]
fn announced_to_a_closed_window() {
    let (mut h, p, id) = open(0);
    h.stack.write_urgent(id, b"stop");
    let out = h.turn();
    assert_eq!(out.len(), 1);
    assert!(out[0].data.is_empty() && out[0].has(URG) && out[0].urgent == 4 && p.off(&out[0]) == 0);
}

//! Explicit congestion notification: RFC 3168.

mod support;

use linerate_net::{EcnMode, FlowId, TcpConfig};
use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::TcpOptions;
use support::peer::*;

const ECE: TcpFlags = TcpFlags::ECE;
const CWR: TcpFlags = TcpFlags::CWR;
const NOT_ECT: u8 = 0;
const ECT_0: u8 = 2;
const CE: u8 = 3;

fn cfg(ecn: EcnMode) -> TcpConfig {
    TcpConfig { ecn, ..TcpConfig::default() }
}

/// An ECN-capable connection that the peer has opened; MSS 1000.
fn open(o: Opts) -> (Host, Peer, FlowId) {
    let mut h = Host::new(cfg(EcnMode::Passive));
    let (mut p, _) = (Peer::new(40_001, false), ());
    let options = TcpOptions { mss: o.mss, sack_permitted: o.sack, ..TcpOptions::EMPTY };
    let out = h.raw(&p, SYN | ECE | CWR, ISS, 0, &options, b"");
    assert_eq!((out[0].flags, out[0].tos), (SYN_ACK | ECE, NOT_ECT));
    p.seq = ISS + 1;
    p.first = out[0].seq.wrapping_add(1);
    p.ack = p.first;
    h.run(10 * MS);
    h.send(&mut p, ACK, b"");
    let id = h.stack.accept(h.listener).unwrap();
    (h, p, id)
}

fn sacked() -> Opts {
    Opts { sack: true, ..Opts::default() }
}

/// Every answer to every SYN.
//= RFC 3168 section 6.1.1
#[test]
fn a_server_agrees_if_asked() {
    for (mode, agrees) in [(EcnMode::Off, false), (EcnMode::Passive, true), (EcnMode::On, true)] {
        for (flags, asks) in [(SYN, false), (SYN | ECE, false), (SYN | CWR, false), (SYN | ECE | CWR, true)] {
            let mut h = Host::new(cfg(mode));
            let mut p = Peer::new(40_001, false);
            let out = h.raw(&p, flags, ISS, 0, &TcpOptions { mss: Some(1000), ..TcpOptions::EMPTY }, b"");
            assert_eq!(out[0].flags, if agrees && asks { SYN_ACK | ECE } else { SYN_ACK });
            (p.seq, p.first) = (ISS + 1, out[0].seq.wrapping_add(1));
            p.ack = p.first;
            h.send(&mut p, ACK, b"");
            let id = h.stack.accept(h.listener).unwrap();
            let out = h.write(id, &[1; 1000]);
            assert_eq!(out[0].tos, if agrees && asks { ECT_0 } else { NOT_ECT });
        }
    }
}

//= RFC 3168 section 6.1.1
#[test]
fn a_client_asks_and_believes_only_a_sound_answer() {
    for (mode, asked) in [(EcnMode::Off, SYN), (EcnMode::Passive, SYN), (EcnMode::On, SYN | ECE | CWR)] {
        for (answer, agrees) in [(SYN_ACK, false), (SYN_ACK | ECE, true), (SYN_ACK | ECE | CWR, false)] {
            let mut h = Host::new(cfg(mode));
            let (p, id, syn) = h.connecting();
            assert_eq!((syn.flags, syn.tos), (asked, NOT_ECT));
            h.raw(&p, answer, ISS, p.ack, &TcpOptions { mss: Some(1000), ..TcpOptions::EMPTY }, b"");
            let out = h.write(id, &[1; 1000]);
            assert_eq!(out[0].tos, if agrees && asked != SYN { ECT_0 } else { NOT_ECT });
        }
    }
}

/// A SYN that nobody answers may have been dropped for its flags.
//= RFC 3168 section 6.1.1.1
#[test]
fn a_repeated_syn_asks_no_more() {
    let mut h = Host::new(cfg(EcnMode::On));
    let (p, id, _) = h.connecting();
    let out = h.run(1100 * MS);
    assert_eq!(out[0].flags, SYN);
    h.raw(&p, SYN_ACK | ECE, ISS, p.ack, &TcpOptions { mss: Some(1000), ..TcpOptions::EMPTY }, b"");
    assert_eq!(h.write(id, &[1; 1000])[0].tos, NOT_ECT);
}

/// ECT on new data; not on ACKs, retransmissions, window probes, SYN, FIN or RST.
//= RFC 3168 section 6.1.4
//= RFC 3168 section 6.1.5
//= RFC 3168 section 6.1.6
#[test]
fn only_new_data_is_ecn_capable() {
    let (mut h, mut p, id) = open(Opts::default());
    let out = h.send(&mut p, ACK, b"hello");
    assert_eq!(out.iter().map(|s| s.tos).collect::<Vec<_>>(), [NOT_ECT], "a pure ACK");
    assert!(h.write(id, &[1; 3000]).iter().all(|s| s.tos == ECT_0));
    let out = h.run(300 * MS);
    assert!(!out.is_empty() && out.iter().all(|s| s.tos == NOT_ECT), "a retransmission");
    p.wnd = 0;
    h.ack(&mut p, 3000);
    h.write(id, &[1; 3000]);
    let out = h.run(SEC);
    assert!(!out.is_empty() && out.iter().all(|s| s.tos == NOT_ECT && s.data.len() == 1), "a window probe");
}

/// ECE from the CE mark until CWR, on every ACK; a mark on the segment with CWR begins it again.
//= RFC 3168 section 6.1.3
#[test]
fn a_mark_is_echoed_until_cwr() {
    let (mut h, mut p, _) = open(Opts::default());
    let mut echo = |p: &mut Peer, tos: u8, flags: TcpFlags| {
        p.tos = tos;
        let mut out = h.send(p, ACK | flags, &[1; 1000]);
        out.extend(h.run(50 * MS));
        assert!(!out.is_empty());
        out.iter().all(|s| s.has(ECE))
    };
    assert!(!echo(&mut p, ECT_0, TcpFlags::EMPTY));
    assert!(echo(&mut p, CE, TcpFlags::EMPTY));
    assert!(echo(&mut p, ECT_0, TcpFlags::EMPTY));
    assert!(!echo(&mut p, ECT_0, CWR));
    assert!(echo(&mut p, CE, CWR));
    assert!(!echo(&mut p, ECT_0, CWR));
}

/// What lies outside of the window, or carries no data, is not believed.
//= RFC 3168 section 6.1.5
#[test]
fn marks_outside_of_the_window_do_not_count() {
    let (mut h, mut p, _) = open(Opts::default());
    p.tos = CE;
    h.send(&mut p, ACK, b"");
    h.send_at(&p, -1000, ACK, &[1; 500]);
    h.send_at(&p, 10_000_000, ACK, &[1; 500]);
    p.tos = ECT_0;
    let mut out = h.send(&mut p, ACK, &[1; 1000]);
    out.extend(h.run(50 * MS));
    assert!(!out.is_empty() && out.iter().all(|s| !s.has(ECE)));
}

/// Half (CUBIC: 0.7) once a round trip, whatever the number of echoes; CWR on the first new segment after it.
//= RFC 3168 section 6.1.2
#[test]
fn an_echo_reduces_the_window_once_a_round() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 40_000]);
    h.run(10 * MS);
    let mut sent = Vec::new();
    for off in [2000, 4000, 6000, 8000, 10_000] {
        p.ack = p.first + off;
        sent.extend(h.send(&mut p, ACK | ECE, b""));
    }
    let info = h.stack.info(id).unwrap();
    assert_eq!(info.ssthresh_bytes, 7000);
    let data: Vec<_> = sent.iter().filter(|s| !s.data.is_empty()).collect();
    assert!(data[0].has(CWR) && data[1..].iter().all(|s| !s.has(CWR)), "{data:?}");
    assert!((5..=8).contains(&data.len()), "{} segments leave while ten arrive", data.len());
    assert_eq!(h.stack.tcp_counters().retransmits, 0);
    // The echo of the segment that ends the round is still of the same mark; one beyond it is of another.
    let nxt = p.off(data.last().unwrap()) + 1000;
    h.run(10 * MS);
    p.ack = p.first + nxt;
    sent = h.send(&mut p, ACK | ECE, b"");
    let ssthresh = h.stack.info(id).unwrap().ssthresh_bytes;
    assert!(ssthresh < 7000, "{ssthresh}");
    assert!(sent[0].has(CWR));
}

/// A loss in the same round trip as a mark reduces nothing more.
//= RFC 3168 section 6.1.2
#[test]
fn a_loss_after_a_mark_is_one_event() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 40_000]);
    h.run(10 * MS);
    p.ack = p.first + 2000;
    h.send(&mut p, ACK | ECE, b"");
    assert_eq!(h.stack.info(id).unwrap().ssthresh_bytes, 7000);
    let out = h.sack(&mut p, 2000, &[(3000, 8000)]);
    assert!(p.data(&out).contains(&(2000, 1000)));
    assert_eq!(h.stack.info(id).unwrap().ssthresh_bytes, 7000);
}

/// CWR also after a loss.
//= RFC 3168 section 6.1.2
#[test]
fn cwr_follows_every_reduction() {
    let (mut h, mut p, id) = open(sacked());
    h.write(id, &[1; 40_000]);
    h.run(10 * MS);
    let mut out = h.sack(&mut p, 0, &[(1000, 10_000)]);
    assert!(!out[0].has(CWR) && p.off(&out[0]) == 0, "not on a retransmission");
    out.extend(h.ack(&mut p, 10_000));
    let new: Vec<_> = out.iter().filter(|s| p.off(s) >= 10_000 && !s.data.is_empty()).collect();
    assert!(new[0].has(CWR) && new[1..].iter().all(|s| !s.has(CWR)));
}

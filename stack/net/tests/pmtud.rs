//! Path MTU discovery: by ICMP (RFC 1191, RFC 8201), and by the fate of segments (RFC 4821).

mod support;

use linerate_net::{DropReason, FlowId, TcpConfig};
use linerate_tcp::config::MtuProbing;
use support::icmp::*;
use support::peer::*;
use support::{Faults, Net, addr};

const BIG: Opts =
    Opts { mss: Some(1460), wscale: Some(7), sack: true, ts: false, wnd: 60_000, rtt_ns: 10 * MS, v6: false };
const BIG_V6: Opts = Opts { mss: Some(1440), v6: true, ..BIG };

fn sizes(segs: &[Seg]) -> Vec<usize> {
    segs.iter().filter(|s| !s.data.is_empty()).map(|s| s.data.len()).collect()
}

fn flight(h: &mut Host, o: &Opts, n: usize) -> (Peer, FlowId, Vec<Seg>) {
    let (p, id) = h.accepted(o);
    let data: Vec<u8> = (0..n).map(|i| (i / 100) as u8).collect();
    let segs = h.write(id, &data);
    (p, id, segs)
}

/// The path takes 1300: what was too large leaves again at once, cut, and congestion control hears nothing of it.
//= RFC 1191 section 6.4
//= RFC 8201 section 5.4
//= RFC 9293 section 3.7.1, MUST-16
#[test]
fn too_big_is_cut_and_sent_again_at_once() {
    for (o, mtu, mss) in [(BIG, 1300, 1260), (BIG_V6, 1300, 1240)] {
        let mut h = Host::new(TcpConfig::default());
        let full = o.mss.unwrap() as usize;
        let (mut p, id, segs) = flight(&mut h, &o, 4 * full);
        assert_eq!(sizes(&segs), [full; 4]);
        let before = h.stack.info(id).unwrap();
        h.inject(&too_big(mtu, &quote_seg(&segs[0])));
        let out = h.turn();
        let rest = full - mss;
        assert_eq!(sizes(&out), [mss, rest, mss, rest, mss, rest, mss, rest]);
        let all: Vec<u8> = out.iter().flat_map(|s| s.data.clone()).collect();
        assert_eq!(all, segs.iter().flat_map(|s| s.data.clone()).collect::<Vec<u8>>());
        let after = h.stack.info(id).unwrap();
        assert_eq!((after.cwnd_bytes, after.ssthresh_bytes), (before.cwnd_bytes, before.ssthresh_bytes));
        assert_eq!(usize::from(after.smss), mss);
        // The errors about the other three say nothing new.
        for s in &segs[1..] {
            h.inject(&too_big(mtu, &quote_seg(s)));
        }
        assert!(h.turn().is_empty());
        h.ack(&mut p, 4 * full as u32);
        assert_eq!(sizes(&h.write(id, &vec![1; 2 * mss])), [mss, mss]);
        // A new connection to the same host begins with what is known.
        let (_, _, segs) = flight(&mut h, &o, 2 * mss);
        assert_eq!(sizes(&segs), [mss, mss]);
        h.assert_ledger();
    }
}

/// Another connection to the same host follows with its next segments, without an error of its own.
#[test]
fn other_connections_to_the_host_follow() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p2, id2) = h.accepted(&BIG);
    let (_, _, segs) = flight(&mut h, &BIG, 1460);
    h.inject(&too_big(1000, &quote_seg(&segs[0])));
    assert_eq!(sizes(&h.turn()), [960, 500]);
    h.ack(&mut p2, 0);
    assert_eq!(sizes(&h.write(id2, &[1; 1920])), [960, 960]);
}

/// Ten minutes later the path may be wider.
//= RFC 1191 section 6.3
//= RFC 8201 section 5.3
#[test]
fn the_estimate_ages() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, id, segs) = flight(&mut h, &BIG, 1460);
    h.inject(&too_big(1000, &quote_seg(&segs[0])));
    h.turn();
    h.ack(&mut p, 1460);
    h.run(599 * SEC);
    assert_eq!(sizes(&h.write(id, &[1; 960])), [960]);
    h.ack(&mut p, 2420);
    h.run(2 * SEC);
    // A connection looks again with the next segment that comes or goes.
    h.ack(&mut p, 2420);
    assert_eq!(sizes(&h.write(id, &[1; 1460])), [1460]);
}

/// Forged or foolish: out of the flight, larger than what is, below what any link carries.
//= RFC 5927 section 7
//= RFC 8201 section 4
#[test]
fn unbelievable_errors_are_ignored() {
    let mut h = Host::new(TcpConfig::default());
    let (_, id, segs) = flight(&mut h, &BIG, 2920);
    let last = segs[1].seq.wrapping_add(1460);
    h.inject(&too_big(1000, &quote_tcp(&segs[0], last)));
    h.inject(&too_big(1000, &quote_tcp(&segs[0], segs[0].seq.wrapping_sub(1))));
    h.inject(&too_big(1500, &quote_seg(&segs[0])));
    h.inject(&too_big(9000, &quote_seg(&segs[0])));
    h.inject(&too_big(67, &quote_seg(&segs[0])));
    assert!(h.turn().is_empty());
    assert_eq!(h.stack.info(id).unwrap().smss, 1460);
    let (_, id, segs) = flight(&mut h, &BIG_V6, 2880);
    for mtu in [0, 68, 1279, 1500, 0x1_0000, u32::MAX] {
        h.inject(&too_big(mtu, &quote_seg(&segs[0])));
    }
    assert_eq!(h.stack.info(id).unwrap().smss, 1440);
    assert_eq!(h.stack.counters().dropped(DropReason::IcmpUnsolicited), 11);
}

fn dont_fragment(frame: &[u8]) -> bool {
    frame[14 + 6] & 0x40 != 0
}

/// TCP is sent with DF, so that routers tell. A path that claims less than 552 is not believed that far: packets go out
/// without DF and may be fragmented.
//= RFC 1191 section 3
#[test]
fn df_is_set_but_on_absurd_paths() {
    let mut h = Host::new(TcpConfig::default());
    let (_, id) = h.accepted(&BIG);
    h.stack.write(id, &[7; 1460]);
    let out = raw_turn(&mut h);
    assert!(out.len() == 1 && dont_fragment(&out[0]));
    let seg = parse_seg(&out[0], 0).unwrap();
    h.inject(&too_big(100, &quote_seg(&seg)));
    let out = raw_turn(&mut h);
    assert_eq!(out.len(), 3);
    assert!(out.iter().all(|f| f.len() <= 14 + 552 && !dont_fragment(f)));
}

/// A router older than RFC 1191 says 0: the next plateau below the packet's size.
//= RFC 1191 section 5
#[test]
fn old_routers_do_not_say_their_mtu() {
    let mut h = Host::new(TcpConfig::default());
    let (_, _, segs) = flight(&mut h, &BIG, 1460);
    h.inject(&too_big(0, &quote_seg(&segs[0])));
    let out = h.turn();
    assert_eq!(sizes(&out), [1452, 8], "1492 less 40");
    h.inject(&too_big(0, &quote_seg(&out[0])));
    assert_eq!(sizes(&h.turn()), [966, 486], "1006 less 40; the 8 bytes had fitted");
}

/// Segments of more than 1064 bytes vanish without a word: after the third timeout in a row smaller ones are tried, and
/// the search that follows finds out what arrives.
//= RFC 4821 section 7.7
#[test]
fn a_black_hole_is_found() {
    let mut h = Host::new(TcpConfig::default());
    let (mut p, id, segs) = flight(&mut h, &BIG, 2920);
    assert_eq!(sizes(&segs), [1460, 1460]);
    let mut out = Vec::new();
    while sizes(&out).iter().all(|n| *n == 1460) {
        out = h.run(100 * MS);
        assert!(h.now.0 < 200 * SEC);
    }
    assert_eq!(sizes(&out), [1024]);
    assert_eq!(h.stack.info(id).unwrap().smss, 1024);
    let out = h.ack(&mut p, 1024);
    assert_eq!(sizes(&out)[0], 436);
    h.run(10 * MS);
    h.ack(&mut p, 2920);
    assert_eq!(sizes(&h.write(id, &[1; 2048])), [1024, 1024]);
    let c = h.stack.tcp_counters();
    assert!(c.timeouts >= 3);
}

/// With a lower floor, where segments of the base vanish too.
#[test]
fn a_narrower_hole_by_choice() {
    let mut h = Host::new(TcpConfig { mtu_floor_mss: 300, ..TcpConfig::default() });
    let (_, _, segs) = flight(&mut h, &BIG, 1460);
    assert_eq!(sizes(&segs), [1460]);
    let mut seen = sizes(&h.run(200 * SEC));
    seen.dedup();
    assert_eq!(seen, [1460, 1024, 512, 300]);
}

/// Small segments that vanish say nothing of the path's MTU, nor does a search that is turned off.
#[test]
fn no_black_hole_is_seen_where_none_is() {
    for (probing, len) in [(MtuProbing::OnBlackHole, 536), (MtuProbing::Off, 1460)] {
        let mut h = Host::new(TcpConfig { mtu_probing: probing, ..TcpConfig::default() });
        let (_, id, segs) = flight(&mut h, &BIG, len);
        assert_eq!(sizes(&segs), [len]);
        let out = h.run(100 * SEC);
        assert!(out.len() > 6 && sizes(&out).iter().all(|n| *n == len));
        assert_eq!(h.stack.info(id).unwrap().smss, 1460);
    }
}

fn hole(mtu: usize, v6: bool, probing: MtuProbing, tells: bool) -> (Net, FlowId, FlowId) {
    let cfg = TcpConfig { mtu_probing: probing, ..TcpConfig::default() };
    let faults = Faults { delay_ns: 5 * MS, ..Faults::default() };
    let mut net = Net::new(3, faults, 4096, cfg);
    net.mtu = Some((mtu, tells));
    let listener = net.stacks[1].listen(None, 80, 4).unwrap();
    let now = net.now;
    let client = net.stacks[0].connect(addr(1, v6), 80, now).unwrap();
    net.run_for(100 * MS);
    let server = net.stacks[1].accept(listener).unwrap();
    (net, client, server)
}

/// Moves bytes until `n` have arrived; the time it took in ms.
fn transfer(net: &mut Net, from: FlowId, to: FlowId, n: usize) -> u64 {
    let start = net.now;
    let (mut sent, mut got) = (0, 0);
    while got < n {
        let data: Vec<u8> = (sent..n.min(sent + 20_000)).map(|i| (i % 251) as u8).collect();
        sent += net.stacks[0].write(from, &data);
        net.run_for(MS);
        while net.stacks[1].readable(to) > 0 {
            let bytes = net.stacks[1].recv(to).to_vec();
            assert!(bytes.iter().zip(got..).all(|(b, i)| *b == (i % 251) as u8), "intact");
            got += bytes.len();
            net.stacks[1].consume(to, bytes.len());
        }
        assert!(net.now.since(start) < 200 * SEC, "{got} of {n}");
    }
    net.now.since(start) / MS
}

/// A router on the way tells, in both families: the transfer hardly notices.
#[test]
fn a_transfer_through_a_narrow_link_that_tells() {
    for v6 in [false, true] {
        let (mut net, client, server) = hole(1300, v6, MtuProbing::Off, true);
        let ms = transfer(&mut net, client, server, 2_000_000);
        let info = net.stacks[0].info(client).unwrap();
        assert_eq!(info.smss, 1300 - 12 - if v6 { 60 } else { 40 });
        assert_eq!(net.stacks[0].tcp_counters().timeouts, 0);
        assert!(ms < 2000, "{ms} ms");
        net.assert_ledger("narrow");
    }
}

/// One that does not: the black hole costs three timeouts, then the search comes within 8 bytes of what the link takes.
//= RFC 4821 section 7.4
//= RFC 4821 section 7.6.1
//= RFC 4821 section 7.6.2
#[test]
fn a_transfer_through_a_black_hole() {
    for (mtu, v6) in [(1300, false), (1400, true)] {
        let (mut net, client, server) = hole(mtu, v6, MtuProbing::OnBlackHole, false);
        transfer(&mut net, client, server, 8_000_000);
        let smss = usize::from(net.stacks[0].info(client).unwrap().smss);
        let most = mtu - 12 - if v6 { 60 } else { 40 };
        assert!(smss <= most && smss + 8 > most, "{smss} of {most}");
        let c = net.stacks[0].tcp_counters();
        assert!((1..15).contains(&c.mtu_probes) && c.timeouts <= 6, "{c:?}");
        net.assert_ledger("hole");
    }
}

/// Probing from the start: no timeout at all, and the full size where the path carries it.
#[test]
fn probing_from_the_start() {
    for mtu in [1200, 1500] {
        let (mut net, client, server) = hole(mtu, false, MtuProbing::Always, false);
        assert_eq!(net.stacks[0].info(client).unwrap().smss, 1012);
        transfer(&mut net, client, server, 8_000_000);
        let smss = usize::from(net.stacks[0].info(client).unwrap().smss);
        assert!(smss <= mtu - 52 && smss + 8 > mtu - 52, "{smss}");
        let c = net.stacks[0].tcp_counters();
        assert_eq!(c.timeouts, 0);
        assert!(c.mtu_probes <= 10);
    }
}

//! Settings of one listener or connection beside those of the stack.

mod support;

use std::sync::Arc;

use linerate_net::{Events, FlowId, SockError, State, TcpConfig, TcpError};
use linerate_wire::tcp_options::TcpOptions;
use support::addr;
use support::peer::*;

#[test]
fn a_listeners_own_settings_are_its_connections() {
    let mut h = Host::new(TcpConfig::default());
    let own =
        TcpConfig { timestamps: false, rcv_buf_bytes: 20_000, rcv_buf_max_bytes: 0, ..TcpConfig::default() };
    h.stack.close_listener(h.listener, h.now);
    h.listener = h.stack.listen_with(None, PORT, 8, Some(Arc::new(own))).unwrap();
    let (_, out) = h.syn(&Opts { ts: true, wscale: Some(3), ..Opts::default() });
    assert_eq!((out[0].options.timestamps, out[0].options.wscale, out[0].wnd), (None, Some(0), 20_000));
}

#[test]
//= RFC 9293 section 3.9.1.1, MUST-43
fn a_connection_can_be_opened_from_a_chosen_port_and_configured() {
    let mut h = Host::new(TcpConfig::default());
    let to = (addr(1, false), 4242);
    let id = h.stack.connect_from((Some(addr(0, false)), 555), to, None, h.now).unwrap();
    let again = h.stack.connect_from((None, 555), to, None, h.now);
    assert_eq!(again, Err(SockError::AddrInUse), "two connections between the same ends");
    let foreign = h.stack.connect_from((Some(addr(1, false)), 556), to, None, h.now);
    assert_eq!(foreign, Err(SockError::AddrNotAvailable));
    let out = h.turn();
    assert_eq!((out[0].src_port, out[0].dst_port), (555, 4242));
    h.stack.configure(id, |c| c.snd_buf_bytes = 1234);
    assert_eq!(h.stack.config(id).snd_buf_bytes, 1234);
}

fn open(cfg: TcpConfig) -> (Host, Peer, FlowId) {
    let mut h = Host::new(cfg);
    let (p, id) = h.accepted(&Opts::default());
    h.stack.next_ready();
    (h, p, id)
}

/// Seconds since `start` at which data left, and how the connection ended.
fn until_given_up(cfg: TcpConfig) -> (Vec<u64>, u64, Option<TcpError>) {
    let (mut h, _, id) = open(cfg);
    let start = h.now.0;
    let mut at: Vec<u64> = h.write(id, b"hello?").iter().map(|s| s.at - start).collect();
    while h.stack.error(id).is_none() && h.now.0 - start < 2000 * SEC {
        at.extend(h.run(10 * MS).iter().map(|s| s.at - start));
    }
    (at, (h.now.0 - start) / MS, h.stack.error(id))
}

//= RFC 9293 section 3.8.3, MUST-21
#[test]
fn r2_can_be_set_by_count() {
    let (at, over, error) = until_given_up(TcpConfig { data_retries: 3, ..TcpConfig::default() });
    // RTO 210 ms: 1 + 3 transmissions, given up when the fourth timeout fires.
    assert_eq!(at.len(), 4);
    assert!((15 * 210..15 * 210 + 20).contains(&over), "{over} ms");
    assert_eq!(error, Some(TcpError::TimedOut));
}

/// RFC 9293 section 3.10.1: the user timeout, which cuts the last wait short.
//= RFC 9293 section 3.8.3, MUST-21
#[test]
fn r2_can_be_set_by_time() {
    for ms in [1000, 5000, 300_000] {
        let cfg = TcpConfig { user_timeout_ns: Some(ms * MS), ..TcpConfig::default() };
        let (_, over, error) = until_given_up(cfg);
        assert!((ms..ms + 30).contains(&over), "{over} ms instead of {ms}");
        assert_eq!(error, Some(TcpError::TimedOut));
    }
}

/// At R1 the application hears of it, and is told once.
//= RFC 9293 section 3.8.3, MUST-20
//= RFC 9293 section 3.8.3, SHLD-9
#[test]
fn r1_is_told() {
    let (mut h, mut p, id) = open(TcpConfig::default());
    h.write(id, b"hello?");
    h.run(210 * MS * 5);
    assert_eq!(h.stack.next_ready(), None, "two retransmissions are nothing special");
    h.run(210 * MS * 4);
    assert!(h.stack.next_ready().is_some_and(|(_, e)| e.contains(Events::TROUBLE)));
    h.run(60 * SEC);
    assert_eq!(h.stack.next_ready(), None);
    h.ack(&mut p, 6);
    assert_eq!(h.stack.state(id), Some(State::Established));
}

//= RFC 9293 section 3.8.3, MUST-22
#[test]
fn r2_of_a_syn_can_be_set() {
    let mut h = Host::new(TcpConfig { syn_retries: 2, ..TcpConfig::default() });
    let (_, id, _) = h.connecting();
    assert_eq!(h.run(7 * SEC + MS).len(), 2);
    assert_eq!(h.stack.error(id), Some(TcpError::TimedOut));
}

//= RFC 9293 section 3.8.4, MUST-27
#[test]
fn keepalive_can_be_set_on_a_living_connection() {
    let (mut h, _, id) = open(TcpConfig::default());
    h.run(100 * SEC);
    h.stack.configure(id, |c| {
        c.keepalive = true;
        (c.keepalive_idle_ns, c.keepalive_interval_ns, c.keepalive_probes) = (110 * SEC, 3 * SEC, 2);
    });
    let start = h.now.0;
    let at: Vec<_> = h.run(60 * SEC).iter().map(|s| (s.at - start) / SEC).collect();
    assert_eq!(at, [10, 13], "idle since 100 s");
    assert_eq!(h.stack.error(id), Some(TcpError::TimedOut));
}

/// The user timeout holds for keep-alive probes instead of their count.
#[test]
fn the_user_timeout_ends_keepalive() {
    let cfg = TcpConfig {
        keepalive: true,
        keepalive_idle_ns: 10 * SEC,
        keepalive_interval_ns: 5 * SEC,
        user_timeout_ns: Some(60 * SEC),
        ..TcpConfig::default()
    };
    let (mut h, _, id) = open(cfg);
    assert_eq!(h.run(59 * SEC).len(), 10);
    assert_eq!(h.stack.error(id), None);
    h.run(2 * SEC);
    assert_eq!(h.stack.error(id), Some(TcpError::TimedOut));
}

/// Told in the SYN, once more in the first ACK, and when it changes; the peer's is adopted by whoever set none.
//= RFC 5482 section 3
//= RFC 5482 section 3.1
#[test]
fn the_user_timeout_option() {
    let cfg =
        TcpConfig { user_timeout_option: true, user_timeout_ns: Some(300 * SEC), ..TcpConfig::default() };
    let mut h = Host::new(cfg);
    let (mut p, id, syn) = h.connecting();
    assert_eq!(syn.options.user_timeout, 300);
    let out = h.raw(&p, SYN_ACK, ISS, p.ack, &TcpOptions::EMPTY, b"");
    assert_eq!(out[0].options.user_timeout, 300);
    p.seq = ISS + 1;
    let out = h.send(&mut p, ACK, b"x");
    assert!(out.iter().all(|s| s.options.user_timeout == 0), "told already");
    h.stack.configure(id, |c| c.user_timeout_ns = Some(3 * 3600 * 24 * SEC));
    assert_eq!(h.turn()[0].options.user_timeout, 0x8000 | (3 * 60 * 24));

    let retried = |enabled: bool, value: u16| {
        let cfg = TcpConfig { user_timeout_option: enabled, ..TcpConfig::default() };
        let (mut h, p, id) = open(cfg);
        let told = TcpOptions { user_timeout: value, ..TcpOptions::EMPTY };
        h.raw(&p, ACK, p.seq, p.ack, &told, b"");
        h.write(id, b"hello?");
        let start = h.now.0;
        while h.stack.error(id).is_none() {
            h.run(SEC);
        }
        (h.now.0 - start) / SEC
    };
    assert!((149..=151).contains(&retried(true, 150)));
    assert!((100..=101).contains(&retried(true, 1)), "not below R2's 100 s");
    assert!((3600..=3601).contains(&retried(true, 0xffff)), "not above an hour");
    assert!(retried(false, 150) > 900 && retried(true, 0x8000) > 900, "off, and a value of zero: ignored");
}

/// POSIX: SO_LINGER with time 0 makes close() an abort.
#[test]
fn linger_zero_resets() {
    let (mut h, p, id) = open(TcpConfig::default());
    h.write(id, b"lost");
    h.stack.configure(id, |c| c.linger_ns = Some(0));
    let out = h.close(id);
    assert_eq!(out.len(), 1);
    assert!(out[0].has(RST) && p.off(&out[0]) == 4);
    h.assert_home();
}

/// Only full segments while it is corked; the rest when it is not any more, or after 200 ms.
#[test]
fn cork() {
    let (mut h, mut p, id) = open(TcpConfig { nodelay: true, cork: true, ..TcpConfig::default() });
    assert!(h.write(id, &[1; 600]).is_empty());
    let out = h.write(id, &[2; 600]);
    assert_eq!(p.data(&out), [(0, 1000)]);
    h.stack.configure(id, |c| c.cork = false);
    let out = h.turn();
    assert_eq!(p.data(&out), [(1000, 200)]);
    h.ack(&mut p, 1200);
    h.stack.configure(id, |c| c.cork = true);
    let start = h.now.0;
    assert!(h.write(id, &[3; 300]).is_empty());
    let out = h.run(SEC);
    assert_eq!(p.data(&out)[0], (1200, 300));
    assert!((out[0].at - start) / MS <= 220);
}

//= RFC 9293 section 3.9.2, MUST-48
//= RFC 9293 section 3.9.2, MUST-49
#[test]
//= RFC 9293 section 3.9.1.9, SHLD-21, SHLD-22, SHLD-23
fn ttl_and_dscp() {
    for v6 in [false, true] {
        let mut h = Host::new(TcpConfig { tos: 0xb8 | 3, ttl: 7, ..TcpConfig::default() });
        let now = h.now;
        h.stack.connect(addr(1, v6), PORT, now).unwrap();
        h.stack.output(now);
        let (pool, batch) = h.stack.pool_and_batch();
        let tx = batch.pop().unwrap();
        let ip = &pool.tx_bytes(&tx)[14..];
        let (tos, ttl) = if v6 { (ip[0] << 4 | ip[1] >> 4, ip[7]) } else { (ip[1], ip[8]) };
        assert_eq!((tos, ttl), (0xb8, 7));
        assert!(pool.complete(tx.into_index()));
    }
}

#[test]
fn the_largest_mss_and_the_window_clamp() {
    let cfg = TcpConfig { mss_max: 700, window_clamp_bytes: 9000, ..TcpConfig::default() };
    let mut h = Host::new(cfg);
    let (_, out) = h.syn(&Opts { wscale: Some(2), ..Opts::default() });
    assert_eq!((out[0].options.mss, out[0].options.wscale, out[0].wnd), (Some(700), Some(0), 9000));
    let (p, id) = h.accepted(&Opts::default());
    let out = h.write(id, &[0; 1400]);
    assert_eq!(p.data(&out), [(0, 700), (700, 700)]);
}

#[test]
fn quick_acks_on_demand() {
    let (mut h, mut p, id) = open(TcpConfig { quickack_segs: 0, ..TcpConfig::default() });
    assert!(h.send(&mut p, ACK, b"x").is_empty(), "delayed");
    h.stack.set_quickack(id, 1);
    assert!(h.turn()[0].is_pure_ack(), "the pending one leaves");
    assert_eq!(h.send(&mut p, ACK, b"y").len(), 1);
    assert!(h.send(&mut p, ACK, b"z").is_empty());
}

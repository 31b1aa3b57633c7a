//! `profile=linux`: Linux's habits where the RFCs leave a choice, and `profile=rfc` without them.

mod driver;

use driver::{Drill, Family};

const SYN: &str = "S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>";
const SYN_TS: &str = "S 0:0(0) win 32792 <mss 1000,sackOK,TS val 100 ecr 0,nop,wscale 7>";

fn linux() -> Drill {
    Drill::new("virtual,profile=linux")
}

fn info(d: &Drill, fd: i32, at: usize) -> u32 {
    let bytes = d.getsockopt_bytes(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 280).unwrap();
    assert_eq!(bytes.len(), 280);
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Item 1: the order of options and their padding; only what was offered.
#[test]
fn options_of_a_syn_ack_and_of_what_follows() {
    for (syn, want) in [
        ("S 0:0(0) win 1000 <mss 1000>", "<mss 1460>"),
        ("S 0:0(0) win 1000 <mss 1000,sackOK,nop,nop>", "<mss 1460,nop,nop,sackOK>"),
        ("S 0:0(0) win 1000 <mss 1000,nop,wscale 7>", "<mss 1460,nop,wscale 7>"),
        (SYN, "<mss 1460,nop,nop,sackOK,nop,wscale 7>"),
        (SYN_TS, "<mss 1460,sackOK,TS ecr 100,nop,wscale 7>"),
    ] {
        let mut d = linux();
        let listener = d.listener();
        d.rx(syn);
        let (_, got) = d.tx();
        // The scale follows the largest receive buffer of the network namespace (tcp_rmem).
        let got = got.rsplit_once("wscale").map_or(got.clone(), |(before, _)| format!("{before}wscale 7>"));
        assert_eq!(got, format!("S. 0:0(0) ack 1 {want}"));
        d.end(&[listener]);
    }
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN_TS);
    d.write(fd, 100).unwrap();
    d.expect("P. 1:101(100) ack 1 <nop,nop,TS ecr 200>");
    d.rx("P. 1001:2001(1000) ack 101 win 257 <nop,nop,TS val 201 ecr 0>");
    d.expect(". 101:101(0) ack 1 <nop,nop,TS ecr 200,nop,nop,sack 1001:2001>");
    d.rx("P. 3001:4001(1000) ack 101 win 257 <nop,nop,TS val 202 ecr 0>");
    d.expect(". 101:101(0) ack 1 <nop,nop,TS ecr 200,nop,nop,sack 3001:4001 1001:2001>");
    d.rx("P. 1001:2001(1000) ack 101 win 257 <nop,nop,TS val 203 ecr 0>");
    d.expect(". 101:101(0) ack 1 <nop,nop,TS ecr 200,nop,nop,sack 1001:2001 1001:2001 3001:4001>");
    d.end(&[listener, fd]);
}

/// Item 1: our own SYN.
#[test]
fn options_of_a_syn() {
    let (d, (fd, syn)) = {
        let mut d = linux();
        let c = d.connecting(true);
        (d, c)
    };
    assert!(syn.starts_with("S 0:0(0) <mss 1460,sackOK,TS ecr 0,nop,wscale "), "{syn}");
    d.end(&[fd]);
}

/// Item 3: PSH at the end of each write, none within it.
#[test]
fn push_at_the_end_of_each_write() {
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    assert_eq!(d.write(fd, 2500), Ok(2500));
    d.expect(". 1:1001(1000) ack 1");
    d.expect(". 1001:2001(1000) ack 1");
    d.expect("P. 2001:2501(500) ack 1");
    // Held by Nagle's algorithm, then grown: the end of the first write is inside a segment now.
    assert_eq!(d.write(fd, 300), Ok(300));
    assert_eq!(d.write(fd, 1000), Ok(1000));
    d.expect(". 2501:3501(1000) ack 1");
    d.rx(". 1:1(0) ack 3501 win 257");
    d.expect("P. 3501:3801(300) ack 1");
    d.end(&[listener, fd]);
}

/// Nagle in Minshall's variant: a full segment in flight holds nothing back, a small one does.
#[test]
fn a_small_segment_waits_for_a_small_one_only() {
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.write(fd, 1000).unwrap();
    d.expect("P. 1:1001(1000) ack 1");
    d.write(fd, 10).unwrap();
    d.expect("P. 1001:1011(10) ack 1");
    d.write(fd, 20).unwrap();
    assert_eq!(d.probe(), Vec::<String>::new());
    d.rx(". 1:1(0) ack 1011 win 257");
    d.expect("P. 1011:1031(20) ack 1");
    d.end(&[listener, fd]);
}

/// Item 4: ten segments, then two more for each that is acknowledged.
#[test]
fn ten_segments_then_slow_start() {
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    assert_eq!(d.write(fd, 40_000), Ok(40_000));
    d.expect_data(".", 1, 10_001, 1);
    assert_eq!(info(&d, fd, 80), 10);
    assert_eq!(info(&d, fd, 24), 10, "unacked");
    d.rx(". 1:1(0) ack 2001 win 257");
    d.expect_data(".", 10_001, 14_001, 1);
    assert_eq!(info(&d, fd, 80), 12);
    d.end(&[listener, fd]);
}

/// Item 5: srtt + max(4 rttvar, 200 ms), doubled.
#[test]
fn the_retransmission_timeout() {
    let mut d = linux();
    let listener = d.listener();
    // Without SACK there is no tail-loss probe.
    let fd = d.accepted(listener, "S 0:0(0) win 32792 <mss 1000>");
    d.at_ms(100);
    d.write(fd, 100).unwrap();
    d.expect_at(100, "P. 1:101(100) ack 1");
    d.expect_at(310, "P. 1:101(100) ack 1");
    d.expect_at(730, "P. 1:101(100) ack 1");
    d.expect_at(1570, "P. 1:101(100) ack 1");
    d.end(&[listener, fd]);
}

/// Item 6: sixteen quick ACKs, then every second segment or 40 ms.
#[test]
fn quick_acks_then_delayed_ones() {
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    let mut seq = 1;
    for _ in 0..16 {
        d.rx(&format!(". {seq}:{}(1000) ack 1 win 257", seq + 1000));
        seq += 1000;
        d.expect(&format!(". 1:1(0) ack {seq}"));
    }
    d.rx(&format!(". {seq}:{}(1000) ack 1 win 257", seq + 1000));
    seq += 1000;
    let now = d.now() / 1000;
    d.expect_at(now + 40, &format!(". 1:1(0) ack {seq}"));
    d.end(&[listener, fd]);
}

/// Item 6, the other profile: no quick ACKs.
#[test]
fn the_rfc_profile_delays_from_the_first_segment() {
    let mut d = Drill::new("virtual,profile=rfc");
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    let now = d.now() / 1000;
    d.rx(". 1:1001(1000) ack 1 win 257");
    d.expect_at(now + 40, ". 1:1(0) ack 1001");
    d.rx(". 1001:2001(1000) ack 1 win 257");
    d.rx(". 2001:3001(1000) ack 1 win 257");
    d.expect_at(now + 40, ". 1:1(0) ack 3001");
    d.end(&[listener, fd]);
}

/// Item 6: where data goes back, the ACK waits for it (ping-pong).
#[test]
fn an_answered_request_is_acknowledged_with_the_answer() {
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.rx("P. 1:101(100) ack 1 win 257");
    d.expect(". 1:1(0) ack 101");
    d.write(fd, 200).unwrap();
    d.expect("P. 1:201(200) ack 101");
    d.rx("P. 101:201(100) ack 201 win 257");
    assert_eq!(d.probe(), Vec::<String>::new());
    d.write(fd, 200).unwrap();
    d.expect("P. 201:401(200) ack 201");
    d.end(&[listener, fd]);
}

/// Item 7: resets.
#[test]
fn resets_of_each_form() {
    let mut d = linux();
    let listener = d.listener();
    // An ACK to nobody.
    d.another(40_001);
    d.rx(". 1:1(0) ack 1 win 257");
    let (_, got) = d.tx();
    assert!(got.starts_with("R 1:1(0)") && !got.contains("ack"), "{got}");
    // A SYN to a closed port is answered with its own number plus one.
    d.another(40_000);
    let fd = d.accepted(listener, SYN);
    // Closed with unread data.
    d.rx("P. 1:101(100) ack 1 win 257");
    d.expect(". 1:1(0) ack 101");
    d.close(fd).unwrap();
    d.expect("R. 1:1(0) ack 101");
    // Data after close.
    d.another(40_002);
    let fd = d.accepted(listener, SYN);
    d.close(fd).unwrap();
    d.expect("F. 1:1(0) ack 1");
    d.rx("P. 1:101(100) ack 2 win 257");
    d.expect("R 2:2(0)");
    d.end(&[listener]);
}

/// Item 8: one challenge ACK in 500 ms.
#[test]
fn challenge_acks_are_limited() {
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    let challenge = |d: &mut Drill| {
        d.rx("R. 10:10(0) ack 1 win 257");
        d.probe().len()
    };
    assert_eq!(challenge(&mut d), 1);
    assert_eq!(challenge(&mut d), 0);
    d.sleep_ms(600);
    assert_eq!(challenge(&mut d), 1);
    d.rx("R. 1:1(0) ack 1 win 257");
    assert_eq!(d.read(fd, 10), Err(libc::ECONNRESET));
    d.end(&[listener, fd]);
}

/// Item 9, and the least that there is.
#[test]
fn buffers_are_doubled() {
    let d = linux();
    let fd = d.tcp();
    for opt in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        d.setsockopt(fd, libc::SOL_SOCKET, opt, 10_000).unwrap();
        assert_eq!(d.getsockopt(fd, libc::SOL_SOCKET, opt), Ok(20_000));
        d.setsockopt(fd, libc::SOL_SOCKET, opt, 1).unwrap();
        assert!(d.getsockopt(fd, libc::SOL_SOCKET, opt).unwrap() >= 2304);
    }
    d.end(&[fd]);
}

/// A FIN's ACK waits where data came before (Linux is in ping-pong mode then), and does not where none did.
#[test]
fn the_ack_of_a_fin() {
    let mut d = linux();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.rx("F. 1:1(0) ack 1 win 257");
    let now = d.now() / 1000;
    d.expect_at(now, ". 1:1(0) ack 2");
    assert_eq!(d.read(fd, 10), Ok(vec![]));
    d.another(40_001);
    let fd2 = d.accepted(listener, SYN);
    d.rx("P. 1:101(100) ack 1 win 257");
    d.expect(". 1:1(0) ack 101");
    let now = d.now() / 1000;
    d.rx("F. 101:101(0) ack 1 win 257");
    d.expect_at(now + 40, ". 1:1(0) ack 102");
    d.end(&[listener, fd, fd2]);
}

/// Fields of TCP_INFO that scripts look at.
#[test]
fn tcp_info_counts_in_segments() {
    let mut d = Drill::with(Some("virtual,profile=linux"), Family::V6);
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.write(fd, 4000).unwrap();
    d.expect_data("P.", 1, 4001, 1);
    d.sleep_ms(12);
    let sack = d.sack(&[(1001, 2001)]);
    d.rx(&format!(". 1:1(0) ack 1 win 257 {sack}"));
    let bytes = d.getsockopt_bytes(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 280).unwrap();
    assert_eq!((bytes[0], bytes[1]), (1, 1), "established, disorder");
    assert_eq!(bytes[5] & 7, 6, "SACK and window scaling, no timestamps");
    assert_eq!(bytes[6] & 15, 7);
    assert_eq!((info(&d, fd, 16), info(&d, fd, 84)), (1000, 1460), "snd_mss, advmss");
    assert_eq!((info(&d, fd, 24), info(&d, fd, 28)), (4, 1), "unacked, sacked");
    assert_eq!(info(&d, fd, 156), 4, "data_segs_out");
    assert_eq!(info(&d, fd, 192), 2, "delivered: the SYN-ACK and a segment");
    assert_eq!(info(&d, fd, 76), 0x7fff_ffff, "ssthresh");
    let rtt = info(&d, fd, 68);
    assert!((10_000..20_000).contains(&rtt), "{rtt} us");
    d.end(&[listener, fd]);
}

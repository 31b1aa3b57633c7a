//! Section 9 of the interface's description: the table itself, the clock, descriptors, blocking calls.

mod driver;

use std::time::{Duration, Instant};

use driver::ffi::{is_open, libc_getsockopt};
use driver::{Drill, Family, Table, asleep, blocking};

const VIRTUAL: &str = "virtual,local=192.168.0.1/16,local=fd3d:0a0b:17d6::1/64,gw=any";

#[test]
fn every_word_is_there_with_and_without_flags_and_twice() {
    let a = Table::init(None);
    let b = Table::init(Some(VIRTUAL));
    for t in [a, b] {
        assert!(t.0.iter().all(|w| *w != 0));
    }
    assert_ne!(a.0[0], b.0[0], "each script has a world of its own");
    assert_eq!(a.0[1..], b.0[1..]);
    a.free();
    assert!(b.socket(libc::AF_INET, libc::SOCK_STREAM, 0).is_ok());
    b.free();
}

#[test]
fn descriptors_are_real_and_unique_and_closed_once() {
    let d = Drill::new(VIRTUAL);
    let fds: Vec<i32> = (0..20).map(|_| d.tcp()).collect();
    let ep = d.epoll_create(1).unwrap();
    let [r, w] = d.pipe().unwrap();
    let mut all = fds.clone();
    all.extend([ep, r, w]);
    for fd in &all {
        assert!(is_open(*fd));
    }
    let mut sorted = all.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), all.len());
    d.close(fds[3]).unwrap();
    assert!(!is_open(fds[3]));
    assert_eq!(d.close(fds[3]), Err(libc::EBADF));
    assert_eq!(d.read(fds[3], 1), Err(libc::EBADF));
    // What the script leaves open is closed by `free`, if nobody else has.
    d.table.free();
    assert!(all.iter().all(|fd| !is_open(*fd)));
}

#[test]
fn the_virtual_clock_moves_in_usleep_and_a_microsecond_a_reading() {
    let d = Drill::new(VIRTUAL);
    let t = d.gettimeofday();
    assert_eq!(d.gettimeofday(), t + 1);
    let wall = Instant::now();
    d.usleep(250_000);
    assert_eq!(d.gettimeofday(), t + 250_002);
    d.usleep(60_000_000);
    assert_eq!(d.gettimeofday(), t + 60_250_003);
    assert!(wall.elapsed() < Duration::from_secs(5), "virtual");
    d.table.free();
}

#[test]
fn a_receive_jumps_to_the_next_timer_and_gives_up_when_nothing_will_come() {
    let mut d = Drill::new(&format!("{VIRTUAL},profile=rfc"));
    let (at, none) = d.netdev_receive();
    assert!(none.is_empty() && at > 0, "idle: nothing, and no waiting");
    let (fd, syn) = d.connecting(true);
    assert!(syn.starts_with("S 0:0(0)"), "{syn}");
    let (at, again) = d.tx();
    assert_eq!(again, syn);
    assert!((1_000_000..1_002_000).contains(&at), "the retransmission's own time: {at}");
    let (at, _) = d.tx();
    assert!((3_000_000..3_004_000).contains(&at), "{at}");
    d.close(fd).unwrap();
    assert_eq!(d.tx().1, "", "nothing is left");
    d.table.free();
}

#[test]
fn the_demonstration_script_in_each_family() {
    for family in [Family::V4, Family::V6, Family::Mapped] {
        let mut d = Drill::with(Some(VIRTUAL), family);
        let listener = d.listener();
        d.at_ms(10);
        d.rx("S 0:0(0) win 32792 <mss 1000>");
        d.expect_at(10, "S. 0:0(0) ack 1 <mss 1460>");
        d.at_ms(20);
        d.rx(". 1:1(0) ack 1 win 257");
        let (fd, _) = d.accept(listener).unwrap();
        assert_eq!(d.write(fd, 100), Ok(100));
        d.expect_at(20, "P. 1:101(100) ack 1");
        d.at_ms(30);
        d.rx(". 1:1(0) ack 101 win 257");
        let table = d.table;
        let reader = blocking(move || {
            let got = table.read(fd, 1000);
            (got, table.gettimeofday())
        });
        asleep(&reader);
        d.at_ms(230);
        let before = d.gettimeofday();
        d.rx("P. 1:51(50) ack 101 win 257");
        d.expect_at(230, ". 101:101(0) ack 51");
        d.usleep(100_000);
        let (got, stamped) = reader.thread.join().unwrap();
        assert_eq!(got, Ok(vec![0; 50]));
        assert!(stamped - before < 100, "the call ended when the packet came: {}", stamped - before);
        d.close(fd).unwrap();
        d.expect_at(330, "F. 101:101(0) ack 51");
        d.end(&[listener]);
    }
}

#[test]
fn a_blocked_call_ends_at_its_own_timeout_in_virtual_time() {
    let d = Drill::new(VIRTUAL);
    let listener = d.listener();
    let table = d.table;
    let began = d.gettimeofday();
    let waiter = blocking(move || {
        let got = table.poll(&[(listener, libc::POLLIN)], 150);
        (got, table.gettimeofday())
    });
    asleep(&waiter);
    let wall = Instant::now();
    d.usleep(10_000_000);
    assert!(wall.elapsed() < Duration::from_secs(2));
    let (got, stamped) = waiter.thread.join().unwrap();
    assert_eq!(got, Ok(vec![0]));
    assert!((150_000..150_200).contains(&(stamped - began)), "{}", stamped - began);
    d.end(&[listener]);
}

#[test]
fn a_blocking_connect_and_accept_sleep_until_the_packet_comes() {
    let mut d = Drill::new(VIRTUAL);
    let fd = d.tcp();
    let (table, to) = (d.table, d.remote_addr());
    let connecter = blocking(move || table.connect(fd, Some(&to)));
    asleep(&connecter);
    d.remote_port = 8080;
    let (_, syn) = d.tx();
    assert!(syn.starts_with("S 0:0(0)"));
    d.sleep_ms(10);
    d.rx("S. 0:0(0) ack 1 win 1000 <mss 1000>");
    assert_eq!(connecter.thread.join().unwrap(), Ok(0));
    d.expect(". 1:1(0) ack 1");

    let mut d2 = Drill::new(VIRTUAL);
    let listener = d2.listener();
    let table = d2.table;
    let accepter = blocking(move || table.accept(listener));
    asleep(&accepter);
    d2.rx("S 0:0(0) win 1000 <mss 1000>");
    d2.expect("S. 0:0(0) ack 1 <mss 1460>");
    d2.rx(". 1:1(0) ack 1 win 1000");
    let (child, _) = accepter.thread.join().unwrap().unwrap();
    d2.end(&[listener, child]);
    d.end(&[fd]);
}

#[test]
fn the_exported_getsockopt_answers_for_our_descriptors_and_forwards_others() {
    let mut d = Drill::new(VIRTUAL);
    let listener = d.listener();
    let fd = d.accepted(listener, "S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>");
    let info = libc_getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, 280).unwrap();
    assert!(info.len() >= 280);
    assert_eq!(info[0], 1, "established");
    let cwnd = u32::from_ne_bytes(info[80..84].try_into().unwrap());
    assert_eq!(cwnd, 10);
    const TCP_CC_INFO: i32 = 26;
    const SO_MEMINFO: i32 = 55;
    assert!(libc_getsockopt(fd, libc::IPPROTO_TCP, TCP_CC_INFO, 20).unwrap().len() <= 20);
    assert_eq!(libc_getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, 36).unwrap().len(), 36);
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ty =
        libc_getsockopt(std::os::fd::AsRawFd::as_raw_fd(&host), libc::SOL_SOCKET, libc::SO_TYPE, 4).unwrap();
    assert_eq!(ty, libc::SOCK_STREAM.to_ne_bytes());
    assert_eq!(libc_getsockopt(-1, libc::SOL_SOCKET, libc::SO_TYPE, 4), Err(libc::EBADF));
    d.end(&[listener, fd]);
}

#[test]
fn the_real_clock_waits_in_real_time() {
    let mut d = Drill::new("real");
    let wall = Instant::now();
    let (fd, _) = d.connecting(true);
    let (at, syn) = d.tx();
    assert!(syn.starts_with('S') && (900_000..1_300_000).contains(&at), "{at}: {syn}");
    assert!(wall.elapsed() > Duration::from_millis(900));
    d.usleep(50_000);
    d.end(&[fd]);
}

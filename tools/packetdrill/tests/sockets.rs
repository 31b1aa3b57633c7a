//! Socket calls: what POSIX and Linux answer, bad arguments, readiness, options, pipes.

mod driver;

use driver::ffi::{libc_close, libc_sendfile};
use driver::{Drill, Family, Table};

const SYN: &str = "S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>";

fn drill() -> Drill {
    Drill::new("virtual")
}

#[test]
fn socket_refuses_what_there_is_not() {
    let d = drill();
    let e = |domain, ty, protocol| d.socket(domain, ty, protocol).unwrap_err();
    assert_eq!(e(libc::AF_UNIX, libc::SOCK_STREAM, 0), libc::EAFNOSUPPORT);
    assert_eq!(e(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_UDP), libc::EPROTONOSUPPORT);
    assert_eq!(e(libc::AF_INET, libc::SOCK_SEQPACKET, 0), libc::ESOCKTNOSUPPORT);
    assert_eq!(e(libc::AF_INET, 0x100 | libc::SOCK_STREAM, 0), libc::EINVAL);
    let fd =
        d.socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0).unwrap();
    assert_eq!(d.fcntl(fd, libc::F_GETFL, 0), Ok((libc::O_RDWR | libc::O_NONBLOCK) as isize));
    d.end(&[fd]);
}

#[test]
fn bind_and_listen() {
    let d = drill();
    let (a, b) = (d.tcp(), d.tcp());
    assert_eq!(d.bind(a, None), Err(libc::EFAULT));
    assert_eq!(d.bind(a, Some(&d.local_addr(8080)[..8])), Err(libc::EINVAL));
    assert_eq!(d.bind(a, Some(&d.remote_addr())), Err(libc::EADDRNOTAVAIL));
    assert_eq!(d.bind(99, Some(&d.local_addr(8080))), Err(libc::EBADF));
    assert_eq!(d.bind(a, Some(&d.local_addr(8080))), Ok(0));
    assert_eq!(d.bind(a, Some(&d.local_addr(8081))), Err(libc::EINVAL), "bound already");
    assert_eq!(d.bind(b, Some(&d.local_addr(8080))), Err(libc::EADDRINUSE));
    assert_eq!(d.accept(a).unwrap_err(), libc::EINVAL);
    assert_eq!(d.listen(a, 1), Ok(0));
    assert_eq!(d.listen(a, 5), Ok(0));
    assert_eq!(d.accept(a).unwrap_err(), libc::EAGAIN);
    assert_eq!(d.connect(a, Some(&d.remote_addr())), Err(libc::EISCONN));
    assert_eq!(d.getsockopt(a, libc::SOL_SOCKET, libc::SO_ACCEPTCONN), Ok(1));
    assert_eq!(d.ioctl(a, libc::FIONREAD), Err(libc::EINVAL));
    d.end(&[a, b]);
}

#[test]
fn calls_on_a_socket_without_a_connection() {
    let d = drill();
    let fd = d.tcp();
    assert_eq!(d.read(fd, 10), Err(libc::ENOTCONN));
    assert_eq!(d.write(fd, 10), Err(libc::EPIPE));
    assert_eq!(d.shutdown(fd, libc::SHUT_WR), Err(libc::ENOTCONN));
    assert_eq!(d.shutdown(fd, 7), Err(libc::EINVAL));
    assert_eq!(d.connect(fd, None), Err(libc::EFAULT));
    assert_eq!(d.poll(&[(fd, libc::POLLOUT)], 0), Ok(vec![libc::POLLOUT | libc::POLLHUP]));
    assert_eq!(d.poll(&[(1234, libc::POLLIN), (-1, libc::POLLIN)], 0), Ok(vec![libc::POLLNVAL, 0]));
    assert_eq!(d.splice(fd, fd, 10), Err(libc::EINVAL));
    assert_eq!(d.fcntl(fd, 12345, 0), Err(libc::EINVAL));
    assert_eq!(d.ioctl(fd, 12345), Err(libc::ENOTTY));
    for call in [d.read(-1, 1).unwrap_err(), d.write(-1, 1).unwrap_err(), d.close(-1).unwrap_err()] {
        assert_eq!(call, libc::EBADF);
    }
    d.end(&[fd]);
}

#[test]
fn a_connect_that_is_refused_and_one_that_succeeds() {
    let mut d = drill();
    let (fd, _) = d.connecting(true);
    assert_eq!(d.connect(fd, Some(&d.remote_addr())), Err(libc::EALREADY));
    assert_eq!(d.poll(&[(fd, libc::POLLOUT)], 0), Ok(vec![0]));
    assert_eq!((d.read(fd, 1), d.write(fd, 1)), (Err(libc::EAGAIN), Err(libc::EAGAIN)));
    d.rx("R. 0:0(0) ack 1 win 0");
    let gone = libc::POLLOUT | libc::POLLERR | libc::POLLHUP;
    assert_eq!(d.poll(&[(fd, libc::POLLOUT)], 0), Ok(vec![gone]));
    assert_eq!(d.getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR), Ok(libc::ECONNREFUSED));
    assert_eq!(d.getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR), Ok(0), "told once");
    d.close(fd).unwrap();

    let (fd, _) = d.connecting(true);
    d.sleep_ms(10);
    d.rx("S. 0:0(0) ack 1 win 5840 <mss 1000>");
    d.expect(". 1:1(0) ack 1");
    assert_eq!(d.getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR), Ok(0));
    assert_eq!(d.connect(fd, Some(&d.remote_addr())), Ok(0), "this tells how it ended");
    assert_eq!(d.connect(fd, Some(&d.remote_addr())), Err(libc::EISCONN));
    // AF_UNSPEC ends it, and the socket is as new.
    assert_eq!(d.connect(fd, Some(&[0; 16])), Ok(0));
    d.expect("R. 1:1(0) ack 1");
    assert_eq!(d.read(fd, 1), Err(libc::ENOTCONN));
    d.end(&[fd]);
}

#[test]
fn reading_and_writing() {
    let mut d = drill();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK.into()).unwrap();
    assert_eq!(d.read(fd, 10), Err(libc::EAGAIN));
    assert_eq!(d.write_null(fd, 10), Err(libc::EFAULT));
    assert_eq!(d.write_null(fd, 0), Ok(0));
    d.rx("P. 1:101(100) ack 1 win 257");
    d.expect(". 1:1(0) ack 101");
    assert_eq!(d.ioctl(fd, libc::FIONREAD), Ok(100));
    assert_eq!(d.read_null(fd, 10), Err(libc::EFAULT));
    assert_eq!(d.recv(fd, 10, libc::MSG_PEEK).unwrap().len(), 10);
    assert_eq!(d.readv(fd, &[3, 0, 4]).unwrap().len(), 7);
    assert_eq!(d.recv(fd, 10, libc::MSG_OOB), Err(libc::EINVAL));
    assert_eq!(d.recv(fd, 10, libc::MSG_ERRQUEUE), Err(libc::EAGAIN));
    let (data, flags, control) = d.recvmsg(fd, 50, 0).unwrap();
    assert_eq!((data.len(), flags, control.len()), (50, 0, 0));
    const TCP_INQ: i32 = 36;
    d.setsockopt(fd, libc::IPPROTO_TCP, TCP_INQ, 1).unwrap();
    let (_, _, control) = d.recvmsg(fd, 10, 0).unwrap();
    assert_eq!(control[16..20], 33i32.to_ne_bytes(), "unread after this");
    assert_eq!(d.read(fd, 1000).unwrap().len(), 33);
    assert_eq!(d.writev(fd, &[100, 200]), Ok(300));
    d.expect("P. 1:301(300) ack 101");
    assert_eq!(d.ioctl(fd, libc::TIOCOUTQ), Ok(300));
    d.rx(". 101:101(0) ack 301 win 257");
    assert_eq!(d.ioctl(fd, libc::TIOCOUTQ), Ok(0));
    // MSG_MORE holds a part of a segment back until something follows.
    assert_eq!(d.send(fd, 100, libc::MSG_MORE), Ok(100));
    assert_eq!(d.probe(), Vec::<String>::new());
    assert_eq!(d.send(fd, 100, 0), Ok(100));
    d.expect("P. 301:501(200) ack 101");
    d.end(&[listener, fd]);
}

#[test]
fn the_end_of_a_connection_as_calls_see_it() {
    let mut d = drill();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.rx("F. 1:1(0) ack 1 win 257");
    d.expect(". 1:1(0) ack 2");
    let want = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
    assert_eq!(d.poll(&[(fd, want)], 0), Ok(vec![want]));
    assert_eq!(d.read(fd, 10), Ok(vec![]));
    assert_eq!(d.shutdown(fd, libc::SHUT_WR), Ok(0));
    d.expect("F. 1:1(0) ack 2");
    assert_eq!(d.write(fd, 10), Err(libc::EPIPE));
    d.rx(". 2:2(0) ack 2 win 257");
    assert_eq!(d.shutdown(fd, libc::SHUT_WR), Err(libc::ENOTCONN));
    d.close(fd).unwrap();

    d.another(40_001);
    let fd = d.accepted(listener, SYN);
    d.rx("R. 1:1(0) ack 1 win 257");
    assert_eq!(d.write(fd, 10), Err(libc::ECONNRESET));
    assert_eq!(d.write(fd, 10), Err(libc::EPIPE));
    assert_eq!(d.read(fd, 10), Ok(vec![]), "told once");
    d.end(&[listener, fd]);
}

#[test]
fn linger_zero_resets_and_a_lingering_close_waits_in_test_time() {
    let mut d = drill();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    let linger = |on: i32, secs: i32| [on.to_ne_bytes(), secs.to_ne_bytes()].concat();
    d.setsockopt_bytes(fd, libc::SOL_SOCKET, libc::SO_LINGER, Some(&linger(1, 0))).unwrap();
    assert_eq!(d.getsockopt_bytes(fd, libc::SOL_SOCKET, libc::SO_LINGER, 8), Ok(linger(1, 0)));
    d.close(fd).unwrap();
    d.expect("R. 1:1(0) ack 1");
    d.another(40_001);
    let fd = d.accepted(listener, SYN);
    d.setsockopt_bytes(fd, libc::SOL_SOCKET, libc::SO_LINGER, Some(&linger(1, 2))).unwrap();
    let before = d.gettimeofday();
    d.close(fd).unwrap();
    let waited = d.gettimeofday() - before;
    assert!((2_000_000..2_001_000).contains(&waited), "{waited} us");
    d.expect("F. 1:1(0) ack 1");
    d.end(&[listener]);
}

#[test]
fn epoll_level_edge_and_one_shot() {
    let mut d = drill();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    let ep = d.epoll_create(1).unwrap();
    assert_eq!(d.epoll_create(0), Err(libc::EINVAL));
    let (add, modify, del) = (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_DEL);
    assert_eq!(d.epoll_ctl(ep, modify, fd, libc::EPOLLIN), Err(libc::ENOENT));
    assert_eq!(d.epoll_ctl(ep, add, fd, libc::EPOLLIN), Ok(0));
    assert_eq!(d.epoll_ctl(ep, add, fd, libc::EPOLLIN), Err(libc::EEXIST));
    assert_eq!(d.epoll_ctl(ep, add, ep, libc::EPOLLIN), Err(libc::EINVAL));
    assert_eq!(d.epoll_ctl(fd, add, ep, libc::EPOLLIN), Err(libc::EINVAL));
    assert_eq!(d.epoll_ctl(ep, add, 1234, libc::EPOLLIN), Err(libc::EBADF));
    assert_eq!(d.epoll_ctl(ep, 17, fd, libc::EPOLLIN), Err(libc::EINVAL));
    assert_eq!(d.epoll_wait(ep, 0), Ok(None));
    d.rx("P. 1:101(100) ack 1 win 257");
    d.expect(". 1:1(0) ack 101");
    let readable = Ok(Some((libc::EPOLLIN as u32, fd as u64)));
    assert_eq!(d.epoll_wait(ep, 0), readable);
    assert_eq!(d.epoll_wait(ep, 0), readable, "level-triggered");
    d.epoll_ctl(ep, modify, fd, libc::EPOLLIN | libc::EPOLLET).unwrap();
    assert_eq!(d.epoll_wait(ep, 0), readable);
    assert_eq!(d.epoll_wait(ep, 0), Ok(None), "edge-triggered");
    d.rx("P. 101:201(100) ack 1 win 257");
    assert_eq!(d.epoll_wait(ep, 0), readable);
    d.epoll_ctl(ep, modify, fd, libc::EPOLLIN | libc::EPOLLONESHOT).unwrap();
    assert_eq!(d.epoll_wait(ep, 0), readable);
    assert_eq!(d.epoll_wait(ep, 0), Ok(None), "one shot");
    d.epoll_ctl(ep, del, fd, 0).unwrap();
    assert_eq!(d.epoll_ctl(ep, del, fd, 0), Err(libc::ENOENT));
    assert_eq!(d.epoll_wait(fd, 0), Err(libc::EINVAL));
    d.end(&[listener, fd, ep]);
}

#[test]
fn pipes_splice_and_sendfile() {
    let mut d = drill();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    let [r, w] = d.pipe().unwrap();
    d.rx("P. 1:501(500) ack 1 win 257");
    d.expect(". 1:1(0) ack 501");
    assert_eq!(d.splice(fd, w, 1000), Ok(500));
    assert_eq!(d.splice(fd, r, 10), Err(libc::EBADF));
    assert_eq!(d.splice(r, fd, 1000), Ok(500));
    d.expect("P. 1:501(500) ack 501");
    assert_eq!(d.write(w, 7), Ok(7));
    assert_eq!(d.read(r, 100).unwrap().len(), 7);
    assert_eq!(d.read(w, 1), Err(libc::EBADF));
    d.close(w).unwrap();
    assert_eq!(d.read(r, 1), Ok(vec![]));

    let path = std::env::temp_dir().join(format!("linerate-packetdrill-{}", std::process::id()));
    std::fs::write(&path, vec![0; 300]).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    assert_eq!(libc_sendfile(fd, std::os::fd::AsRawFd::as_raw_fd(&file), 1000), Ok(300));
    d.rx(". 501:501(0) ack 501 win 257");
    d.expect("P. 501:801(300) ack 501");
    std::fs::remove_file(path).unwrap();
    d.end(&[listener, fd, r]);
}

#[test]
fn options_are_kept_bounded_and_refused_as_linux_does() {
    let d = drill();
    let fd = d.tcp();
    let tcp = libc::IPPROTO_TCP;
    for (opt, good, bad) in [
        (libc::TCP_MAXSEG, 1000, 87),
        (libc::TCP_KEEPIDLE, 10, 0),
        (libc::TCP_KEEPINTVL, 10, 40_000),
        (libc::TCP_KEEPCNT, 3, 128),
        (libc::TCP_SYNCNT, 3, 0),
        (libc::TCP_USER_TIMEOUT, 5000, -1),
        (libc::TCP_FASTOPEN, 5, -1),
    ] {
        assert_eq!(d.setsockopt(fd, tcp, opt, bad), Err(libc::EINVAL), "option {opt}");
        assert_eq!(d.setsockopt(fd, tcp, opt, good), Ok(0), "option {opt}");
        assert_eq!(d.getsockopt(fd, tcp, opt), Ok(good), "option {opt}");
    }
    assert_eq!(d.setsockopt_bytes(fd, tcp, libc::TCP_NODELAY, None), Err(libc::EFAULT));
    assert_eq!(d.setsockopt_bytes(fd, tcp, libc::TCP_NODELAY, Some(&[1])), Err(libc::EINVAL));
    assert_eq!(d.setsockopt(fd, tcp, 9999, 1), Err(libc::ENOPROTOOPT));
    assert_eq!(d.getsockopt(fd, libc::SOL_SOCKET, 9999), Err(libc::ENOPROTOOPT));
    assert_eq!(d.setsockopt_bytes(fd, tcp, libc::TCP_CONGESTION, Some(b"reno\0")), Ok(0));
    assert_eq!(&d.getsockopt_bytes(fd, tcp, libc::TCP_CONGESTION, 16).unwrap()[..5], b"reno\0");
    assert_eq!(d.setsockopt_bytes(fd, tcp, libc::TCP_CONGESTION, Some(b"none")), Err(libc::ENOENT));
    assert_eq!(d.getsockopt(fd, libc::IPPROTO_IP, libc::IP_MTU), Err(libc::ENOTCONN));
    assert_eq!(d.setsockopt(fd, libc::IPPROTO_IP, libc::IP_TTL, 0), Err(libc::EINVAL));
    assert_eq!(d.getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE), Ok(libc::SOCK_STREAM));
    // A shorter buffer gets the beginning.
    assert_eq!(d.getsockopt_bytes(fd, tcp, libc::TCP_INFO, 1), Ok(vec![7]));
    d.end(&[fd]);
}

#[test]
fn ttl_and_traffic_class_leave_with_the_packets() {
    for family in [Family::V4, Family::V6] {
        let mut d = Drill::with(Some("virtual"), family);
        let fd = d.tcp();
        let (level, ttl, tos) = match family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_TTL, libc::IP_TOS),
            _ => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, libc::IPV6_TCLASS),
        };
        d.setsockopt(fd, level, ttl, 9).unwrap();
        d.setsockopt(fd, level, tos, 0x48).unwrap();
        d.fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK.into()).unwrap();
        assert_eq!(d.connect(fd, Some(&d.remote_addr())), Err(libc::EINPROGRESS));
        d.remote_port = 8080;
        d.tx();
        assert_eq!(d.last_ip, (9, 0x48), "{family:?}");
        d.end(&[fd]);
    }
}

/// Several scripts in one process, each left in the middle; descriptors reused; a second world beside the first.
#[test]
fn many_scripts_in_one_process() {
    let other = Table::init(None);
    let kept = other.socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
    for i in 0..50 {
        let mut d = drill();
        let listener = d.listener();
        let fd = d.accepted(listener, SYN);
        d.write(fd, 20_000).unwrap();
        d.rx("P. 1:101(100) ack 1 win 257");
        match i % 4 {
            0 => d.end(&[listener, fd]),
            1 => d.table.free(),
            2 => {
                d.close(listener).unwrap();
                d.end(&[fd]);
            }
            _ => {
                // Closed behind the adapter's back, and the number is somebody else's by the next socket.
                assert!(libc_close(fd));
                let again = d.tcp();
                assert_eq!(d.read(again, 1), Err(libc::ENOTCONN));
                d.end(&[listener, again]);
            }
        }
    }
    assert_eq!(other.getsockopt(kept, libc::SOL_SOCKET, libc::SO_TYPE), Ok(libc::SOCK_STREAM));
    other.free();
}

/// A packet larger than the link's, as a script may write it, comes in as the segments that it is.
#[test]
fn a_super_segment_is_taken_apart() {
    let mut d = drill();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.rx("P. 1:10001(10000) ack 1 win 257");
    let (_, ack) = d.tx();
    assert!(ack.starts_with(". 1:1(0) ack 10001"), "{ack}");
    assert_eq!(d.read(fd, 20_000).unwrap().len(), 10_000);
    d.end(&[listener, fd]);
}

/// Nothing that a script's packet holds brings the adapter down.
#[test]
fn junk_from_the_wire() {
    let d = drill();
    let listener = d.listener();
    let mut x = 1u64;
    for n in 0..3000usize {
        let bytes: Vec<u8> = (0..n % 200)
            .map(|_| {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (x >> 56) as u8
            })
            .collect();
        let mut packet = bytes.clone();
        if let Some(first) = packet.first_mut() {
            *first = if n % 2 == 0 { 0x45 } else { 0x60 };
        }
        d.netdev_send(&packet);
    }
    d.netdev_send(&vec![0x45; 70_000]);
    d.end(&[listener]);
}

#[test]
fn udp_in_each_family() {
    for family in [Family::V4, Family::V6, Family::Mapped] {
        let mut d = Drill::with(Some("virtual"), family);
        let fd = d.socket(family.domain(), libc::SOCK_DGRAM, libc::IPPROTO_UDP).unwrap();
        assert_eq!(d.write(fd, 10), Err(libc::EDESTADDRREQ));
        d.close(fd).unwrap();
        let fd = d.socket(family.domain(), libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0).unwrap();
        assert_eq!(d.bind(fd, Some(&d.local_addr(8080))), Ok(0));
        assert_eq!(d.bind(fd, Some(&d.local_addr(8080))), Err(libc::EINVAL));
        assert_eq!(d.listen(fd, 1), Err(libc::EOPNOTSUPP));
        assert_eq!(d.read(fd, 10), Err(libc::EAGAIN));
        assert_eq!(d.sendto(fd, 10, 0, &d.remote_addr()), Ok(10));
        assert_eq!(d.tx().1, "protocol 17", "{family:?}");
        assert_eq!(d.sendto(fd, 70_000, 0, &d.remote_addr()), Err(libc::EMSGSIZE));
        d.rx_udp(100);
        assert_eq!(d.ioctl(fd, libc::FIONREAD), Ok(100));
        assert_eq!(d.poll(&[(fd, libc::POLLIN | libc::POLLOUT)], 0), Ok(vec![libc::POLLIN | libc::POLLOUT]));
        let (data, flags, _) = d.recvmsg(fd, 60, 0).unwrap();
        assert_eq!((data.len(), flags), (60, libc::MSG_TRUNC));
        assert_eq!(d.shutdown(fd, libc::SHUT_RD), Err(libc::ENOTCONN));
        assert_eq!(d.connect(fd, Some(&d.remote_addr())), Ok(0));
        assert_eq!(d.write(fd, 20), Ok(20));
        assert_eq!(d.tx().1, "protocol 17");
        assert_eq!(d.getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE), Ok(libc::SOCK_DGRAM));
        d.end(&[fd]);
    }
}

#[test]
fn zero_copy_sends_are_told_of_in_the_error_queue() {
    let mut d = drill();
    let listener = d.listener();
    let fd = d.accepted(listener, SYN);
    d.setsockopt(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).unwrap();
    assert_eq!(d.send(fd, 1000, libc::MSG_ZEROCOPY), Ok(1000));
    assert_eq!(d.send(fd, 1000, libc::MSG_ZEROCOPY), Ok(1000));
    d.expect_data("P.", 1, 1001, 1);
    d.expect_data("P.", 1001, 2001, 1);
    assert_eq!(d.poll(&[(fd, libc::POLLERR)], 0), Ok(vec![0]));
    assert_eq!(d.recvmsg(fd, 100, libc::MSG_ERRQUEUE).unwrap_err(), libc::EAGAIN);
    d.rx(". 1:1(0) ack 2001 win 257");
    assert_eq!(d.poll(&[(fd, libc::POLLERR)], 0), Ok(vec![libc::POLLERR]));
    let (data, flags, control) = d.recvmsg(fd, 100, libc::MSG_ERRQUEUE).unwrap();
    assert_eq!((data.len(), flags), (0, libc::MSG_ERRQUEUE));
    assert_eq!(control[20..24], [5, 0, 1, 0]);
    assert_eq!(control[24..32], [0, 0, 0, 0, 1, 0, 0, 0], "sends 0 to 1");
    assert_eq!(d.poll(&[(fd, libc::POLLERR)], 0), Ok(vec![0]));
    d.end(&[listener, fd]);
}

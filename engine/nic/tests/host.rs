//! Against the real kernel, in anonymous network namespaces. Needs root and says so.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use linerate_load::{Attach, Protocol, Steer};
use linerate_nic::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn netns() -> Netns {
    Netns::new().unwrap_or_else(|error| {
        panic!("this test makes network namespaces and needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF): {error}")
    })
}

const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

/// `va` with 10.0.0.1 in one namespace, `vb` with 10.0.0.2 in another.
fn pair() -> (Netns, Netns) {
    let (a, b) = (netns(), netns());
    a.run(|| {
        veth::create_pair("va", "vb", 2, b.as_fd()).unwrap();
        veth::set_mac("va", MAC_A).unwrap();
        veth::set_up("va").unwrap();
        veth::add_addr("va", ip("10.0.0.1"), 24).unwrap();
        veth::add_addr("va", ip("fd01::1"), 64).unwrap();
    })
    .unwrap();
    b.run(|| {
        veth::set_mac("vb", MAC_B).unwrap();
        veth::set_up("vb").unwrap();
        veth::add_addr("vb", ip("10.0.0.2"), 24).unwrap();
        veth::add_addr("vb", ip("fd01::2"), 64).unwrap();
    })
    .unwrap();
    (a, b)
}

#[test]
fn scrape_reads_what_was_set_up() {
    let (a, _b) = pair();
    a.run(|| {
        veth::set_mtu("va", 1400).unwrap();
        veth::add_route((ip("0.0.0.0"), 0), Some(ip("10.0.0.254")), "va").unwrap();
        veth::add_route((ip("10.9.0.0"), 16), None, "va").unwrap();
        veth::add_route((ip("::"), 0), Some(ip("fd01::fe")), "va").unwrap();
        let ok = std::process::Command::new("sh")
            .args(["-c", "ip neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev va nud permanent && \
                          ip route add 10.8.0.0/16 via 10.0.0.253 dev va metric 50 mtu 1300 src 10.0.0.1 && \
                          ip route add 10.7.0.0/16 nexthop via 10.0.0.251 dev va nexthop via 10.0.0.252 dev va && \
                          ip route add 10.6.0.0/16 via 10.0.0.250 dev va table 77"])
            .status()
            .unwrap();
        assert!(ok.success());

        let seen = scrape("va").unwrap();
        let link = &seen.link;
        assert_eq!((link.name.as_str(), link.mac, link.mtu, link.driver.as_str()), ("va", MAC_A, 1400, "veth"));
        assert_eq!((link.rx_queues, link.tx_queues), (2, 2));
        assert!(link.up && link.carrier);
        assert_eq!((link.numa_node, link.xdp, link.ifindex), (None, None, if_index("va").unwrap()));
        assert!(seen.addrs.contains(&IfAddr { addr: ip("10.0.0.1"), prefix_len: 24 }));
        assert!(seen.addrs.contains(&IfAddr { addr: ip("fd01::1"), prefix_len: 64 }));

        let to = |dst: &str| seen.routes.iter().filter(|route| route.dst.0 == ip(dst)).collect::<Vec<_>>();
        assert_eq!(to("0.0.0.0")[0].gateway, Some(ip("10.0.0.254")));
        assert_eq!((to("10.9.0.0")[0].gateway, to("10.9.0.0")[0].dst.1), (None, 16));
        assert_eq!(to("10.0.0.0")[0].prefsrc, Some(ip("10.0.0.1")));
        let route = Route {
            dst: (ip("10.8.0.0"), 16),
            gateway: Some(ip("10.0.0.253")),
            metric: 50,
            mtu: Some(1300),
            prefsrc: Some(ip("10.0.0.1")),
        };
        assert_eq!(to("10.8.0.0"), [&route]);
        let hops: Vec<_> = to("10.7.0.0").iter().map(|route| route.gateway.unwrap()).collect();
        assert_eq!(hops, [ip("10.0.0.251"), ip("10.0.0.252")]);
        assert!(to("10.6.0.0").is_empty(), "another table");
        assert!(to("::").iter().any(|route| route.gateway == Some(ip("fd01::fe"))));
        assert!(to("ff00::").is_empty(), "multicast is no unicast route");

        let neighbour =
            Neighbour { addr: ip("10.0.0.7"), mac: [2, 0, 0, 0, 0, 7], permanent: true, reachable: true };
        assert!(seen.neighbours.contains(&neighbour), "{:?}", seen.neighbours);
        assert_eq!(rings("va").unwrap(), None);
    })
    .unwrap();
}

#[test]
fn an_unknown_interface_is_answered_with_those_that_exist() {
    let (a, _b) = pair();
    a.run(|| {
        for name in ["eth9", "", "a-name-that-is-too-long-for-linux"] {
            let text = scrape(name).unwrap_err().to_string();
            assert!(text.contains(&format!("`{name}` does not exist")) && text.contains("lo, va"), "{text}");
        }
        for error in [
            Offload::Gro.get("eth9").unwrap_err(),
            rings("eth9").unwrap_err(),
            veth::set_up("eth9").unwrap_err(),
            veth::delete_link("eth9").unwrap_err(),
        ] {
            assert!(matches!(error, NicError::NoSuchInterface { .. }), "{error}");
        }
        let text =
            veth::create_pair("va", "vx", 1, Netns::current().unwrap().as_fd()).unwrap_err().to_string();
        assert!(text.contains("EEXIST"), "{text}");
        let text = veth::set_mtu("va", 1_000_000).unwrap_err().to_string();
        assert!(text.contains("EINVAL") && text.contains("mtu greater than device maximum"), "{text}");
    })
    .unwrap();
}

#[test]
fn scrape_sees_the_program_and_the_driver_says_its_features() {
    let (a, _b) = pair();
    a.run(|| {
        let ifindex = if_index("va").unwrap();
        let seen = features(ifindex).unwrap();
        assert!(seen.has_native_xdp() && !seen.has_zerocopy(), "{seen:?}");
        assert!(seen.xdp_names().contains(&"redirect".to_owned()), "{:?}", seen.xdp_names());
        assert!(seen.rx_metadata_names().contains(&"hash".to_owned()), "{:?}", seen.rx_metadata_names());
        assert_eq!(features(4711).unwrap_err().errno(), Some(libc::ENODEV));

        let mut steer = Steer::load().unwrap();
        for (mode, shown) in [(Attach::Native, XdpMode::Native), (Attach::Generic, XdpMode::Generic)] {
            steer.attach(ifindex, mode).unwrap();
            let xdp = scrape("va").unwrap().link.xdp.unwrap();
            assert_eq!(xdp.mode, shown);
            assert_ne!(xdp.prog_id, 0);
            steer.detach();
            assert_eq!(scrape("va").unwrap().link.xdp, None);
        }
    })
    .unwrap();
}

fn wait_for(watch: &mut NeighbourWatch, addr: IpAddr) -> Option<NeighbourEvent> {
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        if let Some(event) = watch.by_ref().find(|event| event.addr == addr) {
            return Some(event);
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        poll(&mut [PollFd::new(&*watch, PollFlags::IN)], Some(&timeout)).unwrap();
    }
    None
}

#[test]
fn the_kernel_resolves_and_we_hear_it() {
    let (a, _b) = pair();
    a.run(|| {
        let ifindex = if_index("va").unwrap();
        let mut watch = NeighbourWatch::new(ifindex).unwrap();
        assert_eq!(watch.next(), None, "it does not block");
        for addr in [ip("10.0.0.2"), ip("fd01::2")] {
            let known = ask_kernel(ifindex, addr).unwrap();
            // On veth the answer may be there before the question returns.
            assert!(known.is_none() || known == Some(MAC_B));
            let event = wait_for(&mut watch, addr).unwrap_or_else(|| panic!("no event for {addr}"));
            assert_eq!(event, NeighbourEvent { addr, mac: Some(MAC_B) });
            assert_eq!(ask_kernel(ifindex, addr).unwrap(), Some(MAC_B), "known now");
            let neighbours = scrape("va").unwrap().neighbours;
            assert!(
                neighbours.iter().any(|n| n.addr == addr && n.reachable && !n.permanent),
                "{neighbours:?}"
            );
        }
        // Nobody has this one: three requests a second apart, then failure.
        assert_eq!(ask_kernel(ifindex, ip("10.0.0.99")).unwrap(), None);
        let event = wait_for(&mut watch, ip("10.0.0.99")).expect("a failure is an event");
        assert_eq!(event.mac, None);
    })
    .unwrap();
}

#[test]
fn offloads_are_read_set_and_the_previous_value_told() {
    let (a, _b) = pair();
    a.run(|| {
        for feature in Offload::ALL {
            let before = feature.get("va").unwrap();
            match feature.set("va", !before) {
                Ok(previous) => {
                    assert_eq!(previous, before);
                    assert_eq!(feature.get("va").unwrap(), !before, "{feature:?}");
                    assert_eq!(feature.set("va", before).unwrap(), !before);
                }
                // veth's receive checksum is fixed on some kernels.
                Err(error) => {
                    assert_eq!((feature, error.errno()), (Offload::RxChecksum, Some(libc::EOPNOTSUPP)))
                }
            }
        }
        assert_eq!(Offload::Tso.set("lo", true).unwrap(), Offload::Tso.get("lo").unwrap());
    })
    .unwrap();
}

#[test]
fn a_reserved_port_is_taken_and_free_again() {
    let (a, _b) = pair();
    a.run(|| {
        for addr in [ip("10.0.0.1"), ip("fd01::1")] {
            let reserved = reserve_port(Protocol::Tcp, addr, 443).unwrap();
            assert_eq!(reserved.addr().port(), 443);
            let text = reserve_port(Protocol::Tcp, addr, 443).unwrap_err().to_string();
            assert!(
                text.contains("TCP port 443") && text.contains("EADDRINUSE") && text.contains("ss -ltnp"),
                "{text}"
            );
            assert!(std::net::TcpListener::bind((addr, 443)).is_err());
            let udp = reserve_port(Protocol::Udp, addr, 443).unwrap();
            assert!(std::net::UdpSocket::bind((addr, 443)).is_err());
            drop((reserved, udp));
            drop(std::net::TcpListener::bind((addr, 443)).unwrap());
        }
        let text = reserve_port(Protocol::Tcp, ip("10.0.0.77"), 1).unwrap_err().to_string();
        assert!(text.contains("EADDRNOTAVAIL") && text.contains("not on this host"), "{text}");
    })
    .unwrap();
}

#[test]
fn a_namespace_is_gone_with_its_last_fd() {
    let (a, b) = pair();
    let inode = b.inode();
    assert_ne!(inode, Netns::current().unwrap().inode(), "the caller's thread has not moved");
    assert_eq!(b.run(|| Netns::current().unwrap().inode()).unwrap(), inode);
    drop(b);
    // The kernel takes namespaces down in the background; with its end `vb` goes, and so does `va`.
    let until = Instant::now() + Duration::from_secs(10);
    while a.run(|| if_index("va").is_ok()).unwrap() {
        assert!(Instant::now() < until, "va still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[should_panic(expected = "from inside")]
fn a_panic_inside_comes_out() {
    let _ = netns().run(|| panic!("from inside"));
}

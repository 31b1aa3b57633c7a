//! The program on a real (veth) interface: what it decides for frames on the wire, and what an attach
//! answers. Needs root; each test lives in a namespace of its own.

mod lab;

use lab::*;
use linerate_load::{Attach, Claim, LoadError, Protocol, Steer};
use std::os::fd::AsFd;

/// Counters that moved since the last look.
struct Watch<'a> {
    steer: &'a Steer,
    before: Vec<(&'static str, u64)>,
}

impl Watch<'_> {
    fn moved(&mut self) -> Vec<(&'static str, u64)> {
        let now = self.steer.counters().unwrap();
        let moved =
            now.iter().zip(&self.before).filter(|(a, b)| a.1 != b.1).map(|(a, b)| (a.0, a.1 - b.1)).collect();
        self.before = now;
        moved
    }
}

fn claimed_steer() -> Steer {
    let mut steer = Steer::load().unwrap();
    steer.claim_addr(US4.into(), Claim::Whole).unwrap();
    steer.claim_addr(SHARED4.into(), Claim::Ports).unwrap();
    steer.claim_addr(v6(1).into(), Claim::Whole).unwrap();
    steer.claim_addr(v6(2).into(), Claim::Ports).unwrap();
    steer.claim_port(Protocol::Tcp, 443).unwrap();
    steer.claim_port(Protocol::Udp, 53).unwrap();
    steer
}

/// What each frame must count as. One frame a row: name, frame, counter.
fn table() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let shared4 = |proto, l4: &[u8]| ip4(SHARED4, proto, l4);
    let from4 =
        |src, proto, l4: &[u8]| Ip4 { src, dst: OTHER4, proto, frag_off: 0, options_words: 0 }.packet(l4);
    let frag4 =
        |dst, frag_off| Ip4 { src: OTHER4, dst, proto: 6, frag_off, options_words: 0 }.packet(&ports(1, 443));
    let opts4 =
        |dst| Ip4 { src: OTHER4, dst, proto: 6, frag_off: 0, options_words: 10 }.packet(&ports(1, 443));
    let six = |last, nexthdr, rest: &[u8]| ip6(v6(9), v6(last), nexthdr, rest);
    // Next header, length in octets of eight beyond the first, padding.
    let opt = |next: u8, more: u8, rest: &[u8]| {
        let mut header = vec![next, more];
        header.resize(8 * (more as usize + 1), 0);
        header.extend(rest);
        header
    };
    let frag = |next: u8, offset_and_m: u16, rest: &[u8]| {
        let mut header = vec![next, 0];
        header.extend(offset_and_m.to_be_bytes());
        header.extend([0, 0, 0, 1]);
        header.extend(rest);
        header
    };
    let tcp = ports(1, 443);
    let mut to_group = [0; 16];
    (to_group[0], to_group[1], to_group[15]) = (0xff, 0x02, 1);
    let nd = |kind, target: [u8; 16]| ip6(v6(9), to_group, 58, &icmp(kind, &target));
    let chain4 = opt(43, 0, &opt(60, 2, &opt(60, 1, &opt(6, 0, &tcp))));
    let chain5 = opt(60, 0, &opt(60, 0, &opt(60, 0, &opt(60, 0, &opt(6, 0, &tcp)))));

    vec![
        ("tcp to a whole address", eth(0x0800, &ip4(US4, 6, &tcp)), "steer_claimed_tcp"),
        ("udp to a whole address", eth(0x0800, &ip4(US4, 17, &ports(9, 9))), "steer_claimed_udp"),
        ("echo to a whole address", eth(0x0800, &ip4(US4, 1, &icmp(8, &[]))), "steer_claimed_icmp"),
        ("gre to a whole address", eth(0x0800, &ip4(US4, 47, &[0; 8])), "steer_claimed_other"),
        ("first fragment, whole", eth(0x0800, &frag4(US4, 0x2000)), "steer_claimed_fragment"),
        ("later fragment, whole", eth(0x0800, &frag4(US4, 0x0005)), "steer_claimed_fragment"),
        ("don't fragment is no fragment", eth(0x0800, &frag4(US4, 0x4000)), "steer_claimed_tcp"),
        ("another address", eth(0x0800, &ip4(OTHER4, 6, &tcp)), "steer_passed_not_ours"),
        ("multicast", eth(0x0800, &ip4([224, 0, 0, 251], 17, &ports(1, 53))), "steer_passed_multicast"),
        ("priority tag", vlan(0, 0x0800, &ip4(US4, 6, &tcp)), "steer_claimed_tcp"),
        ("vlan 5", vlan(5, 0x0800, &ip4(US4, 6, &tcp)), "steer_passed_vlan"),
        ("two vlan tags", vlan(0, 0x8100, &[0, 9, 8, 0, 0, 0]), "steer_passed_not_ip"),
        ("lldp", eth(0x88cc, &[0; 40]), "steer_passed_not_ip"),
        ("ip cut short", eth(0x0800, &[0x45, 0, 0]), "steer_passed_malformed"),
        (
            "ip with header length 4",
            eth(0x0800, &{
                let mut p = ip4(US4, 6, &tcp);
                p[0] = 0x44;
                p
            }),
            "steer_passed_malformed",
        ),
        ("claimed tcp port", eth(0x0800, &shared4(6, &tcp)), "steer_claimed_tcp"),
        ("claimed port behind 40 bytes of options", eth(0x0800, &opts4(SHARED4)), "steer_claimed_tcp"),
        ("claimed udp port", eth(0x0800, &shared4(17, &ports(1, 53))), "steer_claimed_udp"),
        ("the tcp port by udp", eth(0x0800, &shared4(17, &ports(1, 443))), "steer_passed_port"),
        ("ssh next door", eth(0x0800, &shared4(6, &ports(443, 22))), "steer_passed_port"),
        ("fragment, shared", eth(0x0800, &frag4(SHARED4, 0x2000)), "steer_passed_fragment"),
        ("gre, shared", eth(0x0800, &shared4(47, &[0; 8])), "steer_passed_protocol"),
        ("tcp header cut, shared", eth(0x0800, &shared4(6, &[1])), "steer_passed_malformed"),
        ("echo, shared", eth(0x0800, &shared4(1, &icmp(8, &[]))), "steer_passed_icmp"),
        (
            "unreachable about our flow",
            eth(0x0800, &shared4(1, &icmp(3, &from4(SHARED4, 6, &ports(443, 9))))),
            "steer_claimed_icmp_error",
        ),
        (
            "time exceeded about our flow",
            eth(0x0800, &shared4(1, &icmp(11, &from4(SHARED4, 17, &ports(53, 9))))),
            "steer_claimed_icmp_error",
        ),
        (
            "unreachable about the kernel's flow",
            eth(0x0800, &shared4(1, &icmp(3, &from4(SHARED4, 6, &ports(22, 443))))),
            "steer_passed_icmp",
        ),
        (
            "unreachable about somebody's flow",
            eth(0x0800, &shared4(1, &icmp(3, &from4(OTHER4, 6, &ports(443, 9))))),
            "steer_passed_icmp",
        ),
        (
            "unreachable with its quote cut",
            eth(0x0800, &shared4(1, &icmp(3, &[0x45, 0]))),
            "steer_passed_malformed",
        ),
        ("arp for us", eth(0x0806, &arp(OTHER4, US4)), "steer_claimed_arp"),
        ("arp by one who claims to be us", eth(0x0806, &arp(US4, OTHER4)), "steer_claimed_arp"),
        ("arp for the shared address", eth(0x0806, &arp(OTHER4, SHARED4)), "steer_passed_arp"),
        ("arp for another", eth(0x0806, &arp(OTHER4, OTHER4)), "steer_passed_arp"),
        ("arp cut short", eth(0x0806, &[0, 1, 8, 0]), "steer_passed_malformed"),
        ("v6 tcp, whole", eth(0x86dd, &six(1, 6, &tcp)), "steer_claimed_tcp"),
        ("v6 another", eth(0x86dd, &six(9, 6, &tcp)), "steer_passed_not_ours"),
        ("v6 echo, whole", eth(0x86dd, &six(1, 58, &icmp(128, &[]))), "steer_claimed_icmp"),
        ("v6 solicitation to us", eth(0x86dd, &six(1, 58, &icmp(135, &v6(1)))), "steer_claimed_nd"),
        ("v6 advertisement to us", eth(0x86dd, &six(1, 58, &icmp(136, &v6(9)))), "steer_claimed_nd"),
        ("v6 router advertisement to us", eth(0x86dd, &six(1, 58, &icmp(134, &[0; 8]))), "steer_claimed_nd"),
        ("v6 fragment, whole", eth(0x86dd, &six(1, 44, &frag(6, 1, &tcp))), "steer_claimed_fragment"),
        ("v6 five headers, whole", eth(0x86dd, &six(1, 60, &chain5)), "steer_claimed_other"),
        ("v6 port", eth(0x86dd, &six(2, 6, &tcp)), "steer_claimed_tcp"),
        ("v6 other port", eth(0x86dd, &six(2, 6, &ports(1, 22))), "steer_passed_port"),
        ("v6 four headers to the port", eth(0x86dd, &six(2, 0, &chain4)), "steer_claimed_tcp"),
        ("v6 five headers, shared", eth(0x86dd, &six(2, 60, &chain5)), "steer_passed_ext_headers"),
        (
            "v6 header longer than the packet",
            eth(0x86dd, &six(2, 60, &[6, 255, 0, 0, 0, 0, 0, 0])),
            "steer_passed_malformed",
        ),
        ("v6 atomic fragment to the port", eth(0x86dd, &six(2, 44, &frag(6, 0, &tcp))), "steer_claimed_tcp"),
        ("v6 first fragment, shared", eth(0x86dd, &six(2, 44, &frag(6, 1, &tcp))), "steer_passed_fragment"),
        ("v6 later fragment, shared", eth(0x86dd, &six(2, 44, &frag(6, 8, &tcp))), "steer_passed_fragment"),
        (
            "v6 too big about our flow",
            eth(0x86dd, &six(2, 58, &icmp(2, &ip6(v6(2), v6(9), 6, &ports(443, 9))))),
            "steer_claimed_icmp_error",
        ),
        (
            "v6 too big, quote with a header",
            eth(0x86dd, &six(2, 58, &icmp(2, &ip6(v6(2), v6(9), 60, &opt(6, 0, &ports(443, 9)))))),
            "steer_claimed_icmp_error",
        ),
        (
            "v6 too big about the kernel's flow",
            eth(0x86dd, &six(2, 58, &icmp(2, &ip6(v6(2), v6(9), 6, &ports(22, 9))))),
            "steer_passed_icmp",
        ),
        (
            "v6 solicitation to the shared address",
            eth(0x86dd, &six(2, 58, &icmp(135, &v6(2)))),
            "steer_passed_icmp",
        ),
        ("v6 multicast solicitation for us", eth(0x86dd, &nd(135, v6(1))), "steer_claimed_nd"),
        (
            "v6 multicast solicitation for the shared address",
            eth(0x86dd, &nd(135, v6(2))),
            "steer_passed_multicast",
        ),
        ("v6 unsolicited advertisement of another", eth(0x86dd, &nd(136, v6(9))), "steer_passed_multicast"),
        ("v6 advertisement of our address by another", eth(0x86dd, &nd(136, v6(1))), "steer_claimed_nd"),
        ("v6 router advertisement to all", eth(0x86dd, &nd(134, v6(1))), "steer_passed_multicast"),
    ]
}

fn every_frame_counts_as_it_should(mode: Attach) {
    in_netns(move || {
        let (a, b) = (sys::if_index("va"), sys::if_index("vb"));
        let mut steer = claimed_steer();
        steer.attach(b, mode).unwrap();
        let xsk = sys::BareXsk::bind(b, 0).unwrap();
        steer.set_xsk(0, xsk.fd.as_fd()).unwrap();
        let wire = sys::PacketSocket::new(a).unwrap();
        let mut watch = Watch { before: steer.counters().unwrap(), steer: &steer };
        for (name, frame, counter) in table() {
            wire.send(&frame).unwrap();
            assert_eq!(watch.moved(), [(counter, 1)], "{mode}: {name}");
        }
        drop(xsk);
    });
}

#[test]
fn native_every_frame_counts_as_it_should() {
    every_frame_counts_as_it_should(Attach::Native);
}

#[test]
fn generic_every_frame_counts_as_it_should() {
    every_frame_counts_as_it_should(Attach::Generic);
}

#[test]
fn without_a_socket_the_kernel_gets_what_is_ours() {
    in_netns(|| {
        let (a, b) = (sys::if_index("va"), sys::if_index("vb"));
        let mut steer = claimed_steer();
        steer.attach(b, Attach::Native).unwrap();
        let wire = sys::PacketSocket::new(a).unwrap();
        let frame = eth(0x0800, &ip4(US4, 6, &ports(1, 2)));
        wire.send(&frame).unwrap();
        let counted = steer.counters().unwrap();
        assert!(counted.contains(&("steer_no_xsk", 1)), "{counted:?}");

        // Claims, ports and sockets can be taken back, also twice.
        for _ in 0..2 {
            steer.unclaim_addr(US4.into()).unwrap();
            steer.unclaim_addr(v6(1).into()).unwrap();
            steer.unclaim_port(Protocol::Tcp, 443).unwrap();
            steer.clear_xsk(0).unwrap();
        }
        wire.send(&frame).unwrap();
        let counted = steer.counters().unwrap();
        assert!(counted.contains(&("steer_passed_not_ours", 1)), "{counted:?}");
        wire.send(&eth(0x0800, &ip4(SHARED4, 6, &ports(1, 443)))).unwrap();
        assert!(steer.counters().unwrap().contains(&("steer_passed_port", 1)));
        assert!(matches!(steer.clear_xsk(256), Err(LoadError::QueueOutOfRange { queue: 256 })));
    });
}

#[test]
fn it_is_attached_by_a_link_that_goes_with_it() {
    in_netns(|| {
        let b = sys::if_index("vb");
        let mut steer = Steer::load().unwrap();
        steer.attach(b, Attach::Native).unwrap();
        assert!(steer.is_attached());
        assert!(matches!(steer.attach(b, Attach::Native), Err(LoadError::AlreadyAttached { .. })));
        let shown = sh("ip -d link show vb");
        let id =
            shown.split("prog/xdp id ").nth(1).and_then(|rest| rest.split(' ').next()).expect("attached");
        // A netlink attach would show on the interface and not in the list of links.
        let links = sh("bpftool link show");
        assert!(links.contains(&format!("xdp  prog {id} ")), "{links}");
        steer.detach();
        assert!(!sh("ip -d link show vb").contains("prog/xdp"));
        steer.attach(b, Attach::Generic).unwrap();
        drop(steer);
        assert!(!sh("ip -d link show vb").contains("prog/xdp"));
    });
}

/// Not a test of its own: the process that gets killed.
#[test]
fn child_process() {
    if std::env::var_os("LINERATE_TEST_ATTACH").is_none() {
        return;
    }
    let mut steer = Steer::load().unwrap();
    steer.attach(sys::if_index("vb"), Attach::Native).unwrap();
    println!("\nREADY");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn a_killed_process_leaves_nothing_attached() {
    use std::io::{BufRead, BufReader};
    in_netns(|| {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process", "--nocapture"])
            .env("LINERATE_TEST_ATTACH", "1")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert!(BufReader::new(child.stdout.take().unwrap()).lines().any(|line| line.unwrap() == "READY"));
        assert!(sh("ip -d link show vb").contains("prog/xdp"));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!sh("ip -d link show vb").contains("prog/xdp"));
    });
}

#[test]
fn a_foreign_program_stays_and_is_named() {
    in_netns(|| {
        let b = sys::if_index("vb");
        let mut first = Steer::load().unwrap();
        first.attach(b, Attach::Native).unwrap();
        let mut second = Steer::load().unwrap();
        for mode in [Attach::Native, Attach::Generic] {
            let error = second.attach(b, mode).unwrap_err();
            let text = error.to_string();
            let LoadError::ForeignProgram { prog_id: Some(id), .. } = error else { panic!("{text}") };
            assert!(text.contains(&format!("(id {id})")), "{text}");
            eprintln!("{text}");
        }
        assert!(sh("ip -d link show vb").contains("prog/xdp"));
    });
}

#[test]
fn what_keeps_it_from_attaching_is_said() {
    in_netns(|| {
        let mut steer = Steer::load().unwrap();
        let error = steer.attach(4711, Attach::Native).unwrap_err();
        assert!(matches!(error, LoadError::NoSuchInterface { ifindex: 4711 }), "{error}");

        sh("ip link set va mtu 9000 && ip link set vb mtu 9000");
        let error = steer.attach(sys::if_index("vb"), Attach::Native).unwrap_err();
        assert!(matches!(&error, LoadError::MtuTooLarge { mtu_bytes: Some(9000), .. }), "{error}");
        eprintln!("{error}");

        let error = steer.attach(sys::if_index("lo"), Attach::Native).unwrap_err();
        assert!(matches!(&error, LoadError::NoNativeXdp { .. }), "{error}");
        eprintln!("{error}");
        // Nothing has stayed behind from asking why.
        assert!(!sh("ip -d link show").contains("prog/xdp"));

        for port in 0..=16384 {
            match steer.claim_port(Protocol::Tcp, port) {
                Ok(()) => assert!(port < 16384),
                Err(error) => {
                    assert!(port == 16384 && matches!(error, LoadError::TableFull { .. }), "{port}: {error}")
                }
            }
        }
    });
}

#[test]
fn without_rights_it_says_which() {
    // As another user, in a process of its own: this test again, told to only try.
    if std::env::var_os("LINERATE_TEST_TRY_LOAD").is_some() {
        println!("RESULT {}", Steer::load().map(drop).unwrap_err());
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let out = std::process::Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"])
        .arg(exe)
        .args(["--exact", "without_rights_it_says_which", "--nocapture"])
        .env("LINERATE_TEST_TRY_LOAD", "1")
        .output()
        .expect("setpriv (util-linux) runs");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        text.contains("EPERM") && text.contains("CAP_BPF"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

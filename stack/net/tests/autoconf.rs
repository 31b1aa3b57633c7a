//! What a host does for its addresses by itself: RFC 5227, 4861, 4862, 7217, 7527, 8981, 9131, 8106, 3376, 3810.

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_net::addr::{AddrState, IfAddr};
use linerate_net::route::Route;
use linerate_net::{AddrEvent, AutoConfig, DropReason, TcpConfig};
use linerate_wire::nd::{self, NdMessage};
use linerate_wire::{
    ArpOp, ArpPacket, CsumStatus, EmitError, MacAddr, Push, eth, igmp, mld, parse, protocol, verify_l4,
};
use support::MACS;
use support::peer::*;

const ROUTER: MacAddr = [2, 0, 0, 0, 9, 1];
const ROUTER_IP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
const NEW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

fn ip(s: &str) -> IpAddr {
    s.parse().unwrap()
}

fn v6(s: &str) -> Ipv6Addr {
    s.parse().unwrap()
}

/// A stack that looks after its addresses, with nothing formed by itself.
fn probing() -> Host {
    host(AutoConfig { slaac: false, reports: false, ..AutoConfig::default() })
}

fn host(cfg: AutoConfig) -> Host {
    let mut h = Host::new(TcpConfig::default());
    h.stack.autoconfigure(AutoConfig { announce: false, ..cfg }, h.now);
    h
}

//= RFC 5227 section 2.3
//= RFC 9131 section 6
#[test]
fn addresses_that_are_there_are_announced() {
    let mut h = Host::new(TcpConfig::default());
    h.stack.autoconfigure(AutoConfig { slaac: false, reports: false, ..AutoConfig::default() }, h.now);
    let out = run(&mut h, 10 * SEC);
    let arps = out.iter().filter_map(|(_, f)| arp_of(f));
    assert_eq!(
        arps.filter(|a| a.sender_ip == a.target_ip && a.sender_ip == Ipv4Addr::new(10, 0, 0, 1)).count(),
        2
    );
    let adverts =
        out.iter().filter_map(|(_, f)| nd_of(f)).filter(|(src, _, m)| *src == v6("fd00::1") && m[0] == 136);
    assert_eq!((adverts.count(), out.len()), (2, 4));
    assert_eq!(events(&mut h), []);
}

/// What the stack sends within `ns`, with its time.
fn run(h: &mut Host, ns: u64) -> Vec<(u64, Vec<u8>)> {
    let until = h.now + ns;
    let mut out = Vec::new();
    loop {
        assert!(h.turn().is_empty(), "nothing here is TCP");
        out.extend(h.others.drain(..).map(|f| (h.now.0, f)));
        match h.stack.next_deadline() {
            Some(at) if at <= until => h.now = h.now.max(at),
            _ => break,
        }
    }
    h.now = until;
    out
}

fn events(h: &mut Host) -> Vec<AddrEvent> {
    std::iter::from_fn(|| h.stack.next_addr_event()).collect()
}

fn frame(
    from: MacAddr,
    dst: MacAddr,
    payload: &[u8],
    push: impl FnOnce(&mut Push<'_>) -> Result<(), EmitError>,
) -> Vec<u8> {
    let mut buf = vec![0; 128 + payload.len()];
    buf[128..].copy_from_slice(payload);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    push(&mut p).unwrap();
    p.eth(from, dst, None).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

fn arp(op: ArpOp, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let a = ArpPacket { op, sender_mac: MACS[1], sender_ip: from, target_mac: [0; 6], target_ip: to };
    frame(MACS[1], eth::BROADCAST, &[], |p| p.arp(&a))
}

fn arp_of(f: &[u8]) -> Option<ArpPacket> {
    let p = parse(f).unwrap();
    if p.net.is_some() { None } else { ArpPacket::parse(&f[p.l3_off as usize..]).ok() }
}

fn icmp6(src: Ipv6Addr, dst: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let to = if dst.is_multicast() { nd::multicast_mac(dst.into()) } else { MACS[0] };
    frame(ROUTER, to, message, |p| p.ip(src.into(), dst.into(), protocol::ICMPV6, hop_limit, 0, 0, true, 0))
}

/// A sent ND message: source, destination, message bytes; its checksum and hop limit are checked.
fn nd_of(f: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr, Vec<u8>)> {
    let p = parse(f).unwrap();
    let net = p.net?;
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (net.src, net.dst) else { return None };
    let l4 = p.l4(f);
    assert_eq!(verify_l4(net.src, net.dst, net.protocol, l4), CsumStatus::Good);
    if !(133..=137).contains(&l4[0]) {
        return None;
    }
    assert_eq!(net.ttl, 255);
    Some((src, dst, l4.to_vec()))
}

struct Ra {
    lifetime_s: u16,
    options: Vec<u8>,
}

impl Ra {
    fn new(lifetime_s: u16) -> Self {
        Self { lifetime_s, options: Vec::new() }
    }

    fn prefix(mut self, prefix: &str, len: u8, flags: u8, valid_s: u32, preferred_s: u32) -> Self {
        self.options.extend([3, 4, len, flags]);
        self.options.extend(valid_s.to_be_bytes());
        self.options.extend(preferred_s.to_be_bytes());
        self.options.extend([0; 4]);
        self.options.extend(v6(prefix).octets());
        self
    }

    fn dns(mut self, lifetime_s: u32, server: &str) -> Self {
        self.options.extend([25, 3, 0, 0]);
        self.options.extend(lifetime_s.to_be_bytes());
        self.options.extend(v6(server).octets());
        self
    }

    fn mtu(mut self, mtu: u32) -> Self {
        self.options.extend([5, 1, 0, 0]);
        self.options.extend(mtu.to_be_bytes());
        self
    }

    fn from(self, router: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
        let mut m = vec![134, 0, 0, 0, 64, 0];
        m.extend(self.lifetime_s.to_be_bytes());
        m.extend([0; 8]);
        m.extend([1, 1]);
        m.extend(ROUTER);
        m.extend(self.options);
        linerate_wire::icmpv6::fill_checksum(&mut m, router, v6("ff02::1"));
        icmp6(router, v6("ff02::1"), hop_limit, &m)
    }

    fn frame(self) -> Vec<u8> {
        self.from(ROUTER_IP, 255)
    }
}

fn hear(h: &mut Host, f: &[u8]) {
    h.inject(f);
    assert!(h.turn().is_empty());
}

/// Addresses in `net`/64, with their state.
fn in_prefix(h: &Host, net: &str) -> Vec<(IpAddr, AddrState)> {
    let net = v6(net).to_bits() >> 64;
    let held = h.stack.held_addresses().iter();
    held.filter(|a| matches!(a.if_addr.addr, IpAddr::V6(a) if a.to_bits() >> 64 == net))
        .map(|a| (a.if_addr.addr, a.state))
        .collect()
}

//= RFC 5227 section 2.1.1
//= RFC 5227 section 2.3
#[test]
fn an_ipv4_address_is_probed_and_announced() {
    let mut h = probing();
    let began = h.now.0;
    h.stack.add_address(IfAddr { addr: NEW.into(), prefix_len: 24 }, h.now).unwrap();
    let out = run(&mut h, 20 * SEC);
    let arps: Vec<_> = out.iter().map(|(at, f)| (at - began, arp_of(f).unwrap())).collect();
    assert_eq!(arps.len(), 5, "three probes, two announcements");
    assert!(
        arps[..3]
            .iter()
            .all(|(_, a)| a.sender_ip.is_unspecified() && a.target_ip == NEW && a.target_mac == [0; 6])
    );
    assert!(
        arps[3..].iter().all(|(_, a)| a.sender_ip == NEW && a.target_ip == NEW && a.op == ArpOp::Request)
    );
    assert!(arps[0].0 < SEC, "PROBE_WAIT");
    for w in arps[..3].windows(2) {
        assert!((SEC..2 * SEC).contains(&(w[1].0 - w[0].0)), "PROBE_MIN, PROBE_MAX");
    }
    assert_eq!(
        (arps[3].0 - arps[2].0, arps[4].0 - arps[3].0),
        (2 * SEC, 2 * SEC),
        "ANNOUNCE_WAIT, _INTERVAL"
    );
    let new = IfAddr { addr: NEW.into(), prefix_len: 24 };
    assert_eq!(events(&mut h), [AddrEvent::Ready(new)]);
    // It answers now, and did not before.
    h.inject(&arp(ArpOp::Request, Ipv4Addr::new(10, 0, 0, 2), NEW));
    assert_eq!(run(&mut h, 1).len(), 1);
}

//= RFC 5227 section 2.1.1
#[test]
fn an_ipv4_address_in_use_is_given_up() {
    for (op, from, to) in [
        (ArpOp::Reply, NEW, NEW),
        (ArpOp::Request, NEW, Ipv4Addr::new(10, 0, 0, 9)),
        // Another probes for it at the same time.
        (ArpOp::Request, Ipv4Addr::UNSPECIFIED, NEW),
    ] {
        let mut h = probing();
        h.stack.add_address(IfAddr { addr: NEW.into(), prefix_len: 24 }, h.now).unwrap();
        run(&mut h, 3 * SEC);
        h.inject(&arp(ArpOp::Request, Ipv4Addr::new(10, 0, 0, 2), NEW));
        assert_eq!(run(&mut h, 1), vec![], "not ours yet: no answer");
        h.inject(&arp(op, from, to));
        assert_eq!(run(&mut h, 60 * SEC), vec![]);
        assert_eq!(events(&mut h), [AddrEvent::Duplicate { addr: NEW.into(), mac: Some(MACS[1]) }]);
        assert!(h.stack.held_addresses().iter().all(|a| a.if_addr.addr != IpAddr::from(NEW)));
    }
}

//= RFC 5227 section 2.4
#[test]
fn an_ipv4_address_is_defended_every_ten_seconds() {
    let mut h = probing();
    let ours = Ipv4Addr::new(10, 0, 0, 1);
    let mut defences = 0;
    for _ in 0..25 {
        h.inject(&arp(ArpOp::Reply, ours, ours));
        defences += run(&mut h, SEC).len();
    }
    assert_eq!(defences, 3);
    assert_eq!(events(&mut h).len(), 3);
    assert!(h.stack.addrs().any(|a| a.addr == IpAddr::from(ours)));
}

//= RFC 4862 section 5.4
//= RFC 7527 section 4.1
//= RFC 9131 section 6
#[test]
fn an_ipv6_address_is_probed_then_told_to_routers() {
    let mut h = probing();
    let addr = v6("fd00::77");
    h.stack.add_address(IfAddr { addr: addr.into(), prefix_len: 64 }, h.now).unwrap();
    let began = h.now.0;
    let out = run(&mut h, 10 * SEC);
    let (src, dst, m) = nd_of(&out[0].1).unwrap();
    assert_eq!((src, dst), (Ipv6Addr::UNSPECIFIED, v6("ff02::1:ff00:77")));
    let NdMessage::NeighborSolicit { target, options } = NdMessage::parse(&m).unwrap() else { panic!() };
    assert!(target == addr && options.nonce().is_some() && options.source_link_layer().is_none());
    assert!(out[0].0 - began < SEC);
    assert_eq!(out[1].0 - out[0].0, SEC, "RetransTimer of silence");
    assert_eq!(out.len(), 3);
    for (_, f) in &out[1..] {
        let (src, dst, m) = nd_of(f).unwrap();
        assert_eq!((src, dst), (addr, v6("ff02::2")));
        let NdMessage::NeighborAdvert { target, flags, options } = NdMessage::parse(&m).unwrap() else {
            panic!()
        };
        assert!(
            target == addr
                && !flags.override_
                && !flags.solicited
                && options.target_link_layer() == Some(MACS[0])
        );
    }
    assert!(matches!(events(&mut h)[..], [AddrEvent::Ready(_)]));
}

//= RFC 4862 section 5.4.3
//= RFC 4862 section 5.4.4
//= RFC 7527 section 4.2
#[test]
fn an_ipv6_address_in_use_is_given_up() {
    let addr = v6("fd00::77");
    let group = v6("ff02::1:ff00:77");
    let solicit = |nonce| {
        let mut b = [0; 64];
        let n = nd::emit_ns(&mut b, Ipv6Addr::UNSPECIFIED, group, addr, None, Some(nonce));
        icmp6(Ipv6Addr::UNSPECIFIED, group, 255, &b[..n])
    };
    let advert = || {
        let mut b = [0; 64];
        let flags = nd::NaFlags { override_: true, ..Default::default() };
        let all = v6("ff02::1");
        let n = nd::emit_na(&mut b, addr, all, addr, flags, Some(ROUTER));
        icmp6(addr, all, 255, &b[..n])
    };
    for (f, mac) in [(solicit([1; 6]), Some(ROUTER)), (advert(), Some(ROUTER))] {
        let mut h = probing();
        h.stack.add_address(IfAddr { addr: addr.into(), prefix_len: 64 }, h.now).unwrap();
        h.inject(&f);
        assert_eq!(run(&mut h, 30 * SEC), vec![]);
        assert_eq!(events(&mut h), [AddrEvent::Duplicate { addr: addr.into(), mac }]);
    }
    // Our own solicitation, looped back by the link (another's MAC address on it, but our nonce).
    let mut h = probing();
    h.stack.add_address(IfAddr { addr: addr.into(), prefix_len: 64 }, h.now).unwrap();
    let sent = run(&mut h, SEC).remove(0).1;
    let message = nd_of(&sent).unwrap().2;
    let NdMessage::NeighborSolicit { options, .. } = NdMessage::parse(&message).unwrap() else { panic!() };
    h.inject(&solicit(options.nonce().unwrap()));
    run(&mut h, 10 * SEC);
    assert!(matches!(events(&mut h)[..], [AddrEvent::Ready(_)]));
}

/// A stack with a link-local address that has asked for routers.
fn slaac(cfg: AutoConfig) -> (Host, Vec<(u64, Vec<u8>)>) {
    let mut h = host(AutoConfig { reports: false, ..cfg });
    let out = run(&mut h, 20 * SEC);
    (h, out)
}

//= RFC 4862 section 5.3
//= RFC 4861 section 6.3.7
//= RFC 7217 section 5
#[test]
fn a_link_local_address_is_formed_and_routers_are_asked_three_times() {
    let (mut h, out) = slaac(AutoConfig::default());
    let [AddrEvent::Ready(ll)] = events(&mut h)[..] else { panic!() };
    assert!(matches!(ll.addr, IpAddr::V6(a) if a.is_unicast_link_local()) && ll.prefix_len == 64);
    let rs: Vec<_> = out
        .iter()
        .filter_map(|(at, f)| nd_of(f).map(|m| (*at, m)))
        .filter(|(_, (_, _, m))| m[0] == nd::ROUTER_SOLICIT)
        .collect();
    assert_eq!(rs.len(), 3);
    for (_, (src, dst, m)) in &rs {
        assert_eq!((IpAddr::from(*src), *dst), (ll.addr, v6("ff02::2")));
        assert_eq!(NdMessage::parse(m).unwrap().options().source_link_layer(), Some(MACS[0]));
    }
    assert_eq!(rs[1].0 - rs[0].0, 4 * SEC);
    let (other, _) = slaac(AutoConfig { network_id: 5, ..AutoConfig::default() });
    assert_ne!(in_prefix(&other, "fe80::"), in_prefix(&h, "fe80::"));
}

//= RFC 4862 section 5.5.3
//= RFC 4861 section 6.3.4
//= RFC 8106 section 5.1
#[test]
fn an_advertisement_gives_address_routes_mtu_and_dns() {
    let (mut h, _) = slaac(AutoConfig::default());
    events(&mut h);
    let ra = Ra::new(1800).prefix("2001:db8:1::", 64, 0xc0, 7200, 3600).mtu(1400).dns(600, "2001:db8::53");
    hear(&mut h, &ra.frame());
    assert_eq!(in_prefix(&h, "2001:db8:1::")[0].1, AddrState::Tentative);
    run(&mut h, 10 * SEC);
    let formed = in_prefix(&h, "2001:db8:1::");
    assert_eq!(formed.len(), 1);
    assert_eq!(formed[0].1, AddrState::Preferred);
    let got = events(&mut h);
    let dns = AddrEvent::DnsServers { router: ROUTER_IP, servers: vec![v6("2001:db8::53")], lifetime_s: 600 };
    assert!(got.contains(&dns) && got.iter().any(|e| matches!(e, AddrEvent::Ready(_))), "{got:?}");
    let routes: Vec<Route> = h.stack.routes().copied().collect();
    let default = routes.iter().find(|r| r.prefix_len == 0 && r.dst.is_ipv6()).unwrap();
    assert_eq!((default.gateway, default.mtu), (Some(ROUTER_IP.into()), Some(1400)));
    assert!(routes.iter().any(|r| r.dst == ip("2001:db8:1::") && r.prefix_len == 64 && r.gateway.is_none()));
    // Its lifetime ends, and so does it all.
    run(&mut h, 1800 * SEC);
    assert!(!h.stack.routes().any(|r| r.prefix_len == 0 && r.dst.is_ipv6()));
    run(&mut h, 1800 * SEC);
    assert_eq!(in_prefix(&h, "2001:db8:1::")[0].1, AddrState::Deprecated);
    run(&mut h, 3600 * SEC);
    assert_eq!(in_prefix(&h, "2001:db8:1::"), vec![]);
    let got = events(&mut h);
    assert_eq!(got, [AddrEvent::Deprecated(formed[0].0), AddrEvent::Removed(formed[0].0)]);
    assert!(!h.stack.routes().any(|r| r.dst == ip("2001:db8:1::")));
}

//= RFC 4862 section 5.5.3
#[test]
fn the_two_hour_rule() {
    const HOUR: u32 = 3600;
    let left = |first_s: u32, then_s: u32, after_s: u64| {
        let (mut h, _) = slaac(AutoConfig::default());
        hear(&mut h, &Ra::new(0).prefix("2001:db8:1::", 64, 0x40, first_s, 60).frame());
        run(&mut h, after_s * SEC);
        hear(&mut h, &Ra::new(0).prefix("2001:db8:1::", 64, 0x40, then_s, 60.min(then_s)).frame());
        let mut s = 0;
        while !in_prefix(&h, "2001:db8:1::").is_empty() {
            run(&mut h, 60 * SEC);
            s += 60;
        }
        s
    };
    assert_eq!(left(10 * HOUR, 0, 60), 2 * HOUR, "nobody ends it sooner");
    assert_eq!(left(10 * HOUR, 3 * HOUR, 60), 3 * HOUR);
    assert_eq!(left(HOUR, 60, 600), HOUR - 600, "less than two hours remain: ignored");
    assert_eq!(left(HOUR, 90 * 60, 600), 90 * 60, "more than remains: taken");
}

#[test]
fn what_is_no_prefix_for_an_address_forms_none() {
    let (mut h, _) = slaac(AutoConfig::default());
    let before = h.stack.held_addresses().len();
    for ra in [
        Ra::new(0).prefix("2001:db8:1::", 63, 0x40, 7200, 3600),
        Ra::new(0).prefix("2001:db8:1::", 64, 0x40, 0, 0),
        Ra::new(0).prefix("2001:db8:1::", 64, 0x40, 60, 61),
        Ra::new(0).prefix("2001:db8:1::", 64, 0x80, 7200, 3600),
        Ra::new(0).prefix("fe80::", 64, 0xc0, 7200, 3600),
    ] {
        hear(&mut h, &ra.frame());
    }
    // RFC 4861 section 6.1.2: from afar, or not from a link-local address.
    let good = || Ra::new(1800).prefix("2001:db8:2::", 64, 0xc0, 7200, 3600);
    hear(&mut h, &good().from(ROUTER_IP, 254));
    hear(&mut h, &good().from(v6("2001:db8::1"), 255));
    assert_eq!(h.stack.counters().dropped(DropReason::NdInvalid), 2);
    assert_eq!(h.stack.held_addresses().len(), before);
    // A flood of prefixes is bounded.
    for n in 0..100 {
        hear(&mut h, &Ra::new(0).prefix(&format!("2001:db8:{n:x}::"), 64, 0xc0, 7200, 3600).frame());
    }
    assert!(h.stack.held_addresses().len() <= before + 16);
}

//= RFC 8981 section 3.4
#[test]
fn temporary_addresses_follow_each_other() {
    let (mut h, _) = slaac(AutoConfig { temporary: true, ..AutoConfig::default() });
    let day = 86_400u32;
    let ra = || Ra::new(9000).prefix("2001:db8:1::", 64, 0xc0, 30 * day, 7 * day).frame();
    hear(&mut h, &ra());
    run(&mut h, 10 * SEC);
    let first = in_prefix(&h, "2001:db8:1::");
    assert_eq!(first.len(), 2);
    let source = |h: &Host| h.stack.source_address(ip("2001:4860::1")).unwrap();
    assert_eq!(source(&h), first[1].0, "RFC 6724 rule 7: the temporary one");
    for _ in 0..24 {
        run(&mut h, 3600 * SEC);
        hear(&mut h, &ra());
    }
    let second = in_prefix(&h, "2001:db8:1::");
    assert_eq!(second.len(), 3, "{second:?}");
    assert_eq!(second[1], (first[1].0, AddrState::Deprecated));
    assert_eq!(source(&h), second[2].0);
    for _ in 0..26 {
        run(&mut h, 3600 * SEC);
        hear(&mut h, &ra());
    }
    assert!(in_prefix(&h, "2001:db8:1::").iter().all(|a| a.0 != first[1].0), "gone after two days");
    assert!(in_prefix(&h, "2001:db8:1::").len() <= 4);
}

//= RFC 7217 section 6
#[test]
fn a_duplicate_stable_address_is_replaced_by_another() {
    let (mut h, _) = slaac(AutoConfig::default());
    hear(&mut h, &Ra::new(0).prefix("2001:db8:1::", 64, 0x40, 7200, 3600).frame());
    let mut seen = Vec::new();
    for _ in 0..4 {
        let [(IpAddr::V6(addr), AddrState::Tentative)] = in_prefix(&h, "2001:db8:1::")[..] else { panic!() };
        assert!(!seen.contains(&addr));
        seen.push(addr);
        let mut b = [0; 64];
        let all = v6("ff02::1");
        let n = nd::emit_na(&mut b, addr, all, addr, nd::NaFlags::default(), Some(ROUTER));
        hear(&mut h, &icmp6(addr, all, 255, &b[..n]));
    }
    assert_eq!(in_prefix(&h, "2001:db8:1::"), vec![], "IDGEN_RETRIES");
}

//= RFC 4861 section 8.3
#[test]
fn redirects_are_believed_of_the_first_hop_only() {
    let redirect = |src: Ipv6Addr, target: &str, dst: &str| {
        let mut m = vec![137, 0, 0, 0, 0, 0, 0, 0];
        m.extend(v6(target).octets());
        m.extend(v6(dst).octets());
        let ours = v6("fd00::1");
        linerate_wire::icmpv6::fill_checksum(&mut m, src, ours);
        icmp6(src, ours, 255, &m)
    };
    let (mut h, _) = slaac(AutoConfig::default());
    hear(&mut h, &Ra::new(1800).frame());
    let dst = "2001:4860::1";
    let via = |h: &Host| h.stack.routes().find(|r| r.dst == ip(dst)).map(|r| r.gateway);
    hear(&mut h, &redirect(v6("fe80::66"), "fe80::77", dst));
    assert_eq!(via(&h), None, "not our router");
    hear(&mut h, &redirect(ROUTER_IP, "fe80::77", dst));
    assert_eq!(via(&h), Some(Some(ip("fe80::77"))));
    hear(&mut h, &redirect(ROUTER_IP, "fe80::77", dst));
    hear(&mut h, &redirect(v6("fe80::77"), dst, dst));
    assert_eq!(via(&h), Some(None), "on the link after all");
    run(&mut h, 600 * SEC);
    assert_eq!(via(&h), None);
    for n in 0..200 {
        hear(&mut h, &redirect(ROUTER_IP, "fe80::77", &format!("2001:4860::1:{n}")));
    }
    assert_eq!(
        h.stack.routes().filter(|r| r.prefix_len == 128 && r.gateway == Some(ip("fe80::77"))).count(),
        64
    );
}

/// A report: destination, message type, records (their type and group).
type Report = (IpAddr, u8, Vec<(u8, IpAddr)>);

/// The IGMP and MLD messages among what was sent.
fn reports(out: &[(u64, Vec<u8>)]) -> Vec<Report> {
    let mut all = Vec::new();
    for (_, f) in out {
        let p = parse(f).unwrap();
        let Some(net) = p.net else { continue };
        let m = p.l4(f);
        let records = |size: usize| {
            m[8..].chunks(size).map(move |r| {
                let group = if size == 8 {
                    IpAddr::V4(Ipv4Addr::from_octets(r[4..8].try_into().unwrap()))
                } else {
                    IpAddr::V6(Ipv6Addr::from_octets(r[4..20].try_into().unwrap()))
                };
                (r[0], group)
            })
        };
        match (net.protocol, m[0]) {
            (protocol::IGMP, ty) => {
                assert_eq!((net.ttl, net.tos), (1, 0xc0));
                assert_eq!(f[14] & 0xf, 6, "Router Alert");
                assert_eq!(linerate_wire::sum(m).fold(), 0xffff);
                all.push((net.dst, ty, if ty == 0x22 { records(8).collect() } else { vec![] }));
            }
            (protocol::ICMPV6, ty @ (131 | 132 | 143)) => {
                assert_eq!(net.ttl, 1);
                assert!(net.has_options, "Router Alert");
                assert_eq!(verify_l4(net.src, net.dst, net.protocol, m), CsumStatus::Good);
                all.push((net.dst, ty, if ty == 143 { records(20).collect() } else { vec![] }));
            }
            _ => {}
        }
    }
    all
}

//= RFC 3376 section 5.1
//= RFC 3810 section 6.1
#[test]
fn groups_are_reported_joined_and_left() {
    let mut h = host(AutoConfig { slaac: false, ..AutoConfig::default() });
    let out = reports(&run(&mut h, 5 * SEC));
    // The solicited-node group of fd00::1, twice.
    let solicited = (ip("ff02::16"), 143, vec![(4, ip("ff02::1:ff00:1"))]);
    assert_eq!(out, [solicited.clone(), solicited]);
    let (g4, g6) = (ip("239.1.2.3"), ip("ff05::9"));
    h.stack.join_group(g4, h.now).unwrap();
    h.stack.join_group(g6, h.now).unwrap();
    h.stack.join_group(g4, h.now).unwrap();
    assert!(h.stack.join_group(ip("10.0.0.1"), h.now).is_err());
    let out = reports(&run(&mut h, 5 * SEC));
    let joined = (ip("224.0.0.22"), 0x22, vec![(4, g4)]);
    assert_eq!(out.iter().filter(|r| **r == joined).count(), 2);
    assert_eq!(out.iter().filter(|r| **r == (ip("ff02::16"), 143, vec![(4, g6)])).count(), 2);
    assert!(h.stack.leave_group(g4, h.now));
    assert_eq!(reports(&run(&mut h, 5 * SEC)), vec![], "joined twice");
    assert!(h.stack.leave_group(g4, h.now) && !h.stack.leave_group(g4, h.now));
    let left = (ip("224.0.0.22"), 0x22, vec![(3, g4)]);
    assert_eq!(reports(&run(&mut h, 5 * SEC)), [left.clone(), left]);
}

//= RFC 3376 section 5.2
//= RFC 3810 section 6.2
#[test]
fn queries_are_answered() {
    let mut h = host(AutoConfig { slaac: false, ..AutoConfig::default() });
    h.stack.join_group(ip("239.1.2.3"), h.now).unwrap();
    run(&mut h, 5 * SEC);
    let igmp_query = |len: usize, code: u8, ttl: u8| {
        let mut q = vec![0; len];
        (q[0], q[1]) = (igmp::QUERY, code);
        let csum = linerate_wire::sum(&q).checksum();
        q[2..4].copy_from_slice(&csum.to_be_bytes());
        let to = nd::multicast_mac(ip("224.0.0.1"));
        frame(ROUTER, to, &q, |p| p.ip(ip("10.0.0.9"), ip("224.0.0.1"), protocol::IGMP, ttl, 0, 0, true, 0))
    };
    h.inject(&igmp_query(12, 10, 64));
    assert_eq!(reports(&run(&mut h, 5 * SEC)), vec![], "it came through a router");
    h.inject(&igmp_query(12, 10, 1));
    assert_eq!(reports(&run(&mut h, SEC)), [(ip("224.0.0.22"), 0x22, vec![(2, ip("239.1.2.3"))])]);
    h.inject(&igmp_query(8, 10, 1));
    assert_eq!(reports(&run(&mut h, SEC)), [(ip("239.1.2.3"), igmp::REPORT_V2, vec![])]);
    let mld_query = |src: &str| {
        let mut q = vec![0; 28];
        q[0] = mld::QUERY;
        q[4..6].copy_from_slice(&1000u16.to_be_bytes());
        linerate_wire::icmpv6::fill_checksum(&mut q, v6(src), v6("ff02::1"));
        let to = nd::multicast_mac(ip("ff02::1"));
        frame(ROUTER, to, &q, |p| {
            p.raw(&mld::ROUTER_ALERT)?;
            p.ip(ip(src), ip("ff02::1"), protocol::IPV6_HOP_BY_HOP, 1, 0, 0, true, 0)
        })
    };
    h.inject(&mld_query("fd00::9"));
    assert_eq!(reports(&run(&mut h, 5 * SEC)), vec![], "not from a link-local address");
    h.inject(&mld_query("fe80::9"));
    assert_eq!(reports(&run(&mut h, SEC)), [(ip("ff02::16"), 143, vec![(2, ip("ff02::1:ff00:1"))])]);
}

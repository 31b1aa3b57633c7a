//! Facts of an interface to findings.

use super::finding::{Finding, Level};
use super::interface::InterfaceFacts;
use super::quirks::{When, mtu_command, native_mtu_max, rows};

/// The largest MTU of a 4096-byte frame (engine/port, Umem::chunk_for_mtu).
const FRAME_MTU_MAX: u32 = 3822;

/// A receive ring shorter than this loses packets in bursts: igb's 256 descriptors lost 99 of 2000 with 512 under way.
const RX_RING_SHORT: u32 = 512;

pub fn check(facts: &InterfaceFacts) -> Vec<Finding> {
    let mut found = vec![link(facts), driver(facts), mtu(facts), queues(facts)];
    found.extend(rings(facts));
    found.extend(offloads(facts));
    found.extend(foreign(facts));
    let always = rows(&facts.driver, |when| when == When::Always);
    found.extend(always.map(|quirk| quirk.finding(Level::Note, facts)));
    found
}

fn link(facts: &InterfaceFacts) -> Finding {
    let name = &facts.name;
    match (facts.up, facts.carrier) {
        (false, _) => Finding::new(Level::Warning, "link", format!("{name} is down"))
            .cause("nothing is received or sent on it; some drivers refuse to bind (ENETDOWN)")
            .command(format!("sudo ip link set dev {name} up"))
            .engine("starts if the driver lets it, and waits for packets"),
        (true, false) => Finding::new(Level::Warning, "link", format!("{name} has no carrier"))
            .cause("the cable, the switch's port or the other end (of a veth: the peer is down)")
            .command(format!("ip -d link show dev {name}"))
            .engine("starts, and waits for packets"),
        (true, true) => Finding::ok("link", format!("up, carrier, {}{}", facts.mac, numa(facts))),
    }
}

fn numa(facts: &InterfaceFacts) -> String {
    facts.numa_node.map(|node| format!(", NUMA node {node}")).unwrap_or_default()
}

fn driver(facts: &InterfaceFacts) -> Finding {
    let driver = if facts.driver.is_empty() { "no driver named" } else { &facts.driver };
    let Some(features) = &facts.features else {
        return Finding::new(
            Level::Note,
            "xdp",
            format!("{driver}; the kernel does not tell its XDP features"),
        )
        .cause("netdev generic netlink came with Linux 6.3; the trial shows what works")
        .engine("tries zero-copy, then copy");
    };
    let names = features.xdp.join(" ");
    let segs = features.zc_max_segs.map(|n| format!(", zc-max-segs {n}")).unwrap_or_default();
    let extra = [("rx metadata", &features.rx_metadata), ("xsk", &features.xsk)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!(", {what}: {}", names.join(" ")))
        .collect::<String>();
    let basic = facts.offers("basic") == Some(true);
    if !basic || facts.offers("redirect") != Some(true) {
        let offered = if names.is_empty() { "none" } else { &names };
        return Finding::new(Level::Note, "xdp", format!("{driver}: XDP features {offered}"))
            .cause("the driver offers no native XDP with redirect, or not as it is set up now")
            .engine("attaches in generic mode, which works on any interface and is slower");
    }
    Finding::ok("xdp", format!("{driver}: {names}{segs}{extra}"))
}

fn mtu(facts: &InterfaceFacts) -> Finding {
    let (name, mtu) = (&facts.name, facts.mtu);
    let known = native_mtu_max(&facts.driver);
    if mtu > FRAME_MTU_MAX {
        let max = known.map_or(1500, |(max, _)| max);
        return Finding::new(Level::Problem, "mtu", format!("MTU {mtu}: no frame holds such a packet"))
            .cause(format!(
                "a frame has 4096 bytes, {FRAME_MTU_MAX} of them for the packet; jumbo frames in several \
                            frames are not there yet"
            ))
            .command(format!("sudo ip link set dev {name} mtu {max}"))
            .engine("does not start");
    }
    match known {
        Some((max, source)) if mtu > max => Finding::new(
            Level::Warning,
            "mtu",
            format!("MTU {mtu} is above what {} takes natively", facts.driver),
        )
        .cause(format!("{max} works; above it the attach may be refused (ERANGE, EINVAL); on a veth it is the peer's MTU that counts"))
        .command(mtu_command(facts, max))
        .engine("tries, and falls back to generic mode")
        .source(source),
        Some((max, _)) => Finding::ok("mtu", format!("{mtu} (native XDP was seen to take {max})")),
        None => {
            Finding::ok("mtu", format!("{mtu} (the limit of this driver is not known here; most take 3498)"))
        }
    }
}

fn queues(facts: &InterfaceFacts) -> Finding {
    let (rx, tx) = (facts.rx_queues, facts.tx_queues);
    Finding::ok(
        "queues",
        format!("rx {rx}, tx {tx} in use; each core needs one: --cores takes up to {}", rx.min(tx)),
    )
}

fn rings(facts: &InterfaceFacts) -> Option<Finding> {
    let rings = facts.rings?;
    let line =
        format!("rx {} of at most {}, tx {} of at most {}", rings.rx, rings.rx_max, rings.tx, rings.tx_max);
    if rings.rx == 0 || rings.rx >= RX_RING_SHORT || rings.rx_max <= rings.rx {
        return Some(Finding::ok("rings", line));
    }
    let finding = Finding::new(Level::Note, "rings", line)
        .cause("a burst longer than the receive ring is dropped by the NIC")
        .command(format!("sudo ethtool -G {} rx {}", facts.name, rings.rx_max.min(4096)))
        .engine("leaves it as it is")
        .source("AF_XDP_FACTS, end to end: window of 512");
    Some(finding)
}

fn offloads(facts: &InterfaceFacts) -> Option<Finding> {
    let on = if facts.offloads_on.is_empty() { "none".to_owned() } else { facts.offloads_on.join(" ") };
    let generic = facts.offers("basic") == Some(false);
    if !(generic && facts.offloads_on.contains(&"gro")) {
        return Some(Finding::ok("offloads", format!("on: {on}")));
    }
    let finding = Finding::new(Level::Note, "offloads", format!("gro is on (on: {on})"))
        .cause("a generic program may be given segments joined by GRO, and these don't fit a frame")
        .command(format!("sudo ethtool -K {} gro off", facts.name))
        .engine("drops and counts what does not fit");
    Some(finding)
}

fn foreign(facts: &InterfaceFacts) -> Option<Finding> {
    let program = facts.xdp?;
    let finding = Finding::new(
        Level::Problem,
        "foreign-xdp",
        format!("an XDP program is on {} already: id {}, {}", facts.name, program.id, program.mode),
    )
    .cause(format!(
        "an interface has room for one; it may be that of a linerate that runs. Stop its owner, or, if nobody needs it: \
         ip link set dev {} xdp off (that is refused where a link holds it: then its process has to end)",
        facts.name
    ))
    .command(format!("sudo bpftool prog show id {}; sudo bpftool link show", program.id))
    .engine("leaves it alone and does not start");
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::super::interface::{Program, RingSizes, XdpFeatures, example};
    use super::*;

    fn one(facts: &InterfaceFacts, topic: &str) -> Finding {
        check(facts).into_iter().find(|finding| finding.topic == topic).expect(topic)
    }

    #[test]
    fn a_good_interface_has_only_its_drivers_notes() {
        let findings = check(&example("virtio_net"));
        let worst: Vec<_> = findings.iter().filter(|f| f.level != Level::Ok).collect();
        assert_eq!(worst.len(), 1, "{findings:?}");
        assert_eq!((worst[0].topic, worst[0].level), ("driver", Level::Note));
        assert!(one(&example("virtio_net"), "xdp").symptom.contains("xsk-zerocopy, zc-max-segs 1"));
    }

    #[test]
    fn the_link_tells_down_from_no_carrier() {
        let down = InterfaceFacts { up: false, carrier: false, ..example("igb") };
        assert_eq!(one(&down, "link").command.unwrap(), "sudo ip link set dev x0 up");
        let dead = InterfaceFacts { carrier: false, ..example("igb") };
        assert!(one(&dead, "link").symptom.contains("no carrier"));
    }

    #[test]
    fn the_mtu_is_held_against_the_driver_and_the_frame() {
        let at = |driver: &str, mtu| one(&InterfaceFacts { mtu, ..example(driver) }, "mtu");
        assert_eq!(at("veth", 3500).level, Level::Ok);
        let large = at("virtio_net", 3600);
        assert_eq!(
            (large.level, large.command.unwrap().as_str()),
            (Level::Warning, "sudo ip link set dev x0 mtu 3506")
        );
        assert_eq!((at("ena", 9001).level, at("other", 9000).level), (Level::Problem, Level::Problem));
        assert_eq!(at("other", 3600).level, Level::Ok);
    }

    #[test]
    fn a_foreign_program_is_named_and_left() {
        let facts = InterfaceFacts { xdp: Some(Program { id: 41, mode: "generic" }), ..example("ice") };
        let finding = one(&facts, "foreign-xdp");
        assert_eq!(finding.level, Level::Problem);
        assert!(
            finding.symptom.contains("id 41, generic")
                && finding.command.unwrap().contains("prog show id 41")
        );
    }

    #[test]
    fn short_rings_gro_and_unknown_features_are_notes() {
        let facts = InterfaceFacts {
            rings: Some(RingSizes { rx: 256, rx_max: 8192, tx: 256, tx_max: 4096 }),
            features: Some(XdpFeatures::default()),
            ..example("e1000")
        };
        assert_eq!(one(&facts, "rings").command.unwrap(), "sudo ethtool -G x0 rx 4096");
        assert_eq!(one(&facts, "offloads").command.unwrap(), "sudo ethtool -K x0 gro off");
        assert_eq!(one(&facts, "xdp").level, Level::Note);
        assert_eq!(one(&InterfaceFacts { features: None, ..facts }, "xdp").level, Level::Note);
    }
}

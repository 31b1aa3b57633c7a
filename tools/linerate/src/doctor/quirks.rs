//! What drivers are known to do, one row a pitfall, each with its source.
//!
//! `{if}` in a row stands for the interface, `{half}` for half its receive queues.
//! "AF_XDP_FACTS" is the project's own measurement in a QEMU guest (kernel 7.2) and on veth (6.18).

use super::finding::{Finding, Level};
use super::interface::InterfaceFacts;

/// When a row is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It bites without an error.
    Always,
    /// The native attach failed and the kernel's text has this in it.
    AttachSaid(&'static str),
    /// A zero-copy bind failed with this errno.
    ZeroCopyErrno(i32),
    /// Generic mode is what works, and the driver has zero-copy.
    GenericPicked,
}

pub struct Quirk {
    /// Empty: any.
    pub driver: &'static str,
    pub when: When,
    symptom: &'static str,
    cause: &'static str,
    command: &'static str,
    engine_does: &'static str,
    source: &'static str,
}

pub const QUIRKS: [Quirk; 8] = [
    Quirk {
        driver: "virtio_net",
        when: When::Always,
        symptom: "virtio_net enables more queues while a program is attached",
        cause: "it wants a transmit queue a CPU; received packets then come on the new queues too, and what is sent on \
                those may go nowhere. Configure as many queues as the device has, and none are added",
        command: "ethtool -l {if}",
        engine_does: "counts the queues again after attaching",
        source: "AF_XDP_FACTS, pitfalls 1 and 2",
    },
    Quirk {
        driver: "virtio_net",
        when: When::ZeroCopyErrno(libc::EINVAL),
        symptom: "virtio_net refuses zero-copy: EINVAL",
        cause: "the device is without iommu_platform (VIRTIO_F_ACCESS_PLATFORM), or the MTU does not fit a chunk. The \
                first is set where the virtual machine is made: QEMU -device virtio-net-pci,...,iommu_platform=on",
        command: "",
        engine_does: "uses copy mode",
        source: "AF_XDP_FACTS, bind matrix",
    },
    Quirk {
        driver: "virtio_net",
        when: When::ZeroCopyErrno(libc::ENOENT),
        symptom: "virtio_net refuses zero-copy: ENOENT",
        cause: "the device can't reset one queue (VIRTIO_F_RING_RESET). It is set where the virtual machine is made: \
                QEMU -device virtio-net-pci,...,queue_reset=on (on by default)",
        command: "",
        engine_does: "uses copy mode",
        source: "AF_XDP_FACTS, bind matrix",
    },
    Quirk {
        driver: "igb",
        when: When::Always,
        symptom: "igb resets its link when a program is attached or detached",
        cause: "the driver makes its rings anew: no carrier for about 0.5 s, and what is sent meanwhile is lost",
        command: "",
        engine_does: "waits for the carrier after attaching",
        source: "AF_XDP_FACTS, pitfall 4",
    },
    Quirk {
        driver: "veth",
        when: When::Always,
        symptom: "packets of a local sender come with unfinished checksums",
        cause: "veth hands on what an offload was to finish",
        command: "",
        engine_does: "takes such packets as whole: they never left this host",
        source: "AF_XDP_FACTS, pitfall 7",
    },
    Quirk {
        driver: "",
        when: When::GenericPicked,
        symptom: "under a generic program the kernel still grants zero-copy, and then receives by copy or not at all",
        cause: "a kernel trap (igb: nothing arrives, sendto() EINVAL); other AF_XDP programs fall into it here",
        command: "",
        engine_does: "asks for copy mode whenever the program is attached in generic mode",
        source: "AF_XDP_FACTS, pitfall 6",
    },
    Quirk {
        driver: "ena",
        when: When::AttachSaid("XDP queues"),
        symptom: "ena has no queues left for XDP",
        cause: "it takes one more transmit queue for each in use: at most half of the queues may be configured",
        command: "sudo ethtool -L {if} combined {half}",
        engine_does: "does not start in native mode",
        source: "https://github.com/amzn/amzn-drivers/issues/240",
    },
    Quirk {
        driver: "ena",
        when: When::AttachSaid("MTU"),
        symptom: "ena takes a program up to an MTU of 3498; EC2 sets 9001",
        cause: "a packet, its headroom and the kernel's bookkeeping share one 4096-byte page",
        command: "sudo ip link set dev {if} mtu 3498",
        engine_does: "falls back to generic mode where the frames hold the MTU",
        source: "https://github.com/cilium/cilium/pull/19593",
    },
];

impl Quirk {
    pub fn is_of(&self, driver: &str) -> bool {
        self.driver.is_empty() || self.driver == driver
    }

    pub fn finding(&self, level: Level, facts: &InterfaceFacts) -> Finding {
        let half = (facts.rx_queues / 2).max(1).to_string();
        let fill = |text: &str| text.replace("{if}", &facts.name).replace("{half}", &half);
        let finding = Finding::new(level, "driver", self.symptom)
            .cause(fill(self.cause))
            .engine(self.engine_does)
            .source(self.source);
        if self.command.is_empty() { finding } else { finding.command(fill(self.command)) }
    }
}

/// The rows of a driver for an occasion.
pub fn rows(driver: &str, when: impl Fn(When) -> bool) -> impl Iterator<Item = &'static Quirk> {
    QUIRKS.iter().filter(move |quirk| quirk.is_of(driver) && when(quirk.when))
}

/// The largest MTU that a native program of one buffer was seen to take, bytes, and where.
pub fn native_mtu_max(driver: &str) -> Option<(u32, &'static str)> {
    match driver {
        "veth" => Some((3500, "AF_XDP_FACTS, MTU limits (3520 was refused)")),
        "virtio_net" => Some((3506, "AF_XDP_FACTS, MTU limits (4000 was refused)")),
        "igb" => Some((3000, "AF_XDP_FACTS, MTU limits (9000 was refused)")),
        "ena" => Some((3498, "https://github.com/cilium/cilium/pull/19593")),
        _ => None,
    }
}

/// Lowers the MTU that counts.
pub fn mtu_command(facts: &InterfaceFacts, max: u32) -> String {
    let name = &facts.name;
    match facts.driver.as_str() {
        // The peer's name is known only in its own network namespace.
        "veth" => format!(
            "sudo ip link set dev PEER mtu {max}  # PEER: the other end of {name}, see ip -d link show {name}"
        ),
        _ => format!("sudo ip link set dev {name} mtu {max}"),
    }
}

/// Whether attaching is likely to take the link away for a moment. Only igb was measured; most NIC drivers rebuild
/// their rings, software devices don't.
pub fn may_reset_link(driver: &str) -> bool {
    !matches!(
        driver,
        "" | "veth" | "tun" | "virtio_net" | "dummy" | "bridge" | "bonding" | "ifb" | "802.1Q VLAN Support"
    )
}

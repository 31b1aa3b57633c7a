//! Facts of one interface: read, nothing changed.

use linerate::nic::{self, Link, NicError, Offload, XdpMode};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct InterfaceFacts {
    pub name: String,
    pub ifindex: u32,
    pub driver: String,
    pub mac: String,
    pub up: bool,
    pub carrier: bool,
    pub mtu: u32,
    pub numa_node: Option<i32>,
    /// In use now; a combined queue counts in both.
    pub rx_queues: u32,
    pub tx_queues: u32,
    /// `null`: the driver does not tell.
    pub rings: Option<RingSizes>,
    /// `null`: the kernel does not tell (before 6.3).
    pub features: Option<XdpFeatures>,
    /// Offloads that are on, of those that matter.
    pub offloads_on: Vec<&'static str>,
    /// The XDP program on it.
    pub xdp: Option<Program>,
    #[serde(skip)]
    pub mac_bytes: [u8; 6],
}

/// Descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RingSizes {
    pub rx: u32,
    pub rx_max: u32,
    pub tx: u32,
    pub tx_max: u32,
}

/// By the names of the kernel's netdev specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct XdpFeatures {
    pub xdp: Vec<String>,
    pub rx_metadata: Vec<String>,
    pub xsk: Vec<String>,
    pub zc_max_segs: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    pub id: u32,
    pub mode: &'static str,
}

impl InterfaceFacts {
    pub fn read(name: &str) -> Result<InterfaceFacts, NicError> {
        let link = nic::scrape(name)?.link;
        // What the driver does not tell is a fact too, and no reason to say nothing of the rest.
        let rings = nic::rings(&link.name).ok().flatten();
        let features = nic::features(link.ifindex).ok();
        let offloads = Offload::ALL.into_iter().filter(|offload| offload.get(&link.name).unwrap_or(false));
        Ok(InterfaceFacts {
            rings: rings.map(|r| RingSizes { rx: r.rx, rx_max: r.rx_max, tx: r.tx, tx_max: r.tx_max }),
            features: features.map(|f| XdpFeatures {
                xdp: f.xdp_names(),
                rx_metadata: f.rx_metadata_names(),
                xsk: f.xsk_names(),
                zc_max_segs: f.zc_max_segs,
            }),
            offloads_on: offloads.map(Offload::name).collect(),
            xdp: program(&link),
            mac: link.mac.map(|byte| format!("{byte:02x}")).join(":"),
            mac_bytes: link.mac,
            ifindex: link.ifindex,
            up: link.up,
            carrier: link.carrier,
            mtu: link.mtu,
            numa_node: link.numa_node,
            rx_queues: link.rx_queues,
            tx_queues: link.tx_queues,
            driver: link.driver,
            name: link.name,
        })
    }

    /// `None`: not told.
    pub fn offers(&self, feature: &str) -> Option<bool> {
        self.features.as_ref().map(|features| features.xdp.iter().any(|name| name == feature))
    }
}

fn program(link: &Link) -> Option<Program> {
    let mode = |mode| match mode {
        XdpMode::Native => "native",
        XdpMode::Generic => "generic",
        XdpMode::Offloaded => "offloaded",
        XdpMode::Multiple => "several modes",
    };
    link.xdp.map(|xdp| Program { id: xdp.prog_id, mode: mode(xdp.mode) })
}

/// A virtio_net of two queues, for the tests of the rules.
#[cfg(test)]
pub fn example(driver: &str) -> InterfaceFacts {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    InterfaceFacts {
        name: "x0".into(),
        ifindex: 7,
        driver: driver.into(),
        mac: "02:00:00:00:00:01".into(),
        mac_bytes: [2, 0, 0, 0, 0, 1],
        up: true,
        carrier: true,
        mtu: 1500,
        numa_node: Some(0),
        rx_queues: 2,
        tx_queues: 2,
        rings: Some(RingSizes { rx: 1024, rx_max: 1024, tx: 1024, tx_max: 1024 }),
        features: Some(XdpFeatures {
            xdp: names(&["basic", "redirect", "xsk-zerocopy"]),
            zc_max_segs: Some(1),
            ..XdpFeatures::default()
        }),
        offloads_on: vec!["gro"],
        xdp: None,
    }
}

//! What the driver says it can do with XDP, by the generic netlink family `netdev` (Linux 6.3).

use crate::NicError;
use crate::netlink::{Netlink, attribute, attributes, u16_at, u32_of, uint_of};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const GENL_HEADER_BYTES: usize = 4;

const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_A_DEV_XDP_ZC_MAX_SEGS: u16 = 4;
const NETDEV_A_DEV_XDP_RX_METADATA_FEATURES: u16 = 5;
const NETDEV_A_DEV_XSK_FEATURES: u16 = 6;

// Names and order of Documentation/netlink/specs/netdev.yaml; the index is the bit.
const XDP_ACT: &[&str] =
    &["basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg"];
const XDP_RX_METADATA: &[&str] = &["timestamp", "hash", "vlan-tag"];
const XSK_FLAGS: &[&str] = &["tx-timestamp", "tx-checksum", "tx-launch-time-fifo"];

/// The driver's word, as bits. What it advertises can depend on the program attached and on settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `xdp-features`.
    pub xdp: u64,
    /// `xdp-rx-metadata-features`.
    pub rx_metadata: u64,
    /// `xsk-features`: AF_XDP TX metadata. Never ask for one that is not here: drivers ignore it silently.
    pub xsk: u64,
    /// Most descriptors of one zero-copy packet; `None` when the driver does not report it.
    pub zc_max_segs: Option<u32>,
}

impl Features {
    /// Native XDP is there.
    pub fn has_native_xdp(&self) -> bool {
        self.xdp & 1 != 0
    }

    /// AF_XDP zero-copy is there.
    pub fn has_zerocopy(&self) -> bool {
        self.xdp & 1 << 3 != 0
    }

    /// Multi-buffer receive is there.
    pub fn has_rx_sg(&self) -> bool {
        self.xdp & 1 << 5 != 0
    }

    /// Names of the bits in `xdp`.
    pub fn xdp_names(&self) -> Vec<String> {
        names(self.xdp, XDP_ACT)
    }

    /// Names of the bits in `rx_metadata`.
    pub fn rx_metadata_names(&self) -> Vec<String> {
        names(self.rx_metadata, XDP_RX_METADATA)
    }

    /// Names of the bits in `xsk`.
    pub fn xsk_names(&self) -> Vec<String> {
        names(self.xsk, XSK_FLAGS)
    }
}

fn names(bits: u64, known: &[&str]) -> Vec<String> {
    (0..64)
        .filter(|bit| bits & 1 << bit != 0)
        .map(|bit| known.get(bit).map_or_else(|| format!("bit-{bit}"), |name| (*name).to_owned()))
        .collect()
}

/// Asks for an interface of this thread's namespace. ENOENT: the kernel is older than 6.3.
pub fn features(ifindex: u32) -> Result<Features, NicError> {
    let tried = "asking the netdev family for XDP features";
    let mut netlink = Netlink::generic()?;
    let family = family_id(&mut netlink, "netdev")?;
    let mut body = vec![NETDEV_CMD_DEV_GET, 1, 0, 0];
    body.extend(attribute(NETDEV_A_DEV_IFINDEX, &ifindex.to_ne_bytes()));
    let answer = netlink.call(tried, family, 0, &body)?;
    let message = answer.first().ok_or_else(|| unreadable(tried))?;
    let mut features = Features::default();
    for (kind, value) in attributes(message.body.get(GENL_HEADER_BYTES..).unwrap_or_default()) {
        match kind {
            NETDEV_A_DEV_XDP_FEATURES => features.xdp = uint_of(value).unwrap_or(0),
            NETDEV_A_DEV_XDP_ZC_MAX_SEGS => features.zc_max_segs = u32_of(value),
            NETDEV_A_DEV_XDP_RX_METADATA_FEATURES => features.rx_metadata = uint_of(value).unwrap_or(0),
            NETDEV_A_DEV_XSK_FEATURES => features.xsk = uint_of(value).unwrap_or(0),
            _ => {}
        }
    }
    Ok(features)
}

fn family_id(netlink: &mut Netlink, name: &str) -> Result<u16, NicError> {
    let tried = "looking for the generic netlink family netdev";
    let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
    body.extend(attribute(CTRL_ATTR_FAMILY_NAME, format!("{name}\0").as_bytes()));
    let answer = netlink.call(tried, GENL_ID_CTRL, 0, &body)?;
    let message = answer.first().ok_or_else(|| unreadable(tried))?;
    attributes(message.body.get(GENL_HEADER_BYTES..).unwrap_or_default())
        .find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID)
        .and_then(|(_, value)| u16_at(value, 0))
        .ok_or_else(|| unreadable(tried))
}

fn unreadable(tried: &str) -> NicError {
    NicError::Unreadable { tried: tried.to_owned(), what: "nothing in it".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_names_and_unknown_ones_a_number() {
        let features = Features { xdp: 0b101011 | 1 << 40, ..Features::default() };
        assert_eq!(features.xdp_names(), ["basic", "redirect", "xsk-zerocopy", "rx-sg", "bit-40"]);
        assert!(features.has_zerocopy() && features.has_rx_sg() && features.has_native_xdp());
    }
}

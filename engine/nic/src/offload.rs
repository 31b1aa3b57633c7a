//! Offloads of an interface, by the ethtool ioctls that take one flag each.

use serde::{Deserialize, Serialize};

use crate::{NicError, scrape, sys};

/// An offload that can be switched. A copy-mode or generic XDP receiver wants gro off; a veth or tap peer
/// that reads raw frames wants tso, gso and tx-checksum off, for what it gets is unfinished otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// TCP segmentation.
    Tso,
    /// Generic segmentation.
    Gso,
    /// Generic receive coalescing.
    Gro,
    /// Checksums filled in by the device.
    TxChecksum,
    /// Checksums verified by the device.
    RxChecksum,
}

impl Offload {
    /// All of them.
    pub const ALL: [Offload; 5] =
        [Offload::Tso, Offload::Gso, Offload::Gro, Offload::TxChecksum, Offload::RxChecksum];

    /// The name `ethtool -K` uses.
    pub const fn name(self) -> &'static str {
        match self {
            Offload::Tso => "tso",
            Offload::Gso => "gso",
            Offload::Gro => "gro",
            Offload::TxChecksum => "tx",
            Offload::RxChecksum => "rx",
        }
    }

    /// ETHTOOL_G* and ETHTOOL_S* numbers.
    const fn commands(self) -> (u32, u32) {
        match self {
            Offload::Tso => (0x1e, 0x1f),
            Offload::Gso => (0x23, 0x24),
            Offload::Gro => (0x2b, 0x2c),
            Offload::TxChecksum => (0x16, 0x17),
            Offload::RxChecksum => (0x14, 0x15),
        }
    }

    /// Whether it is on.
    pub fn get(self, ifname: &str) -> Result<bool, NicError> {
        let mut words = [self.commands().0, 0];
        sys::ethtool(ifname, &mut words).map_err(|error| {
            scrape::named(
                ifname,
                NicError::kernel(format!("reading offload {} of {ifname}", self.name()), &error),
            )
        })?;
        Ok(words[1] != 0)
    }

    /// Switches it and returns what it was. Not journaled: for interfaces that are ours alone; on
    /// others use [`Journal::set_offload`](crate::Journal::set_offload).
    ///
    /// Features hang together: without tx-checksum the kernel switches tso off too, and on again with it.
    pub fn set(self, ifname: &str, on: bool) -> Result<bool, NicError> {
        let previous = self.get(ifname)?;
        if previous != on {
            let mut words = [self.commands().1, on.into()];
            sys::ethtool(ifname, &mut words).map_err(|error| {
                let verb = if on { "on" } else { "off" };
                NicError::kernel(format!("switching offload {} of {ifname} {verb}", self.name()), &error)
            })?;
        }
        Ok(previous)
    }
}

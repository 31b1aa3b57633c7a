//! The 4-tuple that names a connection, and its keyed hash.

use core::net::IpAddr;

use siphasher::sip::SipHasher13;

/// A flow from our point of view: `local` is the destination of a packet that came in. Addresses stay
/// `IpAddr`: a v4-mapped IPv6 address is another flow than its IPv4 twin, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    /// Our address.
    pub local: IpAddr,
    /// The peer's address.
    pub remote: IpAddr,
    /// Our port, host order.
    pub local_port: u16,
    /// The peer's port, host order.
    pub remote_port: u16,
}

/// The secret of a flow table: 128 random bits, drawn once per start. With it unknown, nobody outside can
/// choose tuples that fall into one bucket.
#[derive(Clone, Copy)]
pub struct HashKey(pub [u64; 2]);

impl core::fmt::Debug for HashKey {
    // The secret stays out of logs and panics.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl FlowKey {
    /// SipHash-1-3 over 12 bytes (IPv4) or 36 bytes (IPv6): local, remote, local port, remote port, big
    /// endian, so that the value is the same on every machine.
    #[inline]
    pub fn hash_keyed(&self, key: &HashKey) -> u64 {
        let sip = SipHasher13::new_with_keys(key.0[0], key.0[1]);
        let ports = (u32::from(self.local_port) << 16 | u32::from(self.remote_port)).to_be_bytes();
        // Whole 64-bit stores: SipHash reads words of 8 bytes, and two halves stored apart do not forward.
        match (&self.local, &self.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let mut b = [0; 12];
                let addresses = u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits());
                b[..8].copy_from_slice(&addresses.to_be_bytes());
                b[8..].copy_from_slice(&ports);
                sip.hash(&b)
            }
            (local, remote) => {
                let mut b = [0; 36];
                b[..16].copy_from_slice(&octets_v6(local));
                b[16..32].copy_from_slice(&octets_v6(remote));
                b[32..].copy_from_slice(&ports);
                sip.hash(&b)
            }
        }
    }

    /// The same flow seen from the other end.
    #[inline]
    pub fn reversed(&self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            local_port: self.remote_port,
            remote_port: self.local_port,
        }
    }
}

// A key of mixed families does not come from a packet; mapping makes the function total all the same.
// By reference: an `IpAddr` moved is 17 bytes stored in pieces and loaded whole.
#[inline(always)]
pub(crate) fn octets_v6(address: &IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher;
    use core::net::Ipv4Addr;

    #[test]
    fn is_siphash_1_3_over_twelve_bytes() {
        let key = HashKey([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let flow = FlowKey {
            local: Ipv4Addr::new(10, 0, 0, 1).into(),
            remote: Ipv4Addr::new(10, 0, 0, 2).into(),
            local_port: 80,
            remote_port: 40000,
        };
        let mut sip = SipHasher13::new_with_keys(key.0[0], key.0[1]);
        sip.write(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 0x9c, 0x40]);
        assert_eq!(flow.hash_keyed(&key), sip.finish());
        assert_ne!(flow.hash_keyed(&key), flow.reversed().hash_keyed(&key));
        assert_ne!(flow.hash_keyed(&key), flow.hash_keyed(&HashKey([1, 2])));
        assert_eq!(std::format!("{key:?}"), "HashKey(..)");
    }

    #[test]
    fn v6_uses_every_byte() {
        let key = HashKey([1, 2]);
        let mut seen = std::collections::HashSet::new();
        for bit in 0..128 {
            let flow = FlowKey {
                local: IpAddr::V6((1u128 << bit).into()),
                remote: IpAddr::V6(0u128.into()),
                local_port: 1,
                remote_port: 2,
            };
            assert!(seen.insert(flow.hash_keyed(&key)));
            assert!(seen.insert(flow.reversed().hash_keyed(&key)));
        }
    }
}

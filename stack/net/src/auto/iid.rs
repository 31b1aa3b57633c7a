//! Interface identifiers that say nothing about the hardware: stable ones (RFC 7217) and temporary ones (RFC 8981).

use core::hash::Hasher;
use core::net::Ipv6Addr;

use linerate_wire::MacAddr;
use siphasher::sip::SipHasher24;

/// What an identifier is drawn from; the same gives the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed {
    /// Kept secret: without it nothing can be foretold.
    pub secret: [u64; 2],
    pub mac: MacAddr,
    pub network_id: u64,
}

/// Reserved (RFC 5453): the subnet-router anycast address, IANA's Ethernet block, subnet anycast addresses.
fn is_reserved(iid: u64) -> bool {
    iid == 0
        || (0x0200_5eff_fe00_0000..=0x0200_5eff_fe00_5212).contains(&iid)
        || (0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff).contains(&iid)
}

impl Seed {
    /// The address in `prefix` (64 bits). `counter`: DAD_Counter of RFC 7217, or the number of a temporary address.
    //= RFC 7217 section 5
    //= RFC 8981 section 3.3.2
    pub fn address(&self, prefix: Ipv6Addr, temporary: bool, counter: u64) -> Ipv6Addr {
        let net = prefix.to_bits() >> 64;
        let mut tries = 0u64;
        loop {
            let mut f = SipHasher24::new_with_keys(self.secret[0], self.secret[1]);
            f.write_u64(net as u64);
            f.write(&self.mac);
            f.write_u64(self.network_id);
            f.write_u8(u8::from(temporary));
            f.write_u64(counter);
            f.write_u64(tries);
            let iid = f.finish();
            if !is_reserved(iid) {
                return Ipv6Addr::from_bits(net << 64 | u128::from(iid));
            }
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed { secret: [1, 2], mac: [2, 0, 0, 0, 0, 1], network_id: 0 };
    const NET: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0);

    //= RFC 7217 section 5
    #[test]
    fn the_same_on_the_same_link_another_elsewhere() {
        let a = SEED.address(NET, false, 0);
        assert_eq!(a, SEED.address(NET, false, 0));
        assert_eq!(a.segments()[..4], NET.segments()[..4]);
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 0);
        let iid = |a: Ipv6Addr| a.to_bits() as u64;
        let rest = [
            SEED.address(other, false, 0),
            SEED.address(NET, false, 1),
            SEED.address(NET, true, 0),
            Seed { network_id: 7, ..SEED }.address(NET, false, 0),
            Seed { mac: [2, 0, 0, 0, 0, 2], ..SEED }.address(NET, false, 0),
            Seed { secret: [1, 3], ..SEED }.address(NET, false, 0),
        ];
        assert!(rest.iter().all(|r| iid(*r) != iid(a)));
    }

    #[test]
    fn reserved_identifiers() {
        for iid in [0, 0x0200_5eff_fe00_5212, 0xfdff_ffff_ffff_ff80] {
            assert!(is_reserved(iid));
        }
        assert!(!is_reserved(1) && !is_reserved(0x0200_5eff_fe00_5213));
    }
}

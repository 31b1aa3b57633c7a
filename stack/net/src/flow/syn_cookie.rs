//! SYN cookies: RFC 4987 section 3.6. The SYN-ACK's ISS is all that is kept of a SYN, at the peer.
//!
//! ```text
//!   31  29 28  26 25                                0
//!  ┌──────┬──────┬───────────────────────────────────┐
//!  │ time │ MSS  │ MAC of tuple, IRS, time, MSS      │
//!  └──────┴──────┴───────────────────────────────────┘
//! ```
//! Time counts 64 s and is taken for 64 to 128 s; the MSS is one of eight. With timestamps agreed, the lower six bits of
//! the SYN-ACK's TSval carry window scale, SACK and ECN, and come back as TSecr.

use linerate_tcp::time::SEC;
use linerate_tcp::{Instant, SeqNum};
use linerate_wire::FlowKey;
use linerate_wire::flow_key::HashKey;
use siphasher::sip::SipHasher24;

/// A step of the cookie's clock; a cookie is good for one to two of them. Longer than the 63 s that a peer's SYN
/// retransmissions take at least to be worth an answer.
pub(crate) const STEP_NS: u64 = 64 * SEC;

/// RFC 9293's default, and what links of today bring about; the first is the least that is ever used.
const MSS_V4: [u16; 8] = [64, 536, 1200, 1300, 1400, 1440, 1460, 8960];
const MSS_V6: [u16; 8] = [64, 1220, 1300, 1360, 1400, 1420, 1440, 8940];

const MAC_BITS: u32 = 26;

/// Bits of a TSval that carry options.
const TS_BITS: u32 = 63;

fn mss_table(flow: &FlowKey) -> &'static [u16; 8] {
    if flow.local.is_ipv4() { &MSS_V4 } else { &MSS_V6 }
}

fn mac(secret: &HashKey, flow: &FlowKey, irs: SeqNum, time: u64, mss: u32) -> u32 {
    let mut b = [0; 24];
    b[..8].copy_from_slice(&flow.hash_keyed(secret).to_be_bytes());
    b[8..16].copy_from_slice(&time.to_be_bytes());
    b[16..20].copy_from_slice(&irs.0.to_be_bytes());
    b[20..].copy_from_slice(&mss.to_be_bytes());
    SipHasher24::new_with_keys(secret.0[1], secret.0[0]).hash(&b) as u32 & ((1 << MAC_BITS) - 1)
}

/// The ISS that says it all.
//= RFC 4987 section 3.6
pub(crate) fn encode(secret: &HashKey, flow: &FlowKey, irs: SeqNum, mss: u16, now: Instant) -> SeqNum {
    let time = now.0 / STEP_NS;
    let index = mss_table(flow).iter().rposition(|m| *m <= mss).unwrap_or(0) as u32;
    SeqNum((time as u32 & 7) << 29 | index << MAC_BITS | mac(secret, flow, irs, time, index))
}

/// The MSS, if we sent this ISS to this peer for this IRS not long ago.
pub(crate) fn decode(
    secret: &HashKey,
    flow: &FlowKey,
    irs: SeqNum,
    iss: SeqNum,
    now: Instant,
) -> Option<u16> {
    let time = now.0 / STEP_NS;
    let (said, index) = ((iss.0 >> 29) as u64, iss.0 >> MAC_BITS & 7);
    let then = [time, time.wrapping_sub(1)].into_iter().find(|t| t & 7 == said)?;
    let ours = iss.0 & ((1 << MAC_BITS) - 1) == mac(secret, flow, irs, then, index);
    ours.then(|| mss_table(flow)[index as usize])
}

/// A TSval with `bits` in it, not later than `tsval`.
pub(crate) fn encode_tsval(tsval: u32, bits: u32) -> u32 {
    let with = tsval & !TS_BITS | bits & TS_BITS;
    if with.wrapping_sub(tsval) as i32 > 0 { with.wrapping_sub(TS_BITS + 1) } else { with }
}

/// The bits that a TSecr brings back.
pub(crate) fn decode_tsecr(tsecr: u32) -> u32 {
    tsecr & TS_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn flow(port: u16) -> FlowKey {
        FlowKey {
            local: Ipv4Addr::new(10, 0, 0, 1).into(),
            remote: Ipv4Addr::new(10, 0, 0, 2).into(),
            local_port: 80,
            remote_port: port,
        }
    }

    const SECRET: HashKey = HashKey([3, 4]);

    #[test]
    fn a_cookie_is_good_for_its_peer_its_syn_and_a_while() {
        let (irs, now) = (SeqNum(77), Instant(1000 * STEP_NS + 5));
        let iss = encode(&SECRET, &flow(9), irs, 1460, now);
        assert_eq!(decode(&SECRET, &flow(9), irs, iss, now), Some(1460));
        assert_eq!(decode(&SECRET, &flow(9), irs, iss, now + STEP_NS), Some(1460));
        assert_eq!(decode(&SECRET, &flow(9), irs, iss, now + 2 * STEP_NS), None);
        assert_eq!(decode(&SECRET, &flow(9), irs, iss, now + 8 * STEP_NS), None, "time is in the MAC, too");
        assert_eq!(decode(&SECRET, &flow(8), irs, iss, now), None);
        assert_eq!(decode(&SECRET, &flow(9), irs + 1, iss, now), None);
        assert_eq!(decode(&HashKey([3, 5]), &flow(9), irs, iss, now), None);
        let others = (1..100_000u32).filter(|d| decode(&SECRET, &flow(9), irs, iss + *d, now).is_some());
        assert_eq!(others.count(), 0);
    }

    #[test]
    fn the_mss_is_rounded_down() {
        let now = Instant(STEP_NS);
        for (mss, want) in [(0, 64), (535, 64), (536, 536), (1459, 1440), (1460, 1460), (9000, 8960)] {
            let iss = encode(&SECRET, &flow(9), SeqNum(1), mss, now);
            assert_eq!(decode(&SECRET, &flow(9), SeqNum(1), iss, now), Some(want));
        }
    }

    #[test]
    fn timestamps_carry_six_bits_and_never_run_ahead() {
        for tsval in [0, 1, 62, 63, 64, 1000, u32::MAX] {
            for bits in 0..64 {
                let t = encode_tsval(tsval, bits);
                assert_eq!(decode_tsecr(t), bits);
                assert!(tsval.wrapping_sub(t) < 64);
            }
        }
    }
}

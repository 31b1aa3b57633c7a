//! Congestion Experienced, as a router sets it: RFC 3168 section 5. The one place where a link looks into a frame.

const CE: u8 = 0b11;
const ETHERTYPE_AT: usize = 12;
const IP_AT: usize = 14;

/// Marks an Ethernet frame that carries an ECN-capable IP packet; `false`: it is not one (or it was marked already).
pub(super) fn mark_ce(frame: &mut [u8]) -> bool {
    match frame.get(ETHERTYPE_AT..IP_AT) {
        Some([0x08, 0x00]) if frame.len() >= IP_AT + 20 => mark_ipv4(&mut frame[IP_AT..]),
        Some([0x86, 0xdd]) if frame.len() >= IP_AT + 40 => mark_ipv6(&mut frame[IP_AT..]),
        _ => false,
    }
}

fn is_capable(ecn: u8) -> bool {
    matches!(ecn, 0b01 | 0b10)
}

/// The header checksum follows by RFC 1624 (3): HC' = ~(~HC + ~m + m').
fn mark_ipv4(ip: &mut [u8]) -> bool {
    if !is_capable(ip[1] & CE) {
        return false;
    }
    let word = |ip: &[u8], at: usize| u32::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
    let old = word(ip, 0);
    ip[1] |= CE;
    let sum = (!word(ip, 10) & 0xffff) + (!old & 0xffff) + word(ip, 0);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
    true
}

/// The traffic class lies across the first two bytes; its low two bits are bits 4 and 5 of the second.
fn mark_ipv6(ip: &mut [u8]) -> bool {
    if !is_capable(ip[1] >> 4 & CE) {
        return false;
    }
    ip[1] |= CE << 4;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4_sum(ip: &[u8]) -> u32 {
        let sum: u32 = ip[..20].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        (sum & 0xffff) + (sum >> 16)
    }

    #[test]
    fn ipv4_checksum_stays_right() {
        for ecn in [1, 2] {
            let mut f = vec![0u8; 60];
            f[12..34].copy_from_slice(&[
                8, 0, 0x45, ecn, 0, 46, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
            ]);
            let sum = !(ipv4_sum(&f[14..]) as u16);
            f[24..26].copy_from_slice(&sum.to_be_bytes());
            assert!(mark_ce(&mut f));
            assert_eq!((f[15], ipv4_sum(&f[14..])), (3, 0xffff));
            assert!(!mark_ce(&mut f), "marked already");
        }
    }

    #[test]
    fn ipv6_traffic_class() {
        let mut f = vec![0u8; 80];
        f[12..18].copy_from_slice(&[0x86, 0xdd, 0x6b, 0xad, 0xbe, 0xef]);
        assert!(mark_ce(&mut f));
        assert_eq!(f[14..18], [0x6b, 0xbd, 0xbe, 0xef]);
        f[15] = 0x0d;
        assert!(!mark_ce(&mut f), "not ECN-capable");
    }

    #[test]
    fn others_are_left_alone() {
        for len in [0, 13, 20, 33] {
            let mut f = vec![0xff; len];
            if len > 14 {
                f[12..14].copy_from_slice(&[8, 0]);
            }
            let before = f.clone();
            assert!(!mark_ce(&mut f) && f == before);
        }
    }
}

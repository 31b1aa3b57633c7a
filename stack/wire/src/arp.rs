//! ARP for IPv4 over Ethernet, RFC 826 and 5227.

use core::net::Ipv4Addr;

use crate::eth::MacAddr;
use crate::parse::ParseError;

/// Bytes of an ARP packet for Ethernet and IPv4, Ethernet header and padding excluded.
pub const ARP_LEN: usize = 28;

// Hardware type 1, protocol 0x0800, address lengths 6 and 4: the only combination accepted.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What the packet asks or says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOp {
    /// Who has `target_ip`? (1)
    Request,
    /// `sender_ip` is at `sender_mac`. (2)
    Reply,
}

/// An ARP packet. A probe has sender 0.0.0.0, an announcement sender == target (RFC 5227 1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArpPacket {
    /// Request or reply.
    pub op: ArpOp,
    /// Link-layer address of the sender.
    pub sender_mac: MacAddr,
    /// IPv4 address of the sender.
    pub sender_ip: Ipv4Addr,
    /// Link-layer address of the target; zero in a request.
    pub target_mac: MacAddr,
    /// IPv4 address of the target.
    pub target_ip: Ipv4Addr,
}

impl ArpPacket {
    /// Reads the bytes after the Ethernet header; padding behind is ignored.
    ///
    /// # Errors
    /// `ArpMalformed` for short packets, other hardware or protocol types, other operations.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let Some(&[h0, h1, h2, h3, h4, h5, op0, op1, ref addresses @ ..]) = bytes.first_chunk::<ARP_LEN>()
        else {
            return Err(ParseError::ArpMalformed);
        };
        if [h0, h1, h2, h3, h4, h5] != ETHERNET_IPV4 {
            return Err(ParseError::ArpMalformed);
        }
        let op = match u16::from_be_bytes([op0, op1]) {
            1 => ArpOp::Request,
            2 => ArpOp::Reply,
            _ => return Err(ParseError::ArpMalformed),
        };
        let a: &[u8; 20] = addresses;
        Ok(Self {
            op,
            sender_mac: [a[0], a[1], a[2], a[3], a[4], a[5]],
            sender_ip: Ipv4Addr::new(a[6], a[7], a[8], a[9]),
            target_mac: [a[10], a[11], a[12], a[13], a[14], a[15]],
            target_ip: Ipv4Addr::new(a[16], a[17], a[18], a[19]),
        })
    }

    /// The packet as bytes.
    pub fn to_bytes(&self) -> [u8; ARP_LEN] {
        let mut b = [0; ARP_LEN];
        b[..6].copy_from_slice(&ETHERNET_IPV4);
        b[7] = match self.op {
            ArpOp::Request => 1,
            ArpOp::Reply => 2,
        };
        b[8..14].copy_from_slice(&self.sender_mac);
        b[14..18].copy_from_slice(&self.sender_ip.octets());
        b[18..24].copy_from_slice(&self.target_mac);
        b[24..28].copy_from_slice(&self.target_ip.octets());
        b
    }

    /// Writes the packet at the start of `out`; returns 28, or 0 (nothing written) where `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        match out.first_chunk_mut::<ARP_LEN>() {
            Some(to) => {
                *to = self.to_bytes();
                ARP_LEN
            }
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::arp::{ArpOperations, ArpPacket as Pnet};

    #[test]
    fn round_trip_and_pnet_agrees() {
        let arp = ArpPacket {
            op: ArpOp::Reply,
            sender_mac: [2, 0, 0, 0, 0, 1],
            sender_ip: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: [2, 0, 0, 0, 0, 2],
            target_ip: Ipv4Addr::new(10, 0, 0, 2),
        };
        let mut b = [0u8; 46];
        assert_eq!(arp.emit(&mut b), 28);
        assert_eq!(arp.emit(&mut b[..27]), 0);
        assert_eq!(ArpPacket::parse(&b), Ok(arp));
        let p = Pnet::new(&b).unwrap();
        assert_eq!(p.get_operation(), ArpOperations::Reply);
        assert_eq!(p.get_sender_proto_addr(), arp.sender_ip);
        assert_eq!(p.get_target_hw_addr().octets(), arp.target_mac);
        for at in 0..8 {
            let mut bad = b;
            bad[at] ^= 0x80;
            assert_eq!(ArpPacket::parse(&bad), Err(ParseError::ArpMalformed));
        }
        assert_eq!(ArpPacket::parse(&b[..27]), Err(ParseError::ArpMalformed));
    }
}

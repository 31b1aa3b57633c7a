//! A packet larger than the link carries, as many that fit: what a network card's receive offload has merged.

use linerate_wire::checksum;
use linerate_wire::parse::{parse_ip, protocol};
use linerate_wire::tcp::parse_tcp;

const TCP_FIN: u8 = 1;
const TCP_PSH: u8 = 8;
const TCP_CWR: u8 = 0x80;
const TCP_FLAGS_AT: usize = 13;

/// The packet itself if it fits `mtu` or is not TCP, else its segments.
pub(crate) fn split(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    if packet.len() <= mtu {
        return vec![packet.to_vec()];
    }
    segments(packet, mtu).unwrap_or_else(|| vec![packet[..packet.len().min(mtu)].to_vec()])
}

fn segments(packet: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let parsed = parse_ip(packet).ok()?;
    let net = parsed.net.filter(|n| n.protocol == protocol::TCP && n.fragment.is_none())?;
    let (l4, end) = (parsed.l4_off as usize, parsed.end as usize);
    let header = parse_tcp(&packet[l4..end]).ok()?;
    let data = l4 + header.data_off_bytes as usize;
    let step = mtu.checked_sub(data).filter(|n| *n > 0)?;
    let mut all = Vec::new();
    let mut at = data;
    while at < end {
        let n = step.min(end - at);
        let mut p = packet[..data].to_vec();
        p.extend_from_slice(&packet[at..at + n]);
        let seq = header.seq.wrapping_add((at - data) as u32);
        p[l4 + 4..l4 + 8].copy_from_slice(&seq.to_be_bytes());
        if at + n < end {
            p[l4 + TCP_FLAGS_AT] &= !(TCP_FIN | TCP_PSH);
        }
        if at > data {
            p[l4 + TCP_FLAGS_AT] &= !TCP_CWR;
        }
        let len = p.len();
        if net.src.is_ipv4() {
            p[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            p[10..12].fill(0);
            let sum = checksum::sum(&p[..l4]).checksum();
            p[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            p[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
        }
        p[l4 + 16..l4 + 18].fill(0);
        let pseudo = checksum::pseudo_header(net.src, net.dst, net.protocol, (len - l4) as u32);
        let sum = pseudo.add(checksum::sum(&p[l4..])).checksum();
        p[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
        all.push(p);
        at += n;
    }
    Some(all)
}

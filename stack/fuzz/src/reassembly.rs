//! Fragments of both families, in any order, overlapping, too large, for ever incomplete.

use std::net::IpAddr;

use linerate_net::{Link, TcpConfig};

use crate::MS;
use crate::host::{Host, addr};
use crate::input::Input;

/// Longer than a reassembly may take: RFC 8200 section 4.5 says 60 s.
const ALL_OVER_NS: u64 = 200_000 * MS;

/// Frames are bounded by the pool, and come home when the time of a reassembly is over.
pub fn run(data: &[u8]) {
    let mut i = Input::new(data);
    let mut h = Host::new(1, Link::RawIp, TcpConfig::default());
    while !i.is_empty() {
        let what = i.u8();
        if what & 7 == 7 {
            h.advance(u64::from(i.u8()) * 500 * MS);
            continue;
        }
        let (offset, len) = (i.u16() & 0x1fff & if what & 64 != 0 { 0x1fff } else { 31 }, usize::from(i.u8()) * 8);
        let len = len.saturating_sub(usize::from(what >> 3 & 1) * 3);
        let (more, id) = (what & 16 == 0, u32::from(what >> 5 & 1));
        let protocol = [17, 6, 1, 58][usize::from(what & 3)];
        let payload: Vec<u8> = if what & 128 != 0 { i.bytes(len).to_vec() } else { vec![0x5a; len] };
        let packet = match what & 4 {
            0 => ipv4(offset, more, id as u16, protocol, &payload),
            _ => ipv6(offset, more, id, protocol, &payload),
        };
        h.inject(&packet);
        h.turn();
    }
    h.advance(ALL_OVER_NS);
    assert_eq!(h.stack.frames_held(), 0, "nothing is kept for ever");
    h.assert_ends();
}

fn ipv4(offset: u16, more: bool, id: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut p = vec![0x45, 0];
    p.extend_from_slice(&total.to_be_bytes());
    p.extend_from_slice(&id.to_be_bytes());
    p.extend_from_slice(&(offset | if more { 0x2000 } else { 0 }).to_be_bytes());
    p.extend_from_slice(&[64, protocol, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
    let sum = !linerate_wire::sum(&p).fold();
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p.extend_from_slice(payload);
    p
}

fn ipv6(offset: u16, more: bool, id: u32, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0];
    p.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    p.extend_from_slice(&[44, 64]);
    for a in [addr(2, true), addr(1, true)] {
        if let IpAddr::V6(a) = a {
            p.extend_from_slice(&a.octets());
        }
    }
    p.extend_from_slice(&[protocol, 0]);
    p.extend_from_slice(&(offset << 3 | u16::from(more)).to_be_bytes());
    p.extend_from_slice(&id.to_be_bytes());
    p.extend_from_slice(payload);
    p
}

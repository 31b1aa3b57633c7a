//! ICMP errors as routers and peers make them, about packets that the stack sent.
#![allow(dead_code)] // each test file uses a part of it

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_wire::{Push, icmpv6, protocol};

use super::peer::{Host, Seg};
use super::{MACS, addr};

/// The first `quoted` bytes behind the IP header of a packet that the stack sent, and its IP header.
pub fn quote(proto: u8, v6: bool, l4: &[u8], total_len: u16) -> Vec<u8> {
    let (src, dst) = (addr(0, v6), addr(1, v6));
    let mut buf = vec![0; 64 + l4.len()];
    buf[64..].copy_from_slice(l4);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 64, end);
    p.ip(src, dst, proto, 60, 0, 7, true, 0).unwrap();
    let start = p.start();
    let mut packet = buf[start..].to_vec();
    match v6 {
        false => packet[2..4].copy_from_slice(&total_len.to_be_bytes()),
        true => packet[4..6].copy_from_slice(&(total_len - 40).to_be_bytes()),
    }
    packet
}

/// A TCP segment of the stack: ports and sequence number, the least that RFC 792 has quoted.
pub fn quote_seg(s: &Seg) -> Vec<u8> {
    quote_tcp(s, s.seq)
}

pub fn quote_tcp(s: &Seg, seq: u32) -> Vec<u8> {
    let mut l4 = s.src_port.to_be_bytes().to_vec();
    l4.extend(s.dst_port.to_be_bytes());
    l4.extend(seq.to_be_bytes());
    let v6 = s.dst.is_ipv6();
    let headers = if v6 { 60 } else { 40 };
    quote(protocol::TCP, v6, &l4, (headers + s.raw_options.len() + s.data.len()) as u16)
}

/// An error by a router (or, as `from`, the peer) as a frame.
pub fn error(v6: bool, ty: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
    error_to(0, v6, ty, code, rest, quote)
}

/// The same to either host.
pub fn error_to(host: usize, v6: bool, ty: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
    let mut buf = vec![0; 128 + quote.len()];
    buf[128..].copy_from_slice(quote);
    let end = buf.len();
    let mut p = Push::new(&mut buf, 128, end);
    let router: IpAddr = match v6 {
        false => Ipv4Addr::new(192, 0, 2, 99).into(),
        true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 99).into(),
    };
    match (router, addr(host, v6)) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            p.icmpv6((ty, code), rest.to_be_bytes(), src, dst, None).unwrap();
            p.ip(router, dst.into(), protocol::ICMPV6, 60, 0, 1, true, 0).unwrap();
        }
        (_, dst) => {
            p.icmpv4(ty, code, rest.to_be_bytes(), None).unwrap();
            p.ip(router, dst, protocol::ICMP, 60, 0, 1, true, 0).unwrap();
        }
    }
    p.eth(MACS[1 - host], MACS[host], None).unwrap();
    let start = p.start();
    buf[start..].to_vec()
}

/// Fragmentation needed, or packet too big.
pub fn too_big(mtu: u32, quote: &[u8]) -> Vec<u8> {
    match quote[0] >> 4 {
        4 => error(false, 3, 4, mtu, quote),
        _ => error(true, icmpv6::PACKET_TOO_BIG, 0, mtu, quote),
    }
}

/// The same about a frame that a host sent.
pub fn too_big_about(mtu: u32, frame: &[u8]) -> Vec<u8> {
    let host = usize::from(frame[6..12] == MACS[1]);
    let packet = &frame[14..frame.len().min(14 + 548)];
    match packet[0] >> 4 {
        4 => error_to(host, false, 3, 4, mtu, packet),
        _ => error_to(host, true, icmpv6::PACKET_TOO_BIG, 0, mtu, packet),
    }
}

/// What the stack sends now, as it stands on the wire.
pub fn raw_turn(h: &mut Host) -> Vec<Vec<u8>> {
    h.stack.on_timers(h.now);
    h.stack.output(h.now);
    let (pool, batch) = h.stack.pool_and_batch();
    let mut all = Vec::new();
    while let Some(tx) = batch.pop() {
        all.push(pool.tx_bytes(&tx).to_vec());
        assert!(pool.complete(tx.into_index()));
    }
    all
}

//! TCP segments as bare IP packets, both ways.

use std::net::IpAddr;

use linerate_wire::tcp::{TcpFlags, parse_tcp};
use linerate_wire::tcp_options::{TcpOptions, parse_options};
use linerate_wire::{Push, TcpEmit, parse_ip, protocol};

/// Byte `at` of the stream that `from` sends.
pub fn byte(from: u8, at: u32) -> u8 {
    (at.wrapping_mul(0x9e37_79b9).wrapping_add(u32::from(from) * 77) >> 24) as u8
}

/// A segment that a stack sent.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Ports.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Options.
    pub options: TcpOptions,
    /// Payload.
    pub data: Vec<u8>,
}

/// A packet that a stack sent, if it is TCP. What stacks send is well-formed.
pub fn seen(packet: &[u8]) -> Option<Seen> {
    let p = parse_ip(packet).expect("what the stack sends parses");
    let net = p.net?;
    if net.protocol != protocol::TCP || net.fragment.is_some() {
        return None;
    }
    let l4 = p.l4(packet);
    let sum = linerate_wire::verify_l4(net.src, net.dst, net.protocol, l4);
    assert_eq!(sum, linerate_wire::CsumStatus::Good);
    let h = parse_tcp(l4).expect("a whole header");
    let data_off = h.data_off_bytes as usize;
    Some(Seen {
        src_port: h.src_port,
        dst_port: h.dst_port,
        seq: h.seq,
        ack: h.ack,
        flags: h.flags,
        options: parse_options(&l4[20..data_off]),
        data: l4[data_off..].to_vec(),
    })
}

/// A segment as a packet; `None` if it has no valid form (too many options).
pub fn packet(tcp: &TcpEmit<'_>, src: IpAddr, dst: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let mut buf = vec![0; 128 + payload.len()];
    buf[128..].copy_from_slice(payload);
    let end = buf.len();
    let mut push = Push::new(&mut buf, 128, end);
    push.tcp(tcp, src, dst, None).ok()?;
    push.ip(src, dst, protocol::TCP, 64, 0, 1, true, 0).ok()?;
    let start = push.start();
    Some(buf.split_off(start))
}

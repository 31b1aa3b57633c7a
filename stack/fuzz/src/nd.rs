//! Neighbours and routers that say anything: ND and ARP with good checksums and wild contents, and packets that wait for them.

use std::net::Ipv6Addr;

use linerate_net::{Link, TcpConfig};
use linerate_wire::icmpv6::fill_checksum;

use crate::MS;
use crate::host::{Host, MAC, addr};
use crate::input::Input;

/// Neighbours that a stack may remember, whatever it is told.
const NEIGHBOURS_MAX: usize = 8192;

/// Addresses that matter to ND, by a byte.
fn address(n: u8) -> Ipv6Addr {
    match n % 12 {
        0 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
        1 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99),
        2 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        3 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1),
        4 => Ipv6Addr::UNSPECIFIED,
        5 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1),
        6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()),
        7 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into()),
        8 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n.into()),
        9 => Ipv6Addr::LOCALHOST,
        10 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2),
        _ => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2),
    }
}

/// No panic, a bounded table, and a stack that still works.
pub fn run(data: &[u8]) {
    let mut i = Input::new(data);
    let mut h = Host::new(1, Link::Ethernet(MAC), TcpConfig::default());
    while !i.is_empty() {
        match i.below(8) {
            0..=4 => {
                let frame = nd(&mut i);
                h.inject(&frame);
            }
            5 => {
                let frame = arp(&mut i);
                h.inject(&frame);
            }
            6 => {
                // Something waits for a neighbour.
                let (to, now) = (2 + i.below(8), h.instant());
                if let Ok(id) = h.stack.connect(addr(to, i.flag()), 80, now)
                    && i.flag()
                {
                    h.stack.abort(id, now);
                }
            }
            _ => drop(h.advance(u64::from(i.u8()) * 100 * MS)),
        }
        h.turn();
        assert!(h.stack.neigh().len() <= NEIGHBOURS_MAX);
    }
    let now = h.instant();
    h.stack.abort_all(now);
    h.advance(300_000 * MS);
    assert_eq!((h.stack.conns(), h.stack.frames_held()), (0, 0));
}

fn nd(i: &mut Input) -> Vec<u8> {
    let (kind, src, dst) = (133 + i.below(6), address(i.u8()), address(i.u8()));
    let fixed = [4, 12, 20, 20, 36, 4][usize::from(kind - 133)];
    let mut l4 = vec![kind, i.u8() / 200, 0, 0];
    let mut body = i.bytes(fixed).to_vec();
    body.resize(fixed, 0);
    if matches!(kind, 135..=137) && i.flag() {
        // A target that means something.
        body[4..20].copy_from_slice(&address(i.u8()).octets());
    }
    l4.extend_from_slice(&body);
    for _ in 0..i.below(4) {
        let (option, units) = (1 + i.below(5) + if i.below(8) == 0 { 20 } else { 0 }, 1 + i.below(5));
        l4.extend_from_slice(&[option, if i.below(16) == 0 { 0 } else { units }]);
        let at = l4.len();
        l4.extend_from_slice(i.bytes(usize::from(units) * 8 - 2));
        l4.resize(at + usize::from(units) * 8 - 2, 0);
    }
    fill_checksum(&mut l4, src, dst);
    let mut frame = Vec::from(if dst.is_multicast() { [0x33, 0x33, 0, 0, 0, 1] } else { MAC });
    frame.extend_from_slice(&[2, 0, 0, 0, 0, i.u8(), 0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend_from_slice(&(l4.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[58, if i.below(16) == 0 { 64 } else { 255 }]);
    frame.extend_from_slice(&src.octets());
    frame.extend_from_slice(&dst.octets());
    frame.extend_from_slice(&l4);
    frame
}

fn arp(i: &mut Input) -> Vec<u8> {
    let mut frame = Vec::from(if i.flag() { [0xff; 6] } else { MAC });
    let (sender, about) = (i.below(8), i.below(8));
    let mac = [2, 0, 0, 0, 0, i.u8()];
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + i.below(3)]);
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&[10, 0, 0, sender]);
    frame.extend_from_slice(&[0, 0, 0, 0, 0, 0, 10, 0, 0, about]);
    frame.resize(60, 0);
    frame
}

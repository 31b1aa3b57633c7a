//! Any bytes as a frame: through the parser, then through a stack.

use linerate_net::{Link, TcpConfig};
use linerate_wire::{parse, parse_ip};

use crate::host::{Host, MAC};

/// No panic, offsets inside the frame, and a stack that is none the worse for it.
pub fn run(data: &[u8]) {
    for parsed in [parse(data), parse_ip(data)].into_iter().flatten() {
        let (l4, end) = (parsed.l4_off as usize, parsed.end as usize);
        assert!(end <= data.len() && (parsed.net.is_none() || l4 <= end));
        let _ = (parsed.l4(data), parsed.payload(data));
        let _ = parsed.flow_key(data);
    }
    let mut frame = data.to_vec();
    if frame.len() >= 6 && frame[0] & 3 == 0 {
        // Else few frames would be for the stack.
        frame[..6].copy_from_slice(&MAC);
    }
    let mut h = Host::new(1, Link::Ethernet(MAC), TcpConfig::default());
    let l = h.stack.listen(None, 80, 4);
    assert!(l.is_ok());
    h.inject(&frame);
    h.advance(1_000_000);
    let mut raw = Host::new(1, Link::RawIp, TcpConfig::default());
    raw.inject(data);
    raw.turn();
}

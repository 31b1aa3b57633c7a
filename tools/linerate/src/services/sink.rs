//! Discard (RFC 863) that checks what it discards, and says at the end what it found.

use linerate::net::Events;
use linerate::poll::{Cx, Next, Service};

use crate::demo::pattern;

pub struct Sink;

/// What came so far.
pub struct Counted {
    bytes: u64,
    mismatches: u64,
}

impl Service for Sink {
    type Conn = Counted;

    fn open(&mut self, _cx: &mut Cx<'_>) -> Counted {
        Counted { bytes: 0, mismatches: 0 }
    }

    fn ready(&mut self, counted: &mut Counted, cx: &mut Cx<'_>, _events: Events) -> Next {
        loop {
            let bytes = cx.recv();
            if bytes.is_empty() {
                break;
            }
            let n = bytes.len();
            counted.mismatches += pattern::mismatches(counted.bytes, bytes);
            counted.bytes += n as u64;
            cx.consume(n);
        }
        if !cx.at_eof() {
            return Next::Wait;
        }
        let mut answer = [0; 16];
        answer[..8].copy_from_slice(&counted.bytes.to_be_bytes());
        answer[8..].copy_from_slice(&counted.mismatches.to_be_bytes());
        if cx.write(&answer) == answer.len() { Next::Close } else { Next::Abort }
    }
}

//! Character generator (RFC 864) with a length: sends that much of the pattern.

use linerate::net::Events;
use linerate::poll::{Cx, Next, Service};

use crate::demo::pattern;
use crate::demo::service::ENDLESS;

pub struct Source;

/// How far a connection is.
#[derive(Default)]
pub struct Progress {
    wanted: Option<u64>,
    request: [u8; 8],
    read: usize,
    sent: u64,
}

impl Service for Source {
    type Conn = Progress;

    fn open(&mut self, _cx: &mut Cx<'_>) -> Progress {
        Progress::default()
    }

    fn ready(&mut self, p: &mut Progress, cx: &mut Cx<'_>, _events: Events) -> Next {
        while let Some(byte) = cx.recv().first().copied() {
            // Bytes behind the request have no meaning here.
            if let Some(slot) = p.request.get_mut(p.read) {
                *slot = byte;
                p.read += 1;
            }
            cx.consume(1);
        }
        if p.read == p.request.len() {
            p.wanted = Some(u64::from_be_bytes(p.request));
        }
        let gone = cx.at_eof();
        let Some(wanted) = p.wanted else {
            return if gone { Next::Close } else { Next::Wait };
        };
        if gone && wanted == ENDLESS {
            return Next::Close;
        }
        while p.sent < wanted {
            let left = usize::try_from(wanted - p.sent).unwrap_or(usize::MAX);
            let piece = pattern::slice_at(p.sent, left);
            let n = cx.write(piece);
            p.sent += n as u64;
            if n < piece.len() {
                return Next::Wait;
            }
        }
        Next::Close
    }
}

//! One byte and goodbye: the server closes first, so that TIME-WAIT is the server's.

use linerate::net::Events;
use linerate::poll::{Cx, Next, Service};

pub struct Conns;

impl Service for Conns {
    type Conn = ();

    fn open(&mut self, _cx: &mut Cx<'_>) {}

    fn ready(&mut self, (): &mut (), cx: &mut Cx<'_>, _events: Events) -> Next {
        let Some(byte) = cx.recv().first().copied() else {
            return if cx.at_eof() { Next::Close } else { Next::Wait };
        };
        let unread = cx.stack.readable(cx.id);
        cx.consume(unread);
        if cx.write(&[byte]) == 1 { Next::Close } else { Next::Abort }
    }
}

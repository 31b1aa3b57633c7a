//! Echo (RFC 862): the frames that came in leave again.

use linerate::net::Events;
use linerate::poll::{Cx, Next, Service};

/// No state: what was received and not sent yet stays in the receive queue, which closes the peer's window.
pub struct Echo;

impl Service for Echo {
    type Conn = ();

    fn open(&mut self, cx: &mut Cx<'_>) {
        cx.stack.set_nodelay(cx.id, true);
    }

    fn ready(&mut self, (): &mut (), cx: &mut Cx<'_>, _events: Events) -> Next {
        cx.echo();
        if cx.at_eof() { Next::Close } else { Next::Wait }
    }
}

//! HTTP/1.1 with one resource, parsed where it was received.

use linerate::net::Events;
use linerate::poll::{Cx, Next, Service};

use crate::demo::http::{NOT_FOUND, RESPONSE, Request, parse_request};

pub struct Http;

/// A request head that came in pieces; mostly empty, and then without memory.
#[derive(Default)]
pub struct Head {
    pieces: Vec<u8>,
    /// A response did not fit into the send queue: this much of it is still to be written.
    unwritten: usize,
}

impl Service for Http {
    type Conn = Head;

    fn open(&mut self, cx: &mut Cx<'_>) -> Head {
        cx.stack.set_nodelay(cx.id, true);
        Head::default()
    }

    fn ready(&mut self, head: &mut Head, cx: &mut Cx<'_>, _events: Events) -> Next {
        loop {
            if head.unwritten > 0 && !respond(head, cx) {
                return Next::Wait;
            }
            let bytes = cx.recv();
            if bytes.is_empty() {
                return if cx.at_eof() { Next::Close } else { Next::Wait };
            }
            let here = bytes.len();
            let request = match head.pieces.is_empty() {
                true => parse_request(bytes),
                false => {
                    head.pieces.extend_from_slice(bytes);
                    parse_request(&head.pieces)
                }
            };
            match request {
                Request::Partial => {
                    if head.pieces.is_empty() {
                        head.pieces = bytes.to_vec();
                    }
                    cx.consume(here);
                }
                Request::Get { len, close } => {
                    let before = head.pieces.len().saturating_sub(here);
                    head.pieces.clear();
                    cx.consume(len - before);
                    head.unwritten = RESPONSE.len();
                    if close {
                        respond(head, cx);
                        drain(cx);
                        return Next::Close;
                    }
                }
                Request::Refused => {
                    drain(cx);
                    cx.write(NOT_FOUND);
                    return Next::Close;
                }
            }
        }
    }
}

/// Writes what is left of the response; `false` if it does not all fit.
fn respond(head: &mut Head, cx: &mut Cx<'_>) -> bool {
    let n = cx.write(&RESPONSE[RESPONSE.len() - head.unwritten..]);
    head.unwritten -= n;
    head.unwritten == 0
}

/// Unread bytes would make the close a reset, and the answer would be lost with it.
fn drain(cx: &mut Cx<'_>) {
    let unread = cx.stack.readable(cx.id);
    cx.consume(unread);
}

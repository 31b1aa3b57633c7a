//! A synchronous netlink socket: one request, then all of its answer.
//!
//! Messages are framed here; rtnetlink bodies are netlink-packet-route's, generic netlink bodies are
//! attributes written out. A message of a dump that the decoder does not understand is left out: a
//! strange link elsewhere on the host must not keep ours from being read.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{Emitable, ParseableParametrized};
use netlink_packet_route::{RouteNetlinkMessage, RouteNetlinkMessageBuffer};
use netlink_sys::{Socket, SocketAddr, protocols};

use crate::NicError;

pub(crate) const NLM_F_REQUEST: u16 = libc::NLM_F_REQUEST as u16;
pub(crate) const NLM_F_ACK: u16 = libc::NLM_F_ACK as u16;
pub(crate) const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;
pub(crate) const NLM_F_CREATE: u16 = libc::NLM_F_CREATE as u16;
pub(crate) const NLM_F_EXCL: u16 = libc::NLM_F_EXCL as u16;
const NLM_F_DUMP_INTR: u16 = 16;
const HEADER_BYTES: usize = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// How often a dump is repeated that changed while it was read, before it is taken as it is.
const DUMP_ATTEMPTS: u32 = 4;

/// One netlink message: its type and its body.
#[derive(Debug)]
pub(crate) struct Message {
    pub kind: u16,
    pub body: Vec<u8>,
}

/// A netlink socket in the namespace of the thread that opened it.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn route() -> Result<Self, NicError> {
        Self::open(protocols::NETLINK_ROUTE)
    }

    pub(crate) fn generic() -> Result<Self, NicError> {
        Self::open(protocols::NETLINK_GENERIC)
    }

    fn open(protocol: isize) -> Result<Self, NicError> {
        let socket =
            Socket::new(protocol).map_err(|error| NicError::kernel("opening a netlink socket", &error))?;
        // Without these an error still has its errno.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, sequence: 0 })
    }

    /// A socket that hears a multicast group and does not block.
    pub(crate) fn listen(group: u32) -> Result<Self, NicError> {
        let mut netlink = Self::route()?;
        let failed = |error| NicError::kernel("following netlink notifications", &error);
        netlink.socket.bind_auto().map_err(failed)?;
        netlink.socket.add_membership(group).map_err(failed)?;
        netlink.socket.set_non_blocking(true).map_err(failed)?;
        Ok(netlink)
    }

    pub(crate) fn receive(&self) -> std::io::Result<Vec<Message>> {
        let (datagram, _) = self.socket.recv_from_full()?;
        Ok(split(&datagram).map(|(message, _)| message).collect())
    }

    /// Sends a request and returns the messages of its answer; an empty one is a plain "done".
    pub(crate) fn call(
        &mut self,
        tried: &str,
        kind: u16,
        flags: u16,
        body: &[u8],
    ) -> Result<Vec<Message>, NicError> {
        for attempt in 1.. {
            let (messages, interrupted) = self.call_once(tried, kind, flags, body)?;
            if !interrupted || attempt >= DUMP_ATTEMPTS {
                return Ok(messages);
            }
        }
        unreachable!("the loop ends by returning")
    }

    fn call_once(
        &mut self,
        tried: &str,
        kind: u16,
        flags: u16,
        body: &[u8],
    ) -> Result<(Vec<Message>, bool), NicError> {
        self.sequence += 1;
        let dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        // An acknowledgement marks the end of an answer that is no dump.
        let flags = NLM_F_REQUEST | flags | if dump { 0 } else { NLM_F_ACK };
        let mut request = Vec::with_capacity(HEADER_BYTES + body.len());
        request.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend(0u32.to_ne_bytes());
        request.extend(body);
        let failed = |error| NicError::kernel(tried, &error);
        self.socket.send_to(&request, &SocketAddr::new(0, 0), 0).map_err(failed)?;

        let mut answer = Vec::new();
        let mut interrupted = false;
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(failed)?;
            if datagram.is_empty() {
                return Err(NicError::Unreadable {
                    tried: tried.to_owned(),
                    what: "an empty datagram".to_owned(),
                });
            }
            for (message, header) in split(&datagram) {
                // The late rest of an answer that ended in an error before.
                if header.sequence != self.sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match message.kind as i32 {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        // DONE carries an error too when a dump breaks off.
                        let errno = -(u32_of(&message.body).unwrap_or(0) as i32);
                        if errno > 0 {
                            let kernel_said = error_text(&message);
                            return Err(NicError::Kernel { tried: tried.to_owned(), errno, kernel_said });
                        }
                        return Ok((answer, interrupted));
                    }
                    libc::NLMSG_NOOP => {}
                    _ => answer.push(message),
                }
            }
        }
    }

    /// [`call`](Self::call) with rtnetlink messages.
    pub(crate) fn route_call(
        &mut self,
        tried: &str,
        flags: u16,
        request: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NicError> {
        let mut body = vec![0; request.buffer_len()];
        request.emit(&mut body);
        let answer = self.call(tried, request.message_type(), flags, &body)?;
        Ok(answer.iter().filter_map(decode_route).collect())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(crate) fn decode_route(message: &Message) -> Option<RouteNetlinkMessage> {
    let buffer = RouteNetlinkMessageBuffer::new(&message.body);
    RouteNetlinkMessage::parse_with_param(&buffer, message.kind).ok()
}

struct Header {
    flags: u16,
    sequence: u32,
}

fn split(mut rest: &[u8]) -> impl Iterator<Item = (Message, Header)> {
    std::iter::from_fn(move || {
        let len = u32_of(rest)? as usize;
        let body = rest.get(HEADER_BYTES..len)?.to_vec();
        let header = Header { flags: u16_at(rest, 6)?, sequence: u32_of(rest.get(8..)?)? };
        let message = Message { kind: u16_at(rest, 4)?, body };
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((message, header))
    })
}

fn error_text(message: &Message) -> Option<String> {
    if message.kind as i32 != libc::NLMSG_ERROR {
        return None;
    }
    // errno, then the request's header (NETLINK_CAP_ACK leaves out its body), then attributes.
    attributes(message.body.get(4 + HEADER_BYTES..)?)
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

/// One attribute, padded to four bytes.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + value.len().next_multiple_of(4));
    out.extend(((4 + value.len()) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The attributes in a body, up to the first that does not fit.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u16_at(rest, 0)? as usize;
        let kind = u16_at(rest, 2)? & NLA_TYPE_MASK;
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// A number of four or eight bytes (NLA_UINT comes in either).
pub(crate) fn uint_of(bytes: &[u8]) -> Option<u64> {
    match bytes.len() {
        8 => Some(u64::from_ne_bytes(bytes.try_into().ok()?)),
        _ => u32_of(bytes).map(u64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_cut_anywhere_does_not_panic() {
        let mut datagram = Vec::new();
        let body = attribute(1, b"abcde");
        datagram.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        datagram.extend(16u16.to_ne_bytes());
        datagram.extend([0; 10]);
        datagram.extend(&body);
        for cut in 0..datagram.len() {
            assert_eq!(split(&datagram[..cut]).count(), 0);
        }
        let (message, _) = split(&datagram).next().unwrap();
        assert_eq!(attributes(&message.body).next(), Some((1, b"abcde".as_slice())));
        // A length that says less than a header would loop for ever.
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(split(&[0; 16]).count(), 0);
    }
}

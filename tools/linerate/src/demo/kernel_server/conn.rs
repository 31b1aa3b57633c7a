//! One connection of the kernel server: what its service does when the socket is readable or writable.

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::super::http::{self, Request};
use super::super::pattern;
use super::super::service::{ENDLESS, Service};
use super::super::socket;

/// Size of the shared read buffer and of one bulk `send`, bytes.
pub const BUF_BYTES: usize = pattern::MAX_SLICE;
/// Full-size reads or writes for one event, so that one bulk connection doesn't starve the others.
const BULK_CALLS: usize = 8;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for the next event.
    Keep,
    /// Its protocol is done: close.
    Close,
    /// It broke: close and count.
    Fail,
}

impl From<rustix::io::Errno> for Next {
    fn from(_: rustix::io::Errno) -> Self {
        Self::Fail
    }
}

enum State {
    /// The part of a request head that came so far.
    Http(Vec<u8>),
    Echo,
    Sink {
        count: u64,
        mismatches: u64,
    },
    /// The length, while its eight bytes come.
    SourceLength(Vec<u8>),
    Source {
        sent: u64,
        len: u64,
        /// The peer's FIN came; a stream of a given length goes on.
        half_closed: bool,
    },
    Conns,
}

/// An accepted socket and what its service knows about it.
pub struct Connection {
    pub fd: OwnedFd,
    /// What epoll was told to wait for.
    pub registered: EventFlags,
    state: State,
    /// Bytes the socket did not take; while there are any, nothing more is read (back-pressure).
    out: Vec<u8>,
    /// Close once `out` is gone.
    closing: bool,
}

impl Connection {
    pub fn new(service: Service, fd: OwnedFd) -> Self {
        let state = match service {
            Service::Http => State::Http(Vec::new()),
            Service::Echo => State::Echo,
            Service::Sink => State::Sink { count: 0, mismatches: 0 },
            Service::Source => State::SourceLength(Vec::new()),
            Service::Conns => State::Conns,
        };
        Self { fd, registered: EventFlags::empty(), state, out: Vec::new(), closing: false }
    }

    /// The events to wait for now.
    pub fn wanted(&self) -> EventFlags {
        match self.state {
            State::Source { half_closed: true, .. } => EventFlags::OUT,
            // Readable is the peer's FIN: the end of an endless stream.
            State::Source { .. } => EventFlags::IN | EventFlags::OUT,
            _ if !self.out.is_empty() => EventFlags::OUT,
            _ => EventFlags::IN,
        }
    }

    /// The socket is ready for `flags`; `buf` is shared by all connections.
    pub fn on_event(&mut self, flags: EventFlags, buf: &mut [u8]) -> Next {
        if let Err(next) = self.flush() {
            return next;
        }
        if !self.out.is_empty() {
            return Next::Keep;
        }
        let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
        let step = match self.state {
            State::Source { .. } => self.source(readable, buf),
            _ if !readable => Ok(()),
            State::Http(_) => self.http(buf),
            State::Echo => self.echo(buf),
            State::Sink { .. } => self.sink(buf),
            State::SourceLength(_) => self.source_length(buf),
            State::Conns => self.conns(buf),
        };
        match step {
            Err(next) => next,
            Ok(()) if self.closing && self.out.is_empty() => Next::Close,
            Ok(()) => Next::Keep,
        }
    }

    fn flush(&mut self) -> Result<(), Next> {
        if !self.out.is_empty() {
            let n = socket::send(&self.fd, &self.out)?;
            self.out.drain(..n);
            if self.out.is_empty() && self.closing {
                return Err(Next::Close);
            }
        }
        Ok(())
    }

    /// Writes now what the socket takes and keeps the rest.
    fn reply(&mut self, bytes: &[u8]) -> Result<(), Next> {
        let n = socket::send(&self.fd, bytes)?;
        self.out.extend_from_slice(&bytes[n..]);
        Ok(())
    }

    fn http(&mut self, buf: &mut [u8]) -> Result<(), Next> {
        let State::Http(partial) = &mut self.state else { return Ok(()) };
        let Some(n) = socket::recv(&self.fd, buf)? else { return Ok(()) };
        if n == 0 {
            return Err(Next::Close);
        }
        // The usual case: exactly one request came and nothing was left over: no copy, no allocation.
        if partial.is_empty()
            && let Request::Get { len, close: false } = http::parse_request(&buf[..n])
            && len == n
        {
            return self.reply(http::RESPONSE);
        }
        partial.extend_from_slice(&buf[..n]);
        let mut answers = Vec::new();
        let mut at = 0;
        while at < partial.len() && !self.closing {
            match http::parse_request(&partial[at..]) {
                Request::Get { len, close } => {
                    answers.extend_from_slice(http::RESPONSE);
                    at += len;
                    self.closing = close;
                }
                Request::Partial => break,
                Request::Refused => {
                    answers.extend_from_slice(http::NOT_FOUND);
                    self.closing = true;
                }
            }
        }
        partial.drain(..at);
        if answers.is_empty() { Ok(()) } else { self.reply(&answers) }
    }

    fn echo(&mut self, buf: &mut [u8]) -> Result<(), Next> {
        match socket::recv(&self.fd, buf)? {
            Some(0) => Err(Next::Close),
            Some(n) => self.reply(&buf[..n]),
            None => Ok(()),
        }
    }

    fn sink(&mut self, buf: &mut [u8]) -> Result<(), Next> {
        let State::Sink { count, mismatches } = &mut self.state else { return Ok(()) };
        for _ in 0..BULK_CALLS {
            match socket::recv(&self.fd, buf)? {
                Some(0) => {
                    let mut answer = [0; 16];
                    answer[..8].copy_from_slice(&count.to_be_bytes());
                    answer[8..].copy_from_slice(&mismatches.to_be_bytes());
                    self.closing = true;
                    return self.reply(&answer);
                }
                Some(n) => {
                    *mismatches += pattern::mismatches(*count, &buf[..n]);
                    *count += n as u64;
                    // A read that didn't fill the buffer emptied the socket.
                    if n < buf.len() {
                        break;
                    }
                }
                None => break,
            }
        }
        Ok(())
    }

    fn source_length(&mut self, buf: &mut [u8]) -> Result<(), Next> {
        let State::SourceLength(head) = &mut self.state else { return Ok(()) };
        let room = 8 - head.len();
        match socket::recv(&self.fd, &mut buf[..room])? {
            Some(0) => return Err(Next::Close),
            Some(n) => head.extend_from_slice(&buf[..n]),
            None => return Ok(()),
        }
        if let Ok(len) = <[u8; 8]>::try_from(head.as_slice()) {
            self.state = State::Source { sent: 0, len: u64::from_be_bytes(len), half_closed: false };
            return self.source(false, buf);
        }
        Ok(())
    }

    fn source(&mut self, readable: bool, buf: &mut [u8]) -> Result<(), Next> {
        let State::Source { sent, len, half_closed } = &mut self.state else { return Ok(()) };
        if readable && !*half_closed && socket::recv(&self.fd, buf)? == Some(0) {
            if *len == ENDLESS {
                return Err(Next::Close);
            }
            *half_closed = true;
        }
        for _ in 0..BULK_CALLS {
            let left = (*len - *sent).min(BUF_BYTES as u64) as usize;
            if left == 0 {
                return Err(Next::Close);
            }
            let n = socket::send(&self.fd, pattern::slice_at(*sent, left))?;
            *sent += n as u64;
            if n < left {
                break;
            }
        }
        Ok(())
    }

    fn conns(&mut self, buf: &mut [u8]) -> Result<(), Next> {
        match socket::recv(&self.fd, &mut buf[..1])? {
            Some(0) => Err(Next::Close),
            Some(_) => {
                self.closing = true;
                self.reply(&[buf[0]])
            }
            None => Ok(()),
        }
    }
}

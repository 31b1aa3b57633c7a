//! Pipes, and splice between them and sockets.

use std::collections::VecDeque;

use crate::errno::{Errno, Res};
use crate::tcp_sock::MsgFlags;
use crate::world::{Kind, World};

/// What a pipe holds at most: Linux's 16 pages.
const PIPE_BYTES: usize = 65_536;

/// Bytes between a writing and a reading end.
#[derive(Default)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    no_reader: bool,
    no_writer: bool,
}

impl Pipe {
    pub fn close_end(&mut self, writes: bool) {
        match writes {
            true => self.no_writer = true,
            false => self.no_reader = true,
        }
    }

    /// Up to `n` bytes; `None`: there are none yet.
    pub fn read(&mut self, n: usize) -> Option<Vec<u8>> {
        if self.bytes.is_empty() && !self.no_writer {
            return None;
        }
        let n = n.min(self.bytes.len());
        Some(self.bytes.drain(..n).collect())
    }

    /// How many bytes were taken; `None`: there is no room.
    pub fn write(&mut self, data: &[u8]) -> Res<Option<usize>> {
        if self.no_reader {
            return Err(Errno::EPIPE);
        }
        let n = data.len().min(self.room());
        self.bytes.extend(&data[..n]);
        Ok((n > 0 || data.is_empty()).then_some(n))
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn room(&self) -> usize {
        PIPE_BYTES - self.bytes.len()
    }

    /// (readable, writable, the other end is closed)
    pub fn readiness(&self, writes: bool) -> (bool, bool, bool) {
        match writes {
            true => (false, self.room() > 0, self.no_reader),
            false => (!self.bytes.is_empty(), false, self.no_writer),
        }
    }
}

impl World {
    /// pipe(2): reading and writing end.
    pub fn pipe(&mut self) -> Res<[i32; 2]> {
        let pipe = self.pipes.len();
        self.pipes.push(Pipe::default());
        let reader = self.open(Kind::Pipe { pipe, writes: false }, false)?;
        let writer = self.open(Kind::Pipe { pipe, writes: true }, false)?;
        Ok([reader, writer])
    }

    /// splice(2) between a socket and a pipe, or two pipes. `None`: nothing can move yet.
    pub fn splice(&mut self, from: i32, to: i32, n: usize) -> Res<Option<usize>> {
        let source = self.pipe_end(from)?;
        let target = self.pipe_end(to)?;
        match (source, target) {
            (Some((_, true)), _) | (_, Some((_, false))) => Err(Errno::EBADF),
            (None, None) => Err(Errno::EINVAL),
            (Some((a, _)), Some((b, _))) if a == b => Err(Errno::EINVAL),
            (Some((a, _)), Some((b, _))) => {
                let n = n.min(self.pipes[b].room());
                let Some(bytes) = self.pipes[a].read(n) else { return Ok(None) };
                self.pipes[b].write(&bytes)
            }
            (None, Some((b, _))) => {
                let n = n.min(self.pipes[b].room());
                if n == 0 {
                    return Ok(None);
                }
                let Some(bytes) = self.tcp_recv(from, n, false, MsgFlags::default(), true)? else {
                    return Ok(None);
                };
                self.pipes[b].write(&bytes).map(|_| Some(bytes.len()))
            }
            (Some((a, _)), None) => {
                if !self.tcp_can_send(to)? {
                    return Ok(None);
                }
                let room = self.tcp(to)?.flow().map_or(0, |id| self.stack.room(id));
                if room == 0 {
                    return Ok(None);
                }
                let Some(bytes) = self.pipes[a].read(n.min(room)) else { return Ok(None) };
                self.tcp_send(to, &bytes).map(|sent| Some(sent.unwrap_or(0)))
            }
        }
    }

    fn pipe_end(&mut self, fd: i32) -> Res<Option<(usize, bool)>> {
        Ok(match self.file(fd)?.kind {
            Kind::Pipe { pipe, writes } => Some((pipe, writes)),
            Kind::Tcp(_) => None,
            Kind::Epoll(_) | Kind::Udp(_) => return Err(Errno::EINVAL),
        })
    }
}

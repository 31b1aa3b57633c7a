//! Readiness: poll and epoll.

use crate::errno::{Errno, Res};
use crate::tcp_sock::Phase;
use crate::world::{Kind, World};

use linerate_net::State;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const RDNORM: u32 = libc::EPOLLRDNORM as u32;
const WRNORM: u32 = libc::EPOLLWRNORM as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
const EDGE: u32 = libc::EPOLLET as u32;

/// One descriptor that an epoll watches.
struct Watch {
    fd: i32,
    events: u32,
    data: u64,
    /// Edge-triggered: the count of edges at the last report, and what was ready then.
    told_edges: Option<u64>,
    /// One-shot, and shot.
    disabled: bool,
}

/// An epoll.
#[derive(Default)]
pub(crate) struct Epoll {
    watches: Vec<Watch>,
}

impl Epoll {
    pub fn remove(&mut self, fd: i32) -> bool {
        let before = self.watches.len();
        self.watches.retain(|w| w.fd != fd);
        self.watches.len() != before
    }
}

impl World {
    /// What poll would say of a descriptor if it were asked for everything.
    pub fn readiness(&mut self, fd: i32) -> Res<u32> {
        match &mut self.file(fd)?.kind {
            Kind::Tcp(_) => self.tcp_readiness(fd),
            Kind::Udp(_) => self.udp_readiness(fd),
            Kind::Pipe { pipe, writes } => {
                let (pipe, writes) = (*pipe, *writes);
                let (readable, writable, alone) = self.pipes[pipe].readiness(writes);
                let mut r = if readable { IN | RDNORM } else { 0 };
                r |= if writable { OUT | WRNORM } else { 0 };
                r |= match (alone, writes) {
                    (true, true) => ERR,
                    (true, false) => HUP,
                    _ => 0,
                };
                Ok(r)
            }
            Kind::Epoll(epoll) => {
                let fds: Vec<(i32, u32)> = epoll.watches.iter().map(|w| (w.fd, w.events)).collect();
                let any = fds.into_iter().any(|(fd, events)| {
                    // One epoll in another is looked at no deeper than this.
                    !matches!(self.files.get(&fd).map(|f| &f.kind), Some(Kind::Epoll(_)))
                        && self.readiness(fd).is_ok_and(|r| r & (events | ERR | HUP) != 0)
                });
                Ok(if any { IN | RDNORM } else { 0 })
            }
        }
    }

    /// As Linux's tcp_poll.
    fn tcp_readiness(&mut self, fd: i32) -> Res<u32> {
        let sock = self.tcp(fd)?;
        let (shut_rd, shut_wr, lowat) = (sock.shut_rd, sock.shut_wr, sock.options.rcv_lowat);
        let mut r = 0;
        if self.pending_error(fd)?.is_some() || self.has_messages(fd) {
            r |= ERR;
        }
        let id = match self.tcp(fd)?.phase.clone() {
            Phase::Listening(ids) => {
                let waits = ids.iter().any(|id| self.stack.accept_queue_len(*id) > 0);
                return Ok(if waits { IN | RDNORM } else { 0 });
            }
            Phase::Idle => return Ok(r | OUT | WRNORM | HUP),
            Phase::Connecting(id) | Phase::Connected(id) => id,
        };
        let state = self.stack.state(id).unwrap_or(State::Closed);
        let eof = self.stack.at_eof(id) || self.stack.has_fin(id) || shut_rd;
        if state == State::Closed || (eof && shut_wr) {
            r |= HUP;
        }
        if eof {
            r |= IN | RDNORM | RDHUP;
        }
        if matches!(state, State::SynSent | State::SynReceived) {
            return Ok(r);
        }
        if self.stack.readable(id) >= lowat.max(1) {
            r |= IN | RDNORM;
        }
        let closed = shut_wr || state == State::Closed;
        if closed || self.tcp_has_room(fd)? {
            r |= OUT | WRNORM;
        }
        Ok(r)
    }

    /// sk_stream_is_writable: a third of the buffer is free, and little of it is unsent (TCP_NOTSENT_LOWAT).
    fn tcp_has_room(&mut self, fd: i32) -> Res<bool> {
        let sock = self.tcp(fd)?;
        let Some(id) = sock.flow() else { return Ok(true) };
        let lowat = sock.options.notsent_lowat.unwrap_or(u32::MAX);
        let Some(info) = self.stack.info(id) else { return Ok(true) };
        let queued = self.stack.unacked(id);
        let buf = self.stack.config(id).snd_buf_bytes as usize;
        Ok(buf.saturating_sub(queued) >= queued / 2 && buf > queued && info.unsent_bytes < lowat)
    }

    /// poll(2)'s answer for one descriptor; POLLNVAL if it is not open.
    pub fn poll_one(&mut self, fd: i32, events: i16) -> i16 {
        if fd < 0 {
            return 0;
        }
        match self.readiness(fd) {
            Ok(r) => (r & (events as u16 as u32 | ERR | HUP)) as i16,
            Err(_) => libc::POLLNVAL,
        }
    }

    fn epoll(&mut self, epfd: i32) -> Res<&mut Epoll> {
        match &mut self.file(epfd)?.kind {
            Kind::Epoll(epoll) => Ok(epoll),
            _ => Err(Errno::EINVAL),
        }
    }

    /// epoll_ctl(2). `event`: its words and data.
    pub fn epoll_ctl(&mut self, epfd: i32, op: i32, fd: i32, event: Option<(u32, u64)>) -> Res<()> {
        self.file(epfd)?;
        self.file(fd)?;
        let epoll = self.epoll(epfd)?;
        if epfd == fd {
            return Err(Errno::EINVAL);
        }
        let known = epoll.watches.iter().position(|w| w.fd == fd);
        match op {
            libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD => {
                let (events, data) = event.ok_or(Errno::EFAULT)?;
                let watch = Watch { fd, events, data, told_edges: None, disabled: false };
                match (op == libc::EPOLL_CTL_ADD, known) {
                    (true, Some(_)) => return Err(Errno::EEXIST),
                    (true, None) => epoll.watches.push(watch),
                    (false, Some(i)) => epoll.watches[i] = watch,
                    (false, None) => return Err(Errno::ENOENT),
                }
                Ok(())
            }
            libc::EPOLL_CTL_DEL => match epoll.remove(fd) {
                true => Ok(()),
                false => Err(Errno::ENOENT),
            },
            _ => Err(Errno::EINVAL),
        }
    }

    /// epoll_wait(2): up to `max` events; `None`: none are ready.
    pub fn epoll_wait(&mut self, epfd: i32, max: usize) -> Res<Option<Vec<(u32, u64)>>> {
        let mut watches = std::mem::take(&mut self.epoll(epfd)?.watches);
        let mut ready = Vec::new();
        for w in &mut watches {
            if ready.len() == max || w.disabled {
                continue;
            }
            let now = self.readiness(w.fd).unwrap_or(0) & (w.events | ERR | HUP);
            let edges = self.files.get(&w.fd).map_or(0, |f| f.edges);
            let stale = w.events & EDGE != 0 && w.told_edges == Some(edges);
            if now == 0 || stale {
                continue;
            }
            ready.push((now, w.data));
            w.told_edges = Some(edges);
            w.disabled = w.events & ONESHOT != 0;
        }
        self.epoll(epfd)?.watches = watches;
        Ok((!ready.is_empty()).then_some(ready))
    }
}

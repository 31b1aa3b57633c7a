//! The closed loop of the request loads: N connections, one exchange outstanding on each; the next request
//! leaves when the answer is there. One `recv` and one `send` an exchange, one `epoll_wait` for many.

use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::super::socket;
use super::connect::connect_all;
use super::outcome::{ErrorKind, Outcome};
use super::poller::Poller;
use super::window::Window;
use super::{Job, Wait};

/// Room for an answer, bytes: larger than any, so that a read which does not fill it emptied the socket.
const ANSWER_BYTES: usize = 4096;

/// What the bytes received so far on a connection amount to.
pub enum Verdict {
    /// The whole right answer and nothing else.
    Right,
    /// More has to come.
    More,
    /// Not the expected bytes.
    Wrong(&'static str),
}

/// What is asked and what has to come back.
pub trait Exchange {
    /// The request of exchange number `seq` of a connection.
    fn request(&self, seq: u64) -> &[u8];
    /// Judges the answer to it.
    fn judge(&mut self, seq: u64, answer: &[u8]) -> Verdict;
}

struct Connection {
    fd: OwnedFd,
    seq: u64,
    sent_at: Instant,
    /// What came of an answer that is not whole yet; empty in the usual case.
    partial: Vec<u8>,
}

/// Drives `conns` connections until the job's time is over.
pub fn run(job: &Job, conns: usize, wait: Wait, mut exchange: impl Exchange) -> Outcome {
    let mut errors = Default::default();
    let fds = connect_all(job.addr, conns, &mut errors);
    let mut window = Window::start(job);
    window.errors = errors;
    let mut poller = match Poller::new(wait) {
        Ok(poller) => poller,
        Err(errno) => {
            window.errors.add_errno(errno);
            return window.finish();
        }
    };
    let mut live = Vec::with_capacity(conns);
    let mut outstanding = 0;
    for (token, fd) in (0..).zip(fds) {
        let sent_at = Instant::now();
        let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
        let started = poller.add(&fd, token, flags).and_then(|()| socket::send(&fd, exchange.request(0)));
        if let Err(errno) = started {
            window.errors.add_errno(errno);
        }
        outstanding += usize::from(started.is_ok());
        live.push(started.is_ok().then(|| Connection { fd, seq: 0, sent_at, partial: Vec::new() }));
    }

    let mut buf = [0u8; ANSWER_BYTES];
    let mut now = Instant::now();
    let mut deadline = window.deadline();
    let mut running = true;
    while outstanding > 0 && now < deadline {
        if running && !window.running(now) {
            running = false;
            deadline = window.deadline();
        }
        let until = if running { window.end() } else { deadline };
        let events = match poller.wait(now, until) {
            Ok(events) => events,
            Err(errno) => {
                window.errors.add_errno(errno);
                break;
            }
        };
        for event in events {
            let slot = &mut live[event.data.u64() as usize];
            let Some(connection) = slot else { continue };
            match connection.on_event(event.flags, &mut buf, &mut exchange) {
                Step::Wait => {}
                Step::Done => {
                    now = Instant::now();
                    window.done(now - connection.sent_at);
                    outstanding -= 1;
                    if running {
                        match connection.next(now, &exchange) {
                            Ok(()) => outstanding += 1,
                            Err(errno) => {
                                window.errors.add_errno(errno);
                                *slot = None;
                            }
                        }
                    }
                }
                Step::Failed(kind, what) => {
                    window.errors.add(kind, what);
                    outstanding -= 1;
                    *slot = None;
                }
            }
        }
        // Covers the turns without an answer; where there was one it is some 20 ns more.
        now = Instant::now();
    }
    window.close();
    for _ in 0..outstanding {
        window.errors.add(ErrorKind::Stalled, "no answer within the time of grace");
    }
    window.finish()
}

enum Step {
    Wait,
    Done,
    Failed(ErrorKind, String),
}

impl Connection {
    fn on_event(&mut self, flags: EventFlags, buf: &mut [u8], exchange: &mut impl Exchange) -> Step {
        loop {
            let n = match socket::recv(&self.fd, buf) {
                Ok(Some(0)) => return Step::Failed(ErrorKind::Short, "closed before the answer".into()),
                Ok(Some(n)) => n,
                Ok(None) => return Step::Wait,
                Err(errno) => return Step::Failed(errno.into(), errno.to_string()),
            };
            let verdict = if self.partial.is_empty() {
                exchange.judge(self.seq, &buf[..n])
            } else {
                self.partial.extend_from_slice(&buf[..n]);
                exchange.judge(self.seq, &self.partial)
            };
            match verdict {
                Verdict::Right => {
                    self.partial.clear();
                    return Step::Done;
                }
                Verdict::Wrong(what) => return Step::Failed(ErrorKind::Mismatch, what.into()),
                Verdict::More if self.partial.is_empty() => self.partial.extend_from_slice(&buf[..n]),
                Verdict::More => {}
            }
            // Edge-triggered: a read that didn't fill the buffer emptied the socket, unless a FIN stands behind.
            if n < buf.len() && !flags.contains(EventFlags::RDHUP) {
                return Step::Wait;
            }
        }
    }

    fn next(&mut self, now: Instant, exchange: &impl Exchange) -> rustix::io::Result<()> {
        self.seq += 1;
        self.sent_at = now;
        // A request is far smaller than an empty send buffer, so it goes whole; if it ever did not, no
        // answer would come and the exchange would be counted as stalled.
        socket::send(&self.fd, exchange.request(self.seq)).map(drop)
    }
}

//! Request-response: one byte there and back. With one connection and [`Wait::Spin`] not even epoll stands
//! between the answer and the clock.

use std::time::Instant;

use super::super::socket;
use super::closed_loop::{self, Exchange, Verdict};
use super::connect::connect_all;
use super::outcome::{ErrorKind, Outcome};
use super::window::Window;
use super::{Job, Wait};

/// The byte of exchange `seq` is `BYTES[seq % 256]`: it changes, so a late or doubled answer is seen.
const BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};

/// Runs it over epoll.
pub fn run(job: &Job, conns: usize, wait: Wait) -> Outcome {
    closed_loop::run(job, conns, wait, OneByte)
}

struct OneByte;

impl Exchange for OneByte {
    #[inline]
    fn request(&self, seq: u64) -> &[u8] {
        let i = seq as usize % BYTES.len();
        &BYTES[i..=i]
    }

    #[inline]
    fn judge(&mut self, seq: u64, answer: &[u8]) -> Verdict {
        if answer == self.request(seq) { Verdict::Right } else { Verdict::Wrong("another byte came back") }
    }
}

/// Runs one connection, reading in a loop without ever sleeping.
pub fn run_spinning(job: &Job) -> Outcome {
    let mut errors = Default::default();
    let fds = connect_all(job.addr, 1, &mut errors);
    let mut window = Window::start(job);
    window.errors = errors;
    let Some(fd) = fds.first() else { return window.finish() };
    let mut buf = [0u8; 16];
    let mut now = Instant::now();
    for seq in 0.. {
        if !window.running(now) {
            break;
        }
        let deadline = now + super::GRACE;
        // Again, so that what `running` may have done at the window's edge is not taken for latency.
        let sent_at = Instant::now();
        let answer = socket::send(fd, OneByte.request(seq)).and_then(|_| {
            loop {
                if let Some(n) = socket::recv(fd, &mut buf)? {
                    return Ok(Some(n));
                }
                now = Instant::now();
                if now >= deadline {
                    return Ok(None);
                }
            }
        });
        now = Instant::now();
        let failed = match answer {
            Ok(Some(0)) => (ErrorKind::Short, "closed before the answer"),
            Ok(Some(n)) => match OneByte.judge(seq, &buf[..n]) {
                Verdict::Right => {
                    window.done(now - sent_at);
                    continue;
                }
                _ => (ErrorKind::Mismatch, "another byte came back"),
            },
            Ok(None) => (ErrorKind::Stalled, "no answer within the time of grace"),
            Err(errno) => {
                window.errors.add_errno(errno);
                break;
            }
        };
        window.errors.add(failed.0, failed.1);
        break;
    }
    window.finish()
}

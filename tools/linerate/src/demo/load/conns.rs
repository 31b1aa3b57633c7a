//! Connections per second: connect, one byte there and back, the server closes first; N under way at a time.

use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::super::socket;
use super::outcome::{ErrorKind, Outcome};
use super::poller::Poller;
use super::window::Window;
use super::{Job, Wait};

/// After so many failures it is not a load any more; the rest of the time is not spent on adding to them.
const MAX_ERRORS: u64 = 1000;

struct Connection {
    fd: OwnedFd,
    began: Instant,
    byte: u8,
    sent: bool,
    answered: bool,
}

struct Failed(ErrorKind, String);

impl From<Errno> for Failed {
    fn from(errno: Errno) -> Self {
        Self(errno.into(), errno.to_string())
    }
}

/// Runs it.
pub fn run(job: &Job, parallel: usize, wait: Wait) -> Outcome {
    let mut window = Window::start(job);
    if let Err(errno) = drive(job, parallel, wait, &mut window) {
        window.errors.add_errno(errno);
    }
    window.finish()
}

fn drive(job: &Job, parallel: usize, wait: Wait, window: &mut Window) -> rustix::io::Result<()> {
    let mut poller = Poller::new(wait)?;
    let mut slots: Vec<Option<Connection>> = (0..parallel).map(|_| None).collect();
    // Counts up per connection: the token's upper half, so that an event of a slot's former tenant is known.
    let mut serial: u32 = 0;
    let mut tenants = vec![0u32; parallel];
    let mut open = 0;
    let mut empty: Vec<usize> = (0..parallel).collect();
    let mut now = Instant::now();
    let mut deadline = window.deadline();
    let mut running = true;
    loop {
        if running && (!window.running(now) || window.errors.total() >= MAX_ERRORS) {
            running = false;
            deadline = window.deadline();
        }
        if running {
            // One turn's batch at most: a slot whose connect fails is tried again in the next turn.
            for slot in std::mem::take(&mut empty) {
                serial = serial.wrapping_add(1);
                match Connection::begin(job, serial as u8) {
                    Ok(connection) => {
                        let token = u64::from(serial) << 32 | slot as u64;
                        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                        poller.add(&connection.fd, token, flags)?;
                        tenants[slot] = serial;
                        slots[slot] = Some(connection);
                        open += 1;
                    }
                    Err(errno) => {
                        window.errors.add(ErrorKind::Connect, errno);
                        empty.push(slot);
                    }
                }
            }
        } else if open == 0 || now >= deadline {
            break;
        }
        let until = if running { window.end() } else { deadline };
        for event in poller.wait(now, until)? {
            let token = event.data.u64();
            let slot = token as u32 as usize;
            if tenants[slot] != (token >> 32) as u32 {
                continue;
            }
            let Some(connection) = &mut slots[slot] else { continue };
            match connection.on_event(event.flags) {
                Ok(false) => continue,
                Ok(true) => window.done(connection.began.elapsed()),
                Err(Failed(kind, what)) => window.errors.add(kind, what),
            }
            slots[slot] = None;
            empty.push(slot);
            open -= 1;
        }
        now = Instant::now();
    }
    window.close();
    for _ in 0..open {
        window.errors.add(ErrorKind::Stalled, "not closed within the time of grace");
    }
    Ok(())
}

impl Connection {
    fn begin(job: &Job, byte: u8) -> rustix::io::Result<Self> {
        let began = Instant::now();
        let fd = socket::connect(job.addr)?;
        Ok(Self { fd, began, byte, sent: false, answered: false })
    }

    /// True when the byte came back and the end of the stream after it.
    fn on_event(&mut self, flags: EventFlags) -> Result<bool, Failed> {
        if flags.contains(EventFlags::ERR) {
            // A read tells which error it is; a pending one is reported once and must not be lost.
            socket::recv(&self.fd, &mut [0; 4])?;
        }
        if !self.sent && flags.contains(EventFlags::OUT) {
            socket::send(&self.fd, &[self.byte])?;
            self.sent = true;
        }
        if !self.answered && flags.contains(EventFlags::IN) {
            let mut buf = [0; 4];
            match socket::recv(&self.fd, &mut buf)? {
                None => return Ok(false),
                Some(1) if buf[0] == self.byte && self.sent => self.answered = true,
                Some(0) => return Err(Failed(ErrorKind::Short, "closed before the byte".into())),
                Some(_) => return Err(Failed(ErrorKind::Mismatch, "another byte came back".into())),
            }
        }
        if self.answered && flags.contains(EventFlags::RDHUP) {
            return match socket::recv(&self.fd, &mut [0; 4])? {
                Some(0) => Ok(true),
                Some(_) => Err(Failed(ErrorKind::Mismatch, "bytes after the byte".into())),
                None => Ok(false),
            };
        }
        Ok(false)
    }
}

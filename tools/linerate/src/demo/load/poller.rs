//! Which connections are ready: one `epoll_wait` for many events, asleep or spinning.

use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use super::Wait;

const EVENTS: usize = 256;
/// The longest sleep, so that the stop flag is seen soon.
const SLEEP_MS: u128 = 50;

/// An epoll instance and its event buffer.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
    wait: Wait,
}

impl Poller {
    pub fn new(wait: Wait) -> rustix::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS), wait })
    }

    pub fn add(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, fd, EventData::new_u64(token), flags)
    }

    /// Waits until something is ready, `until` has come, or 50 ms have passed, and lends the events.
    pub fn wait(&mut self, now: Instant, until: Instant) -> rustix::io::Result<&[Event]> {
        let ms = match self.wait {
            Wait::Spin => 0,
            // One up: a sleep of 0 ms would spin through the last millisecond.
            Wait::Sleep => (until.saturating_duration_since(now).as_millis() + 1).min(SLEEP_MS) as i64,
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(&self.events),
            Err(errno) => Err(errno),
        }
    }
}

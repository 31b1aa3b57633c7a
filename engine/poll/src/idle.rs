//! When there is nothing to do: spin for a while, then sleep until a packet, a message or a timer.

use linerate_port::Port;
use linerate_tcp::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::core::Core;
use crate::limits::{SLEEP_NS_MAX, SPIN_NS};

impl<P: Port> Core<P> {
    /// After a turn that found no work.
    pub(crate) fn idle(&mut self, now: Instant) {
        if now.since(self.busy_at) < self.spin_ns.unwrap_or(SPIN_NS) {
            core::hint::spin_loop();
            return;
        }
        if self.stack.has_work() || self.ports.iter().any(Port::needs_poll_wake) {
            return;
        }
        self.shared.waker.about_to_sleep();
        // What came in between the last look and the flag would else wait for the next wake-up.
        if self.has_messages() {
            self.shared.waker.awake();
            return;
        }
        self.sleep(now);
        self.shared.waker.awake();
        self.sleeps += 1;
        // A packet is mostly followed by others.
        self.busy_at = clock::now();
    }

    fn sleep(&self, now: Instant) {
        let until = self.stack.next_deadline().map_or(SLEEP_NS_MAX, |at| at.since(now).min(SLEEP_NS_MAX));
        let fds = self.ports.iter().filter_map(Port::fd);
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        fds.push(PollFd::new(self.shared.waker.fd(), PollFlags::IN));
        let limit =
            Timespec { tv_sec: (until / 1_000_000_000) as i64, tv_nsec: (until % 1_000_000_000) as i64 };
        // EINTR is a wake-up like any other.
        let _ = poll(&mut fds, Some(&limit));
    }
}

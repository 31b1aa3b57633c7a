//! The clock: read once a turn and passed in.

use linerate_tcp::Instant;
use rustix::time::{ClockId, clock_gettime};

fn read(id: ClockId) -> u64 {
    let t = clock_gettime(id);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// CLOCK_MONOTONIC (23 ns through the vDSO).
pub fn now() -> Instant {
    Instant(read(ClockId::Monotonic))
}

/// CPU time of the calling thread in ns, system time of the softirqs that ran in it included.
pub fn thread_cpu_ns() -> u64 {
    read(ClockId::ThreadCPUTime)
}

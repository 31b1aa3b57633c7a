//! The test's clock: virtual, or the host's.

use std::time::{Instant as HostInstant, SystemTime, UNIX_EPOCH};

use linerate_net::Instant;
use linerate_tcp::time::SEC;

/// The stack's time when a script begins: later than any age it compares with at a start.
const START_NS: u64 = 1_000 * SEC;
/// The date on which virtual time begins, seconds since 1970: any will do, the same in each run.
const EPOCH_SECS: u64 = 1_700_000_000;

/// See the module.
#[derive(Debug)]
pub(crate) enum Clock {
    Virtual { now: Instant },
    Real { start: HostInstant, date_ns: u64 },
}

impl Clock {
    pub fn new(real: bool) -> Self {
        if !real {
            return Self::Virtual { now: Instant(START_NS) };
        }
        let date = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::Real { start: HostInstant::now(), date_ns: date.as_nanos() as u64 }
    }

    pub fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual { .. })
    }

    pub fn now(&self) -> Instant {
        match self {
            Self::Virtual { now } => *now,
            Self::Real { start, .. } => Instant(START_NS + start.elapsed().as_nanos() as u64),
        }
    }

    /// Sets the virtual clock forward; the host's goes by itself.
    pub fn set(&mut self, at: Instant) {
        if let Self::Virtual { now } = self {
            *now = at.max(*now);
        }
    }

    /// A time of the stack as microseconds since 1970.
    pub fn micros(&self, at: Instant) -> i64 {
        let date_ns = match self {
            Self::Virtual { .. } => EPOCH_SECS * SEC,
            Self::Real { date_ns, .. } => *date_ns,
        };
        ((date_ns + at.0.saturating_sub(START_NS)) / 1_000) as i64
    }
}

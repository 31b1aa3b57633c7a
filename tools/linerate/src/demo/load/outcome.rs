//! What a load found out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::io::Errno;

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Connecting was refused, timed out or had no route.
    Connect,
    /// The peer reset the connection.
    Reset,
    /// The stream ended before everything had come.
    Short,
    /// Bytes that are not the expected ones.
    Mismatch,
    /// No answer until the deadline.
    Stalled,
    /// Any other socket error.
    Io,
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Short => "short",
            Self::Mismatch => "mismatch",
            Self::Stalled => "stalled",
            Self::Io => "io",
        }
    }
}

impl From<Errno> for ErrorKind {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::CONNRESET | Errno::PIPE => Self::Reset,
            Errno::CONNREFUSED | Errno::TIMEDOUT | Errno::NETUNREACH | Errno::HOSTUNREACH => Self::Connect,
            _ => Self::Io,
        }
    }
}

/// Failures by kind, with the first of each in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    by_kind: BTreeMap<ErrorKind, (u64, String)>,
}

impl Errors {
    /// Counts one.
    pub fn add(&mut self, kind: ErrorKind, what: impl fmt::Display) {
        self.by_kind.entry(kind).or_insert_with(|| (0, what.to_string())).0 += 1;
    }

    /// Counts a socket error under the kind it belongs to.
    pub fn add_errno(&mut self, errno: Errno) {
        self.add(errno.into(), errno);
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.by_kind.values().map(|(n, _)| n).sum()
    }

    /// How many of `kind`.
    #[cfg(test)]
    pub fn of(&self, kind: ErrorKind) -> u64 {
        self.by_kind.get(&kind).map_or(0, |(n, _)| *n)
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (kind, (n, first))) in self.by_kind.iter().enumerate() {
            write!(f, "{}{n} {} ({first})", if i == 0 { "" } else { ", " }, kind.name())?;
        }
        Ok(())
    }
}

/// Figures of one load on one server, warm-up left out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exchanges done and found right.
    pub ops: u64,
    /// Payload moved in the load's direction, by the receiver's count.
    pub bytes: u64,
    /// The counted time.
    pub elapsed: Duration,
    /// Nanoseconds per exchange, where the load has exchanges.
    pub latency_ns: Histogram<u64>,
    /// CPU time of the client's thread in the counted time.
    pub client_cpu: Duration,
    /// CPU time of the server in the counted time, if it can be asked.
    pub server_cpu: Option<Duration>,
    /// What failed, warm-up included.
    pub errors: Errors,
    /// Stopped from outside before its time.
    pub cut: bool,
}

impl Outcome {
    /// Exchanges per second.
    pub fn ops_per_s(&self) -> f64 {
        per_s(self.ops as f64, self.elapsed)
    }

    /// Payload in Gbit/s.
    pub fn gbit_per_s(&self) -> f64 {
        per_s(self.bytes as f64 * 8e-9, self.elapsed)
    }

    /// The latency that `quantile` of the exchanges did not exceed, microseconds; `None` without exchanges.
    pub fn latency_us(&self, quantile: f64) -> Option<f64> {
        (!self.latency_ns.is_empty()).then(|| self.latency_ns.value_at_quantile(quantile) as f64 / 1e3)
    }
}

fn per_s(what: f64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { what / elapsed.as_secs_f64() }
}

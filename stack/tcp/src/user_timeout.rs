//! The user timeout: RFC 9293 section 3.10.1 and the option of RFC 5482.

use crate::config::TcpConfig;
use crate::limits::{RTO_MAX_NS, USER_TIMEOUT_MAX_NS, USER_TIMEOUT_MIN_NS};
use crate::tcb::{Env, Tcb};
use crate::time::SEC;

/// Granularity bit: the value counts minutes, not seconds (RFC 5482 section 4).
const MINUTES: u16 = 0x8000;

/// The option's value for a timeout, the larger unit only where the smaller can't say it; never 0, which means
/// nothing.
pub(crate) fn encode(timeout_ns: u64) -> u16 {
    let seconds = (timeout_ns / SEC).max(1);
    if seconds < MINUTES as u64 { seconds as u16 } else { MINUTES | (seconds / 60).min(0x7fff) as u16 }
}

fn decode(value: u16) -> u64 {
    let n = (value & !MINUTES) as u64;
    if value & MINUTES != 0 { n * 60 * SEC } else { n * SEC }
}

impl Tcb {
    /// How long data may stay unacknowledged. `None`: retransmissions are counted instead (R2).
    pub(crate) fn user_timeout(&self, cfg: &TcpConfig) -> Option<u64> {
        if cfg.user_timeout_ns.is_some() || !cfg.user_timeout_option || self.peer_user_timeout == 0 {
            return cfg.user_timeout_ns.filter(|ns| *ns > 0);
        }
        //= RFC 5482 section 3.1
        Some(decode(self.peer_user_timeout).clamp(USER_TIMEOUT_MIN_NS, USER_TIMEOUT_MAX_NS))
    }

    /// The value to tell the peer; 0: none.
    pub(crate) fn announced_user_timeout(&self, cfg: &TcpConfig) -> u16 {
        match cfg.user_timeout_ns {
            Some(ns) if cfg.user_timeout_option && ns > 0 => encode(ns),
            _ => 0,
        }
    }

    /// The peer's option. One of 0 is to be ignored.
    //= RFC 5482 section 3.2
    pub(crate) fn note_user_timeout(&mut self, value: u16, env: &Env) {
        if env.cfg.user_timeout_option && decode(value) > 0 {
            self.peer_user_timeout = value;
        }
    }

    /// Since when the oldest octet in flight waits, by what the timer has waited for it so far: the RTO does not
    /// change without an ACK but for its doubling.
    pub(crate) fn stalled_for(&self) -> u64 {
        let base = self.rtt.rto_base();
        let waited = |i: u8| base.saturating_mul(1 << i.min(20)).min(RTO_MAX_NS);
        (0..=self.retries).map(waited).fold(0, u64::saturating_add)
    }

    /// The RTO, but no longer than the user timeout allows to wait still.
    pub(crate) fn rto(&self, cfg: &TcpConfig) -> u64 {
        let rto = self.rtt.rto();
        let Some(timeout) = self.user_timeout(cfg).filter(|_| self.retries > 0) else { return rto };
        let past: u64 = match self.retries {
            0 => 0,
            _ => {
                self.stalled_for()
                    - self.rtt.rto_base().saturating_mul(1 << self.retries.min(20)).min(RTO_MAX_NS)
            }
        };
        rto.min(timeout.saturating_sub(past).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_meaning() {
        for (seconds, value) in [(0, 1), (1, 1), (300, 300), (32_767, 32_767), (32_768, MINUTES | 546)] {
            assert_eq!(encode(seconds * SEC), value, "{seconds} s");
        }
        assert_eq!(decode(MINUTES | 546), 546 * 60 * SEC);
        assert_eq!(encode(u64::MAX), 0xffff);
    }
}

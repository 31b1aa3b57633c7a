//! Asking for routers: RFC 4861 section 6.3.7.

use super::{Auto, NEVER, Packet, SEC};

/// MAX_RTR_SOLICITATION_DELAY (RFC 4861 10).
const MAX_DELAY_NS: u64 = SEC;
/// RTR_SOLICITATION_INTERVAL.
const INTERVAL_NS: u64 = 4 * SEC;
/// MAX_RTR_SOLICITATIONS.
const MAX_SOLICITATIONS: u8 = 3;

/// How far the search is.
pub(super) struct RouterSearch {
    sent: u8,
    pub at: u64,
}

impl Default for RouterSearch {
    fn default() -> Self {
        Self { sent: 0, at: NEVER }
    }
}

impl Auto {
    /// There is a link-local address to ask from.
    pub(super) fn begin_search(&mut self, now_ns: u64) {
        if self.cfg.slaac && self.routers.is_empty() {
            self.search = RouterSearch { sent: 0, at: now_ns + self.random(MAX_DELAY_NS) };
        }
    }

    pub(super) fn poll_search(&mut self, now_ns: u64) -> Option<Packet> {
        if self.search.at > now_ns {
            return None;
        }
        if self.search.sent == MAX_SOLICITATIONS {
            self.search.at = NEVER;
            return None;
        }
        self.search.sent += 1;
        self.search.at = now_ns + INTERVAL_NS;
        Some(Packet::RouterSolicit)
    }
}

//! HyStart++: RFC 9406. Leaves slow start when the RTT says that a queue grows, before it overflows. Only for the first
//! slow start of a connection: later ones have an ssthresh that was measured (section 4.3).

/// MIN_RTT_THRESH and MAX_RTT_THRESH, RFC 9406 section 4.3, in us.
const MIN_RTT_THRESH_US: u32 = 4_000;
const MAX_RTT_THRESH_US: u32 = 16_000;
/// MIN_RTT_DIVISOR
const MIN_RTT_DIVISOR: u32 = 8;
/// N_RTT_SAMPLE
const N_RTT_SAMPLE: u8 = 8;
/// CSS_GROWTH_DIVISOR
const CSS_GROWTH_DIVISOR: u32 = 4;
/// CSS_ROUNDS
const CSS_ROUNDS: u8 = 5;
/// No RTT known: the RFC's infinity.
const INFINITE_US: u32 = u32::MAX;

/// What slow start is to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// By so many bytes.
    By(u32),
    /// Not any more: ssthresh becomes cwnd.
    End,
}

/// The variables of section 4.2. 12 bytes, for every young connection has them.
#[derive(Clone, Debug)]
pub(super) struct HyStart {
    /// lastRoundMinRTT in slow start, cssBaselineMinRtt in conservative slow start: the other is not looked at.
    reference_us: u32,
    current_round_min_us: u32,
    rtt_samples: u8,
    /// Rounds of conservative slow start left; 0: not in it.
    css_rounds_left: u8,
}

impl HyStart {
    pub fn new() -> Self {
        Self {
            reference_us: INFINITE_US,
            current_round_min_us: INFINITE_US,
            rtt_samples: 0,
            css_rounds_left: 0,
        }
    }

    /// In conservative slow start?
    pub fn in_css(&self) -> bool {
        self.css_rounds_left > 0
    }

    /// An ACK in slow start of `bytes` (limited by L already), with its RTT sample in ns if it brought one.
    /// `round_over`: it acknowledges windowEnd.
    //= RFC 9406 section 4.2
    pub fn on_ack(&mut self, bytes: u32, rtt: Option<u64>, round_over: bool) -> Growth {
        if let Some(rtt) = rtt {
            let us = (rtt / 1_000).min(INFINITE_US as u64 - 1) as u32;
            self.current_round_min_us = self.current_round_min_us.min(us);
            self.rtt_samples = self.rtt_samples.saturating_add(1);
        }
        let enough = self.rtt_samples >= N_RTT_SAMPLE && self.current_round_min_us != INFINITE_US;
        if enough && !self.in_css() && self.rose() {
            self.reference_us = self.current_round_min_us;
            // The rest of this round counts as one.
            self.css_rounds_left = CSS_ROUNDS;
        } else if enough && self.in_css() && self.current_round_min_us < self.reference_us {
            // It was jitter. With what this round brings the next is compared.
            self.reference_us = INFINITE_US;
            self.css_rounds_left = 0;
        }
        let divisor = if self.in_css() { CSS_GROWTH_DIVISOR } else { 1 };
        if round_over {
            if !self.in_css() {
                self.reference_us = self.current_round_min_us;
            }
            self.current_round_min_us = INFINITE_US;
            self.rtt_samples = 0;
            if self.in_css() {
                self.css_rounds_left -= 1;
                if self.css_rounds_left == 0 {
                    return Growth::End;
                }
            }
        }
        Growth::By(bytes / divisor)
    }

    /// The RTT of this round is above the last one's by more than the threshold.
    fn rose(&self) -> bool {
        if self.reference_us == INFINITE_US {
            return false;
        }
        let thresh = (self.reference_us / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH_US, MAX_RTT_THRESH_US);
        self.current_round_min_us >= self.reference_us.saturating_add(thresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    /// A round of `acks` ACKs of 1000 bytes with one RTT; the growth of it, `None`: slow start ended.
    fn round(h: &mut HyStart, acks: u32, rtt: u64) -> Option<u32> {
        let mut grown = 0;
        for i in 0..acks {
            match h.on_ack(1000, Some(rtt), i + 1 == acks) {
                Growth::By(n) => grown += n,
                Growth::End => return None,
            }
        }
        Some(grown)
    }

    //= RFC 9406 section 4.2
    #[test]
    fn a_rising_rtt_ends_slow_start_after_five_gentle_rounds() {
        let mut h = HyStart::new();
        assert_eq!(round(&mut h, 20, 40 * MS), Some(20_000));
        // 40 ms / 8 is above the lower bound: 4.9 ms more are not enough.
        assert_eq!(round(&mut h, 20, 44_900_000), Some(20_000));
        assert!(!h.in_css());
        // Found with the eighth sample: from there a quarter.
        assert_eq!(round(&mut h, 20, 51 * MS), Some(7_000 + 13 * 250));
        for _ in 0..3 {
            assert_eq!(round(&mut h, 20, 51 * MS), Some(5_000));
        }
        assert_eq!(round(&mut h, 20, 60 * MS), None, "the partial round was the first of five");
    }

    //= RFC 9406 section 4.3
    #[test]
    fn the_threshold_has_bounds() {
        let css = |before: u64, after: u64| {
            let mut h = HyStart::new();
            round(&mut h, 8, before);
            round(&mut h, 8, after);
            h.in_css()
        };
        assert!(!css(MS, 4_900_000) && css(MS, 5 * MS), "4 ms");
        assert!(!css(400 * MS, 415 * MS) && css(400 * MS, 416 * MS), "16 ms");
        assert!(!css(64 * MS, 71_900_000) && css(64 * MS, 72 * MS), "an eighth");
    }

    //= RFC 9406 section 4.2
    #[test]
    fn seven_samples_prove_nothing() {
        let mut h = HyStart::new();
        round(&mut h, 8, 10 * MS);
        round(&mut h, 7, 100 * MS);
        assert!(!h.in_css());
    }

    //= RFC 9406 section 4.2
    #[test]
    fn jitter_is_forgiven() {
        let mut h = HyStart::new();
        round(&mut h, 10, 10 * MS);
        round(&mut h, 10, 20 * MS);
        assert!(h.in_css());
        assert_eq!(round(&mut h, 16, 12 * MS), Some(7 * 250 + 9_000));
        assert!(!h.in_css());
    }
}

//! Congestion window validation: RFC 7661. A window that the application does not fill says nothing of the path: it is
//! kept, but does not grow, and a loss is answered by what was really in use.

use crate::limits::{NVP_NS, PIPE_ACK_PERIOD_NS};
use crate::seq::SeqNum;
use crate::time::{Instant, MS};

/// pipeACK is "undefined": section 4.2.
const UNDEFINED: u32 = u32::MAX;

/// Rounds, and what was acknowledged in them. 24 bytes, in every connection: times are in ms.
#[derive(Clone, Debug)]
pub(super) struct Validation {
    /// The current round ends when this is acknowledged.
    round_end: SeqNum,
    /// SND.UNA when it began.
    round_start: SeqNum,
    /// Largest pipeACK samples of this sampling period, and of the one before.
    pipe_ack: [u32; 2],
    period_start_ms: u32,
    /// When the non-validated phase began; 0: this is the validated one.
    not_valid_since_ms: u32,
}

impl Validation {
    pub fn new() -> Self {
        Self {
            round_end: SeqNum(0),
            round_start: SeqNum(0),
            pipe_ack: [UNDEFINED; 2],
            period_start_ms: 0,
            not_valid_since_ms: 0,
        }
    }

    /// The first sequence number of data.
    pub fn start(&mut self, una: SeqNum, now: Instant) {
        self.round_start = una;
        self.round_end = una;
        self.period_start_ms = ms(now);
    }

    /// `una` was acknowledged while `nxt` was the next to send. `true`: a round is over.
    pub fn on_ack(&mut self, una: SeqNum, nxt: SeqNum, srtt: u64, now: Instant) -> bool {
        if self.round_end == self.round_start {
            // Nothing was in flight when the last round ended: this one is what has been sent since.
            self.round_end = nxt;
        }
        if una.before(self.round_end) {
            return false;
        }
        //= RFC 7661 section 4.2
        let sample = una.since(self.round_start);
        self.round_start = una;
        self.round_end = nxt;
        let period_ms = (3 * srtt).max(PIPE_ACK_PERIOD_NS) / MS;
        let passed_ms = ms(now).wrapping_sub(self.period_start_ms) as u64;
        if passed_ms >= period_ms {
            let old = if passed_ms >= 2 * period_ms { 0 } else { self.pipe_ack[0] };
            // Undefined is the largest number: what is measured replaces it.
            self.pipe_ack = [sample, if old == UNDEFINED { sample } else { old }];
            self.period_start_ms = ms(now);
        } else if self.pipe_ack[0] == UNDEFINED || self.pipe_ack[0] < sample {
            self.pipe_ack[0] = sample;
        }
        true
    }

    /// pipeACK in bytes; `None`: undefined.
    pub fn pipe_ack(&self) -> Option<u32> {
        let [a, b] = self.pipe_ack;
        match (a == UNDEFINED, b == UNDEFINED) {
            (true, true) => None,
            (false, true) => Some(a),
            (true, false) => Some(b),
            (false, false) => Some(a.max(b)),
        }
    }

    /// Is the flow in the validated phase? In slow start a sample is a round old, and the window may have doubled since.
    pub fn is_valid(&self, cwnd: u32, slow_start: bool) -> bool {
        //= RFC 7661 section 4.3
        let share = if slow_start { 4 } else { 2 };
        self.pipe_ack().is_none_or(|p| p >= cwnd / share)
    }

    /// Section 4.3: notes the phase. `true`: it has been the non-validated one for the whole of NVP (section 4.4.4), and
    /// the next such period begins.
    pub fn note_phase(&mut self, valid: bool, now: Instant) -> bool {
        if valid {
            self.not_valid_since_ms = 0;
            return false;
        }
        let began = self.not_valid_since_ms == 0;
        if !began && (ms(now).wrapping_sub(self.not_valid_since_ms) as u64) < NVP_NS / MS {
            return false;
        }
        self.not_valid_since_ms = ms(now).max(1);
        !began
    }

    /// After a recovery nothing is known (section 4.2), and a new round begins.
    pub fn forget(&mut self, una: SeqNum, nxt: SeqNum) {
        self.round_start = una;
        self.round_end = nxt;
        self.pipe_ack = [UNDEFINED; 2];
        self.not_valid_since_ms = 0;
    }
}

fn ms(t: Instant) -> u32 {
    (t.0 / MS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SEC;

    const RTT: u64 = 100 * MS;

    /// Rounds of `bytes` each, one an RTT.
    fn rounds(v: &mut Validation, una: &mut u32, now: &mut u64, n: u32, bytes: u32) {
        for _ in 0..n {
            let nxt = *una + bytes;
            // The window leaves, and comes back in two ACKs.
            v.on_ack(SeqNum(*una), SeqNum(nxt), RTT, Instant(*now));
            *now += RTT;
            v.on_ack(SeqNum(nxt - bytes / 2), SeqNum(nxt), RTT, Instant(*now));
            *una = nxt;
        }
    }

    //= RFC 7661 section 4.2
    #[test]
    fn pipe_ack_is_the_most_of_the_last_period() {
        let mut v = Validation::new();
        let (mut una, mut now) = (1, SEC);
        v.start(SeqNum(una), Instant(now));
        assert_eq!(v.pipe_ack(), None);
        assert!(v.is_valid(1 << 30, false));
        rounds(&mut v, &mut una, &mut now, 5, 100_000);
        assert_eq!(v.pipe_ack(), Some(100_000));
        rounds(&mut v, &mut una, &mut now, 5, 1_000);
        assert_eq!(v.pipe_ack(), Some(100_000), "within the sampling period");
        rounds(&mut v, &mut una, &mut now, 25, 1_000);
        assert_eq!(v.pipe_ack(), Some(1_000));
        assert!(v.is_valid(2_000, false) && !v.is_valid(2_002, false));
        now += 3600 * SEC;
        v.on_ack(SeqNum(una), SeqNum(una), RTT, Instant(now));
        assert_eq!(v.pipe_ack(), Some(1_000), "what the last round brought");
        now += 3600 * SEC;
        v.on_ack(SeqNum(una), SeqNum(una), RTT, Instant(now));
        assert_eq!(v.pipe_ack(), Some(0), "nothing for an hour");
        v.forget(SeqNum(una), SeqNum(una + 9));
        assert_eq!(v.pipe_ack(), None);
    }

    //= RFC 7661 section 4.4.4
    #[test]
    fn the_non_validated_period_ends() {
        let mut v = Validation::new();
        assert!(!v.note_phase(false, Instant(SEC)));
        assert!(!v.note_phase(false, Instant(SEC) + (NVP_NS - MS)));
        assert!(v.note_phase(false, Instant(SEC) + NVP_NS));
        assert!(!v.note_phase(false, Instant(SEC) + (NVP_NS + MS)));
        assert!(!v.note_phase(true, Instant(SEC) + 3 * NVP_NS));
        assert!(!v.note_phase(false, Instant(SEC) + 4 * NVP_NS), "it began anew");
    }
}

//! CUBIC: RFC 9438. Windows in segments as the RFC has them, times in seconds, in `f64`: its basic operations are
//! exact to the same bit on every target, so runs replay.

use super::Acked;
use crate::time::{Instant, SEC};

/// C, RFC 9438 section 5: 0.4 segments/s^3.
const C: f64 = 0.4;
/// beta_cubic, section 4.6.
const BETA: f64 = 0.7;
/// alpha_cubic while W_est is below the window before the loss: 3 (1 - beta) / (1 + beta), section 4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// What is remembered between ACKs of congestion avoidance: RFC 9438 section 4.1.2.
#[derive(Clone, Debug)]
pub(super) struct Cubic {
    /// t_epoch: start of the current stage of congestion avoidance; `NEVER`: it starts with the next ACK.
    epoch: Instant,
    /// Since when the window has not been in use; `NEVER`: it is. That time does not count (section 5.8).
    limited_since: Instant,
    /// W_max; 0: none, the next stage starts at its plateau.
    w_max: f64,
    k: f64,
    w_est: f64,
    cwnd_prior: f64,
    /// Fraction of a byte that cwnd has still to grow by.
    credit: f64,
}

impl Cubic {
    /// Nothing was ever lost: section 4.10, after slow start has ended by itself.
    pub fn new() -> Self {
        Self {
            epoch: Instant::NEVER,
            limited_since: Instant::NEVER,
            w_max: 0.0,
            k: 0.0,
            w_est: 0.0,
            cwnd_prior: 0.0,
            credit: 0.0,
        }
    }

    /// An ACK in congestion avoidance, with the window in use. Grows `cwnd` (bytes).
    pub fn on_ack(&mut self, cwnd: &mut u32, smss: u32, ack: &Acked) {
        let mss = smss as f64;
        let w = *cwnd as f64 / mss;
        if let Some(since) = self.limited_since.armed() {
            self.limited_since = Instant::NEVER;
            //= RFC 9438 section 5.8
            if let Some(epoch) = self.epoch.armed() {
                self.epoch = epoch + ack.now.since(since.max(epoch));
            }
        }
        if self.epoch == Instant::NEVER {
            self.start_stage(w, ack.now);
        }
        let t = ack.now.since(self.epoch) as f64 / SEC as f64;
        let segs = ack.bytes as f64 / mss;
        //= RFC 9438 section 4.3
        let alpha = if self.w_est >= self.cwnd_prior { 1.0 } else { ALPHA };
        self.w_est += alpha * segs / w;
        let grow = if self.w_cubic(t) < self.w_est {
            // The Reno-friendly region. W_est began at this stage's cwnd and may lag behind it only by what slow
            // start and recovery added; the window is not taken back for that.
            self.credit = 0.0;
            (self.w_est - w).max(0.0) * mss
        } else {
            //= RFC 9438 section 4.2
            let target = self.w_cubic(t + ack.srtt as f64 / SEC as f64).clamp(w, 1.5 * w);
            let grow = (target - w) / w * segs * mss + self.credit;
            self.credit = grow - (grow as u32) as f64;
            grow
        };
        *cwnd = cwnd.saturating_add(grow as u32);
    }

    /// Figures 1 and 2, and section 4.8: a new stage. Without a W_max above it, it starts at the plateau.
    fn start_stage(&mut self, w: f64, now: Instant) {
        if self.w_max <= w {
            self.w_max = w;
            self.k = 0.0;
        } else {
            self.k = cbrt((self.w_max - w) / C);
        }
        self.w_est = w;
        self.credit = 0.0;
        self.epoch = now;
    }

    /// Figure 1.
    fn w_cubic(&self, t: f64) -> f64 {
        let d = t - self.k;
        C * d * d * d + self.w_max
    }

    /// A congestion event. `used`: the bytes that were in use of the window `cwnd`. Returns the new ssthresh in bytes.
    pub fn on_congestion(&mut self, cwnd: u32, used: u32, smss: u32) -> u32 {
        let w = cwnd as f64 / smss as f64;
        //= RFC 9438 section 4.7
        self.w_max = if w < self.w_max { w * (1.0 + BETA) / 2.0 } else { w };
        self.cwnd_prior = w;
        self.stop_stage();
        //= RFC 9438 section 4.6
        (used as f64 * BETA) as u32
    }

    /// A timeout: the stage that follows slow start begins at its plateau.
    pub fn on_rto(&mut self) {
        //= RFC 9438 section 4.8
        self.w_max = 0.0;
        self.stop_stage();
    }

    /// What was learned of time is stale.
    pub fn stop_stage(&mut self) {
        self.epoch = Instant::NEVER;
        self.limited_since = Instant::NEVER;
    }

    /// The window was not in use.
    pub fn on_app_limited(&mut self, now: Instant) {
        if self.limited_since == Instant::NEVER {
            self.limited_since = now;
        }
    }
}

/// Cube root by Newton's method (`core` has none): within 1e-9 relative for the range of windows.
fn cbrt(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    // Start at or above the root: convergence is then monotone and needs at most about 60 steps for 1e18.
    let mut r = if x > 1.0 { x } else { 1.0 };
    for _ in 0..100 {
        let next = (2.0 * r + x / (r * r)) / 3.0;
        if r - next <= 1e-12 * r {
            return next;
        }
        r = next;
    }
    r
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    const SMSS: u32 = 1000;

    fn ack(bytes: u32, now: Instant, srtt: u64) -> Acked {
        Acked { bytes, now, srtt, limited: true, ..Acked::default() }
    }

    #[test]
    fn cube_roots() {
        for x in [1e-3, 0.5, 1.0, 27.0, 1000.0, 1e12] {
            let r = cbrt(x);
            assert!((r * r * r - x).abs() <= 1e-9 * x, "{x}: {r}");
        }
        assert_eq!(cbrt(0.0), 0.0);
    }

    /// From beta W_max the window is back at W_max after K = cbrt(W_max (1 - beta) / C) seconds.
    //= RFC 9438 section 4.2
    #[test]
    fn back_at_w_max_after_k() {
        let mut c = Cubic::new();
        let w_max = 1000 * SMSS;
        let mut cwnd = c.on_congestion(w_max, w_max, SMSS);
        assert_eq!(cwnd, 700 * SMSS);
        let rtt = 100 * MS;
        let k = cbrt(1000.0 * 0.3 / C);
        let mut now = Instant(SEC);
        let mut half_way = 0;
        while now.0 < SEC + (k * SEC as f64) as u64 {
            let acked = cwnd;
            c.on_ack(&mut cwnd, SMSS, &ack(acked, now, rtt));
            now = now + rtt;
            if half_way == 0 && now.0 >= SEC + (k / 2.0 * SEC as f64) as u64 {
                half_way = cwnd;
            }
        }
        let off = cwnd as f64 / w_max as f64 - 1.0;
        assert!(off.abs() < 0.02, "window {cwnd} at K");
        // Concave: after half of K seven eighths of the way are done.
        let done = (half_way - 700 * SMSS) as f64 / (300 * SMSS) as f64;
        assert!((done - 0.875).abs() < 0.03, "{done} of the way at K / 2");
    }

    //= RFC 9438 section 4.7
    #[test]
    fn fast_convergence_lowers_the_plateau() {
        let mut c = Cubic::new();
        c.on_congestion(100_000, 100_000, SMSS);
        assert_eq!(c.w_max, 100.0);
        c.on_congestion(80_000, 80_000, SMSS);
        assert!((c.w_max - 68.0).abs() < 1e-9);
    }

    //= RFC 9438 section 4.6
    #[test]
    fn only_what_was_used_counts() {
        let mut c = Cubic::new();
        assert_eq!(c.on_congestion(100_000, 20_000, SMSS), 14_000);
        assert_eq!((c.w_max, c.cwnd_prior), (100.0, 100.0));
    }

    /// At 1 ms RTT the cubic term is slow: W_est carries the growth, by alpha_cubic segments an RTT up to the window
    /// before the loss and by one segment after it.
    //= RFC 9438 section 4.3
    #[test]
    fn reno_friendly_at_short_rtt() {
        let mut c = Cubic::new();
        let mut cwnd = c.on_congestion(20 * SMSS, 20 * SMSS, SMSS);
        let mut now = Instant(0);
        let mut rtts_to_prior = 0;
        for i in 0..40 {
            // A segment an ACK, as Reno is defined.
            for _ in 0..cwnd / SMSS {
                c.on_ack(&mut cwnd, SMSS, &ack(SMSS, now, MS));
            }
            now = now + MS;
            if rtts_to_prior == 0 && cwnd >= 20 * SMSS {
                rtts_to_prior = i + 1;
            }
        }
        // 6 segments at 0.53 an RTT are 11.3 RTTs, a few more for the ACKs that a growing window leaves over.
        assert!((11..=13).contains(&rtts_to_prior), "{rtts_to_prior} RTTs back to the old window");
        let after = (cwnd - 20 * SMSS) as f64 / SMSS as f64;
        let expected = (40 - rtts_to_prior) as f64;
        assert!((after - expected).abs() < 2.5, "{after} segments in {expected} RTTs");
    }

    //= RFC 9438 section 4.8
    #[test]
    fn after_a_timeout_the_stage_starts_at_its_plateau() {
        let mut c = Cubic::new();
        let mut cwnd = c.on_congestion(1000 * SMSS, 1000 * SMSS, SMSS);
        c.on_rto();
        c.on_ack(&mut cwnd, SMSS, &ack(SMSS, Instant(SEC), 100 * MS));
        assert_eq!((c.k, c.w_max, c.cwnd_prior), (0.0, 700.0, 1000.0));
    }

    //= RFC 9438 section 4.2
    #[test]
    fn at_most_half_a_window_an_rtt() {
        let mut c = Cubic::new();
        let mut cwnd = 100 * SMSS;
        c.on_ack(&mut cwnd, SMSS, &ack(SMSS, Instant(0), 100 * MS));
        let before = cwnd;
        c.on_ack(&mut cwnd, SMSS, &ack(before, Instant(1000 * SEC), 100 * MS));
        assert_eq!(cwnd, before / 2 * 3);
    }

    //= RFC 9438 section 5.8
    #[test]
    fn idle_time_is_not_part_of_the_stage() {
        let run = |pause_ns: u64| {
            let mut c = Cubic::new();
            let mut cwnd = c.on_congestion(100 * SMSS, 100 * SMSS, SMSS);
            let mut now = Instant(SEC);
            for i in 0..50 {
                if i == 20 {
                    c.on_app_limited(now);
                    c.on_app_limited(now + pause_ns / 2);
                    now = now + pause_ns;
                }
                let acked = cwnd;
                c.on_ack(&mut cwnd, SMSS, &ack(acked, now, 100 * MS));
                now = now + 100 * MS;
            }
            cwnd
        };
        assert_eq!(run(0), run(3600 * SEC));
    }
}

//! CUBIC: RFC 9438. Windows in segments as the RFC has them, times in seconds, in `f64`: its basic operations are
//! exact to the same bit on every target, so runs replay.

use crate::time::{Instant, SEC};

/// C, RFC 9438 section 5: 0.4 segments/s^3.
const C: f64 = 0.4;
/// beta_cubic, section 4.6.
const BETA: f64 = 0.7;
/// alpha_cubic while W_est is below the window before the loss: 3 (1 - beta) / (1 + beta), section 4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// The memory of CUBIC between ACKs.
#[derive(Clone, Debug, Default)]
pub struct Cubic {
    /// Start of the current congestion avoidance stage.
    epoch: Option<Instant>,
    /// Latest time that the flow was application limited: that time does not count (section 5.8).
    limited_since: Option<Instant>,
    w_max: f64,
    k: f64,
    w_est: f64,
    cwnd_prior: f64,
    /// Fraction of a byte that cwnd has still to grow by.
    credit: f64,
}

impl Cubic {
    /// Section 4.2: cwnd grows by (target - cwnd) / cwnd for each acknowledged segment.
    pub fn on_ack(&mut self, cwnd: &mut u32, smss: u32, acked: u32, now: Instant, srtt: u64) {
        let mss = smss as f64;
        let w = *cwnd as f64 / mss;
        if let Some(since) = self.limited_since.take() {
            // Section 5.8: idle and limited time is left out of t.
            self.epoch = self.epoch.map(|e| e + now.since(since));
        }
        let epoch = match self.epoch {
            Some(e) => e,
            None => {
                // Sections 4.2 and 4.8: a new stage. Without a W_max above us this is the plateau.
                if self.w_max <= w {
                    self.w_max = w;
                    self.k = 0.0;
                } else {
                    self.k = cbrt((self.w_max - w) / C);
                }
                self.w_est = w;
                self.epoch = Some(now);
                now
            }
        };
        let t = (now.since(epoch) + srtt) as f64 / SEC as f64;
        let segs = acked as f64 / mss;
        // Section 4.3, Reno-friendly: alpha is 1 once the window before the loss is reached again.
        let alpha = if self.w_est >= self.cwnd_prior { 1.0 } else { ALPHA };
        self.w_est += alpha * segs / w;
        let d = t - self.k;
        let w_cubic = C * d * d * d + self.w_max;
        // Section 4.2: target between cwnd and 1.5 cwnd.
        let target = w_cubic.max(self.w_est).clamp(w, 1.5 * w);
        let grow = (target - w) / w * segs * mss + self.credit;
        let whole = grow as u32;
        self.credit = grow - whole as f64;
        *cwnd = cwnd.saturating_add(whole);
    }

    /// Section 4.6 and 4.7 (fast convergence): the new ssthresh in bytes.
    pub fn on_loss(&mut self, cwnd: u32, smss: u32) -> u32 {
        let w = cwnd as f64 / smss as f64;
        self.w_max = if w < self.w_max { w * (1.0 + BETA) / 2.0 } else { w };
        self.cwnd_prior = w;
        self.epoch = None;
        self.limited_since = None;
        self.credit = 0.0;
        (cwnd as f64 * BETA) as u32
    }

    /// Section 4.8: after a timeout the next stage starts afresh.
    pub fn on_rto(&mut self) {
        self.epoch = None;
        self.limited_since = None;
    }

    /// The window was not in use.
    pub fn on_app_limited(&mut self, now: Instant) {
        if self.epoch.is_some() && self.limited_since.is_none() {
            self.limited_since = Some(now);
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

    #[test]
    fn cube_roots() {
        for x in [1e-3, 0.5, 1.0, 27.0, 1000.0, 1e12] {
            let r = cbrt(x);
            assert!((r * r * r - x).abs() <= 1e-9 * x, "{x}: {r}");
        }
        assert_eq!(cbrt(0.0), 0.0);
    }

    /// Section 4.2: from beta W_max the window is back at W_max after K = cbrt(W_max (1 - beta) / C) seconds.
    #[test]
    fn back_at_w_max_after_k() {
        let (mut c, smss) = (Cubic::default(), 1000);
        let w_max = 1000 * smss;
        let mut cwnd = c.on_loss(w_max, smss);
        assert_eq!(cwnd, 700 * smss);
        let rtt = 100 * MS;
        let k = cbrt(1000.0 * 0.3 / C);
        let mut now = Instant(SEC);
        while now.0 < SEC + (k * SEC as f64) as u64 {
            let acked = cwnd;
            c.on_ack(&mut cwnd, smss, acked, now, rtt);
            now = now + rtt;
        }
        let off = cwnd as f64 / w_max as f64 - 1.0;
        assert!(off.abs() < 0.02, "window {cwnd} at K");
    }

    #[test]
    fn fast_convergence_lowers_the_plateau() {
        let mut c = Cubic::default();
        c.on_loss(100_000, 1000);
        c.on_loss(80_000, 1000);
        assert!((c.w_max - 68.0).abs() < 1e-9);
    }

    #[test]
    fn reno_friendly_at_short_rtt() {
        // At 1 ms RTT the cubic term is slow; W_est must carry the growth like Reno's.
        let (mut c, smss) = (Cubic::default(), 1000);
        let mut cwnd = c.on_loss(20 * smss, smss);
        let mut now = Instant(0);
        for _ in 0..40 {
            let acked = cwnd;
            c.on_ack(&mut cwnd, smss, acked, now, MS);
            now = now + MS;
        }
        assert!(cwnd >= 14 * smss + 15 * smss, "cwnd {cwnd}");
    }
}

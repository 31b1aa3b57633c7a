//! NewReno: RFC 5681 section 3.1, congestion avoidance by one SMSS a window.

/// Bytes acknowledged since cwnd last grew.
#[derive(Clone, Debug, Default)]
pub struct NewReno {
    counted: u32,
}

impl NewReno {
    /// Congestion avoidance with byte counting: RFC 3465 section 2.1.
    pub fn on_ack(&mut self, cwnd: &mut u32, smss: u32, acked: u32) {
        self.counted = self.counted.saturating_add(acked);
        while self.counted >= *cwnd {
            self.counted -= *cwnd;
            *cwnd = cwnd.saturating_add(smss);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_segment_a_window() {
        let (mut r, mut cwnd) = (NewReno::default(), 10_000);
        for _ in 0..9 {
            r.on_ack(&mut cwnd, 1000, 1000);
        }
        assert_eq!(cwnd, 10_000);
        r.on_ack(&mut cwnd, 1000, 1000);
        assert_eq!(cwnd, 11_000);
    }
}

//! Proportional rate reduction: RFC 9937. How much may leave for each ACK of fast recovery.

/// The state of one recovery, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Prr {
    /// RecoverFS: in flight when recovery began.
    pub recover_fs: u32,
    /// prr_delivered
    pub delivered: u32,
    /// prr_out
    pub out: u32,
}

impl Prr {
    /// An episode begins with `recover_fs` bytes in flight.
    pub fn new(recover_fs: u32) -> Self {
        Self { recover_fs: recover_fs.max(1), ..Self::default() }
    }

    /// The window after an ACK that delivered `delivered` bytes (newly acknowledged and SACKed); `None`: as it was.
    /// `forced`: the fast retransmit leaves whatever the division says. `safe`: SafeACK, SND.UNA moved and no further loss was found. With nothing delivered it is the timer that began
    /// the episode, and only what begins it leaves.
    pub fn on_ack(
        &mut self,
        delivered: u32,
        pipe: u32,
        ssthresh: u32,
        smss: u32,
        safe: bool,
        forced: bool,
    ) -> Option<u32> {
        if delivered == 0 && self.out > 0 {
            return None;
        }
        //= RFC 9937 section 6.2
        self.delivered = self.delivered.saturating_add(delivered);
        let snd_cnt = if pipe > ssthresh {
            let due = (self.delivered as u64 * ssthresh as u64).div_ceil(self.recover_fs.max(1) as u64);
            (due.min(u32::MAX as u64) as u32).saturating_sub(self.out)
        } else {
            // PRR-CRB; PRR-SSRB while recovery makes good progress.
            let mut limit = self.delivered.saturating_sub(self.out).max(delivered);
            if safe {
                limit = limit.saturating_add(smss);
            }
            limit.min(ssthresh - pipe)
        };
        // A part of a segment is none.
        let snd_cnt = if forced && self.out == 0 { snd_cnt.max(smss) } else { snd_cnt };
        Some(pipe.saturating_add(snd_cnt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 9937 section 6.2
    /// Half of what is delivered may leave while the pipe is above ssthresh = half of RecoverFS.
    #[test]
    fn proportional_above_ssthresh() {
        let mut p = Prr::new(20_000);
        let mut pipe = 19_000;
        for _ in 0..8 {
            let cwnd = p.on_ack(1000, pipe, 10_000, 1000, false, true).unwrap();
            let out = (cwnd - pipe) / 1000 * 1000;
            p.out += out;
            pipe = pipe + out - 1000;
        }
        assert_eq!(p.delivered, 8000);
        assert!((4000..=5000).contains(&p.out), "{}", p.out);
    }

    #[test]
    fn at_most_what_was_delivered_below_ssthresh() {
        let mut p = Prr { delivered: 15_000, out: 15_000, ..Prr::new(20_000) };
        assert_eq!(p.on_ack(1000, 2_000, 10_000, 1000, false, true), Some(3_000));
        p.out += 1000;
        assert_eq!(
            p.on_ack(1000, 2_000, 10_000, 1000, true, true),
            Some(4_000),
            "slow start while it is safe"
        );
        assert_eq!(p.on_ack(9000, 9_500, 10_000, 1000, true, true), Some(10_000), "never above ssthresh");
    }

    /// Losses beyond the proportion: what was delivered and not replaced yet may follow at once (CRB).
    //= RFC 9937 section 6.2
    #[test]
    fn conservation_gives_back_what_was_withheld() {
        let mut p = Prr { delivered: 8_000, out: 4_000, ..Prr::new(20_000) };
        assert_eq!(p.on_ack(1000, 3_000, 10_000, 1000, false, true), Some(8_000));
    }

    /// The fast retransmit is forced; what delivers nothing changes nothing after it.
    //= RFC 9937 section 6.2
    #[test]
    fn an_ack_that_delivers_nothing_lets_nothing_go() {
        let mut p = Prr::new(20_000);
        assert_eq!(p.on_ack(0, 19_000, 10_000, 1000, false, true), Some(20_000));
        p.out = 1000;
        assert_eq!(p.on_ack(0, 18_000, 10_000, 1000, true, true), None);
    }
}

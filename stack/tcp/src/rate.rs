//! Delivery rate: draft-ietf-ccwg-bbr section 4.1 (once draft-cheng-iccrg-delivery-rate-estimation). What was delivered
//! between the sending of a segment and its ACK, over the longer of the two spans in which it was sent and acknowledged.
//!
//! One [`TxRate`] for each segment of the send queue that was sent, beside it: who does not use it pays a branch.

use alloc::collections::VecDeque;

use crate::seq::SeqNum;
use crate::time::{Instant, SEC};

/// BBRLossThresh: more than this share of what was in flight lost means that too much was.
pub(crate) const LOSS_THRESH: f64 = 0.02;

/// The state of the connection when a segment was sent.
#[derive(Clone, Copy, Debug)]
struct TxRate {
    /// P.delivered, P.lost
    delivered: u64,
    lost: u64,
    /// P.delivered_time; `NEVER`: sent before anybody asked.
    delivered_at: Instant,
    /// P.first_send_time
    first_sent_at: Instant,
    /// P.tx_in_flight, itself included.
    in_flight: u32,
    app_limited: bool,
}

const UNKNOWN: TxRate = TxRate {
    delivered: 0,
    lost: 0,
    delivered_at: Instant::NEVER,
    first_sent_at: Instant::NEVER,
    in_flight: 0,
    app_limited: false,
};

/// What one ACK says: RS of the draft. Bytes and ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateSample {
    /// RS.delivery_rate in bytes/s; 0: no reliable sample.
    pub rate: f64,
    /// RS.is_app_limited
    pub app_limited: bool,
    /// RS.delivered: bytes delivered over the sampling interval.
    pub delivered: u64,
    /// RS.prior_delivered; `None`: the ACK brought no sample.
    pub prior_delivered: Option<u64>,
    /// RS.tx_in_flight
    pub tx_in_flight: u32,
    /// RS.lost: bytes lost over the sampling interval.
    pub lost: u64,
    /// RS.newly_acked
    pub newly_acked: u32,
    /// RS.newly_lost, since the last sample.
    pub newly_lost: u32,
    /// A loss that was too much: what was in flight when the losses passed the threshold, and whether the application
    /// limited it.
    pub too_high: Option<(u32, bool)>,
}

/// The connection's side: C of the draft.
#[derive(Debug)]
pub(crate) struct RateSampler {
    tx: VecDeque<TxRate>,
    now: Instant,
    pub delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    last_end_seq: SeqNum,
    lost: u64,
    /// C.app_limited: until so much is delivered, samples are limited by the application; 0: they aren't.
    app_limited: u64,
    newest: Option<(TxRate, Instant)>,
    sample: RateSample,
    /// The last reliable rate, bytes/s, for those who watch.
    pub rate: f64,
}

impl RateSampler {
    /// With `sent` segments in flight of which nothing is known.
    pub fn new(sent: usize, now: Instant) -> Self {
        Self {
            tx: (0..sent).map(|_| UNKNOWN).collect(),
            now,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            last_end_seq: SeqNum(0),
            lost: 0,
            app_limited: 0,
            newest: None,
            sample: RateSample::default(),
            rate: 0.0,
        }
    }

    /// A segment of `len` bytes leaves, for the first time or (`index`) again, with `pipe` bytes in flight before it.
    pub fn on_sent(&mut self, index: Option<usize>, len: u32, pipe: u32, now: Instant) {
        if pipe == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        let tx = TxRate {
            delivered: self.delivered,
            lost: self.lost,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            in_flight: pipe + len,
            app_limited: self.app_limited != 0,
        };
        match index {
            None => self.tx.push_back(tx),
            Some(i) => self.tx[i] = tx,
        }
    }

    /// Segment `i` was cut in two.
    pub fn on_split(&mut self, i: usize) {
        let tx = self.tx[i];
        self.tx.insert(i + 1, tx);
    }

    /// The only segment sent is taken back: a window probe.
    pub fn on_unsent(&mut self) {
        self.tx.clear();
    }

    /// An ACK begins.
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
    }

    /// The first segment leaves the queue; it was `sacked` before.
    pub fn on_popped(&mut self, sent_at: Instant, end: SeqNum, len: u32, sacked: bool) {
        let Some(tx) = self.tx.pop_front() else { return };
        if !sacked {
            self.deliver(tx, sent_at, end, len);
        }
    }

    /// A part of the first segment was acknowledged.
    pub fn on_trimmed(&mut self, len: u32) {
        self.delivered += len as u64;
        self.delivered_at = self.now;
        self.sample.newly_acked += len;
    }

    /// Segment `i` was SACKed.
    pub fn on_sacked(&mut self, i: usize, sent_at: Instant, end: SeqNum, len: u32) {
        self.deliver(self.tx[i], sent_at, end, len);
    }

    /// UpdateRateSample()
    fn deliver(&mut self, tx: TxRate, sent_at: Instant, end: SeqNum, len: u32) {
        self.on_trimmed(len);
        if tx.delivered_at == Instant::NEVER {
            return;
        }
        let newest = match &self.newest {
            None => sent_at >= self.first_sent_at,
            Some((_, at)) => sent_at > *at || (sent_at == *at && end.after(self.last_end_seq)),
        };
        if newest {
            self.newest = Some((tx, sent_at));
            self.last_end_seq = end;
        }
    }

    /// Segment `i` is held to be lost: BBRHandleLostPacket() as far as it needs the segment.
    pub fn on_lost(&mut self, i: usize, len: u32) {
        self.lost += len as u64;
        self.sample.newly_lost = self.sample.newly_lost.saturating_add(len);
        let tx = self.tx[i];
        if tx.delivered_at == Instant::NEVER || self.sample.too_high.is_some() {
            return;
        }
        let lost = (self.lost - tx.lost) as f64;
        if lost > tx.in_flight as f64 * LOSS_THRESH {
            // BBRInflightAtLoss(): where within this segment the threshold was passed.
            let before = tx.in_flight.saturating_sub(len) as f64;
            let prefix = (LOSS_THRESH * before - (lost - len as f64)) / (1.0 - LOSS_THRESH);
            self.sample.too_high = Some(((before + prefix.max(0.0)) as u32, tx.app_limited));
        }
    }

    /// MarkConnectionAppLimited(): what is in flight is all there is to send.
    pub fn mark_app_limited(&mut self, pipe: u32) {
        self.app_limited = (self.delivered + pipe as u64).max(1);
    }

    /// GenerateRateSample(): all of the ACK was seen.
    pub fn generate(&mut self, min_rtt: u64) -> RateSample {
        if self.app_limited != 0 && self.delivered > self.app_limited {
            self.app_limited = 0;
        }
        let mut s = core::mem::take(&mut self.sample);
        let Some((tx, sent_at)) = self.newest.take() else { return s };
        self.first_sent_at = sent_at;
        s.app_limited = tx.app_limited;
        s.delivered = self.delivered - tx.delivered;
        s.prior_delivered = Some(tx.delivered);
        s.tx_in_flight = tx.in_flight;
        s.lost = self.lost - tx.lost;
        let interval = sent_at.since(tx.first_sent_at).max(self.delivered_at.since(tx.delivered_at));
        // Shorter than any round trip: the ACK is of an original, the times are those of its retransmission.
        if interval > 0 && (interval >= min_rtt || min_rtt == u64::MAX) {
            s.rate = s.delivered as f64 * SEC as f64 / interval as f64;
            self.rate = s.rate;
        }
        s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    /// Segments of 1000 bytes, `gap` apart, whose ACKs come 10 ms later, `ack_gap` apart. The rate at the end.
    fn rate(gap: u64, ack_gap: u64) -> f64 {
        let mut r = RateSampler::new(0, Instant(0));
        let at = |i: u64| Instant(SEC + i * gap);
        let mut pipe = 0;
        for i in 0..20 {
            r.on_sent(None, 1000, pipe, at(i));
            pipe += 1000;
        }
        let mut last = RateSample::default();
        for i in 0..20 {
            r.begin(Instant(SEC + 20 * gap + 10 * MS + i * ack_gap));
            r.on_popped(at(i), SeqNum(1000 * (i as u32 + 1)), 1000, false);
            last = r.generate(MS);
            assert_eq!(last.newly_acked, 1000);
        }
        assert_eq!(last.delivered, 20_000);
        last.rate
    }

    #[test]
    fn the_slower_of_sending_and_acknowledging() {
        // All delivered 29 ms after the first was sent, or later if the ACKs are slower.
        let slow_acks = rate(MS / 10, 4 * MS);
        assert!((slow_acks - 20_000.0 / 0.088).abs() < 1.0, "{slow_acks}");
        let compressed = rate(2 * MS, 0);
        assert!((compressed - 20_000.0 / 0.05).abs() < 1.0, "{compressed}");
    }

    #[test]
    fn what_the_application_limits_is_marked_until_it_is_delivered() {
        let mut r = RateSampler::new(0, Instant(0));
        r.on_sent(None, 1000, 0, Instant(SEC));
        r.mark_app_limited(1000);
        r.on_sent(None, 1000, 1000, Instant(SEC + MS));
        let acked = |r: &mut RateSampler, sent: u64, end| {
            r.begin(Instant(SEC + 10 * MS + sent));
            r.on_popped(Instant(SEC + sent), SeqNum(end), 1000, false);
            r.generate(MS).app_limited
        };
        assert!(!acked(&mut r, 0, 1000));
        assert!(acked(&mut r, MS, 2000));
        r.on_sent(None, 1000, 0, Instant(SEC + 20 * MS));
        assert!(!acked(&mut r, 20 * MS, 3000));
    }

    #[test]
    fn losses_above_two_percent_say_how_much_was_too_much() {
        let mut r = RateSampler::new(0, Instant(0));
        for i in 0..100 {
            r.on_sent(None, 1000, i * 1000, Instant(SEC));
        }
        for i in 95..97 {
            r.on_lost(i, 1000);
        }
        assert_eq!(r.generate(MS).too_high, Some((96_938, false)), "2 of 97 are the first above");
        let mut r = RateSampler::new(2, Instant(0));
        r.on_lost(1, 1000);
        let s = r.generate(MS);
        assert_eq!((s.too_high, s.newly_lost), (None, 1000), "of these nothing is known");
    }

    #[test]
    fn a_sample_shorter_than_the_rtt_is_none() {
        let mut r = RateSampler::new(0, Instant(0));
        r.on_sent(None, 1000, 0, Instant(SEC));
        r.begin(Instant(SEC + MS));
        r.on_popped(Instant(SEC), SeqNum(1000), 1000, false);
        let s = r.generate(2 * MS);
        assert_eq!((s.rate, s.prior_delivered), (0.0, Some(0)));
    }
}

//! Buffers that follow the path: the receive buffer what the application reads in a round trip, the send buffer cwnd.
//!
//! Both begin small and grow to [`rcv_buf_max_bytes`](crate::TcpConfig::rcv_buf_max_bytes) and
//! [`snd_buf_max_bytes`](crate::TcpConfig::snd_buf_max_bytes), as long as half of the core's frames are free. Nothing
//! shrinks a buffer but a shortage of frames, and then the announced edge stays where it is (RFC 9293 SHLD-14).

use alloc::boxed::Box;

use crate::seq::SeqNum;
use crate::tcb::{Env, Tcb};
use crate::time::{Instant, MS};

/// Dynamic right-sizing (Fisk and Feng, 2001; Linux's tcp_rcv_space_adjust): there once a peer sends in bulk.
#[derive(Clone, Debug)]
pub(crate) struct RcvTuning {
    /// The round began here: when, and what the application had read up to.
    began_at: Instant,
    read: SeqNum,
    /// Bytes read in the busiest round so far.
    most_read: u32,
    /// A window's worth ends here and began then: its time is an RTT at least.
    window_end: SeqNum,
    window_at: Instant,
    /// The shortest such time, ns.
    window_rtt: u64,
    /// RTT by the echo of our timestamps, smoothed, ns; 0: none.
    echo_rtt: u64,
}

/// Below this the millisecond of the timestamps clock says too little.
const ECHO_RTT_MIN_NS: u64 = 4 * MS;

impl RcvTuning {
    fn new(read: SeqNum, window_end: SeqNum, now: Instant) -> Box<Self> {
        Box::new(Self {
            began_at: now,
            read,
            most_read: 0,
            window_end,
            window_at: now,
            window_rtt: u64::MAX,
            echo_rtt: 0,
        })
    }

    /// The receiver's idea of the RTT: `own` is what our sender measured at least (`u64::MAX`: nothing).
    fn rtt(&self, own: u64) -> u64 {
        match self.echo_rtt {
            // It follows a path that becomes longer; the minima below don't.
            echo if echo >= ECHO_RTT_MIN_NS => echo,
            _ => self.window_rtt.min(own),
        }
    }
}

impl Tcb {
    /// Data in bulk has arrived in order, and an ACK of it is due. `tsecr`: what the peer echoed.
    pub(crate) fn tune_rcv_buf(&mut self, tsecr: Option<u32>, env: &Env) {
        let max = if self.scaling { env.cfg.rcv_buf_max() } else { 0xffff };
        if env.short_of_frames {
            self.recv.buf = self.recv.buf.min(env.cfg.rcv_buf());
            return;
        }
        if self.recv.buf >= max {
            return;
        }
        let (now, rcv_nxt, edge) = (env.now, self.rcv_nxt, self.rcv_adv);
        let read = rcv_nxt - self.recv.bytes;
        let echo = tsecr.map(|t| self.ts_now(now).wrapping_sub(t) as u64 * MS);
        let own = self.rtt.min_rtt();
        let t = self.tuning.get_or_insert_with(|| RcvTuning::new(read, edge, now));
        if let Some(echo) = echo.filter(|e| *e < crate::limits::RTO_MAX_NS) {
            t.echo_rtt = if t.echo_rtt == 0 { echo } else { t.echo_rtt - t.echo_rtt / 8 + echo / 8 };
        }
        if rcv_nxt.at_or_after(t.window_end) {
            t.window_rtt = t.window_rtt.min(now.since(t.window_at)).max(1);
            (t.window_end, t.window_at) = (edge, now);
        }
        if now.since(t.began_at) < t.rtt(own) {
            return;
        }
        let bytes = read.since(t.read);
        (t.began_at, t.read) = (now, read);
        if bytes <= t.most_read {
            return;
        }
        // What the next round may bring if the peer is in slow start, and as much again if this round did grow so.
        let before = core::mem::replace(&mut t.most_read, bytes).max(1) as u64;
        let grown = (bytes as u64 - before.min(bytes as u64)).min(before);
        let want = 2 * bytes as u64 + 16 * self.local_mss as u64;
        let want = want + want * grown / before;
        if env.ample_frames && want > self.recv.buf as u64 {
            self.recv.buf = want.min(max as u64) as u32;
        }
    }

    /// cwnd has moved: twice of it may wait, the half in flight and the half that refills it.
    #[inline]
    pub(crate) fn tune_snd_buf(&mut self, env: &Env) {
        let want = self.cc.cwnd.saturating_mul(2).min(env.cfg.snd_buf_max_bytes);
        if want > self.snd_buf && env.ample_frames {
            self.snd_buf = want;
        }
    }
}

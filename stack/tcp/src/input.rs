//! SEGMENT ARRIVES in the synchronized states: RFC 9293 section 3.10.7.4, in its order, with RFC 5961's changes.

use linerate_frame::Frame;
use linerate_wire::tcp::TcpFlags;

use crate::limits::{
    BULK_SEGS, OOO_SEG_BYTES, OOO_SEGS, STRETCH_ACK_NS, STRETCH_ACK_SEGS, TIME_WAIT_NS, TS_RECENT_AGE_NS,
    TUNED_SEGS,
};
use crate::rcv::{Chunk, SMALL_BYTES};
use crate::reassembly::Inserted;
use crate::segment::{Segment, SegmentIn};
use crate::tcb::{Env, Events, State, Tcb, TcpError};
use crate::time::{Instant, coarse, fine};
use crate::time_wait::TimeWait;

/// Why a segment was not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpDrop {
    /// Not in the window (an ACK tells the peer where it is).
    OutOfWindow,
    /// Nothing new in it.
    OldDuplicate,
    /// ACK of something never sent, or too old (RFC 5961 section 5).
    BadAck,
    /// Timestamp older than the last (RFC 7323 section 5), or missing.
    Paws,
    /// RST that does not hit RCV.NXT (RFC 5961 section 3), or was not asked for.
    RstIgnored,
    /// SYN in a synchronized state (RFC 5961 section 4).
    SynChallenged,
    /// No ACK bit.
    NoAck,
    /// Neither SYN nor RST in SYN-SENT.
    NoSyn,
    /// Too many out-of-order segments are held.
    OooLimit,
    /// The connection is closed.
    Closed,
}

/// What became of a segment.
#[derive(Clone, Debug)]
pub enum Disposition {
    /// It did what it came for.
    Done,
    /// It was not used.
    Drop(TcpDrop),
    /// It is answered by this segment, at once.
    Reply(Segment),
    /// TIME-WAIT gives its place to this SYN (RFC 9293 MAY-2, RFC 6191): open anew.
    Reopen,
}

impl Tcb {
    /// A segment for this connection. `payload` is the frame cut to the payload; it is taken if it is kept, and
    /// else the caller's to free.
    pub fn on_segment(&mut self, seg: &SegmentIn, payload: &mut Option<Frame>, env: &mut Env) -> Disposition {
        if let Some(s) = &mut self.stats {
            s.segment_in(seg.payload_len, seg.has(TcpFlags::ACK), env.now);
        }
        if self.predicted(seg) {
            return self.input_fast(seg, payload, env);
        }
        match self.state {
            State::Closed => Disposition::Drop(TcpDrop::Closed),
            State::SynSent => self.in_syn_sent(seg, env),
            State::TimeWait => {
                let tw = TimeWait::of(self, self.wait_at);
                if tw.is_repeated_fin(seg) {
                    self.wait_at = env.now + TIME_WAIT_NS;
                }
                tw.on_segment(seg)
            }
            _ => self.in_synchronized(seg, payload, env),
        }
    }

    fn in_synchronized(
        &mut self,
        seg: &SegmentIn,
        payload: &mut Option<Frame>,
        env: &mut Env,
    ) -> Disposition {
        if let Some(d) = self.check_timestamp(seg, env) {
            return d;
        }
        let syn_ack = seg.has(TcpFlags::SYN) && seg.has(TcpFlags::ACK);
        if self.state == State::SynReceived && !self.passive && syn_ack && seg.seq + 1 == self.rcv_nxt {
            //= RFC 9293 section 3.5, MUST-10
            // MUST-10, figure 8: a simultaneous open ends with the peer's SYN-ACK. We have its SYN already; what is
            // left is the ACK (its window is not scaled, RFC 7323 section 2.2).
            let (seq, flags) = (seg.seq + 1, seg.flags.without(TcpFlags::SYN));
            let ack = SegmentIn { seq, flags, wnd: seg.wnd >> self.snd_wscale, ..seg.clone() };
            return self.in_synchronized(&ack, payload, env);
        }
        // First, check sequence number
        if !self.is_acceptable(seg) {
            return self.on_unacceptable(seg, env);
        }
        self.last_recv_at = env.now;
        self.keepalive_probes = 0;
        // Second, check the RST bit: RFC 5961 section 3.2
        if seg.has(TcpFlags::RST) {
            //= RFC 5961 section 3.2
            if seg.seq != self.rcv_nxt {
                // The right edge itself, where an ACK may stand, is outside the window for a RST.
                if seg.seq.before(self.rcv_adv) {
                    self.challenge_ack(env);
                }
                return Disposition::Drop(TcpDrop::RstIgnored);
            }
            self.on_reset(env);
            return Disposition::Done;
        }
        // Fourth, check the SYN bit: RFC 5961 section 4.2
        if seg.has(TcpFlags::SYN) {
            //= RFC 5961 section 4.2
            if self.state == State::SynReceived && self.passive && !self.fast_open {
                // RFC 9293: back to LISTEN, in silence.
                self.die(env, None);
            } else {
                self.challenge_ack(env);
            }
            return Disposition::Drop(TcpDrop::SynChallenged);
        }
        // Fifth, check the ACK field
        if !seg.has(TcpFlags::ACK) {
            return Disposition::Drop(TcpDrop::NoAck);
        }
        if self.state == State::SynReceived {
            if seg.ack.at_or_before(self.snd_una) || seg.ack.after(self.snd_nxt) {
                return Disposition::Reply(Segment {
                    seq: seg.ack,
                    flags: TcpFlags::RST,
                    ..Segment::default()
                });
            }
            self.on_handshake_acked(seg, env.now);
            self.last_sent_at = env.now;
            self.snd_una += 1;
            self.snd_wnd = (seg.wnd as u32) << self.snd_wscale;
            self.max_snd_wnd = self.snd_wnd;
            self.snd_wl1 = seg.seq;
            self.snd_wl2 = seg.ack;
            self.establish(env);
        }
        self.note_timestamp(seg, env);
        if seg.options.user_timeout != 0 {
            self.note_user_timeout(seg.options.user_timeout, env);
        }
        if self.ecn.is_on() {
            self.ecn_in(seg);
        }
        if let Err(why) = self.on_ack(seg, env) {
            return Disposition::Drop(why);
        }
        if self.state == State::Closed {
            return Disposition::Done;
        }
        if seg.has(TcpFlags::URG) {
            self.note_urgent(seg);
        }
        // Seventh, process the segment text; eighth, check the FIN bit
        if seg.payload_len > 0 || seg.has(TcpFlags::FIN) {
            return self.on_text(seg, payload, env);
        }
        Disposition::Done
    }

    /// RFC 7323 section 5.3, R1 (before the sequence check), and section 3.2: a segment without the option is
    /// dropped once it was agreed on. RST is exempt.
    //= RFC 7323 section 3.2
    //= RFC 7323 section 5.3
    //= RFC 7323 section 5.5
    fn check_timestamp(&mut self, seg: &SegmentIn, env: &mut Env) -> Option<Disposition> {
        if !self.ts_on || seg.has(TcpFlags::RST) {
            return None;
        }
        let Some((tsval, _)) = seg.options.timestamps else {
            return (!seg.has(TcpFlags::SYN)).then_some(Disposition::Drop(TcpDrop::Paws));
        };
        let older = (tsval.wrapping_sub(self.ts_recent) as i32) < 0;
        if older && coarse(env.now).wrapping_sub(self.ts_recent_at) < coarse(Instant(TS_RECENT_AGE_NS)) {
            self.ack_out_of_window(seg, env);
            return Some(Disposition::Drop(TcpDrop::Paws));
        }
        None
    }

    /// RFC 7323 section 4.3 (2): TS.Recent follows the segment that spans Last.ACK.sent.
    //= RFC 7323 section 4.3
    pub(crate) fn note_timestamp(&mut self, seg: &SegmentIn, env: &Env) {
        if let (true, Some((tsval, _))) = (self.ts_on, seg.options.timestamps)
            && seg.seq.at_or_before(self.last_ack_sent)
        {
            self.ts_recent = tsval;
            self.ts_recent_at = coarse(env.now);
        }
    }

    /// The four cases of RFC 9293 section 3.10.7.4, with two allowances: a segment without text may stand exactly
    /// on the right edge (the ACK of a peer that has filled the window, its data being lost), and with a closed
    /// window a segment at RCV.NXT gets its ACK field, RST and URG used (MUST-66), its text cut off in `on_text`.
    //= RFC 9293 section 3.4, MUST-66
    fn is_acceptable(&self, seg: &SegmentIn) -> bool {
        let end = seg.seq + seg.seq_len();
        let not_old =
            if seg.seq_len() == 0 { end.at_or_after(self.rcv_nxt) } else { end.after(self.rcv_nxt) };
        let edge = self.rcv_adv;
        let not_beyond = if seg.seq_len() == 0 || self.rcv_wnd() == 0 {
            seg.seq.at_or_before(edge)
        } else {
            seg.seq.before(edge)
        };
        not_old && not_beyond
    }

    fn on_unacceptable(&mut self, seg: &SegmentIn, env: &mut Env) -> Disposition {
        if seg.has(TcpFlags::RST) {
            return Disposition::Drop(TcpDrop::RstIgnored);
        }
        if self.state == State::SynReceived && seg.has(TcpFlags::SYN) && seg.seq == self.irs {
            // The peer did not get our SYN-ACK.
            self.ecn.on_syn(seg.flags);
            self.syn_due = true;
            return Disposition::Drop(TcpDrop::OldDuplicate);
        }
        let old = (seg.seq + seg.seq_len()).at_or_before(self.rcv_nxt);
        if old && self.sack_on && seg.payload_len > 0 {
            // RFC 2883: tell which bytes came twice.
            //= RFC 2883 section 4
            self.ooo.get_or_insert_default().sack.duplicate(seg.seq, seg.seq + seg.payload_len);
        }
        self.ack_out_of_window(seg, env);
        Disposition::Drop(if old { TcpDrop::OldDuplicate } else { TcpDrop::OutOfWindow })
    }

    /// Text must be answered at once, so that the peer's retransmission ends; two stacks that answer each other's
    /// bare ACKs would never end, so those are limited like challenge ACKs.
    fn ack_out_of_window(&mut self, seg: &SegmentIn, env: &Env) {
        if seg.seq_len() > 0 && !seg.has(TcpFlags::SYN) {
            self.note_repeated_text();
            self.ack_now = true;
        } else {
            self.challenge_ack(env);
        }
    }

    /// RFC 5961 section 7, limited per connection.
    //= RFC 5961 section 7
    pub(crate) fn challenge_ack(&mut self, env: &Env) {
        let tick = fine(env.now).max(1);
        let since = tick.wrapping_sub(self.challenged_at);
        if self.challenged_at == 0 || since >= fine(Instant(env.cfg.challenge_ack_interval_ns)) {
            self.challenged_at = tick;
            self.ack_now = true;
        }
    }

    //= RFC 9293 section 3.6, MUST-12
    //= RFC 9293 section 3.5.3, SHLD-2
    fn on_reset(&mut self, env: &mut Env) {
        let error = match self.state {
            // MUST-11: a passive open goes back to LISTEN without a word.
            //= RFC 9293 section 3.10.7.4, MUST-11
            State::SynReceived if self.answers_early() => Some(TcpError::Reset),
            State::SynReceived if self.passive => None,
            State::SynReceived => Some(TcpError::Refused),
            State::Closing | State::LastAck | State::TimeWait => None,
            _ => Some(TcpError::Reset),
        };
        self.die(env, error);
    }

    /// Segment text and FIN.
    //= RFC 9293 section 3.10.7.4, MUST-59
    fn on_text(&mut self, seg: &SegmentIn, payload: &mut Option<Frame>, env: &mut Env) -> Disposition {
        if !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2) {
            // The peer has sent its FIN: nothing can follow it.
            return Disposition::Done;
        }
        let mut seq = seg.seq;
        let mut fin = seg.has(TcpFlags::FIN);
        let mut done = Disposition::Done;
        if let Some(frame) = payload {
            let skip = self.rcv_nxt.since(seq);
            if skip > 0 && self.sack_on {
                // RFC 2883 section 4.3: the part that came before, told at once.
                //= RFC 2883 section 4.3
                self.ooo.get_or_insert_default().sack.duplicate(seq, self.rcv_nxt);
                self.ack_now = true;
            }
            frame.advance(skip as usize);
            seq += skip;
            let fits = self.rcv_adv.since(seq) as usize;
            if frame.len() > fits {
                frame.truncate(fits);
                fin = false;
                self.ack_now = true;
            }
            if let Some(end) = self.ooo.as_ref().and_then(|o| o.fin_at) {
                // The stream ends at a FIN that came early, whatever is said to follow it.
                frame.truncate(frame.len().min(end.since(seq) as usize));
            }
        }
        let len = payload.as_ref().map_or(0, Frame::len) as u32;
        if len > 0 {
            if self.detached {
                // SHLD-3: the application is gone; RST says that this data is lost.
                //= RFC 9293 section 3.6.1, SHLD-3
                let mut rst = self.rst_segment();
                if env.cfg.linux_habits {
                    // At the peer's own RCV.NXT, as to a segment of nobody's.
                    rst = Segment { seq: seg.ack, flags: TcpFlags::RST, ..Segment::default() };
                }
                self.die(env, Some(TcpError::Aborted));
                return Disposition::Reply(rst);
            }
            let frame = payload.take().expect("len > 0");
            if seq == self.rcv_nxt {
                self.take_in_order(seg, frame, env);
            } else if let Some(drop) = self.take_out_of_order(seq, frame, env) {
                done = drop;
            }
        }
        let early = self.ooo.as_ref().and_then(|o| o.fin_at);
        let fin_at = if fin { Some(seg.seq + seg.payload_len) } else { early };
        if fin_at == Some(self.rcv_nxt) {
            self.on_fin(env);
        } else if fin {
            self.ooo.get_or_insert_default().fin_at = fin_at;
            self.ack_now = true;
        }
        done
    }

    pub(crate) fn take_in_order(&mut self, seg: &SegmentIn, frame: Frame, env: &mut Env) {
        let full = frame.len() >= self.smss.min(self.local_mss) as usize;
        let len = frame.len() as u32;
        self.rcv_nxt += len;
        env.counters.copied_out += env.short_of_frames as u64;
        self.recv.push_frame(frame, env.pool, env.short_of_frames);
        if let Some(ooo) = &mut self.ooo {
            while let Some(chunk) = ooo.pop_ready(env.pool, self.rcv_nxt) {
                self.rcv_nxt += chunk.len() as u32;
                self.recv.push(chunk);
            }
            //= RFC 5681 section 4.2
            // RFC 5681 section 4.2: what fills (a part of) a gap is acknowledged at once.
            self.ack_now = true;
            ooo.sack.advance(self.rcv_nxt);
            self.tidy_ooo();
        }
        self.raise(Events::READABLE);
        self.schedule_ack(full, len, env);
        if self.ack_now && self.bulk_segs >= TUNED_SEGS {
            self.tune_rcv_buf(seg.options.timestamps.map(|(_, tsecr)| tsecr), env);
        }
    }

    /// SHLD-18, SHLD-19: every second segment, or soon; in bulk every few, or very soon.
    //= RFC 9293 section 3.8.6.3, SHLD-18, MUST-40, SHLD-19
    //= RFC 9293 section 3.10.7.4, MUST-58
    fn schedule_ack(&mut self, full: bool, len: u32, env: &Env) {
        if self.stats.is_some() && self.decide_ack_as_linux(len, env) {
            return;
        }
        self.unacked_segs = self.unacked_segs.saturating_add(1);
        self.bulk_segs = if full { self.bulk_segs.saturating_add(1).min(BULK_SEGS) } else { 0 };
        let bulk = self.bulk_segs >= BULK_SEGS && env.cfg.stretch_acks;
        if self.quickack > 0 {
            self.quickack -= 1;
            self.ack_now = true;
        } else if self.unacked_segs >= if bulk { STRETCH_ACK_SEGS } else { 2 } {
            self.ack_now = true;
        } else if self.ack_at.armed().is_none() {
            self.ack_at = env.now + if bulk { STRETCH_ACK_NS } else { env.cfg.delack_ns };
        }
    }

    //= RFC 9293 section 3.10.7.4, SHLD-31, MAY-13
    //= RFC 5681 section 4.2
    fn take_out_of_order(&mut self, seq: crate::SeqNum, frame: Frame, env: &mut Env) -> Option<Disposition> {
        // RFC 5681 section 4.2: at once, so that the peer hears of the gap.
        self.ack_now = true;
        self.bulk_segs = 0;
        env.counters.ooo_segs += 1;
        if let Some(s) = &mut self.stats {
            s.rcv_ooopack += 1;
        }
        let (len, short) = (frame.len() as u32, env.short_of_frames);
        // A small one is copied, so that its frame is free: few bytes are not to hold many frames.
        let chunk = Chunk::keep(frame, env.pool, short || len <= SMALL_BYTES as u32);
        let most = OOO_SEGS.max(self.recv.buf as usize / OOO_SEG_BYTES);
        let ooo = self.ooo.get_or_insert_default();
        let drop = match ooo.insert(env.pool, seq, chunk, most) {
            Inserted::Range(start, end) => {
                ooo.sack.add(start, end);
                None
            }
            Inserted::Duplicate => {
                if self.sack_on {
                    ooo.sack.duplicate(seq, seq + len);
                }
                Some(Disposition::Drop(TcpDrop::OldDuplicate))
            }
            Inserted::Full => Some(Disposition::Drop(TcpDrop::OooLimit)),
        };
        self.tidy_ooo();
        drop
    }

    fn on_fin(&mut self, env: &mut Env) {
        self.rcv_nxt += 1;
        self.fin_received = true;
        if self.state != State::Established || self.ooo.is_some() || !self.decide_fin_ack_as_linux(env) {
            self.ack_now = true;
        }
        if let Some(o) = &mut self.ooo {
            o.clear(env.pool);
            o.sack.advance(self.rcv_nxt);
            self.tidy_ooo();
        }
        //= RFC 9293 section 3.10.7.4
        self.state = match self.state {
            State::Established => State::CloseWait,
            State::FinWait1 => State::Closing,
            State::FinWait2 => State::TimeWait,
            other => other,
        };
        if self.state == State::TimeWait {
            self.enter_time_wait(env);
        }
        self.raise(Events::READABLE);
    }

    pub(crate) fn enter_time_wait(&mut self, env: &mut Env) {
        self.state = State::TimeWait;
        self.snd.clear(env.pool);
        self.rexmit_at = crate::Instant::NEVER;
        self.lingering = true;
        //= RFC 9293 section 3.6.1, MUST-13
        self.wait_at = env.now + TIME_WAIT_NS;
    }
}

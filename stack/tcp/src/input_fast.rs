//! The predicted segment: next in order, or a plain ACK, on an established connection without loss. What Van
//! Jacobson's header prediction is: nearly all segments of a bulk transfer or a request-response exchange.

use linerate_frame::Frame;
use linerate_wire::tcp::TcpFlags;

use crate::input::Disposition;
use crate::segment::SegmentIn;
use crate::tcb::{Env, Recovery, State, Tcb};

impl Tcb {
    /// Does the general path have nothing to add for this segment?
    #[inline]
    pub(crate) fn predicted(&self, seg: &SegmentIn) -> bool {
        self.state == State::Established
            && seg.flags.without(TcpFlags::PSH) == TcpFlags::ACK
            && seg.seq == self.rcv_nxt
            && seg.payload_len <= self.rcv_wnd()
            && self.ooo.is_none()
            && self.recovery == Recovery::Open
            && self.ecn.predicts(seg.ecn)
            && seg.options.sack.is_empty()
            && seg.options.user_timeout == 0
            && seg.ack.at_or_after(self.snd_una)
            && seg.ack.at_or_before(self.snd_nxt)
            && !self.detached
            && match (self.ts_on, seg.options.timestamps) {
                (true, Some((tsval, _))) => tsval.wrapping_sub(self.ts_recent) as i32 >= 0,
                (on, ts) => !on && ts.is_none(),
            }
    }

    /// PAWS, sequence and ACK checks were made by [`predicted`](Self::predicted); no control bit is set.
    #[inline]
    pub(crate) fn input_fast(
        &mut self,
        seg: &SegmentIn,
        payload: &mut Option<Frame>,
        env: &mut Env,
    ) -> Disposition {
        env.counters.fast_path += 1;
        self.last_recv_at = env.now;
        self.keepalive_probes = 0;
        self.note_timestamp(seg, env);
        let wnd = (seg.wnd as u32) << self.snd_wscale;
        if seg.ack == self.snd_una && seg.payload_len > 0 && wnd == self.snd_wnd {
            self.snd_wl1 = seg.seq;
        } else if let Err(why) = self.on_ack(seg, env) {
            return Disposition::Drop(why);
        }
        if seg.payload_len > 0
            && let Some(frame) = payload.take()
        {
            self.take_in_order(seg, frame, env);
        }
        Disposition::Done
    }
}

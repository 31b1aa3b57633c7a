//! F-RTO: was the timeout spurious? RFC 5682, section 2 without SACK, section 3 with it. After the first segment was
//! sent again two new ones follow instead of the next old ones; if the ACKs then cover what was never sent again, it
//! was only late.

use crate::segment::SegmentIn;
use crate::seq::SeqNum;
use crate::snd::EVER_RETRANS;
use crate::tcb::{Recovery, Tcb};
use crate::undo::Evidence;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frto {
    /// The conventional recovery goes on.
    Off,
    /// Step 2: wait for the ACK of the segment that was sent again.
    First,
    /// Step 3: new segments were sent; what does the next ACK cover?
    Second,
}

impl Tcb {
    /// New segments go before lost ones.
    pub(crate) fn frto_waits(&self) -> bool {
        self.undo().is_some_and(|u| u.frto == Frto::Second)
    }

    /// `true`: the timeout was spurious.
    pub(crate) fn frto(&mut self, seg: &SegmentIn, ack: &Evidence) -> bool {
        let Some(step) = self.undo().map(|u| u.frto) else { return false };
        if step == Frto::Off || self.recovery != Recovery::Loss {
            return false;
        }
        let smss = self.smss as u32;
        let next = match step {
            Frto::First if ack.acked == 0 => {
                //= RFC 5682 section 2.1
                // (2a). With SACK a duplicate only adjusts the scoreboard (section 3.1).
                if !ack.is_dup || self.sack_on { Frto::First } else { Frto::Off }
            }
            Frto::First => {
                let in_part =
                    self.snd.segs.front().is_some_and(|s| s.has(EVER_RETRANS) && self.snd.unsent > 0);
                if self.snd_una.at_or_after(self.recover) || in_part || !self.has_new_to_send() {
                    Frto::Off
                } else {
                    // (2b): up to two new segments.
                    self.cc.cwnd = self.pipe() + 2 * smss;
                    self.recover = self.snd_nxt;
                    Frto::Second
                }
            }
            _ if ack.acked == 0 && !ack.is_dup && !ack.sacked => Frto::Second,
            _ => {
                let new = ack.acked > 0 || (self.sack_on && ack.sacked);
                if new && !self.covers_more(seg) {
                    //= RFC 5682 section 2.1
                    //= RFC 5682 section 3.1
                    // (3b): what was sent before the timeout, and once, has arrived.
                    return true;
                }
                // (3a)
                self.cc.cwnd = 3 * smss;
                Frto::Off
            }
        };
        if let Some(u) = self.undo_mut() {
            u.frto = next;
        }
        false
    }

    /// With SACK: does the ACK speak of what was sent after the timeout?
    fn covers_more(&self, seg: &SegmentIn) -> bool {
        let beyond = |(_, end): &(u32, u32)| {
            let end = SeqNum(*end);
            end.after(self.recover) && end.at_or_before(self.snd_nxt)
        };
        self.sack_on && (self.snd_una.after(self.recover) || seg.options.sack.as_slice().iter().any(beyond))
    }

    /// Is there a segment that window and Nagle would let go?
    fn has_new_to_send(&self) -> bool {
        let Some(next) = self.snd.segs.get(self.snd.unsent) else { return false };
        let usable = self.snd_wnd.saturating_sub(self.flight());
        next.len() <= usable && (next.len() >= self.smss as u32 || self.nodelay || self.fin_queued)
    }
}

//! TIME-WAIT: RFC 9293 section 3.10.7.4, RFC 1337, RFC 6191. Small, for there are many.

use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::TcpOptions;

use crate::input::{Disposition, TcpDrop};
use crate::segment::{Segment, SegmentIn};
use crate::seq::SeqNum;
use crate::tcb::Tcb;
use crate::time::Instant;

/// What is left of a connection for 2 MSL.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    /// SND.NXT
    pub snd_nxt: SeqNum,
    /// RCV.NXT
    pub rcv_nxt: SeqNum,
    /// When it is over.
    pub expires: Instant,
    wnd: u16,
    ts_on: bool,
    ts_recent: u32,
}

impl TimeWait {
    /// Of a connection in TIME-WAIT.
    pub fn of(tcb: &Tcb, expires: Instant) -> Self {
        Self {
            snd_nxt: tcb.snd_nxt,
            rcv_nxt: tcb.rcv_nxt,
            expires,
            wnd: (tcb.rcv_wnd() >> tcb.rcv_wscale).min(0xffff) as u16,
            ts_on: tcb.ts_on,
            ts_recent: tcb.ts_recent,
        }
    }

    /// A segment for a connection in TIME-WAIT.
    pub fn on_segment(&self, seg: &SegmentIn) -> Disposition {
        //= RFC 1337 section 3
        if seg.has(TcpFlags::RST) {
            // RFC 1337 section 3, fix (F1): RST does not assassinate TIME-WAIT.
            return Disposition::Drop(TcpDrop::RstIgnored);
        }
        if seg.has(TcpFlags::SYN) && !seg.has(TcpFlags::ACK) && self.may_reopen(seg) {
            return Disposition::Reopen;
        }
        if seg.has(TcpFlags::ACK) && seg.seq_len() == 0 && seg.seq == self.rcv_nxt {
            // The peer's last words: nothing to answer.
            return Disposition::Done;
        }
        Disposition::Reply(self.ack(seg))
    }

    /// A retransmitted FIN, or anything else: say where we are.
    pub fn ack(&self, seg: &SegmentIn) -> Segment {
        // The ACK echoes TS.Recent, and a TSval that the
        // peer's PAWS takes: its own echo, which can't be older than what it saw last.
        let timestamps = match seg.options.timestamps {
            Some((_, tsecr)) if self.ts_on => Some((tsecr, self.ts_recent)),
            _ => None,
        };
        Segment {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: TcpFlags::ACK,
            wnd: self.wnd,
            urgent: 0,
            ecn: crate::ecn::codepoint::NOT_ECT,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
        }
    }

    /// The peer's FIN again, exactly where it stood: it restarts the 2 MSL (RFC 9293 section 3.10.7.4, eighth).
    pub fn is_repeated_fin(&self, seg: &SegmentIn) -> bool {
        let end = seg.seq + seg.seq_len();
        seg.has(TcpFlags::FIN) && !seg.has(TcpFlags::RST) && !seg.has(TcpFlags::SYN) && end == self.rcv_nxt
    }

    /// RFC 6191 section 2: the timestamp is newer, or, without timestamps, the sequence number is.
    //= RFC 9293 section 3.6.1, MAY-2, SHLD-4
    //= RFC 6191 section 2
    fn may_reopen(&self, syn: &SegmentIn) -> bool {
        match (self.ts_on, syn.options.timestamps) {
            (true, Some((tsval, _))) if tsval != self.ts_recent => {
                (tsval.wrapping_sub(self.ts_recent) as i32) > 0
            }
            _ => syn.seq.after(self.rcv_nxt),
        }
    }
}

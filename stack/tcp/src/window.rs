//! The receive window: RFC 9293 sections 3.8.6 and 3.8.6.2.2 (receiver's silly window avoidance).

use crate::seq::SeqNum;
use crate::tcb::{State, Tcb};

impl Tcb {
    /// RCV.WND: what the peer was told it may send.
    pub(crate) fn rcv_wnd(&self) -> u32 {
        self.rcv_adv.since(self.rcv_nxt)
    }

    /// The right edge that could be announced now. Never left of what was announced (SHLD-14), and moved only by
    /// at least min(Fr * RCV.BUFF, Eff.snd.MSS) (MUST-39).
    //= RFC 9293 section 3.8.6.2.2, MUST-39
    //= RFC 9293 section 3.8.6.1, MAY-8
    fn next_edge(&self) -> SeqNum {
        let free = self.recv.buf.saturating_sub(self.recv.bytes);
        let edge = self.rcv_nxt + free;
        let step = (self.recv.buf / 2).min(self.local_mss as u32);
        if edge.since(self.rcv_adv) >= step { edge } else { self.rcv_adv }
    }

    /// Announces the window in a segment that leaves now: SEG.WND, scaled.
    pub(crate) fn announce_window(&mut self, syn: bool) -> u16 {
        let told = self.rcv_adv;
        let edge = self.next_edge().max(told);
        let shift = if syn { 0 } else { self.rcv_wscale };
        // What the shift cuts off is not announced, unless it was before: the edge never moves left (SHLD-14, and RFC
        // 7323 section 2.4 on how scaling would). More than 16 bits say is wanted only by a SYN, which isn't scaled.
        //= RFC 9293 section 3.8.6, SHLD-14
        //= RFC 7323 section 2.4
        let mut wnd = edge.since(self.rcv_nxt) >> shift;
        if (self.rcv_nxt + (wnd << shift)).before(told) {
            wnd += 1;
        }
        let wnd = wnd.min(0xffff);
        self.rcv_adv = self.rcv_nxt + (wnd << shift);
        wnd as u16
    }

    /// After the application has read: tell the peer when the window has opened by two segments or half the
    /// buffer, before it stalls (as BSD and Linux do).
    pub(crate) fn maybe_window_update(&mut self) {
        if self.fin_received || !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2)
        {
            return;
        }
        let opens_by = self.next_edge().since(self.rcv_adv);
        let wnd = self.rcv_wnd();
        let step = (self.recv.buf / 2).min(2 * self.local_mss as u32);
        // While most of the window is open the ACKs of arriving data carry its growth.
        if opens_by >= step && wnd <= self.recv.buf / 2 {
            self.ack_now = true;
        }
    }
}

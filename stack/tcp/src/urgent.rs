//! Urgent data, in line: RFC 9293 section 3.8.5, RFC 6093. And what else few connections have, in one box.

use alloc::boxed::Box;

use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::FastOpen;

use crate::fast_open::SynData;
use crate::mtu_probe::MtuProbe;
use crate::segment::{Segment, SegmentIn};
use crate::seq::SeqNum;
use crate::tcb::{Events, State, Tcb};
use crate::undo::Undo;

/// What most connections never have; it goes when nothing of it is left.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// RCV.UP: behind the last urgent octet received, until it is read.
    rcv_up: Option<SeqNum>,
    /// SND.UP: behind the last urgent octet to send, until it is acknowledged.
    snd_up: Option<SeqNum>,
    /// Fast Open's option for our SYN or SYN-ACK.
    pub fast_open: FastOpen,
    /// The search for the path's MTU (RFC 4821).
    pub mtu_probe: Option<MtuProbe>,
    /// What there was before recovery began.
    pub undo: Option<Box<Undo>>,
    /// What became of the data on our SYN.
    pub syn_data: SynData,
}

impl Tcb {
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(Box::default)
    }

    pub(crate) fn tidy_rare(&mut self) {
        let is_empty = |r: &Rare| {
            r.rcv_up.is_none()
                && r.snd_up.is_none()
                && r.fast_open == FastOpen::default()
                && r.mtu_probe.is_none()
                && r.undo.is_none()
                && r.syn_data == SynData::default()
        };
        if self.rare.as_deref().is_some_and(is_empty) {
            self.rare = None;
        }
    }

    /// Where the next octet that the application reads stands.
    fn read_seq(&self) -> SeqNum {
        self.rcv_nxt - self.recv.bytes - self.fin_received as u32
    }

    /// Sixth, check the URG bit. The pointer says where the urgent data ends: the first octet that is not urgent.
    //= RFC 9293 section 3.8.5, MUST-30, MUST-31, MUST-32, MUST-62
    pub(crate) fn note_urgent(&mut self, seg: &SegmentIn) {
        if !seg.has(TcpFlags::URG)
            || !matches!(self.state, State::Established | State::FinWait1 | State::FinWait2)
        {
            return;
        }
        let up = seg.seq + seg.urgent as u32;
        if !up.after(self.read_seq()) {
            return;
        }
        let rare = self.rare_mut();
        if rare.rcv_up.is_none_or(|known| up.after(known)) {
            rare.rcv_up = Some(up);
            self.raise(Events::URGENT);
        } else {
            self.tidy_rare();
        }
    }

    /// Bytes from the next one to read to the end of the urgent data, whether or not they have come yet. `None`: there is
    /// none.
    //= RFC 9293 section 3.8.5, MUST-33
    pub fn urgent(&self) -> Option<usize> {
        let up = self.rare.as_ref()?.rcv_up?;
        Some(up.since(self.read_seq()) as usize)
    }

    /// The application has read on: past the mark?
    pub(crate) fn pass_urgent(&mut self) {
        let read = self.read_seq();
        if let Some(rare) = &mut self.rare
            && rare.rcv_up.is_some_and(|up| read.at_or_after(up))
        {
            rare.rcv_up = None;
            self.tidy_rare();
        }
    }

    /// What was written so far is urgent.
    pub(crate) fn set_urgent(&mut self) {
        self.rare_mut().snd_up = Some(self.snd.end);
        // The peer hears of it at once, even if the data must wait for a window.
        self.ack_now = true;
    }

    pub(crate) fn is_sending_urgent(&self) -> bool {
        self.rare.as_ref().is_some_and(|r| r.snd_up.is_some())
    }

    /// The URG bit and pointer of a segment that stands where `segment.seq` says. A mark more than 64 KiB away is drawn
    /// nearer by the segments that follow.
    //= RFC 9293 section 3.8.5, MUST-30, MUST-62
    pub(crate) fn mark_urgent(&self, segment: &mut Segment) {
        let Some(up) = self.rare.as_ref().and_then(|r| r.snd_up) else { return };
        if segment.seq.before(up) {
            segment.flags |= TcpFlags::URG;
            segment.urgent = up.since(segment.seq).min(0xffff) as u16;
        }
    }

    /// Urgent data was acknowledged: to its end?
    pub(crate) fn urgent_acked(&mut self) {
        let una = self.snd_una;
        if let Some(rare) = &mut self.rare
            && rare.snd_up.is_some_and(|up| una.at_or_after(up))
        {
            rare.snd_up = None;
            self.tidy_rare();
        }
    }
}

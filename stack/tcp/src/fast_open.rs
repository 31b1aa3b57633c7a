//! Fast Open: RFC 7413. Data on the SYN, for peers that have met before.
//!
//! The cookies are the owner's business; here is what they make of a connection.

use linerate_frame::{Frame, Pool};
use linerate_wire::tcp_options::FastOpen;

use crate::config::TcpConfig;
use crate::limits::MSS_MIN;
use crate::open::Opening;
use crate::segment::SegmentIn;
use crate::snd::{EVER_RETRANS, LOST, RETRANS, SACKED};
use crate::tcb::{Env, Tcb};
use crate::time::Instant;

/// What became of the data on our SYN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SynData {
    /// There was none, or it is not known yet.
    #[default]
    None,
    /// The SYN-ACK acknowledged it.
    Taken,
    /// The SYN-ACK acknowledged the SYN only.
    Refused,
    /// There was no answer until it was sent again without data: something on the way may swallow such SYNs.
    Lost,
}

/// Bytes of options on a SYN with a cookie of 16 bytes: the most that fit.
const SYN_OPTIONS_BYTES: u16 = 40;

impl Tcb {
    /// Active OPEN with `data` on the SYN, as much as fits a segment of `mss` (the peer's, from the last time); returns how
    /// much that was. Without a cookie (`fast_open` is a request) it is 0.
    //= RFC 7413 section 4.2.1
    pub fn connect_with_data(
        cfg: &TcpConfig,
        o: &Opening,
        (fast_open, mss): (FastOpen, u16),
        data: &[u8],
        pool: &mut Pool,
        now: Instant,
    ) -> (Self, usize) {
        let mut tcb = Self::connect(cfg, o, now);
        tcb.fast_open = true;
        tcb.rare_mut().fast_open = fast_open;
        if fast_open.is_request() {
            return (tcb, 0);
        }
        let room = mss.min(tcb.local_mss).max(MSS_MIN + SYN_OPTIONS_BYTES) - SYN_OPTIONS_BYTES;
        let n = data.len().min(room as usize).min(pool.payload_bytes());
        let n = tcb.snd.write(pool, &data[..n], room as u32);
        (tcb, n)
    }

    /// A SYN with a valid cookie came for a listener: its data is the application's before the handshake is complete.
    //= RFC 7413 section 4.2.2
    pub fn accept_with_data(o: &Opening, syn: &SegmentIn, payload: Option<Frame>, env: &mut Env) -> Self {
        let mut tcb = Self::accept(env.cfg, o, syn, env.now);
        tcb.fast_open = true;
        if let Some(mut frame) = payload {
            frame.truncate(tcb.recv.buf as usize);
            if frame.is_empty() {
                env.pool.free(frame);
            } else {
                tcb.rcv_adv = tcb.rcv_nxt + frame.len() as u32;
                tcb.take_in_order(syn, frame, env);
                // The SYN-ACK acknowledges it.
                tcb.ack_now = false;
            }
        }
        tcb
    }

    /// The option that our SYN-ACK carries.
    pub fn set_fast_open(&mut self, fast_open: FastOpen) {
        self.rare_mut().fast_open = fast_open;
    }

    /// May data leave before the handshake is complete?
    pub(crate) fn answers_early(&self) -> bool {
        self.fast_open && self.passive
    }

    /// Our SYN was acknowledged; and its data? What was not taken is sent as if it never had been: no congestion is to be
    /// learned from it.
    //= RFC 7413 section 4.2.1
    pub(crate) fn syn_data_answered(&mut self, seg: &SegmentIn, was_lost: bool, env: &mut Env) {
        if self.snd.unsent == 0 {
            return;
        }
        if seg.ack.after(self.iss + 1) {
            self.release_syn_data(seg, env);
        }
        let taken = self.snd.unsent == 0;
        if !taken {
            while self.snd.unsent > 0 {
                let last = self.snd.unsent - 1;
                self.snd.mark(last, 0, LOST | RETRANS | SACKED | EVER_RETRANS);
                self.snd.pipe -= self.snd.segs[last].len();
                self.snd.unsent = last;
            }
            self.snd_nxt = self.snd_una;
        }
        self.rare_mut().syn_data = match (taken, was_lost) {
            (true, _) => SynData::Taken,
            (false, true) => SynData::Lost,
            (false, false) => SynData::Refused,
        };
    }

    /// What became of the data on our SYN, told once; `None`: Fast Open was not tried.
    pub fn take_syn_data(&mut self) -> Option<SynData> {
        if !self.fast_open || self.passive {
            return None;
        }
        self.fast_open = false;
        let rare = self.rare_mut();
        rare.fast_open = FastOpen::NONE;
        let outcome = core::mem::take(&mut rare.syn_data);
        self.tidy_rare();
        Some(outcome)
    }
}

//! Segments as TCP sees them: what came in, what is to leave, and where it leaves to.

use linerate_frame::{Frame, Pool};
use linerate_wire::checksum::Sum;
use linerate_wire::tcp::{TcpFlags, TcpHeader};
use linerate_wire::tcp_options::TcpOptions;

use crate::seq::SeqNum;

/// A received segment. Its payload, if any, is in a frame beside it.
#[derive(Clone, Debug)]
pub struct SegmentIn {
    /// SEG.SEQ
    pub seq: SeqNum,
    /// SEG.ACK, meaningful with [`TcpFlags::ACK`]
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// SEG.WND as on the wire, unscaled.
    pub wnd: u16,
    /// The IP header's ECN field ([`codepoint`](crate::ecn::codepoint)).
    pub ecn: u8,
    /// Payload octets.
    pub payload_len: u32,
    /// SEG.UP, meaningful with [`TcpFlags::URG`]
    pub urgent: u16,
    /// Options.
    pub options: TcpOptions,
}

impl SegmentIn {
    /// From a parsed header and options.
    pub fn new(h: &TcpHeader, options: TcpOptions, payload_len: u32) -> Self {
        Self {
            seq: SeqNum(h.seq),
            ack: SeqNum(h.ack),
            flags: h.flags,
            wnd: h.window,
            payload_len,
            urgent: h.urgent,
            ecn: 0,
            options,
        }
    }

    /// SEG.LEN: payload octets, plus one each for SYN and FIN.
    #[inline]
    pub fn seq_len(&self) -> u32 {
        self.payload_len + self.has(TcpFlags::SYN) as u32 + self.has(TcpFlags::FIN) as u32
    }

    /// Is the control bit set?
    #[inline]
    pub fn has(&self, flag: TcpFlags) -> bool {
        self.flags.contains(flag)
    }
}

/// A segment to send.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// SEG.SEQ
    pub seq: SeqNum,
    /// SEG.ACK
    pub ack: SeqNum,
    /// Control bits.
    pub flags: TcpFlags,
    /// SEG.WND as on the wire (scaled already).
    pub wnd: u16,
    /// SEG.UP
    pub urgent: u16,
    /// The IP header's ECN field ([`codepoint`](crate::ecn::codepoint)).
    pub ecn: u8,
    /// Options.
    pub options: TcpOptions,
}

/// What became of a segment handed to a [`Sink`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// On its way (or lost on purpose further down, as networks do).
    Yes,
    /// No frame, no room in the batch, or the frame's last transmission is not complete: try again next turn.
    NotNow,
}

/// Where segments leave to: the egress of `linerate-net`, or a test.
pub trait Sink {
    /// Is there room for one more segment in this turn?
    fn room(&self) -> bool;
    /// Sends a segment without payload.
    fn control(&mut self, pool: &mut Pool, segment: &Segment) -> Sent;
    /// Sends a segment whose payload is the range of `frame`, which stays with the caller. `sum` is the
    /// payload's ones-complement sum.
    fn data(&mut self, pool: &mut Pool, segment: &Segment, frame: &mut Frame, sum: Sum) -> Sent;
}

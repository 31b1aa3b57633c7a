//! The transmission control block: RFC 9293 section 3.3.1, and the application's side of it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use linerate_frame::{HEADROOM_BYTES, Pool};

use crate::cc::Cc;
use crate::config::TcpConfig;
use crate::ecn::Ecn;
use crate::prr::Prr;
use crate::rack::Rack;
use crate::rcv::{Chunk, RecvQueue};
use crate::reassembly::Reassembly;
use crate::rtt::Rtt;
use crate::seq::SeqNum;
use crate::snd::SendQueue;
use crate::stats::Stats;
use crate::time::{Instant, SEC};
use crate::tuning::RcvTuning;
use crate::urgent::Rare;

/// RFC 9293 section 3.3.2. LISTEN is not here: a listener has no TCB of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// Why a connection ended, or a call was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpError {
    /// The peer sent RST (ECONNRESET).
    Reset,
    /// The peer refused (ECONNREFUSED).
    Refused,
    /// The peer did not answer (ETIMEDOUT).
    TimedOut,
    /// We aborted.
    Aborted,
    /// A router has no route to the peer's network (ENETUNREACH).
    NetUnreachable,
    /// A router can't reach the peer, or the packet's time was exceeded (EHOSTUNREACH).
    HostUnreachable,
    /// The peer does not speak TCP (ENOPROTOOPT).
    ProtocolUnreachable,
    /// A filter on the way forbids it (EACCES).
    Prohibited,
    /// Somebody could not make sense of our packet's header (EPROTO).
    Protocol,
}

/// What happened to a connection since the application last looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events(pub u8);

impl Events {
    /// Bytes, or the end of the stream, can be read.
    pub const READABLE: Self = Self(1);
    /// Room for more bytes to send.
    pub const WRITABLE: Self = Self(2);
    /// The handshake is complete.
    pub const CONNECTED: Self = Self(4);
    /// The connection is gone ([`Tcb::error`] says why if not by agreement).
    pub const CLOSED: Self = Self(8);
    /// Retransmissions reached R1: the peer, or the path to it, is in trouble (RFC 9293 SHLD-9).
    pub const TROUBLE: Self = Self(16);
    /// The peer has sent urgent data, or more of it ([`Tcb::urgent`] says how much).
    pub const URGENT: Self = Self(32);
    /// The network complains of packets that did not arrive; the connection goes on ([`Tcb::take_soft_error`]).
    pub const SOFT_ERROR: Self = Self(128);

    /// Any of these?
    pub fn contains(self, e: Self) -> bool {
        self.0 & e.0 != 0
    }

    /// None at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What TCP counts, per stack.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpCounters {
    /// Segments received and accepted for a connection.
    pub segs_in: u64,
    /// Segments sent.
    pub segs_out: u64,
    /// Segments that took the predicted path.
    pub fast_path: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Recoveries that turned out to be spurious and were undone.
    pub undone: u64,
    /// Expired retransmission timers.
    pub timeouts: u64,
    /// Tail-loss probes sent.
    pub loss_probes: u64,
    /// Out-of-order segments kept.
    pub ooo_segs: u64,
    /// Payload copied to the heap because frames ran short.
    pub copied_out: u64,
    /// RST segments sent.
    pub rsts_out: u64,
    /// Zero-window probes sent.
    pub window_probes: u64,
    /// Segments sent to learn whether their size arrives (RFC 4821).
    pub mtu_probes: u64,
}

/// What a TCB needs of its surroundings for one call.
pub struct Env<'a> {
    /// Now.
    pub now: Instant,
    /// The core's frames.
    pub pool: &'a mut Pool,
    /// Settings.
    pub cfg: &'a TcpConfig,
    /// Counters.
    pub counters: &'a mut TcpCounters,
    /// Frames run short: received payload is copied out and its frame given back.
    pub short_of_frames: bool,
    /// At least half of the frames are free: buffers may grow.
    pub ample_frames: bool,
}

/// Which of the mutually exclusive transmission timers is running, as in Linux: a connection has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rexmit {
    /// RFC 6298.
    Rto,
    /// RFC 8985 section 7.
    TailProbe,
    /// RFC 8985 section 6.2: part of the window is lost unless it is acknowledged soon.
    Reorder,
    /// RFC 9293 section 3.8.6.1.
    Persist,
}

/// Loss recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recovery {
    Open,
    /// Fast recovery until `recover` is acknowledged.
    Fast(Prr),
    /// The peer echoed congestion (RFC 3168): the window shrinks until something beyond `recover` is acknowledged.
    Cwr(Prr),
    /// After a timeout, slow start until `recover` is acknowledged.
    Loss,
}

impl Recovery {
    /// Is something lost being sent again?
    pub fn repairs(&self) -> bool {
        matches!(self, Self::Fast(_) | Self::Loss)
    }
}

/// One end of a connection.
pub struct Tcb {
    pub(crate) state: State,
    pub(crate) error: Option<TcpError>,
    /// What ICMP said last (RFC 5927 section 5.2).
    pub(crate) soft_error: Option<TcpError>,
    pub(crate) events: Events,
    /// MUST-11: a passive open goes back to LISTEN on RST, an active one reports it.
    pub(crate) passive: bool,
    pub(crate) ts_on: bool,
    pub(crate) sack_on: bool,
    pub(crate) ipv6: bool,
    pub(crate) nodelay: bool,
    /// The application has closed: nobody reads any more.
    pub(crate) detached: bool,
    /// The application has shut its sending side down.
    pub(crate) fin_queued: bool,
    pub(crate) fin_sent: bool,
    /// FIN must be sent again.
    pub(crate) fin_lost: bool,
    /// SYN or SYN-ACK is to be sent (again).
    pub(crate) syn_due: bool,
    /// Data may go with the SYN, or before the handshake is complete (RFC 7413).
    pub(crate) fast_open: bool,
    pub(crate) rare: Option<Box<Rare>>,
    /// The peer's FIN was received in order.
    pub(crate) fin_received: bool,
    /// Writers were refused and want to hear of room.
    pub(crate) wants_room: bool,
    /// The peer offered window scaling (passive) or accepted it (active).
    pub(crate) scaling: bool,

    // Send sequence space
    pub(crate) iss: SeqNum,
    pub(crate) snd_una: SeqNum,
    pub(crate) snd_nxt: SeqNum,
    pub(crate) snd_wnd: u32,
    pub(crate) snd_wl1: SeqNum,
    pub(crate) snd_wl2: SeqNum,
    pub(crate) max_snd_wnd: u32,
    pub(crate) snd_wscale: u8,
    pub(crate) rcv_wscale: u8,
    /// What we announce (RFC 9293 MUST-67): MTU less fixed headers.
    pub(crate) local_mss: u16,
    /// What the peer announced.
    pub(crate) peer_mss: u16,
    /// What the path carries: its MTU less fixed headers (RFC 1191).
    pub(crate) path_mss: u16,
    /// Payload bytes of a full segment: the effective send MSS less the timestamps option.
    pub(crate) smss: u16,
    pub(crate) snd: SendQueue,
    pub(crate) snd_buf: u32,

    // Receive sequence space
    pub(crate) irs: SeqNum,
    pub(crate) rcv_nxt: SeqNum,
    /// Right edge of the window that was announced.
    pub(crate) rcv_adv: SeqNum,
    pub(crate) recv: RecvQueue,
    pub(crate) ooo: Option<Box<Reassembly>>,
    /// How the receive buffer follows a peer that sends in bulk.
    pub(crate) tuning: Option<Box<RcvTuning>>,

    // Acknowledging
    pub(crate) ack_now: bool,
    pub(crate) unacked_segs: u8,
    pub(crate) quickack: u8,
    /// In-order full segments in a row, counted up to [`BULK_SEGS`](crate::limits::BULK_SEGS).
    pub(crate) bulk_segs: u8,
    pub(crate) ack_at: Instant,
    /// When the last challenge ACK was asked for, by [`fine`](crate::time::fine); 0: never.
    pub(crate) challenged_at: u32,
    pub(crate) last_ack_sent: SeqNum,

    // Timestamps, RFC 7323
    pub(crate) ts_offset: u32,
    pub(crate) ts_recent: u32,
    /// By [`coarse`](crate::time::coarse).
    pub(crate) ts_recent_at: u32,

    // Congestion and loss
    pub(crate) rtt: Rtt,
    pub(crate) cc: Cc,
    pub(crate) recovery: Recovery,
    pub(crate) recover: SeqNum,
    pub(crate) dup_acks: u8,
    /// The retransmission timer has expired, or recovery begins: the first lost segment leaves whatever cwnd says.
    pub(crate) head_due: bool,
    pub(crate) rack: Rack,
    pub(crate) ecn: Ecn,
    pub(crate) last_sent_at: Instant,
    pub(crate) retries: u8,
    pub(crate) cwnd_limited: bool,

    // Timers
    pub(crate) rexmit: Rexmit,
    pub(crate) rexmit_at: Instant,
    /// The next keep-alive; or, when `lingering`, the end of FIN-WAIT-2 of a detached connection, or of TIME-WAIT.
    pub(crate) wait_at: Instant,
    pub(crate) lingering: bool,
    pub(crate) keepalive_probes: u8,
    /// The peer's user timeout option; 0: none (RFC 5482).
    pub(crate) peer_user_timeout: u16,
    /// The user timeout that the peer was told; 0: none.
    pub(crate) told_user_timeout: u16,
    /// A probe is to be sent.
    pub(crate) keepalive_due: bool,
    pub(crate) last_recv_at: Instant,
    /// Counts, if asked for.
    pub(crate) stats: Option<Box<Stats>>,
}

impl Tcb {
    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why the connection ended, if it did not end by agreement.
    pub fn error(&self) -> Option<TcpError> {
        self.error
    }

    /// What happened since this was last called.
    pub fn take_events(&mut self) -> Events {
        core::mem::take(&mut self.events)
    }

    /// Something happened that [`take_events`](Self::take_events) would tell.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(crate) fn raise(&mut self, e: Events) {
        self.events.0 |= e.0;
    }

    /// Bytes that can be read now.
    pub fn readable(&self) -> usize {
        self.recv.bytes as usize
    }

    /// The oldest unread bytes, where they were received. Empty: nothing to read.
    pub fn recv<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        self.recv.front(pool)
    }

    /// Copies the oldest unread bytes, as many as `to` has room for; they stay. Returns how many.
    pub fn peek(&self, pool: &Pool, to: &mut [u8]) -> usize {
        self.recv.peek(pool, to)
    }

    /// The peer has closed its side, and everything before that has come.
    pub fn fin_received(&self) -> bool {
        self.fin_received
    }

    /// The application has done with the `n` oldest bytes.
    pub fn consume(&mut self, pool: &mut Pool, n: usize) {
        self.recv.consume(pool, n);
        self.note_read_as_linux();
        if self.rare.is_some() {
            self.pass_urgent();
        }
        self.maybe_window_update();
    }

    /// The peer has closed its side and everything was read (or the connection is gone).
    pub fn at_eof(&self) -> bool {
        self.recv.bytes == 0 && (self.fin_received || self.state == State::Closed)
    }

    /// May the application still write?
    pub fn can_write(&self) -> bool {
        !self.fin_queued
            && match self.state {
                State::Established | State::CloseWait => true,
                State::SynReceived => self.answers_early(),
                _ => false,
            }
    }

    /// The application has shut its sending side down.
    pub fn is_shut(&self) -> bool {
        self.fin_queued
    }

    /// Room for bytes to send.
    pub fn room(&self, cfg: &TcpConfig) -> usize {
        if !self.can_write() {
            return 0;
        }
        let unsent = self.snd.end.since(self.snd_nxt);
        self.snd_buf.saturating_sub(self.snd.bytes()).min(cfg.notsent_bytes.saturating_sub(unsent)) as usize
    }

    /// Payload bytes of a full segment.
    pub fn smss(&self) -> usize {
        self.smss as usize
    }

    /// Bytes written and not acknowledged yet.
    pub fn unacked(&self) -> usize {
        self.snd.bytes() as usize
    }

    /// Copies what fits of `data` into frames to send; returns how much that was. After less than all of it,
    /// [`Events::WRITABLE`] tells when there is room again.
    pub fn write(&mut self, pool: &mut Pool, cfg: &TcpConfig, data: &[u8]) -> usize {
        let room = self.room(cfg);
        let n = self.snd.write(pool, &data[..data.len().min(room)], self.smss as u32);
        self.wants_room |= n < data.len();
        n
    }

    /// The same for urgent data: the peer hears where it ends, and all that was written before is urgent, too (RFC 9293
    /// section 3.8.5).
    pub fn write_urgent(&mut self, pool: &mut Pool, cfg: &TcpConfig, data: &[u8]) -> usize {
        let n = self.write(pool, cfg, data);
        if n > 0 {
            self.set_urgent();
        }
        n
    }

    /// The oldest received chunk, whole, if it is at most `most` bytes: to be given to another connection.
    pub fn take_chunk(&mut self, most: usize) -> Option<Chunk> {
        let chunk = self.recv.pop(most)?;
        if self.rare.is_some() {
            self.pass_urgent();
        }
        self.maybe_window_update();
        Some(chunk)
    }

    /// Sends a chunk that another connection received: the very frame where it fits a segment.
    pub fn give_chunk(&mut self, pool: &mut Pool, chunk: Chunk) {
        match chunk {
            // Received behind headers of at least the size that ours have: HEADROOM_BYTES of them fit in front.
            Chunk::Frame(frame)
                if frame.len() <= self.smss as usize && frame.start() >= HEADROOM_BYTES as usize =>
            {
                self.snd.push_frame(pool, frame);
            }
            chunk => {
                let bytes: Vec<u8> = chunk.bytes(pool).into();
                chunk.free(pool);
                // The caller asked for room; only an empty pool cuts this short, and the frame just freed is there.
                let n = self.snd.write(pool, &bytes, self.smss as u32);
                debug_assert_eq!(n, bytes.len());
            }
        }
    }

    /// A writer waits for room: [`Events::WRITABLE`] will tell.
    pub fn want_room(&mut self) {
        self.wants_room = true;
    }

    /// No more will be written: FIN goes out behind what is queued. Reading goes on (half-close).
    pub fn shutdown(&mut self) {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            // RFC 9293 section 3.10.4: queued until the handshake is complete (`establish` goes on from there).
            State::SynSent | State::SynReceived => self.state,
            _ => return,
        };
        self.fin_queued = true;
    }

    /// The settings of this connection were changed: takes what it keeps of them.
    pub fn on_config(&mut self, cfg: &TcpConfig) {
        self.nodelay = cfg.nodelay;
        self.choose_cc(cfg, self.last_sent_at);
        self.snd_buf = cfg.snd_buf_bytes;
        // Without window scaling 16 bits are all that can be announced. The announced edge stays (SHLD-14).
        self.recv.buf = if self.scaling { cfg.rcv_buf() } else { cfg.rcv_buf().min(0xffff) };
        if cfg.mss_max > 0 && cfg.mss_max < self.local_mss {
            self.local_mss = cfg.mss_max;
            self.set_smss(true);
        }
        self.wait_at = match (cfg.keepalive, self.state) {
            _ if self.lingering => self.wait_at,
            (true, State::Established | State::CloseWait | State::FinWait1 | State::FinWait2) => {
                self.last_recv_at + cfg.keepalive_idle_ns
            }
            _ => Instant::NEVER,
        };
        let user_timeout = self.announced_user_timeout(cfg);
        if user_timeout != self.told_user_timeout && self.state == State::Established {
            // RFC 5482 section 3: told when it changes.
            self.ack_now = true;
        }
        self.keepalive_probes = 0;
    }

    /// An ACK is to leave with the next [`output`](Self::output).
    pub fn wants_ack(&self) -> bool {
        self.ack_now
    }

    /// Quick ACKs for as many segments from now on (Linux's TCP_QUICKACK): a pending ACK leaves, too. 0: delayed
    /// ACKs at once.
    pub fn set_quickack(&mut self, segs: u8) {
        self.quickack = segs;
        if let Some(q) = self.quick_acks() {
            q.pingpong = segs == 0;
        }
        self.ack_now |= segs > 0 && self.ack_at.armed().is_some();
    }

    /// Turns Nagle's algorithm off or on (RFC 9293 MUST-17).
    pub fn set_nodelay(&mut self, nodelay: bool) {
        self.nodelay = nodelay;
    }

    /// Tells a writer that was refused of room, once there is a fair amount of it.
    pub(crate) fn maybe_writable(&mut self, cfg: &TcpConfig) {
        let unsent = self.snd.end.since(self.snd_nxt);
        if self.wants_room && self.snd.bytes() <= self.snd_buf / 2 && unsent <= cfg.notsent_bytes / 2 {
            self.wants_room = false;
            self.raise(Events::WRITABLE);
        }
    }

    /// The application has let go: the connection ends by itself.
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// Frames this connection holds.
    pub fn frames_held(&self) -> usize {
        self.recv.frames() + self.ooo.as_ref().map_or(0, |o| o.frames()) + self.snd.segs.len()
    }

    /// Memory of queues that were deep and are empty now: worth a [`trim`](Self::trim) if it stays so.
    #[inline]
    pub fn holds_spare(&self) -> bool {
        self.snd.segs.has_spare()
            || self.recv.chunks.has_spare()
            || self.cc.has_spare()
            || self.tuning.is_some()
    }

    /// Gives back what an idle connection does not need.
    pub fn trim(&mut self, env: &Env) {
        let last = self.last_sent_at.max(self.last_recv_at);
        if self.flight() > 0 || env.now.since(last) < SEC {
            return;
        }
        self.tuning = None;
        self.cc.trim();
        self.snd.segs.trim();
        self.recv.chunks.trim();
    }

    /// Everything home, no timer left.
    pub fn release(&mut self, pool: &mut Pool) {
        self.snd.clear(pool);
        self.recv.clear(pool);
        if let Some(mut o) = self.ooo.take() {
            o.clear(pool);
        }
        if let Some(r) = &mut self.rare {
            r.mtu_probe = None;
        }
        self.rexmit_at = Instant::NEVER;
        self.ack_at = Instant::NEVER;
        self.wait_at = Instant::NEVER;
        self.lingering = false;
        self.ack_now = false;
        self.syn_due = false;
    }

    /// The connection is over at once. Unread bytes stay readable when the peer reset it; what was to be sent goes.
    pub(crate) fn die(&mut self, env: &mut Env, error: Option<TcpError>) {
        self.state = State::Closed;
        self.error = self.error.or(error);
        self.forget_undo();
        let recv = if self.detached { Default::default() } else { core::mem::take(&mut self.recv) };
        self.release(env.pool);
        self.recv = recv;
        self.raise(Events(Events::CLOSED.0 | Events::READABLE.0));
    }

    /// Out-of-order state that has nothing left to say goes.
    pub(crate) fn tidy_ooo(&mut self) {
        if self.ooo.as_ref().is_some_and(|o| o.is_idle()) {
            self.ooo = None;
        }
    }

    /// TSval now: milliseconds (RFC 7323 section 5.4 allows 1 ms to 1 s) plus this tuple's offset.
    pub(crate) fn ts_now(&self, now: Instant) -> u32 {
        ts_clock(now).wrapping_add(self.ts_offset)
    }

    /// TSval that a segment would carry now.
    pub fn tsval(&self, now: Instant) -> u32 {
        self.ts_now(now)
    }

    /// Sent and not acknowledged yet, SYN and FIN included.
    pub(crate) fn flight(&self) -> u32 {
        self.snd_nxt.since(self.snd_una)
    }
}

/// The clock of timestamps, without a connection's offset: milliseconds.
pub(crate) fn ts_clock(t: Instant) -> u32 {
    (t.0 / crate::time::MS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snd::TxSeg;

    /// An idle connection is to be 512 bytes all told; what the stack adds is gated in linerate-net's flow/lookup.rs.
    /// State that is needed sometimes belongs into a box that goes when it is idle.
    #[test]
    fn a_tcb_is_small() {
        assert!(size_of::<Tcb>() <= 400, "Tcb is {} bytes", size_of::<Tcb>());
        assert!(size_of::<Option<Chunk>>() <= 16);
        assert!(size_of::<Option<TxSeg>>() <= 32);
    }
}

//! A SYN meets its listener, and what came of it: RFC 9293 section 3.10.7.2, SYN-RECEIVED of section 3.10.7.4, and
//! against floods RFC 4987.
//!
//! ```text
//!   SYN ──► accept queue full? ──yes──► dropped: the peer tries again
//!            │ no
//!            ├─ SYN queue full (Auto), or Always ──► SYN cookie: nothing is kept
//!            ├─ SYN queue full (Never) ──► dropped
//!            └─ HalfOpen, SYN-ACK
//!   ACK ──► accept queue full? ──yes──► ignored: the SYN-ACK is repeated, and the peer answers it again
//!            └─ no ──► a TCB, and into the accept queue
//! ```

use alloc::sync::Arc;

use linerate_frame::Frame;
use linerate_tcp::half_open::SYNACK_RETRIES_MAX;
use linerate_tcp::limits::{MSS_DEFAULT_V4, MSS_DEFAULT_V6};
use linerate_tcp::time::MS;
use linerate_tcp::{
    Disposition, Env, HalfOpen, Instant, Opening, SegmentIn, SeqNum, State, SynCookies, Tcb, TcpConfig,
};
use linerate_wire::FlowKey;
use linerate_wire::flow_key::HashKey;
use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::TcpOptions;

use crate::drop_reason::DropReason;
use crate::egress::{Egress, Path};
use crate::flow::syn_cookie;
use crate::flow::{FlowId, ListenerId};
use crate::stack::Stack;
use crate::tcp_in::tcp_drop;

impl Stack {
    /// Would a SYN be taken, with something kept of it? (TIME-WAIT gives its place to no other.)
    pub(crate) fn would_listen(&self, key: &FlowKey) -> bool {
        let id = self.listeners.find(key.local, key.local_port, self.flows.hash(key));
        id.and_then(|id| self.listeners.get(id))
            .is_some_and(|l| !l.is_full() && !l.is_syn_queue_full() && !self.flows.half_opens.is_full())
    }

    /// A SYN. `after`: SND.NXT of the old incarnation in TIME-WAIT. The payload is taken, or the caller's to free: without
    /// Fast Open the peer sends it again.
    pub(crate) fn syn_in(
        &mut self,
        key: &FlowKey,
        seg: &SegmentIn,
        payload: &mut Option<Frame>,
        after: Option<SeqNum>,
        now: Instant,
    ) {
        let id = self.listeners.find(key.local, key.local_port, self.flows.hash(key));
        let Some((id, listener)) = id.and_then(|id| Some((id, self.listeners.get(id)?))) else {
            return self.refuse_segment(key, seg, DropReason::NoListener, now);
        };
        if listener.is_full() {
            // In silence: the peer tries again, and there may be room then (as BSD and Linux do).
            return self.counters.drop(DropReason::ListenOverflow);
        }
        let no_room = listener.is_syn_queue_full() || self.flows.half_opens.is_full();
        let cfg = self.listener_config(id);
        let fast_open = self.judge_fast_open(id, key, seg, &cfg, now);
        if fast_open.take && after.is_none() {
            return self.fast_open_in(id, key, seg, payload.take(), fast_open.answer, now);
        }
        let cookie = match cfg.syn_cookies {
            SynCookies::Always => true,
            SynCookies::Auto => no_room,
            SynCookies::Never => false,
        };
        if cookie && after.is_none() {
            return self.send_syn_cookie(id, key, seg, &cfg, now);
        }
        if no_room {
            return self.counters.drop(DropReason::SynQueueFull);
        }
        let mut opening = self.opening(key, now);
        if let Some(snd_nxt) = after {
            // RFC 9293 section 3.6.1: beyond the largest sequence number of the previous incarnation.
            opening.iss = opening.iss.max(snd_nxt + 0x1_0000);
        }
        let half = HalfOpen::new(seg, opening.iss, opening.ipv6, id.slot, now);
        let Some(i) = self.flows.insert_half_open(key, half, now) else {
            return self.counters.drop(DropReason::SynQueueFull);
        };
        if let Some(l) = self.listeners.get_mut(id) {
            l.half_open += 1;
        }
        let mut tcb = half.unanswered(&cfg, &opening, now);
        if !fast_open.answer.is_none() {
            tcb.set_fast_open(fast_open.answer);
        }
        if self.for_a_moment(key, &cfg, now, |env, egress| tcb.output(env, egress)) {
            self.syn_acks_due.push_back((i, half.iss));
        }
    }

    pub(crate) fn listener_config(&self, id: ListenerId) -> Arc<TcpConfig> {
        self.listeners.get(id).and_then(|l| l.cfg.as_ref()).unwrap_or(&self.tcp_cfg).clone()
    }

    fn send_syn_ack(&mut self, half: &HalfOpen, key: &FlowKey, cfg: &TcpConfig, o: &Opening, now: Instant) {
        let mut tcb = half.unanswered(cfg, o, now);
        self.for_a_moment(key, cfg, now, |env, egress| tcb.output(env, egress));
    }

    /// SYN-ACKs that found no room when they were due.
    pub(crate) fn flush_syn_acks(&mut self, now: Instant) {
        while self.batch.room() > 0
            && let Some((i, iss)) = self.syn_acks_due.pop_front()
        {
            if let Some(key) = self.flows.half_opens.key(i)
                && self.flows.half_opens.get(i).iss == iss
            {
                self.repeat_syn_ack(i, &key, now);
            }
        }
    }

    fn repeat_syn_ack(&mut self, i: u32, key: &FlowKey, now: Instant) {
        let half = *self.flows.half_opens.get(i);
        let Some(id) = self.listeners.id_of(half.listener) else { return };
        let (cfg, opening) = (self.listener_config(id), self.opening(key, now));
        self.send_syn_ack(&half, key, &cfg, &opening, now);
    }

    /// SYN-ACKs that no ACK answered go out again, or their connections are given up.
    pub(crate) fn repeat_syn_acks(&mut self, now: Instant) {
        while let Some(i) = self.flows.half_opens.next_due(now) {
            let half = *self.flows.half_opens.get(i);
            let Some((key, id)) = self.flows.half_opens.key(i).zip(self.listeners.id_of(half.listener))
            else {
                self.flows.remove_half_open(i);
                continue;
            };
            let cfg = self.listener_config(id);
            if half.retries() >= cfg.synack_retries.min(SYNACK_RETRIES_MAX) {
                self.forget_half_open(i);
                continue;
            }
            if self.batch.room() == 0 {
                return;
            }
            self.flows.half_opens.retry(i, now);
            let deferred = half.is_acked() && self.flows.half_opens.get(i).age_ns() < cfg.defer_accept_ns;
            if !deferred {
                self.repeat_syn_ack(i, &key, now);
            }
        }
    }

    /// A half-open connection is no more; its listener has room for another.
    pub(crate) fn forget_half_open(&mut self, i: u32) {
        let half = self.flows.remove_half_open(i);
        let id = self.listeners.id_of(half.listener);
        if let Some(l) = id.and_then(|id| self.listeners.get_mut(id)) {
            l.half_open -= 1;
        }
    }

    /// A segment for a half-open connection.
    pub(crate) fn half_open_in(
        &mut self,
        i: u32,
        key: &FlowKey,
        seg: &SegmentIn,
        frame: Frame,
        now: Instant,
    ) {
        let half = *self.flows.half_opens.get(i);
        let Some(id) = self.listeners.id_of(half.listener) else {
            return self.drop_frame(frame, DropReason::NoListener);
        };
        let cfg = self.listener_config(id);
        let answers_another = seg.has(TcpFlags::ACK) && seg.ack != half.iss + 1;
        if answers_another && self.cookie_mss(id, key, seg, now).is_some() {
            // It brings back a cookie from before this entry: both SYN-ACKs were for the same SYN.
            self.forget_half_open(i);
            if let Some(frame) = self.syn_cookie_in(key, seg, frame, now) {
                self.pool.free(frame);
            }
            return;
        }
        if half.is_completed_by(seg) {
            if self.listeners.get(id).is_some_and(|l| l.is_full()) {
                return self.drop_frame(frame, DropReason::ListenOverflow);
            }
            let bare = seg.payload_len == 0 && !seg.has(TcpFlags::FIN);
            if bare && half.age_ns() < cfg.defer_accept_ns {
                self.flows.half_opens.get_mut(i).set_acked();
                return self.pool.free(frame);
            }
        }
        let opening = self.opening(key, now);
        let mut tcb = half.tcb(&cfg, &opening, now);
        self.segment_for_a_moment(&mut tcb, key, &cfg, seg, frame, now);
        match tcb.state() {
            State::SynReceived => {
                if tcb.syn_acks_sent() {
                    if seg.has(TcpFlags::SYN) {
                        self.flows.half_opens.get_mut(i).set_ecn(seg.flags);
                    }
                    self.flows.half_opens.get_mut(i).set_ambiguous();
                    // A peer that asks again is alive: the last wait is not cut short under it.
                    if half.retries() >= cfg.synack_retries.min(SYNACK_RETRIES_MAX) {
                        self.flows.half_opens.resent(i, now);
                    }
                }
            }
            // MUST-11: back to LISTEN, without a word to the application.
            State::Closed => self.forget_half_open(i),
            _ => {
                self.forget_half_open(i);
                self.complete(id, key, tcb, now);
            }
        }
    }

    /// The MSS of the cookie that a segment brings back; `None` if none is out, or it is none.
    fn cookie_mss(&self, id: ListenerId, key: &FlowKey, seg: &SegmentIn, now: Instant) -> Option<u16> {
        if now >= self.listeners.get(id)?.cookies_until {
            return None;
        }
        syn_cookie::decode(&self.cookie_secret(), key, seg.seq - 1, seg.ack - 1, now)
    }

    /// An ACK of nothing that is known: does it bring a SYN cookie back? Gives the frame back if not.
    pub(crate) fn syn_cookie_in(
        &mut self,
        key: &FlowKey,
        seg: &SegmentIn,
        frame: Frame,
        now: Instant,
    ) -> Option<Frame> {
        let id = self.listeners.find(key.local, key.local_port, self.flows.hash(key));
        let Some((id, listener)) = id.and_then(|id| Some((id, self.listeners.get(id)?))) else {
            return Some(frame);
        };
        let cfg = self.listener_config(id);
        if cfg.syn_cookies == SynCookies::Never || now >= listener.cookies_until {
            return Some(frame);
        }
        let full = listener.is_full();
        let (irs, iss) = (seg.seq - 1, seg.ack - 1);
        let Some(mss) = self.cookie_mss(id, key, seg, now) else {
            // It may have overtaken the segment that completes the handshake: a RST would end a good connection, the
            // peer's retransmission mends it. (Found by the simulator; Linux resets.) So while cookies are out, half-open
            // connections to this listener are not told.
            self.drop_frame(frame, DropReason::NoListener);
            return None;
        };
        if full {
            self.drop_frame(frame, DropReason::ListenOverflow);
            return None;
        }
        self.counters.tcp_syn_cookies_in += 1;
        let timestamps = seg.options.timestamps.filter(|_| cfg.timestamps);
        let options = TcpOptions { mss: Some(mss), timestamps, ..TcpOptions::EMPTY };
        let syn = SegmentIn { seq: irs, flags: TcpFlags::SYN, payload_len: 0, options, ..seg.clone() };
        let opening = self.opening(key, now);
        let mut half = HalfOpen::new(&syn, iss, opening.ipv6, id.slot, now);
        half.set_ambiguous();
        if let Some((_, tsecr)) = timestamps {
            half.set_option_bits(syn_cookie::decode_tsecr(tsecr));
        }
        let mut tcb = half.tcb(&cfg, &opening, now);
        self.segment_for_a_moment(&mut tcb, key, &cfg, seg, frame, now);
        if !matches!(tcb.state(), State::SynReceived | State::Closed) {
            self.complete(id, key, tcb, now);
        }
        None
    }

    /// A SYN-ACK that remembers everything, for the listener does not.
    fn send_syn_cookie(
        &mut self,
        id: ListenerId,
        key: &FlowKey,
        syn: &SegmentIn,
        cfg: &TcpConfig,
        now: Instant,
    ) {
        let mut opening = self.opening(key, now);
        let mss = syn.options.mss.unwrap_or(if opening.ipv6 { MSS_DEFAULT_V6 } else { MSS_DEFAULT_V4 });
        let iss = syn_cookie::encode(&self.cookie_secret(), key, syn.seq, mss, now);
        let mut half = HalfOpen::new(syn, iss, opening.ipv6, id.slot, now);
        if cfg.timestamps && syn.options.timestamps.is_some() {
            let tsval = ((now.0 / MS) as u32).wrapping_add(opening.ts_offset);
            let carrying = syn_cookie::encode_tsval(tsval, half.option_bits());
            opening.ts_offset = opening.ts_offset.wrapping_sub(tsval.wrapping_sub(carrying));
        } else {
            half.forget_options();
        }
        if let Some(l) = self.listeners.get_mut(id) {
            l.cookies_until = now + 2 * syn_cookie::STEP_NS;
        }
        self.counters.tcp_syn_cookies_out += 1;
        self.send_syn_ack(&half, key, cfg, &opening, now);
    }

    fn cookie_secret(&self) -> HashKey {
        let [k0, _, _, k1] = self.secret;
        HashKey([k1, k0])
    }

    /// A segment meets the TCB that a half-open connection is for the moment; its answers leave.
    fn segment_for_a_moment(
        &mut self,
        tcb: &mut Tcb,
        key: &FlowKey,
        cfg: &TcpConfig,
        seg: &SegmentIn,
        frame: Frame,
        now: Instant,
    ) {
        let mut payload = Some(frame);
        // RFC 5961 section 7: a half-open connection has no memory of when it was last challenged.
        let mut limit = self.challenge_limit;
        self.for_a_moment(key, cfg, now, |env, egress| {
            match tcb.on_segment(seg, &mut payload, env) {
                Disposition::Drop(why) => egress.counters.drop(tcp_drop(why)),
                Disposition::Reply(segment) => {
                    egress.counters.tcp_rsts_out += segment.flags.contains(TcpFlags::RST) as u64;
                    egress.reply(env.pool, &segment);
                }
                Disposition::Done | Disposition::Reopen => {}
            }
            let answers = tcb.wants_syn() || (tcb.wants_ack() && limit.allow(now));
            if tcb.state() == State::SynReceived && answers {
                tcb.output(env, egress);
            }
        });
        self.challenge_limit = limit;
        if let Some(frame) = payload {
            self.pool.free(frame);
        }
    }

    /// What a TCB that is no connection (yet) needs for one call.
    pub(crate) fn for_a_moment<R>(
        &mut self,
        key: &FlowKey,
        cfg: &TcpConfig,
        now: Instant,
        f: impl FnOnce(&mut Env<'_>, &mut Egress<'_>) -> R,
    ) -> R {
        let label = self.flow_label(key);
        let mut env = Env {
            now,
            short_of_frames: self.pool.free_len() < self.short_of_frames_below,
            ample_frames: false,
            pool: &mut self.pool,
            cfg,
            counters: &mut self.tcp_counters,
        };
        let mut egress = Egress {
            batch: &mut self.batch,
            neigh: &mut self.neigh,
            routes: &self.routes,
            counters: &mut self.counters,
            ip_id: &mut self.ip_id,
            link: self.link,
            key: *key,
            path: &mut Path::renew(0, label, false),
            tos: cfg.tos & !3,
            ttl: cfg.ttl.max(1),
            now,
        };
        f(&mut env, &mut egress)
    }

    /// The handshake is complete: the connection waits to be accepted.
    fn complete(&mut self, id: ListenerId, key: &FlowKey, tcb: Tcb, now: Instant) {
        let Some(own) = self.listeners.get(id).map(|l| l.cfg.clone()) else { return };
        let flow = self.flows.insert(*key, tcb, own);
        self.counters.tcp_accepts += 1;
        self.offer(id, flow);
        self.mark_dirty(flow.slot);
        self.settle(flow.slot, now);
    }

    /// A connection joins the accept queue.
    pub(crate) fn offer(&mut self, id: ListenerId, flow: FlowId) {
        if let Some(conn) = self.flows.get_mut(flow) {
            conn.ready = true; // told by accept, not by the ready list
        }
        let Some(l) = self.listeners.get_mut(id) else { return };
        l.queue.push_back(flow);
        // Once a connection, and no more often than there are some: who only ever accepts leaves the list short.
        if l.told < l.queue.len() {
            l.told += 1;
            self.accepting.push_back(id);
        }
    }
}

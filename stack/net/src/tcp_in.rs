//! A TCP segment meets its connection, its listener, or nobody: RFC 9293 section 3.10.7.

use linerate_frame::Frame;
use linerate_tcp::{Disposition, Instant, Segment, SegmentIn, State, TcpDrop, TimeWait};
use linerate_wire::FlowKey;
use linerate_wire::parse::{NetInfo, Parsed};
use linerate_wire::tcp::{TcpFlags, parse_tcp};
use linerate_wire::tcp_options::parse_options;

use crate::drop_reason::DropReason;
use crate::egress::{Egress, Path};
use crate::flow::lookup::Found;
use crate::ingress::Ingress;
use crate::stack::Stack;

impl Stack {
    pub(crate) fn tcp_in(
        &mut self,
        mut frame: Frame,
        parsed: Parsed,
        net: NetInfo,
        handed: bool,
        now: Instant,
    ) -> Ingress {
        let l4 = &self.pool.bytes(&frame)[parsed.l4_off as usize..parsed.end as usize];
        let header = match parse_tcp(l4) {
            Ok(h) => h,
            Err(_) => {
                self.drop_frame(frame, DropReason::ParseTcp);
                return Ingress::Done;
            }
        };
        let key = FlowKey {
            local: net.dst,
            remote: net.src,
            local_port: header.dst_port,
            remote_port: header.src_port,
        };
        let found = self.find(&key);
        // A flow that is in our table is ours; for any other the indirection table speaks.
        if found.is_none()
            && !handed
            && let Some(owner) = self.owners.as_ref().and_then(|o| o.other(&key))
        {
            return Ingress::Handoff { frame, parsed, owner };
        }
        if !self.addrs.is_local(net.dst) {
            //= RFC 9293 section 3.9.2.3, MUST-57
            // MUST-57
            self.drop_frame(frame, DropReason::BroadcastTcp);
            return Ingress::Done;
        }
        let data_off = header.data_off_bytes as usize;
        let options = parse_options(&l4[20..data_off]);
        if !self.l4_sum_ok(&frame, &parsed, &net) {
            self.drop_frame(frame, DropReason::CsumL4);
            return Ingress::Done;
        }
        self.counters.tcp_segs_in += 1;
        frame.truncate(parsed.end as usize);
        frame.advance(parsed.l4_off as usize + data_off);
        let mut seg = SegmentIn::new(&header, options, frame.len() as u32);
        seg.ecn = net.tos & 3;
        match found {
            Some(Found::Conn(slot)) => self.conn_in(slot, &key, seg, frame, now),
            Some(Found::TimeWait(index)) => self.time_wait_in(index, &key, seg, frame, now),
            Some(Found::HalfOpen(index)) => self.half_open_in(index, &key, &seg, frame, now),
            None => self.listener_in(&key, seg, frame, now),
        }
        Ingress::Done
    }

    fn conn_in(&mut self, slot: u32, key: &FlowKey, seg: SegmentIn, frame: Frame, now: Instant) {
        let Some((tcb, mut env, mut egress)) = self.conn_env(slot, now) else { return };
        let mut payload = Some(frame);
        let answers_syn = seg.has(TcpFlags::SYN) && tcb.state() == State::SynSent;
        let disposition = tcb.on_segment(&seg, &mut payload, &mut env);
        let mut reopen = false;
        match disposition {
            Disposition::Done => {}
            Disposition::Drop(TcpDrop::Closed) => {
                // The application holds it still, but for the peer there is no connection: 3.10.7.1.
                if let Some(frame) = payload {
                    env.pool.free(frame);
                }
                return self.refuse_segment(key, &seg, DropReason::TcpClosed, now);
            }
            Disposition::Drop(why) => egress.counters.drop(tcp_drop(why)),
            Disposition::Reply(segment) => {
                egress.counters.tcp_rsts_out += segment.flags.contains(TcpFlags::RST) as u64;
                egress.reply(env.pool, &segment);
            }
            Disposition::Reopen => reopen = true,
        }
        let tw = reopen.then(|| TimeWait::of(tcb, Instant::NEVER));
        if let Some(frame) = payload {
            self.pool.free(frame);
        }
        if let Some(tw) = tw {
            // TIME-WAIT that the application has not let go of yet, and the SYN of a new incarnation: if somebody takes
            // that, the old one is over for the application, too.
            match self.would_listen(key) {
                true => {
                    self.release(slot);
                    self.syn_in(key, &seg, &mut None, Some(tw.snd_nxt), now);
                }
                false => self.not_reopened(&tw, key, &seg, now),
            }
            return;
        }
        if answers_syn {
            self.learn_fast_open(slot, &seg, now);
        }
        self.mark_dirty(slot);
        self.settle(slot, now);
    }

    fn time_wait_in(&mut self, index: u32, key: &FlowKey, seg: SegmentIn, frame: Frame, now: Instant) {
        let tw = self.waiting(index);
        let (disposition, repeated_fin) = (tw.on_segment(&seg), tw.is_repeated_fin(&seg));
        match disposition {
            //= RFC 9293 section 3.6.1, MAY-2
            //= RFC 6191 section 2
            Disposition::Reopen => {
                let tw = *tw;
                match self.would_listen(key) {
                    true => {
                        self.flows.remove_waiting(index);
                        self.syn_in(key, &seg, &mut None, Some(tw.snd_nxt), now);
                    }
                    false => self.not_reopened(&tw, key, &seg, now),
                }
            }
            Disposition::Reply(segment) => self.reply(key, &segment, now),
            Disposition::Drop(_) | Disposition::Done => self.counters.drop(DropReason::TimeWait),
        }
        if repeated_fin {
            self.flows.restart_waiting(index, now);
        }
        self.pool.free(frame);
    }

    /// A SYN that may end TIME-WAIT, but nobody takes it: where nobody listens TIME-WAIT says where it stands, and a
    /// listener without room is silent, as it is for any SYN.
    fn not_reopened(&mut self, tw: &TimeWait, key: &FlowKey, seg: &SegmentIn, now: Instant) {
        match self.is_listened_on(key) {
            true => self.counters.drop(DropReason::ListenOverflow),
            false => self.reply(key, &tw.ack(seg), now),
        }
    }

    /// Somebody listens there.
    fn is_listened_on(&self, key: &FlowKey) -> bool {
        self.listeners.find(key.local, key.local_port, self.flows.hash(key)).is_some()
    }

    /// 3.10.7.1 and 3.10.7.2: no connection. A listener takes a SYN; all else is answered by RST.
    //= RFC 9293 section 3.10.7.2
    fn listener_in(&mut self, key: &FlowKey, seg: SegmentIn, frame: Frame, now: Instant) {
        let mut frame = Some(frame);
        let kind = seg.flags & (TcpFlags::SYN | TcpFlags::ACK | TcpFlags::RST);
        if kind == TcpFlags::ACK {
            frame = frame.and_then(|f| self.syn_cookie_in(key, &seg, f, now));
        }
        if frame.is_none() {
            return;
        }
        let ack = kind.contains(TcpFlags::ACK);
        match kind {
            TcpFlags::SYN => self.syn_in(key, &seg, &mut frame, None, now),
            // 3.10.7.2, fourth: in LISTEN such a segment is dropped, and RST is in any state.
            _ if !ack && self.is_listened_on(key) => self.counters.drop(DropReason::TcpNoAck),
            _ => self.refuse_segment(key, &seg, DropReason::TcpClosed, now),
        }
        if let Some(frame) = frame {
            self.pool.free(frame);
        }
    }

    /// 3.10.7.1: RST, unless the segment is one.
    //= RFC 9293 section 3.10.7.1
    pub(crate) fn refuse_segment(
        &mut self,
        key: &FlowKey,
        seg: &SegmentIn,
        reason: DropReason,
        now: Instant,
    ) {
        self.counters.drop(reason);
        if seg.has(TcpFlags::RST) || !self.icmp_limit.allow(now) {
            return;
        }
        let rst = if seg.has(TcpFlags::ACK) {
            Segment { seq: seg.ack, flags: TcpFlags::RST, ..Segment::default() }
        } else {
            Segment {
                ack: seg.seq + seg.seq_len(),
                flags: TcpFlags::RST | TcpFlags::ACK,
                ..Segment::default()
            }
        };
        self.counters.tcp_rsts_out += 1;
        self.reply(key, &rst, now);
    }

    /// A segment of no connection.
    fn reply(&mut self, key: &FlowKey, segment: &Segment, now: Instant) {
        let label = self.flow_label(key);
        let mut egress = Egress {
            batch: &mut self.batch,
            neigh: &mut self.neigh,
            routes: &self.routes,
            counters: &mut self.counters,
            ip_id: &mut self.ip_id,
            link: self.link,
            key: *key,
            path: &mut Path::renew(0, label, false),
            tos: self.tcp_cfg.tos & !3,
            ttl: self.tcp_cfg.ttl.max(1),
            now,
        };
        egress.reply(&mut self.pool, segment);
    }
}

pub(crate) fn tcp_drop(why: TcpDrop) -> DropReason {
    match why {
        TcpDrop::OutOfWindow => DropReason::OutOfWindow,
        TcpDrop::OldDuplicate => DropReason::OldDuplicate,
        TcpDrop::BadAck => DropReason::BadAck,
        TcpDrop::Paws => DropReason::Paws,
        TcpDrop::RstIgnored | TcpDrop::SynChallenged => DropReason::RstIgnored,
        TcpDrop::NoAck | TcpDrop::NoSyn => DropReason::TcpNoAck,
        TcpDrop::OooLimit => DropReason::OooLimit,
        TcpDrop::Closed => DropReason::TcpClosed,
    }
}

//! Packetization layer path MTU discovery: RFC 4821. Black holes, where ICMP does not tell, are found by segments that
//! never arrive; larger sizes by sending one segment of them, with data in it.
//!
//! Sizes here are MSS values: a packet's size less the fixed headers, TCP options counted in.

use crate::config::MtuProbing;
use crate::limits::{
    MTU_BASE_MSS_V6, MTU_PROBE_CWND_SEGS, MTU_PROBE_FOLLOW_SEGS, MTU_PROBE_INTERVAL_NS, MTU_PROBE_RETRIES,
    MTU_PROBE_STEP,
};
use crate::segment::{Sent, Sink};
use crate::seq::SeqNum;
use crate::tcb::{Env, Recovery, State, Tcb};
use crate::time::Instant;

/// The search, while there is one: RFC 4821 section 7.1.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct MtuProbe {
    /// search_low: known to arrive, and what is sent.
    pub low: u16,
    /// search_high: not known to fail.
    pub high: u16,
    /// A size between the two has failed: halve from now on.
    failed: bool,
    /// The probe in flight: where it begins, its payload bytes, its size.
    probe: Option<(SeqNum, u32, u16)>,
    /// When the search begins anew (RFC 4821 section 7.5).
    again_at: Instant,
}

impl MtuProbe {
    pub fn path_shrank(&mut self, mss: u16) {
        self.low = self.low.min(mss);
        self.high = self.high.min(mss);
        self.probe = None;
    }

    /// The next size worth a probe: the largest first, for most paths carry it; then the middle.
    fn next_size(&self) -> Option<u16> {
        if self.high < self.low + MTU_PROBE_STEP {
            return None;
        }
        Some(if self.failed { self.low + (self.high - self.low) / 2 } else { self.high })
    }
}

impl Tcb {
    fn mss_limit(&self) -> u16 {
        self.local_mss.min(self.peer_mss).min(self.path_mss)
    }

    pub(crate) fn mtu_probe(&self) -> Option<&MtuProbe> {
        self.rare.as_ref()?.mtu_probe.as_ref()
    }

    pub(crate) fn mtu_probe_mut(&mut self) -> Option<&mut MtuProbe> {
        self.rare.as_mut()?.mtu_probe.as_mut()
    }

    fn base_mss(&self, env: &Env) -> u16 {
        if self.ipv6 { env.cfg.mtu_base_mss.max(MTU_BASE_MSS_V6) } else { env.cfg.mtu_base_mss }
    }

    /// A connection that is to search from its start.
    pub(crate) fn begin_mtu_search(&mut self, env: &Env) {
        let (low, high) = (self.base_mss(env), self.mss_limit());
        if env.cfg.mtu_probing == MtuProbing::Always && low < high {
            self.rare_mut().mtu_probe =
                Some(MtuProbe { low, high, failed: false, probe: None, again_at: Instant::NEVER });
            self.set_smss(false);
        }
    }

    /// The timer has expired again and again: if the segment that does not arrive is a large one, smaller ones are
    /// tried.
    //= RFC 4821 section 7.7
    pub(crate) fn check_black_hole(&mut self, env: &Env) {
        if env.cfg.mtu_probing == MtuProbing::Off || self.retries < MTU_PROBE_RETRIES {
            return;
        }
        let base = self.base_mss(env);
        let floor = if self.ipv6 { base } else { env.cfg.mtu_floor_mss.min(base) };
        let first_len = self.snd.segs.front().map_or(0, |s| s.len());
        let now_mss = self.mss_limit().min(self.mtu_probe().map_or(u16::MAX, |p| p.low));
        let low = if now_mss > base { base } else { (now_mss / 2).max(floor) };
        if low >= now_mss || first_len <= low as u32 {
            return;
        }
        let high = self.mss_limit();
        let again_at = Instant::NEVER;
        self.rare_mut().mtu_probe = Some(MtuProbe { low, high, failed: false, probe: None, again_at });
        self.set_smss(true);
    }

    /// Sends a larger segment, if one is due and its loss would be noticed: RFC 4821 sections 7.3 and 7.4.
    //= RFC 4821 section 7.4
    pub(crate) fn send_mtu_probe(&mut self, env: &mut Env, sink: &mut impl Sink) -> Option<Sent> {
        let high = self.mss_limit();
        let probe = self.rare.as_deref_mut()?.mtu_probe.as_mut()?;
        if probe.again_at <= env.now {
            // RFC 4821 section 7.5: the path may have changed.
            (probe.high, probe.failed, probe.again_at) = (high, false, Instant::NEVER);
        }
        if probe.probe.is_some() || self.recovery != Recovery::Open || self.snd.sacked > 0 {
            return None;
        }
        let Some(size) = probe.next_size() else {
            if probe.again_at == Instant::NEVER {
                probe.again_at = env.now + MTU_PROBE_INTERVAL_NS;
            }
            return None;
        };
        let options = if self.ts_on { crate::limits::TS_OPTION_BYTES } else { 0 };
        let len = (size - options) as u32;
        let smss = self.smss as u32;
        let unsent = self.snd.end.since(self.snd_nxt);
        let usable = self.snd_wnd.saturating_sub(self.snd_nxt.since(self.snd_una));
        // Enough behind it that three duplicate ACKs, or RACK, tell of its loss.
        let needed = len + MTU_PROBE_FOLLOW_SEGS * smss;
        let fits = unsent >= needed
            && usable >= needed
            && self.state == State::Established
            && self.cc.cwnd >= MTU_PROBE_CWND_SEGS * smss
            && self.snd.pipe + needed <= self.cc.cwnd
            && len as usize <= env.pool.payload_bytes();
        if !fits || !sink.room() || !self.snd.join(env.pool, len) {
            return None;
        }
        let start = self.snd_nxt;
        let sent = self.send_next(env, sink);
        if sent == Sent::Yes
            && let Some(probe) = self.mtu_probe_mut()
        {
            probe.probe = Some((start, len, size));
            env.counters.mtu_probes += 1;
        }
        Some(sent)
    }

    /// Was the probe acknowledged? Then its size arrives.
    //= RFC 4821 section 7.6.1
    pub(crate) fn mtu_probe_acked(&mut self) {
        let snd_una = self.snd_una;
        let Some(probe) = self.mtu_probe_mut() else { return };
        if let Some((start, len, size)) = probe.probe
            && snd_una.at_or_after(start + len)
        {
            probe.probe = None;
            probe.low = size;
            self.set_smss(true);
        }
    }

    /// Is all that was lost the probe? Then it was too large, and the network is not to blame: no answer of
    /// congestion control.
    //= RFC 4821 section 7.6.2
    pub(crate) fn mtu_probe_lost(&mut self, env: &mut Env) -> bool {
        let first = self.snd.first_lost().map(|i| self.snd.segs[i].seq);
        let lost = self.snd.lost_unsent;
        let Some(probe) = self.mtu_probe_mut() else { return false };
        let Some((start, _, size)) = probe.probe.take() else { return false };
        if lost != 1 || first != Some(start) {
            // RFC 4821 section 7.6.4: inconclusive.
            return false;
        }
        probe.high = (size - 1).max(probe.low);
        probe.failed = true;
        self.recover_without_reduction(env);
        true
    }

    /// RFC 4821 section 7.6.3: after a timeout nobody knows what became of the probe.
    pub(crate) fn forget_mtu_probe(&mut self) {
        if let Some(probe) = self.mtu_probe_mut() {
            probe.probe = None;
        }
    }
}

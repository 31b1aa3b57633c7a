//! A connection with an application at each end, and what must be true of it.
//!
//! An end acts only when the stack tells it of an event, or when its own plan says so: an event that is never told
//! leaves it standing, and the run fails for want of progress.

use std::net::IpAddr;

use linerate_net::{FlowId, Instant, SockError, Stack, State, TcpError};

use crate::pattern::{Pattern, SLICE_BYTES};
use crate::scenario::{EndPlan, FlowPlan, Leave, When};
use crate::{SEC, host};

/// In a flow that is cut short, the end that is left over waits so long for news, then aborts: without keep-alive
/// nothing tells it that its peer is gone (RFC 9293 section 3.8.4).
const ALONE_NS: u64 = 400 * SEC;
/// How long a half-open connection is remembered at least: five repetitions of its SYN-ACK take 63 s, a SYN cookie is
/// good for 64 s (`flow/syn_cookie.rs`).
const HALF_OPEN_NS: u64 = 60 * SEC;
/// A connection is given up no earlier than this after the last news from the peer: RFC 9293 SHLD-11.
const R2_NS: u64 = 100 * SEC;

/// One end.
pub struct End {
    /// Its connection, once there is one.
    pub id: Option<FlowId>,
    /// Bytes written.
    pub sent: u64,
    /// Bytes read, all of them right.
    pub received: u64,
    /// Bytes read when the measurement began.
    pub received_before: u64,
    shut: bool,
    /// The application has let go.
    pub over: bool,
    /// Why, if not by agreement.
    pub error: Option<TcpError>,
    read_at_ns: u64,
    write_at_ns: u64,
    wake_ns: Option<u64>,
    /// A frame of this connection reached this host.
    pub heard_at_ns: u64,
}

/// A connection.
pub struct Flow {
    number: usize,
    /// Its plan.
    pub plan: FlowPlan,
    /// The one that opened it, then the one that accepted it.
    pub ends: [End; 2],
    /// Port of the opening end.
    pub client_port: u16,
    /// Something got further.
    pub progress_at_ns: u64,
    /// Everything is said, or given up.
    pub done_at_ns: Option<u64>,
}

impl Flow {
    /// Flow number `number`.
    pub fn new(number: usize, plan: &FlowPlan) -> Self {
        let end = |wake_ns| End {
            id: None,
            sent: 0,
            received: 0,
            received_before: 0,
            shut: false,
            over: false,
            error: None,
            read_at_ns: 0,
            write_at_ns: 0,
            wake_ns,
            heard_at_ns: 0,
        };
        Self {
            number,
            plan: *plan,
            ends: [end(Some(plan.start_ns)), end(None)],
            client_port: 0,
            progress_at_ns: plan.start_ns,
            done_at_ns: None,
        }
    }

    /// When end `e` acts by itself.
    pub fn wake_ns(&self, e: usize) -> Option<u64> {
        self.ends[e].wake_ns.filter(|_| !self.ends[e].over)
    }

    /// Which end sits at `host`, if it talks to `peer`'s port `port`.
    pub fn end_at(&self, host: usize, peer: usize, local_port: u16, remote_port: u16) -> Option<usize> {
        if self.client_port == 0 {
            return None;
        }
        match (host, peer) {
            p if p == (self.plan.hosts[0], self.plan.hosts[1]) && local_port == self.client_port => Some(0),
            p if p == (self.plan.hosts[1], self.plan.hosts[0]) && remote_port == self.client_port => Some(1),
            _ => None,
        }
    }

    /// Is this connection of the server's host the one that our client opened?
    pub fn is_accepted_by(&self, host: usize, remote: IpAddr, remote_port: u16) -> bool {
        self.plan.hosts[1] == host
            && self.client_port == remote_port
            && remote == host::addr(self.plan.hosts[0], self.plan.ipv6)
    }

    /// The application of end `e` does what it can.
    ///
    /// # Errors
    /// What is wrong with what it found.
    pub fn act(&mut self, e: usize, s: &mut Stack, pattern: &Pattern, now_ns: u64) -> Result<(), String> {
        if self.ends[e].over {
            return Ok(());
        }
        self.ends[e].wake_ns = None;
        if self.ends[e].id.is_none() && e == 0 && now_ns >= self.plan.start_ns {
            self.open(s, now_ns)?;
        }
        let Some(id) = self.ends[e].id else { return Ok(()) };
        self.read(e, id, s, pattern, now_ns)?;
        if self.leaves_early(e, id, s, now_ns) {
            return Ok(());
        }
        let eof = s.at_eof(id);
        if let Some(error) = s.error(id) {
            return self.on_error(e, id, error, s, now_ns);
        }
        self.write(e, id, s, pattern, now_ns);
        let plan = self.plan.ends[e];
        let end = &mut self.ends[e];
        if end.sent == plan.bytes && !end.shut {
            end.shut = true;
            s.shutdown(id);
        }
        if eof {
            self.on_eof(e, id, s, now_ns)?;
        } else if self.may_be_alone(e) {
            self.wait_alone(e, id, s, now_ns);
        }
        Ok(())
    }

    /// The peer has left, or may leave, without a word that reaches this end.
    fn may_be_alone(&self, e: usize) -> bool {
        self.plan.is_rough() || self.ends[1 - e].error.is_some()
    }

    fn open(&mut self, s: &mut Stack, now_ns: u64) -> Result<(), String> {
        let remote = host::addr(self.plan.hosts[1], self.plan.ipv6);
        let id = match s.connect(remote, host::PORT, Instant(now_ns)) {
            Ok(id) => id,
            // Duplicate address detection is still under way.
            Err(SockError::AddrNotAvailable) if now_ns < self.plan.start_ns + 10 * SEC => {
                wake(&mut self.ends[0].wake_ns, now_ns + SEC / 10);
                return Ok(());
            }
            Err(e) => return Err(format!("flow {}: connect to {remote}: {e}", self.number)),
        };
        self.client_port = s.flow_key(id).map_or(0, |k| k.local_port);
        self.ends[0].id = Some(id);
        s.set_nodelay(id, self.plan.ends[0].nodelay);
        self.progress(now_ns);
        Ok(())
    }

    /// The server's host has accepted our connection.
    ///
    /// # Errors
    /// If it had accepted it before.
    pub fn accepted(&mut self, id: FlowId, s: &mut Stack, now_ns: u64) -> Result<(), String> {
        if self.ends[1].id.is_some() {
            return Err(format!("flow {}: accepted twice", self.number));
        }
        self.ends[1].id = Some(id);
        s.set_nodelay(id, self.plan.ends[1].nodelay);
        self.progress(now_ns);
        Ok(())
    }

    fn progress(&mut self, now_ns: u64) {
        self.progress_at_ns = now_ns;
    }

    fn stream(&self, from: usize) -> usize {
        self.number * 2 + from
    }

    fn read(
        &mut self,
        e: usize,
        id: FlowId,
        s: &mut Stack,
        pattern: &Pattern,
        now_ns: u64,
    ) -> Result<(), String> {
        let (stream, pace, limit) = (self.stream(1 - e), self.plan.ends[e].read, self.plan.ends[1 - e].bytes);
        let end = &mut self.ends[e];
        let before = end.received;
        while now_ns >= end.read_at_ns {
            let got = s.recv(id);
            let n = got.len().min(pace.most as usize);
            if n == 0 {
                break;
            }
            if let Some(at) = pattern.mismatch(stream, end.received, &got[..n]) {
                return Err(format!("flow {}: byte {at} is wrong at end {e}", self.number));
            }
            end.received += n as u64;
            if end.received > limit {
                return Err(format!(
                    "flow {}: end {e} received {} of {limit} bytes",
                    self.number, end.received
                ));
            }
            s.consume(id, n);
            if pace.gap_ns > 0 {
                end.read_at_ns = now_ns + pace.gap_ns;
            }
        }
        if s.readable(id) > 0 {
            wake(&mut end.wake_ns, end.read_at_ns);
        }
        if end.received > before {
            self.progress(now_ns);
        }
        Ok(())
    }

    /// Bytes that end `e` may have sent by now.
    fn allowance(&self, e: usize, eof: bool) -> u64 {
        let EndPlan { bytes, when, .. } = self.plan.ends[e];
        let allowed = match when {
            When::AtOnce => bytes,
            When::Turns { mine, theirs, first } => {
                mine * (self.ends[e].received / theirs.max(1) + u64::from(first))
            }
            When::AfterEof => bytes * u64::from(eof),
        };
        allowed.min(bytes)
    }

    fn write(&mut self, e: usize, id: FlowId, s: &mut Stack, pattern: &Pattern, now_ns: u64) {
        let (stream, pace) = (self.stream(e), self.plan.ends[e].write);
        let allowed = self.allowance(e, s.at_eof(id));
        let end = &mut self.ends[e];
        while end.sent < allowed {
            if now_ns < end.write_at_ns {
                wake(&mut end.wake_ns, end.write_at_ns);
                return;
            }
            let n = (allowed - end.sent).min(pace.most).min(SLICE_BYTES as u64) as usize;
            let written = s.write(id, pattern.slice(stream, end.sent, n));
            end.sent += written as u64;
            if written < n {
                // Events::WRITABLE, or CONNECTED, will tell.
                return;
            }
            end.write_at_ns = now_ns + pace.gap_ns;
        }
    }

    fn leaves_early(&mut self, e: usize, id: FlowId, s: &mut Stack, now_ns: u64) -> bool {
        let done = self.ends[e].sent + self.ends[e].received;
        match self.plan.ends[e].leave {
            Leave::CloseAfter(n) if done >= n => s.close(id, Instant(now_ns)),
            Leave::AbortAfter(n) if done >= n => s.abort(id, Instant(now_ns)),
            _ => return false,
        }
        self.finish(e, None, now_ns);
        true
    }

    fn wait_alone(&mut self, e: usize, id: FlowId, s: &mut Stack, now_ns: u64) {
        let until = self.progress_at_ns + ALONE_NS;
        if now_ns < until {
            wake(&mut self.ends[e].wake_ns, until);
            return;
        }
        s.abort(id, Instant(now_ns));
        self.finish(e, None, now_ns);
    }

    fn on_error(
        &mut self,
        e: usize,
        id: FlowId,
        error: TcpError,
        s: &mut Stack,
        now_ns: u64,
    ) -> Result<(), String> {
        if s.readable(id) > 0 {
            // A slow reader gets what had come.
            let at = self.ends[e].read_at_ns;
            wake(&mut self.ends[e].wake_ns, at);
            return Ok(());
        }
        let silent_ns = now_ns - self.ends[e].heard_at_ns.max(self.plan.start_ns);
        s.close(id, Instant(now_ns));
        self.finish(e, Some(error), now_ns);
        let excused = match error {
            TcpError::TimedOut => silent_ns >= R2_NS || self.plan.is_rough(),
            // The handshake's last ACK came when the server had forgotten what it answers.
            TcpError::Reset
                if self.ends[1 - e].id.is_none() && now_ns - self.plan.start_ns > HALF_OPEN_NS =>
            {
                true
            }
            // The other end, given up by its host, is reset when it speaks again.
            _ => self.may_be_alone(e),
        };
        if excused {
            return Ok(());
        }
        Err(format!(
            "flow {}: end {e} got {error:?} after {} of {} bytes, {} ms after the last news from its peer",
            self.number,
            self.ends[e].received,
            self.plan.ends[1 - e].bytes,
            silent_ns / crate::MS
        ))
    }

    fn on_eof(&mut self, e: usize, id: FlowId, s: &mut Stack, now_ns: u64) -> Result<(), String> {
        let (got, whole) = (self.ends[e].received, self.plan.ends[1 - e].bytes);
        if got < whole && !self.may_be_alone(e) {
            return Err(format!(
                "flow {}: end {e} saw the end of the stream after {got} of {whole} bytes",
                self.number
            ));
        }
        let said = matches!(s.state(id), None | Some(State::TimeWait | State::Closed));
        let end = &mut self.ends[e];
        if end.shut && !said && !self.plan.is_rough() {
            // Letting go now would leave the rest to a stack that gives up sooner for a connection nobody holds.
            wake(&mut end.wake_ns, now_ns + SEC);
        } else if end.shut {
            s.close(id, Instant(now_ns));
            self.finish(e, None, now_ns);
        } else if self.may_be_alone(e) {
            // Its turn may never come now.
            self.wait_alone(e, id, s, now_ns);
        }
        Ok(())
    }

    fn finish(&mut self, e: usize, error: Option<TcpError>, now_ns: u64) {
        let gave_up_opening = e == 0 && error.is_some() && self.ends[1].id.is_none();
        let end = &mut self.ends[e];
        (end.over, end.error, end.wake_ns) = (true, error, None);
        self.progress(now_ns);
        // A server that never saw a connection has nothing to finish. (If its handshake is still under way it will be
        // reset, and never accepted.)
        if gave_up_opening || (self.plan.is_rough() && self.ends[1].id.is_none()) {
            self.ends[1].over = true;
        }
        if error.is_some() {
            // The peer may never learn of it.
            wake(&mut self.ends[1 - e].wake_ns, now_ns + ALONE_NS);
        }
        if self.ends.iter().all(|e| e.over) {
            self.done_at_ns = Some(now_ns);
        }
    }

    /// For a failure's report.
    pub fn describe(&self, hosts: &[crate::host::Host]) -> String {
        use std::fmt::Write;
        let mut text = format!("flow {} (port {}):", self.number, self.client_port);
        for (e, end) in self.ends.iter().enumerate() {
            let (plan, whole) = (&self.plan.ends[e], self.plan.ends[1 - e].bytes);
            let host = self.plan.hosts[e];
            let _ = write!(
                text,
                "\n  end {e} at host {host}: sent {} of {}, received {} of {whole}, over {}, {:?}",
                end.sent, plan.bytes, end.received, end.over, end.error
            );
            if let Some(info) = end.id.and_then(|id| hosts[host].stack.info(id)) {
                let _ = write!(text, "\n    {info:?}");
            }
        }
        text
    }
}

fn wake(at: &mut Option<u64>, ns: u64) {
    *at = Some(at.map_or(ns, |a| a.min(ns)));
}

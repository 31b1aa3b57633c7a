//! Two stacks, and a wire that loses, doubles, delays and damages as the input says; when the input is over it is perfect.

use std::collections::BTreeMap;

use linerate_net::{FlowId, Link, TcpConfig};
use linerate_tcp::cc::CcKind;

use crate::MS;
use crate::host::{Host, addr};
use crate::input::Input;
use crate::segment::byte;

const PORT: u16 = 80;
/// Things that happen in a play at most; an hour of retransmissions is some hundred.
const EVENTS_MAX: usize = 20_000;

struct End {
    id: Option<FlowId>,
    /// To be sent by it.
    total: u32,
    sent: u32,
    received: u32,
    shut: bool,
    over: bool,
    failed: bool,
}

struct Play<'a> {
    input: Input<'a>,
    hosts: [Host; 2],
    ends: [End; 2],
    /// (when, order) to (to whom, packet)
    wire: BTreeMap<(u64, u32), (usize, Vec<u8>)>,
    order: u32,
    now: u64,
}

/// Every byte arrives once, in order; unless the wire killed the connection everything is delivered, and everything comes
/// home.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let config = |i: &mut Input| {
        let (bits, bufs) = (i.u8(), i.u8());
        TcpConfig {
            timestamps: bits & 1 == 0,
            sack: bits & 2 == 0,
            window_scaling: bits & 4 == 0,
            nodelay: bits & 8 != 0,
            cc: [CcKind::Cubic, CcKind::NewReno, CcKind::Bbr][usize::from(bits >> 4) % 3],
            rcv_buf_bytes: [1 << 16, 3_000, 20_000, 1 << 20][usize::from(bufs & 3)],
            snd_buf_bytes: [1 << 16, 3_000, 20_000, 1 << 20][usize::from(bufs >> 2 & 3)],
            ..TcpConfig::default()
        }
    };
    let hosts = [0, 1].map(|n| Host::new(n + 1, Link::RawIp, config(&mut input)));
    let ipv6 = input.flag();
    let ends = [0, 1].map(|_| End {
        id: None,
        total: u32::from(input.u16()),
        sent: 0,
        received: 0,
        shut: false,
        over: false,
        failed: false,
    });
    let now = hosts[0].now;
    let mut p = Play { input, hosts, ends, wire: BTreeMap::new(), order: 0, now };
    let listener = p.hosts[1].stack.listen(None, PORT, 4).expect("nobody listens yet");
    let at = p.hosts[0].instant();
    p.ends[0].id = p.hosts[0].stack.connect(addr(2, ipv6), PORT, at).ok();
    for _ in 0..EVENTS_MAX {
        for h in 0..2 {
            if h == 1 && p.ends[1].id.is_none() {
                p.ends[1].id = p.hosts[1].stack.accept(listener);
            }
            p.application(h);
            p.turn(h);
        }
        if p.is_over() {
            break;
        }
        if !p.step() {
            break;
        }
    }
    p.end();
}

impl Play<'_> {
    fn turn(&mut self, h: usize) {
        self.hosts[h].now = self.now;
        let sent = self.hosts[h].turn();
        for packet in sent {
            self.transmit(1 - h, packet);
        }
    }

    fn transmit(&mut self, to: usize, packet: Vec<u8>) {
        let mut at = self.now + MS;
        let mut put = |at, packet| {
            self.order += 1;
            self.wire.insert((at, self.order), (to, packet));
        };
        match self.input.u8() {
            0..160 => {}
            160..190 => return,
            190..210 => put(at, packet.clone()),
            210..235 => at += u64::from(self.input.u8()) * MS / 2,
            235..240 => at += u64::from(self.input.u8()) * 50 * MS,
            _ => {
                let mut damaged = packet;
                let bit = usize::from(self.input.u16()) % (damaged.len() * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                return put(at, damaged);
            }
        }
        put(at, packet);
    }

    fn application(&mut self, h: usize) {
        while self.hosts[h].stack.next_ready().is_some() {}
        let (stack, end) = (&mut self.hosts[h].stack, &mut self.ends[h]);
        let Some(id) = end.id.filter(|_| !end.over) else { return };
        loop {
            let got = stack.recv(id);
            if got.is_empty() {
                break;
            }
            for (k, b) in (0u32..).zip(got) {
                assert_eq!(*b, byte(1 - h as u8, end.received + k), "byte {} to {h}", end.received + k);
            }
            let n = got.len();
            end.received += n as u32;
            stack.consume(id, n);
        }
        if stack.error(id).is_some() {
            (end.over, end.failed) = (true, true);
            return stack.close(id, linerate_net::Instant(self.now));
        }
        while end.sent < end.total && stack.room(id) > 0 {
            let n = (end.total - end.sent).min(1 + u32::from(self.input.u16() ^ 0x0fff));
            let data: Vec<u8> = (0..n).map(|k| byte(h as u8, end.sent + k)).collect();
            let written = stack.write(id, &data) as u32;
            end.sent += written;
            if written < n {
                break;
            }
        }
        if end.sent == end.total && !end.shut {
            end.shut = true;
            stack.shutdown(id);
        }
        if stack.at_eof(id) && end.shut && stack.unacked(id) == 0 {
            end.over = true;
            stack.close(id, linerate_net::Instant(self.now));
        }
    }

    fn is_over(&self) -> bool {
        self.ends.iter().all(|e| e.over) || (self.ends[0].failed && self.ends[1].id.is_none())
    }

    /// On to what happens next. `false`: nothing will.
    fn step(&mut self) -> bool {
        let timers = self.hosts.iter().filter_map(|h| h.stack.next_deadline().map(|t| t.0));
        let Some(at) = self.wire.keys().next().map(|k| k.0).into_iter().chain(timers).min() else { return false };
        self.now = self.now.max(at);
        while let Some(first) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
            let (to, packet) = first.remove();
            self.hosts[to].now = self.now;
            self.hosts[to].inject(&packet);
        }
        true
    }

    fn end(&mut self) {
        let failed = self.ends.iter().any(|e| e.failed);
        for h in 0..2 {
            let whole = self.ends[1 - h].total;
            let end = &self.ends[h];
            assert!(failed || (end.over && end.received == whole), "end {h}: {} of {whole} bytes", end.received);
            let now = linerate_net::Instant(self.now);
            self.hosts[h].now = self.now;
            self.hosts[h].stack.close_listeners(now);
            if let Some(id) = self.ends[h].id.filter(|_| !self.ends[h].over) {
                self.hosts[h].stack.abort(id, now);
            }
            self.hosts[h].assert_ends();
        }
    }
}

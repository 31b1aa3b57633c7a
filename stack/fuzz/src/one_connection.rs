//! One connection of a stack, and a peer that sends anything at all.

use linerate_net::{FlowId, Link, ListenerId, State, TcpConfig};
use linerate_tcp::cc::CcKind;
use linerate_wire::TcpEmit;
use linerate_wire::tcp::TcpFlags;
use linerate_wire::tcp_options::TcpOptions;

use crate::MS;
use crate::host::{Host, addr};
use crate::input::Input;
use crate::segment::{self, Seen, byte};

const PORT: u16 = 80;
const PEER_PORT: u16 = 5000;
/// The peer's first sequence number: near the wrap.
const ISS: u32 = u32::MAX - 2000;
/// Acts of a play at most.
const ACTS_MAX: usize = 300;

/// Where in TCP's states a play came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reached(pub u16);

struct Play {
    host: Host,
    ipv6: bool,
    id: Option<FlowId>,
    listener: Option<ListenerId>,
    local_port: u16,
    /// The stack's first sequence number.
    iss: u32,
    /// One past the last byte that the stack sent.
    snd_nxt: u32,
    /// What the stack acknowledged.
    rcv_nxt: u32,
    ts: Option<u32>,
    shift: u8,
    written: u32,
    read: u32,
    reached: Reached,
}

/// Whatever the peer sends and the application does: bytes read are the peer's by their place, bytes sent ours, timers watch
/// over what is waited for, each turn ends, and after an abort or a close everything comes home.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let tcp = config(&mut input);
    let mut p = Play {
        host: Host::new(1, Link::RawIp, tcp),
        ipv6: input.flag(),
        id: None,
        listener: None,
        local_port: PORT,
        iss: 0,
        snd_nxt: 0,
        rcv_nxt: ISS.wrapping_add(1),
        ts: None,
        shift: 0,
        written: 0,
        read: 0,
        reached: Reached::default(),
    };
    p.open(&mut input);
    for _ in 0..ACTS_MAX {
        if input.is_empty() {
            break;
        }
        p.act(&mut input);
        p.look();
    }
    p.end(data.len().is_multiple_of(2));
    p.reached
}

fn config(i: &mut Input) -> TcpConfig {
    let (bits, bufs) = (i.u8(), i.u8());
    let cc = [CcKind::Cubic, CcKind::NewReno, CcKind::Bbr];
    TcpConfig {
        timestamps: bits & 1 == 0,
        sack: bits & 2 == 0,
        window_scaling: bits & 4 == 0,
        nodelay: bits & 8 != 0,
        cc: cc[usize::from(bits >> 4) % 3],
        rcv_buf_bytes: [1 << 16, 3_000, 20_000, 1 << 20][usize::from(bufs & 3)],
        snd_buf_bytes: [1 << 16, 3_000, 20_000, 1 << 20][usize::from(bufs >> 2 & 3)],
        ..TcpConfig::default()
    }
}

impl Play {
    fn open(&mut self, i: &mut Input) {
        let how = i.u8();
        let options = TcpOptions {
            mss: (how & 1 == 0).then(|| i.u16()),
            wscale: (how & 2 == 0).then(|| i.below(20)),
            sack_permitted: how & 4 == 0,
            timestamps: (how & 8 == 0).then_some((1, 0)),
            ..TcpOptions::EMPTY
        };
        let now = self.host.instant();
        let active = how & 16 != 0;
        if active {
            let to = addr(2, self.ipv6);
            self.id = self.host.stack.connect(to, PEER_PORT, now).ok();
        } else {
            self.listener = self.host.stack.listen(None, PORT, 8).ok();
            self.send(ISS, 0, TcpFlags::SYN, &options, 0);
        }
        self.turn();
        if active {
            self.send(ISS, self.snd_nxt, TcpFlags::SYN | TcpFlags::ACK, &options, 0);
        }
        self.shift = options.wscale.unwrap_or(0).min(14);
        // Some plays stay in the handshake.
        if how & 0xe0 != 0 && !active {
            self.send(ISS.wrapping_add(1), self.snd_nxt, TcpFlags::ACK, &self.stamped(0), 0);
        }
        self.turn();
    }

    fn stamped(&self, off: u32) -> TcpOptions {
        let now = (self.host.now / MS) as u32;
        TcpOptions { timestamps: self.ts.map(|echo| (now.wrapping_sub(off), echo)), ..TcpOptions::EMPTY }
    }

    fn send(&mut self, seq: u32, ack: u32, flags: TcpFlags, options: &TcpOptions, len: u32) {
        self.send_with(seq, ack, flags, options, len, u16::MAX);
    }

    fn send_with(&mut self, seq: u32, ack: u32, flags: TcpFlags, options: &TcpOptions, len: u32, window: u16) {
        // The byte after the peer's SYN is number 0.
        let first = seq.wrapping_sub(ISS).wrapping_sub(u32::from(!flags.contains(TcpFlags::SYN)));
        let data: Vec<u8> = (0..len).map(|k| byte(2, first.wrapping_add(k))).collect();
        let urgent = if flags.contains(TcpFlags::URG) { seq as u16 } else { 0 };
        let (src_port, dst_port) = (PEER_PORT, self.local_port);
        let tcp = TcpEmit { src_port, dst_port, seq, ack, flags, window, urgent, options };
        if let Some(packet) = segment::packet(&tcp, addr(2, self.ipv6), addr(1, self.ipv6), &data) {
            self.host.inject(&packet);
        }
    }

    fn turn(&mut self) {
        let sent = self.host.turn();
        self.check(&sent);
        if let Some(l) = self.listener
            && self.id.is_none()
        {
            self.id = self.host.stack.accept(l);
        }
    }

    fn check(&mut self, sent: &[Vec<u8>]) {
        for seen in sent.iter().filter_map(|p| segment::seen(p)) {
            if seen.flags.contains(TcpFlags::SYN) {
                (self.iss, self.local_port) = (seen.seq, seen.src_port);
                self.snd_nxt = seen.seq.wrapping_add(1);
            } else if !seen.flags.contains(TcpFlags::RST) {
                self.check_data(&seen);
            }
            if let Some((val, _)) = seen.options.timestamps {
                self.ts = Some(val);
            }
        }
    }

    fn check_data(&mut self, seen: &Seen) {
        let at = seen.seq.wrapping_sub(self.iss).wrapping_sub(1);
        for (k, b) in (0u32..).zip(&seen.data) {
            // A zero-window or keep-alive probe may repeat a byte; none is ever another.
            assert_eq!(*b, byte(1, at.wrapping_add(k)), "byte {} of what was sent", at.wrapping_add(k));
        }
        let end = seen.seq.wrapping_add(seen.data.len() as u32 + u32::from(seen.flags.contains(TcpFlags::FIN)));
        if end.wrapping_sub(self.snd_nxt) < 1 << 31 {
            self.snd_nxt = end;
        }
        if seen.flags.contains(TcpFlags::ACK) && seen.ack.wrapping_sub(self.rcv_nxt) < 1 << 31 {
            self.rcv_nxt = seen.ack;
        }
    }

    fn act(&mut self, i: &mut Input) {
        match i.below(16) {
            0..=6 => self.segment(i),
            7 | 8 => {
                // In order, and all acknowledged: what gets a play further.
                let len = u32::from(i.u16() % 1461);
                self.send(self.rcv_nxt, self.snd_nxt, TcpFlags::ACK, &self.stamped(0), len);
            }
            9 | 10 => self.write(u32::from(i.u16()) % 20_000),
            11 => self.read_some(usize::from(i.u8()) * 64),
            12 => {
                let ns = match i.u8() {
                    n @ 0..100 => u64::from(n) * MS,
                    n @ 100..220 => u64::from(n) * 20 * MS,
                    n => u64::from(n) * 1000 * MS,
                };
                let sent = self.host.advance(ns);
                self.check(&sent);
            }
            13 => {
                if let Some(id) = self.id.filter(|_| i.flag()) {
                    self.host.stack.shutdown(id);
                }
            }
            14 => self.send(self.rcv_nxt, self.snd_nxt, TcpFlags::ACK | TcpFlags::FIN, &self.stamped(0), 0),
            _ => {
                if let Some(id) = self.id {
                    self.host.stack.set_nodelay(id, i.flag());
                }
            }
        }
        self.turn();
    }

    /// A segment with anything in any field, near to what is expected.
    fn segment(&mut self, i: &mut Input) {
        let kind = i.u8();
        let flags = match kind & 15 {
            0..=8 => TcpFlags::ACK,
            9 => TcpFlags::ACK | TcpFlags::PSH | TcpFlags::URG,
            10 => TcpFlags::ACK | TcpFlags::FIN,
            11 => TcpFlags::RST,
            12 => TcpFlags::SYN,
            _ => TcpFlags::from_bits(i.u8() as u16),
        };
        let mut seq = self.rcv_nxt;
        if kind & 16 != 0 {
            seq = if kind & 32 != 0 { seq.wrapping_add(i.distance()) } else { seq.wrapping_sub(i.distance()) };
        }
        let ack = self.snd_nxt.wrapping_sub(if kind & 64 != 0 { i.distance() } else { 0 });
        let mut options = self.stamped(0);
        let window = if kind & 128 != 0 {
            let extra = i.u8();
            if extra & 1 != 0 {
                options = self.stamped(i.distance());
            }
            if extra & 2 != 0 {
                options.timestamps = None;
            }
            for _ in 0..extra >> 2 & 3 {
                let start = ack.wrapping_add(i.distance());
                options.sack.push(start, start.wrapping_add(i.distance()));
            }
            if extra & 16 != 0 { i.u16() } else { 0 }
        } else {
            u16::MAX
        };
        let len = if kind & 16 != 0 { u32::from(i.u16() % 1461) } else { 0 };
        self.send_with(seq, ack, flags, &options, len, window);
    }

    fn write(&mut self, n: u32) {
        let Some(id) = self.id else { return };
        let data: Vec<u8> = (0..n).map(|k| byte(1, self.written.wrapping_add(k))).collect();
        self.written += self.host.stack.write(id, &data) as u32;
    }

    fn read_some(&mut self, most: usize) {
        let Some(id) = self.id else { return };
        let mut left = most;
        while left > 0 {
            let got = self.host.stack.recv(id);
            let n = got.len().min(left);
            if n == 0 {
                return;
            }
            for (k, b) in (0u32..).zip(&got[..n]) {
                assert_eq!(*b, byte(2, self.read.wrapping_add(k)), "byte {} of what was read", self.read + k);
            }
            self.host.stack.consume(id, n);
            self.read += n as u32;
            left -= n;
        }
    }

    fn look(&mut self) {
        while self.host.stack.next_ready().is_some() {}
        let state = self.id.and_then(|id| self.host.stack.state(id));
        if let Some(state) = state {
            self.reached.0 |= 1 << state as u16;
        }
        assert!(self.host.stack.conns() <= 8 + 1, "the backlog bounds what a peer can make");
    }

    fn end(&mut self, gently: bool) {
        let now = self.host.instant();
        self.read_some(usize::MAX);
        self.host.stack.close_listeners(now);
        if let Some(id) = self.id {
            match gently {
                true => self.host.stack.close(id, now),
                false => self.host.stack.abort(id, now),
            }
        }
        self.turn();
        self.host.assert_ends();
    }
}

/// Every state by its bit.
pub const STATES: [State; 10] = [
    State::SynSent,
    State::SynReceived,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
    State::Closed,
];

//! One stack and a scripted peer: raw segments in, parsed segments out, in virtual time.
#![allow(dead_code)] // each test file uses a part of it

use std::net::IpAddr;

use linerate_frame::TxFrame;
use linerate_net::neigh::Known;
use linerate_net::{FlowId, Instant, ListenerId, Stack, TcpConfig};
use linerate_wire::tcp::{TcpFlags, parse_tcp};
use linerate_wire::tcp_options::{SackBlocks, TcpOptions, parse_options};
use linerate_wire::{Push, TcpEmit, parse, protocol};

use super::{MACS, addr, deliver, stack};

pub const MS: u64 = 1_000_000;
pub const SEC: u64 = 1_000_000_000;
pub const SYN: TcpFlags = TcpFlags::SYN;
pub const ACK: TcpFlags = TcpFlags::ACK;
pub const FIN: TcpFlags = TcpFlags::FIN;
pub const RST: TcpFlags = TcpFlags::RST;
pub const PSH: TcpFlags = TcpFlags::PSH;
pub const URG: TcpFlags = TcpFlags::URG;
pub const SYN_ACK: TcpFlags = SYN.union(ACK);
pub const FIN_ACK: TcpFlags = FIN.union(ACK);
pub const RST_ACK: TcpFlags = RST.union(ACK);
/// The port that the stack listens on.
pub const PORT: u16 = 80;
/// The peer's ISS.
pub const ISS: u32 = 1000;

/// A TCP segment that the stack sent.
#[derive(Clone, Debug)]
pub struct Seg {
    pub at: u64,
    pub dst: IpAddr,
    /// DSCP and ECN.
    pub tos: u8,
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: TcpFlags,
    pub wnd: u16,
    pub urgent: u16,
    pub options: TcpOptions,
    /// Options as they stand in the header.
    pub raw_options: Vec<u8>,
    pub data: Vec<u8>,
}

impl Seg {
    pub fn has(&self, f: TcpFlags) -> bool {
        self.flags.contains(f)
    }

    /// An ACK and nothing else.
    pub fn is_pure_ack(&self) -> bool {
        self.flags == ACK && self.data.is_empty()
    }
}

/// A frame that the stack sent, checked as a receiver would: `None` if it is not TCP.
pub fn parse_seg(bytes: &[u8], at: u64) -> Option<Seg> {
    let p = parse(bytes).expect("what the stack sends parses");
    let net = p.net?;
    if net.protocol != protocol::TCP {
        return None;
    }
    let l4 = p.l4(bytes);
    assert_eq!(
        linerate_wire::verify_l4(net.src, net.dst, net.protocol, l4),
        linerate_wire::CsumStatus::Good,
        "checksum of what the stack sends"
    );
    let h = parse_tcp(l4).unwrap();
    let raw_options = l4[20..h.data_off_bytes as usize].to_vec();
    Some(Seg {
        at,
        dst: net.dst,
        tos: net.tos,
        src_port: h.src_port,
        dst_port: h.dst_port,
        seq: h.seq,
        ack: h.ack,
        flags: h.flags,
        wnd: h.window,
        urgent: h.urgent,
        options: parse_options(&raw_options),
        raw_options,
        data: p.payload(bytes).to_vec(),
    })
}

/// What the peer says in its SYN, and how far away it is.
#[derive(Clone)]
pub struct Opts {
    pub mss: Option<u16>,
    pub wscale: Option<u8>,
    pub sack: bool,
    pub ts: bool,
    pub wnd: u16,
    pub rtt_ns: u64,
    pub v6: bool,
}

impl Default for Opts {
    fn default() -> Self {
        Self {
            mss: Some(1000),
            wscale: None,
            sack: false,
            ts: false,
            wnd: 65_000,
            rtt_ns: 10 * MS,
            v6: false,
        }
    }
}

/// The peer's end of a connection.
#[derive(Clone)]
pub struct Peer {
    pub v6: bool,
    pub port: u16,
    pub stack_port: u16,
    /// What the peer sends next.
    pub seq: u32,
    /// What the peer expects next; with an established connection the stack's first data byte is `first`.
    pub ack: u32,
    pub first: u32,
    pub wnd: u16,
    pub ts: bool,
    pub tsval: u32,
    pub tsecr: u32,
    /// The pointer of segments with URG.
    pub urgent: u16,
    /// DSCP and ECN of what it sends.
    pub tos: u8,
}

impl Peer {
    pub fn new(port: u16, v6: bool) -> Self {
        Self {
            v6,
            port,
            stack_port: PORT,
            seq: ISS,
            ack: 0,
            first: 0,
            wnd: 65_000,
            ts: false,
            tsval: 1,
            tsecr: 0,
            urgent: 1,
            tos: 0,
        }
    }

    /// Offset of a segment in the stack's stream: 0 is its first data byte.
    pub fn off(&self, s: &Seg) -> u32 {
        s.seq.wrapping_sub(self.first)
    }

    /// (offset, length) of the data segments among these.
    pub fn data(&self, segs: &[Seg]) -> Vec<(u32, usize)> {
        segs.iter().filter(|s| !s.data.is_empty()).map(|s| (self.off(s), s.data.len())).collect()
    }
}

pub struct Host {
    pub stack: Stack,
    pub now: Instant,
    pub listener: ListenerId,
    /// Transmissions are completed as soon as they were taken.
    pub completes: bool,
    pub outstanding: Vec<TxFrame>,
    /// Frames that were not TCP.
    pub others: Vec<Vec<u8>>,
    next_port: u16,
}

impl Host {
    pub fn new(tcp: TcpConfig) -> Self {
        Self::with_frames(4096, tcp)
    }

    pub fn with_frames(frames: u32, tcp: TcpConfig) -> Self {
        let mut stack = stack(0, frames, tcp, 7);
        for v6 in [false, true] {
            assert!(stack.neigh().set(addr(1, v6), MACS[1], Known::Permanent, 0));
        }
        let listener = stack.listen(None, PORT, 128).unwrap();
        Self {
            stack,
            now: Instant(100 * SEC),
            listener,
            completes: true,
            outstanding: Vec::new(),
            others: Vec::new(),
            next_port: 40_000,
        }
    }

    /// One segment of the peer, any fields; returns what the stack sends at once.
    pub fn raw(
        &mut self,
        p: &Peer,
        flags: TcpFlags,
        seq: u32,
        ack: u32,
        options: &TcpOptions,
        data: &[u8],
    ) -> Vec<Seg> {
        self.put(p, flags, seq, ack, options, data);
        self.turn()
    }

    /// The same, but the stack's turn goes on: more segments of one burst may follow.
    pub fn put(&mut self, p: &Peer, flags: TcpFlags, seq: u32, ack: u32, options: &TcpOptions, data: &[u8]) {
        let bytes = tcp_frame(p, flags, seq, ack, options, data);
        self.inject(&bytes);
    }

    pub fn inject(&mut self, bytes: &[u8]) {
        let now = self.now;
        deliver(&mut self.stack, bytes, now);
    }

    /// A segment at the peer's SND.NXT with its RCV.NXT, timestamps if agreed; SND.NXT moves.
    pub fn send(&mut self, p: &mut Peer, flags: TcpFlags, data: &[u8]) -> Vec<Seg> {
        self.burst(p, flags, data);
        self.turn()
    }

    /// As [`send`](Self::send), in the middle of a burst.
    pub fn burst(&mut self, p: &mut Peer, flags: TcpFlags, data: &[u8]) {
        let options = self.options(p);
        self.put(p, flags, p.seq, p.ack, &options, data);
        let len = data.len() as u32 + flags.contains(FIN) as u32 + flags.contains(SYN) as u32;
        p.seq = p.seq.wrapping_add(len);
    }

    /// Data at an offset from the peer's SND.NXT, which stays.
    pub fn send_at(&mut self, p: &Peer, off: i32, flags: TcpFlags, data: &[u8]) -> Vec<Seg> {
        let options = self.options(p);
        self.raw(p, flags, p.seq.wrapping_add(off as u32), p.ack, &options, data)
    }

    /// The peer acknowledges the stack's first `off` bytes.
    pub fn ack(&mut self, p: &mut Peer, off: u32) -> Vec<Seg> {
        p.ack = p.first.wrapping_add(off);
        self.send(p, ACK, b"")
    }

    /// The same with SACK blocks, by offset.
    pub fn sack(&mut self, p: &mut Peer, off: u32, blocks: &[(u32, u32)]) -> Vec<Seg> {
        p.ack = p.first.wrapping_add(off);
        let mut options = self.options(p);
        options.sack = SackBlocks::default();
        for (a, b) in blocks {
            options.sack.push(p.first.wrapping_add(*a), p.first.wrapping_add(*b));
        }
        self.raw(p, ACK, p.seq, p.ack, &options, b"")
    }

    /// The data segments that this ACK lets go: (offset, length).
    pub fn ack_data(&mut self, p: &mut Peer, off: u32) -> Vec<(u32, usize)> {
        let out = self.ack(p, off);
        p.data(&out)
    }

    /// The same for an ACK with SACK blocks.
    pub fn sack_data(&mut self, p: &mut Peer, off: u32, blocks: &[(u32, u32)]) -> Vec<(u32, usize)> {
        let out = self.sack(p, off, blocks);
        p.data(&out)
    }

    fn options(&self, p: &Peer) -> TcpOptions {
        let ms = (self.now.0 / MS) as u32;
        TcpOptions { timestamps: p.ts.then_some((p.tsval.wrapping_add(ms), p.tsecr)), ..TcpOptions::EMPTY }
    }

    /// What the stack has to send now.
    pub fn turn(&mut self) -> Vec<Seg> {
        let mut all = Vec::new();
        loop {
            self.stack.on_timers(self.now);
            self.stack.output(self.now);
            let (pool, batch) = self.stack.pool_and_batch();
            let before = all.len() + self.others.len();
            while let Some(tx) = batch.pop() {
                let bytes = pool.tx_bytes(&tx).to_vec();
                match self.completes {
                    true => assert!(pool.complete(tx.into_index())),
                    false => self.outstanding.push(tx),
                }
                match parse_seg(&bytes, self.now.0) {
                    Some(seg) => all.push(seg),
                    None => self.others.push(bytes),
                }
            }
            if all.len() + self.others.len() == before {
                return all;
            }
        }
    }

    /// Every outstanding transmission ends.
    pub fn complete_all(&mut self) {
        for tx in self.outstanding.drain(..) {
            assert!(self.stack.pool().complete(tx.into_index()));
        }
    }

    /// Time passes; everything that the stack sends meanwhile, with its time.
    pub fn run(&mut self, ns: u64) -> Vec<Seg> {
        let until = self.now + ns;
        let mut all = self.turn();
        while let Some(at) = self.stack.next_deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            all.extend(self.turn());
        }
        self.now = until;
        all.extend(self.turn());
        all
    }

    /// A peer's SYN with these options; the stack's SYN-ACK.
    pub fn syn(&mut self, o: &Opts) -> (Peer, Vec<Seg>) {
        self.next_port += 1;
        let mut p = Peer::new(self.next_port, o.v6);
        (p.wnd, p.ts) = (o.wnd, o.ts);
        let out = self.raw(&p, SYN, ISS, 0, &self.syn_options(&p, o), b"");
        p.seq = ISS + 1;
        (p, out)
    }

    pub fn syn_options(&self, p: &Peer, o: &Opts) -> TcpOptions {
        TcpOptions {
            mss: o.mss,
            wscale: o.wscale,
            sack_permitted: o.sack,
            timestamps: self.options(p).timestamps,
            ..TcpOptions::EMPTY
        }
    }

    /// An established connection, opened by the peer.
    pub fn accepted(&mut self, o: &Opts) -> (Peer, FlowId) {
        let (mut p, out) = self.syn(o);
        let syn_ack = &out[0];
        assert_eq!(syn_ack.flags, SYN_ACK);
        p.first = syn_ack.seq.wrapping_add(1);
        p.ack = p.first;
        p.tsecr = syn_ack.options.timestamps.map_or(0, |t| t.0);
        self.run(o.rtt_ns);
        let out = self.send(&mut p, ACK, b"");
        assert!(out.is_empty(), "{out:?}");
        let id = self.stack.accept(self.listener).expect("the handshake is complete");
        (p, id)
    }

    /// An active open under way: the stack's SYN.
    pub fn connecting(&mut self) -> (Peer, FlowId, Seg) {
        let now = self.now;
        let id = self.stack.connect(addr(1, false), PORT, now).unwrap();
        let out = self.turn();
        assert_eq!(out.len(), 1);
        let mut p = Peer::new(PORT, false);
        p.stack_port = out[0].src_port;
        p.first = out[0].seq.wrapping_add(1);
        p.ack = p.first;
        (p, id, out[0].clone())
    }

    /// An established connection, opened by the stack.
    pub fn connected(&mut self, o: &Opts) -> (Peer, FlowId) {
        let (mut p, id, _) = self.connecting();
        p.wnd = o.wnd;
        self.run(o.rtt_ns);
        let options = TcpOptions { timestamps: None, ..self.syn_options(&p, o) };
        let out = self.raw(&p, SYN_ACK, ISS, p.ack, &options, b"");
        assert!(out.len() == 1 && out[0].is_pure_ack(), "{out:?}");
        p.seq = ISS + 1;
        (p, id)
    }

    pub fn write(&mut self, id: FlowId, data: &[u8]) -> Vec<Seg> {
        assert_eq!(self.stack.write(id, data), data.len());
        self.turn()
    }

    pub fn close(&mut self, id: FlowId) -> Vec<Seg> {
        let now = self.now;
        self.stack.close(id, now);
        self.turn()
    }

    pub fn shutdown(&mut self, id: FlowId) -> Vec<Seg> {
        self.stack.shutdown(id);
        self.turn()
    }

    /// Reads everything there is.
    pub fn read(&mut self, id: FlowId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let got = self.stack.recv(id);
            if got.is_empty() {
                return all;
            }
            let n = got.len();
            all.extend_from_slice(got);
            self.stack.consume(id, n);
        }
    }

    pub fn assert_ledger(&mut self) {
        let held = self.stack.frames_held() as u32;
        let l = self.stack.pool().ledger();
        assert!(l.accounts_for(held), "{l:?}, {held} held by count");
    }

    /// Nothing is left: no connection, no frame out of the pool.
    pub fn assert_home(&mut self) {
        assert_eq!((self.stack.conns(), self.stack.half_opens(), self.stack.time_waits()), (0, 0, 0));
        let l = self.stack.pool().ledger();
        assert!(l.is_home(), "{l:?}");
    }
}

/// A peer's segment as a frame.
pub fn tcp_frame(
    p: &Peer,
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    options: &TcpOptions,
    data: &[u8],
) -> Vec<u8> {
    tcp_frame_to(p, addr(0, p.v6), MACS[0], flags, seq, ack, options, data)
}

#[allow(clippy::too_many_arguments)] // the fields of a segment, named at each call site
pub fn tcp_frame_to(
    p: &Peer,
    dst: IpAddr,
    mac: [u8; 6],
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    options: &TcpOptions,
    data: &[u8],
) -> Vec<u8> {
    let mut buf = vec![0; 128 + data.len()];
    buf[128..].copy_from_slice(data);
    let end = buf.len();
    let mut push = Push::new(&mut buf, 128, end);
    let urgent = if flags.contains(URG) { p.urgent } else { 0 };
    let (src_port, dst_port, window) = (p.port, p.stack_port, p.wnd);
    let tcp = TcpEmit { src_port, dst_port, seq, ack, flags, window, urgent, options };
    let src = addr(1, p.v6);
    push.tcp(&tcp, src, dst, None).unwrap();
    push.ip(src, dst, protocol::TCP, 64, p.tos, 1, true, 0).unwrap();
    push.eth(MACS[1], mac, None).unwrap();
    let start = push.start();
    buf[start..].to_vec()
}

//! A small script runner that drives the adapter as packetdrill does: calls in virtual time, segments in, segments out.
//!
//! Segments are written as in `S. 0:0(0) ack 1 win 1000 <mss 1000,nop,wscale 7>`: sequence numbers count from each
//! side's ISN. Flags are letters of `SFRPUEC` and `.` for ACK, `-` for none.
#![allow(dead_code)] // each test file uses a part of it

pub mod ffi;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use linerate_wire::tcp::{TcpFlags, parse_tcp};
use linerate_wire::{Push, TcpEmit, parse_ip, protocol};

pub use ffi::Table;

const PORT: u16 = 8080;
const REMOTE_ISN: u32 = 0x1000_0000;

/// What the peers of a script say to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
    /// IPv4 packets, AF_INET6 sockets.
    Mapped,
}

impl Family {
    pub fn domain(self) -> i32 {
        if self == Self::V4 { libc::AF_INET } else { libc::AF_INET6 }
    }

    fn local(self) -> IpAddr {
        if self == Self::V6 { "fd3d:0a0b:17d6::1" } else { "192.168.0.1" }.parse().unwrap()
    }

    fn remote(self) -> IpAddr {
        if self == Self::V6 { "fd3d:fa7b:d17d::1" } else { "192.0.2.1" }.parse().unwrap()
    }

    fn sockaddr(self, ip: IpAddr, port: u16) -> Vec<u8> {
        let mut out = (self.domain() as u16).to_ne_bytes().to_vec();
        out.extend(port.to_be_bytes());
        match (ip, self) {
            (IpAddr::V4(ip), Self::V4) => out.extend(ip.octets()),
            (IpAddr::V4(ip), _) => {
                out.extend([0; 4]);
                out.extend(ip.to_ipv6_mapped().octets());
            }
            (IpAddr::V6(ip), _) => {
                out.extend([0; 4]);
                out.extend(ip.octets());
            }
        }
        out.resize(if self == Self::V4 { 16 } else { 28 }, 0);
        out
    }
}

/// A call on a thread of its own.
pub struct Blocking<T> {
    pub thread: thread::JoinHandle<T>,
    tid: i32,
}

/// Makes a call that blocks, as packetdrill does for calls with a time range.
pub fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(ffi::gettid()).unwrap();
        call()
    });
    Blocking { thread, tid: told.recv().unwrap() }
}

/// Waits until the kernel says that the call sleeps, or it is over.
pub fn asleep<T>(b: &Blocking<T>) {
    let mut seen = 0;
    for _ in 0..20_000 {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", b.tid)).unwrap_or_default();
        seen = if stat.contains(") S ") || stat.is_empty() { seen + 1 } else { 0 };
        if seen == 10 {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("the call neither sleeps nor ends");
}

/// One script's run.
pub struct Drill {
    pub table: Table,
    pub family: Family,
    start: i64,
    local_port: u16,
    pub remote_port: u16,
    local_isn: Option<u32>,
    /// TTL and traffic class of the last packet that left.
    pub last_ip: (u8, u8),
    pub last_window: u16,
    pub last_bytes: Vec<u8>,
}

impl Deref for Drill {
    type Target = Table;
    fn deref(&self) -> &Table {
        &self.table
    }
}

impl Drill {
    pub fn new(flags: &str) -> Self {
        Self::with(Some(flags), Family::V4)
    }

    pub fn with(flags: Option<&str>, family: Family) -> Self {
        let table = Table::init(flags);
        let start = table.gettimeofday();
        Self {
            table,
            family,
            start,
            local_port: PORT,
            remote_port: 40_000,
            local_isn: None,
            last_ip: (0, 0),
            last_window: 0,
            last_bytes: Vec::new(),
        }
    }

    /// Another connection of the same script.
    pub fn another(&mut self, remote_port: u16) {
        (self.local_isn, self.remote_port) = (None, remote_port);
    }

    /// Microseconds since the script began.
    pub fn now(&self) -> i64 {
        self.table.gettimeofday() - self.start
    }

    /// Lets test time pass until `ms` milliseconds after the script's beginning.
    pub fn at_ms(&self, ms: i64) {
        let left = ms * 1_000 - self.now() - 1;
        assert!(left >= 0, "{ms} ms are over");
        self.table.usleep(left as u32);
    }

    pub fn sleep_ms(&self, ms: u32) {
        self.table.usleep(ms * 1_000);
    }

    pub fn local_addr(&self, port: u16) -> Vec<u8> {
        self.family.sockaddr(self.family.local(), port)
    }

    pub fn remote_addr(&self) -> Vec<u8> {
        self.family.sockaddr(self.family.remote(), PORT)
    }

    pub fn tcp(&self) -> i32 {
        self.table.socket(self.family.domain(), libc::SOCK_STREAM, libc::IPPROTO_TCP).unwrap()
    }

    /// A socket that listens on 8080.
    pub fn listener(&self) -> i32 {
        let fd = self.tcp();
        self.bind(fd, Some(&self.local_addr(PORT))).unwrap();
        self.listen(fd, 1).unwrap();
        fd
    }

    /// A passive open with these options in the SYN, as far as the accepted descriptor.
    pub fn accepted(&mut self, listener: i32, syn: &str) -> i32 {
        self.rx(syn);
        let (_, syn_ack) = self.tx();
        assert!(syn_ack.starts_with("S. 0:0(0) ack 1"), "{syn_ack}");
        self.sleep_ms(10);
        let ts = if syn.contains("TS") { " <nop,nop,TS val 200 ecr 0>" } else { "" };
        self.rx(&format!(". 1:1(0) ack 1 win 257{ts}"));
        let (fd, peer) = self.accept(listener).unwrap();
        assert_eq!(peer, self.family.sockaddr(self.family.remote(), self.remote_port));
        fd
    }

    /// An active open whose SYN was seen.
    pub fn connecting(&mut self, nonblock: bool) -> (i32, String) {
        let fd = self.tcp();
        if nonblock {
            self.fcntl(fd, libc::F_SETFL, (libc::O_RDWR | libc::O_NONBLOCK).into()).unwrap();
        }
        assert_eq!(self.connect(fd, Some(&self.remote_addr())), Err(libc::EINPROGRESS));
        self.remote_port = PORT;
        self.local_isn = None;
        let (_, syn) = self.tx();
        (fd, syn)
    }

    /// A packet of the peer.
    pub fn rx(&self, text: &str) {
        self.table.netdev_send(&self.packet(text));
    }

    fn packet(&self, text: &str) -> Vec<u8> {
        let (head, options) = match text.split_once('<') {
            Some((head, rest)) => (head, rest.split('>').next().unwrap()),
            None => (text, ""),
        };
        let words: Vec<&str> = head.split_whitespace().collect();
        let (mut tos, mut at) = (0, 0);
        if let Some(ecn) = words[0].strip_prefix('[') {
            tos = ecn.trim_end_matches(']').parse().unwrap();
            at = 1;
        }
        let flags = parse_flags(words[at]);
        let (seq, rest) = words[at + 1].split_once(':').unwrap();
        let len: usize = rest.split('(').nth(1).unwrap().trim_end_matches(')').parse().unwrap();
        let number = |name: &str| -> Option<u32> {
            let i = words.iter().position(|w| *w == name)?;
            Some(words[i + 1].parse().unwrap())
        };
        let options = emit_option_text(options);
        let off = 256;
        let mut buf = vec![0u8; off + len];
        let mut push = Push::new(&mut buf, off, off + len);
        let seq: u32 = seq.parse().unwrap();
        let (local, remote) = (self.family.local(), self.family.remote());
        let emit = TcpEmit {
            src_port: self.remote_port,
            dst_port: self.local_port,
            seq: REMOTE_ISN.wrapping_add(seq),
            ack: number("ack").map_or(0, |a| self.local_isn.unwrap_or(0).wrapping_add(a)),
            flags,
            window: number("win").unwrap_or(0) as u16,
            urgent: number("urg").unwrap_or(0) as u16,
            options: &Default::default(),
        };
        push.tcp(&emit, remote, local, None).unwrap();
        let start = push.start();
        let mut l4 = buf[start..].to_vec();
        // Options as they are written, with the padding that is written: the emitter would put them in its own order.
        l4.splice(20..20, options.iter().copied());
        l4[12] = (((20 + options.len()) / 4) as u8) << 4 | l4[12] & 0xf;
        l4[16..18].fill(0);
        let sum = linerate_wire::checksum::pseudo_header(remote, local, protocol::TCP, l4.len() as u32)
            .add(linerate_wire::checksum::sum(&l4))
            .checksum();
        l4[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut buf = vec![0u8; off];
        buf.extend(&l4);
        let end = buf.len();
        let mut push = Push::new(&mut buf, off, end);
        push.ip(remote, local, protocol::TCP, 64, tos, 1, true, 0).unwrap();
        let start = push.start();
        buf[start..].to_vec()
    }

    /// The next packet of the stack and its time in microseconds since the beginning; "" if none comes.
    pub fn tx(&mut self) -> (i64, String) {
        let (at, bytes) = self.table.netdev_receive();
        if bytes.is_empty() {
            return (at - self.start, String::new());
        }
        let text = self.text(&bytes);
        self.last_bytes = bytes;
        (at - self.start, text)
    }

    fn text(&mut self, bytes: &[u8]) -> String {
        let p = parse_ip(bytes).unwrap();
        let net = p.net.unwrap();
        let l4 = p.l4(bytes);
        assert_eq!(net.src, self.family.local());
        assert_eq!(net.dst, self.family.remote());
        self.last_ip = match net.src {
            IpAddr::V4(_) => (bytes[8], bytes[1]),
            IpAddr::V6(_) => (bytes[7], bytes[0] << 4 | bytes[1] >> 4),
        };
        if net.protocol != protocol::TCP {
            return format!("protocol {}", net.protocol);
        }
        let good = linerate_wire::verify_l4(net.src, net.dst, net.protocol, l4);
        assert_eq!(good, linerate_wire::CsumStatus::Good, "checksum");
        let h = parse_tcp(l4).unwrap();
        assert_eq!(h.dst_port, self.remote_port);
        if h.flags.contains(TcpFlags::SYN) && self.local_isn.is_none() {
            (self.local_isn, self.local_port) = (Some(h.seq), h.src_port);
        }
        let data = p.payload(bytes);
        assert!(data.iter().all(|b| *b == 0), "payload is zeros");
        // A reset of nobody's segment has a number of its own.
        let isn = self.local_isn.unwrap_or(0);
        let seq = h.seq.wrapping_sub(isn);
        let mut s =
            format!("{} {}:{}({})", flag_text(h.flags), seq, seq.wrapping_add(data.len() as u32), data.len());
        if h.flags.contains(TcpFlags::ACK) {
            s += &format!(" ack {}", h.ack.wrapping_sub(REMOTE_ISN));
        }
        self.last_window = h.window;
        if h.flags.contains(TcpFlags::URG) {
            s += &format!(" urg {}", h.urgent);
        }
        let options = option_text(&l4[20..h.data_off_bytes as usize]);
        if !options.is_empty() {
            s += &format!(" <{options}>");
        }
        s
    }

    /// The next packet is this one.
    #[track_caller]
    pub fn expect(&mut self, want: &str) -> i64 {
        let (at, got) = self.tx();
        assert_eq!(got, want);
        at
    }

    /// The next packet is this one, and it left `ms` milliseconds after the beginning, give or take 4.
    #[track_caller]
    pub fn expect_at(&mut self, ms: i64, want: &str) {
        let at = self.expect(want);
        assert!((at - ms * 1_000).abs() <= 4_000, "{want} at {at} us, not {ms} ms");
    }

    /// The next packets are consecutive segments that make up this range, the last with these flags.
    #[track_caller]
    pub fn expect_data(&mut self, flags: &str, from: u32, to: u32, ack: u32) {
        let mut at = from;
        while at < to {
            let (_, got) = self.tx();
            let (f, rest) = got.split_once(' ').unwrap_or((&got, ""));
            let range = rest.split('(').next().unwrap();
            let (a, b) = range.split_once(':').unwrap_or_else(|| panic!("no packet, but {at} of {to}"));
            assert_eq!(a.parse(), Ok(at), "{got}");
            at = b.parse().unwrap();
            assert!(got.contains(&format!("ack {ack}")), "{got}");
            let last = at == to;
            assert_eq!(f, if last { flags } else { "." }, "{got}");
        }
        assert_eq!(at, to);
    }

    /// Nothing leaves in the next `ms` milliseconds.
    #[track_caller]
    pub fn silent_for(&mut self, ms: u32) {
        // A packet that is not there would be waited for: an ICMP echo shows what has left before its answer.
        self.sleep_ms(ms);
        assert_eq!(self.probe(), Vec::<String>::new());
    }

    /// What has left by now.
    pub fn probe(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        self.ping();
        loop {
            let (_, got) = self.tx();
            if got == "protocol 1" || got == "protocol 58" {
                return all;
            }
            assert!(!got.is_empty(), "no echo reply");
            all.push(got);
        }
    }

    fn ping(&self) {
        let (local, remote) = (self.family.local(), self.family.remote());
        let (ty, proto) = if local.is_ipv4() { (8, protocol::ICMP) } else { (128, protocol::ICMPV6) };
        let mut message = vec![ty, 0, 0, 0, 0, 1, 0, 1];
        let sum = linerate_wire::checksum::sum(&message);
        let sum = match local.is_ipv4() {
            true => sum,
            false => linerate_wire::checksum::pseudo_header(remote, local, proto, 8).add(sum),
        };
        message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        let mut buf = vec![0; 256];
        buf.extend(&message);
        let end = buf.len();
        let mut push = Push::new(&mut buf, 256, end);
        push.ip(remote, local, proto, 64, 0, 1, true, 0).unwrap();
        let start = push.start();
        self.table.netdev_send(&buf[start..]);
    }

    /// A UDP datagram of the peer's port 8080 to port 8080, of `n` zeros.
    pub fn rx_udp(&self, n: usize) {
        let (local, remote) = (self.family.local(), self.family.remote());
        let mut l4 = Vec::new();
        for word in [PORT, PORT, 8 + n as u16, 0] {
            l4.extend(word.to_be_bytes());
        }
        l4.resize(8 + n, 0);
        let sum = linerate_wire::checksum::pseudo_header(remote, local, protocol::UDP, l4.len() as u32)
            .add(linerate_wire::checksum::sum(&l4))
            .checksum();
        l4[6..8].copy_from_slice(&sum.to_be_bytes());
        let mut buf = vec![0; 256];
        buf.extend(&l4);
        let end = buf.len();
        let mut push = Push::new(&mut buf, 256, end);
        push.ip(remote, local, protocol::UDP, 64, 0, 1, true, 0).unwrap();
        let start = push.start();
        self.table.netdev_send(&buf[start..]);
    }

    /// As packetdrill ends a script that passed: what is open is closed by the C library, the connection is reset.
    pub fn end(self, open: &[i32]) {
        for fd in open {
            assert!(ffi::libc_close(*fd), "close: Bad file descriptor");
        }
        self.rx("R. 1:1(0) ack 1 win 0");
        self.table.free();
    }
}

const FLAGS: [(char, TcpFlags); 8] = [
    ('F', TcpFlags::FIN),
    ('S', TcpFlags::SYN),
    ('R', TcpFlags::RST),
    ('P', TcpFlags::PSH),
    ('U', TcpFlags::URG),
    ('E', TcpFlags::ECE),
    ('W', TcpFlags::CWR),
    ('.', TcpFlags::ACK),
];

fn flag_text(flags: TcpFlags) -> String {
    FLAGS.iter().filter(|(_, f)| flags.contains(*f)).map(|(c, _)| *c).collect()
}

fn parse_flags(text: &str) -> TcpFlags {
    let mut all = TcpFlags::default();
    for c in text.chars().filter(|c| *c != '-') {
        all |= FLAGS.iter().find(|(f, _)| *f == c).unwrap().1;
    }
    all
}

/// Timestamps are shown without TSval, which is any: `TS ecr N`.
fn option_text(bytes: &[u8]) -> String {
    let mut all = Vec::new();
    let mut rest = bytes;
    while let Some(kind) = rest.first() {
        let len = if *kind < 2 { 1 } else { rest[1] as usize };
        let v = &rest[..len];
        let word = |i: usize| u32::from_be_bytes(v[i..i + 4].try_into().unwrap());
        all.push(match kind {
            0 => "eol".into(),
            1 => "nop".into(),
            2 => format!("mss {}", u16::from_be_bytes([v[2], v[3]])),
            3 => format!("wscale {}", v[2]),
            4 => "sackOK".into(),
            5 => {
                let blocks = v[2..].chunks(8).map(|b| {
                    let edge = |i: usize| {
                        u32::from_be_bytes(b[i..i + 4].try_into().unwrap()).wrapping_sub(REMOTE_ISN)
                    };
                    format!("{}:{}", edge(0), edge(4))
                });
                format!("sack {}", blocks.collect::<Vec<_>>().join(" "))
            }
            8 => format!("TS ecr {}", word(6)),
            34 => format!("FO {}", len - 2),
            k => format!("{k}"),
        });
        rest = &rest[len..];
    }
    all.join(",")
}

impl Drill {
    /// TSval of the last packet that left.
    pub fn last_tsval(&self) -> u32 {
        let p = parse_ip(&self.last_bytes).unwrap();
        let l4 = p.l4(&self.last_bytes);
        let h = parse_tcp(l4).unwrap();
        let options = linerate_wire::tcp_options::parse_options(&l4[20..h.data_off_bytes as usize]);
        options.timestamps.unwrap().0
    }

    /// A SACK block of offsets in the stack's stream, as option text.
    pub fn sack(&self, blocks: &[(u32, u32)]) -> String {
        let isn = self.local_isn.unwrap();
        let edges: Vec<String> = blocks
            .iter()
            .map(|(a, b)| format!("{}:{}", isn.wrapping_add(*a), isn.wrapping_add(*b)))
            .collect();
        format!("<nop,nop,sack {}>", edges.join(" "))
    }
}

fn emit_option_text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for option in text.split(',').map(str::trim).filter(|o| !o.is_empty()) {
        let w: Vec<&str> = option.split_whitespace().collect();
        let n = |i: usize| w[i].parse::<u32>().unwrap();
        match w[0] {
            "nop" => out.push(1),
            "eol" => out.push(0),
            "mss" => {
                out.extend([2, 4]);
                out.extend((n(1) as u16).to_be_bytes());
            }
            "wscale" => out.extend([3, 3, n(1) as u8]),
            "sackOK" => out.extend([4, 2]),
            "sack" => {
                out.extend([5, 2 + 8 * (w.len() - 1) as u8]);
                for block in &w[1..] {
                    let (a, b) = block.split_once(':').unwrap();
                    out.extend(a.parse::<u32>().unwrap().to_be_bytes());
                    out.extend(b.parse::<u32>().unwrap().to_be_bytes());
                }
            }
            "TS" => {
                out.extend([8, 10]);
                out.extend(n(2).to_be_bytes());
                out.extend(n(4).to_be_bytes());
            }
            "FO" => {
                let bytes: Vec<u8> = (0..w.get(1).map_or(0, |h| h.len() / 2))
                    .map(|i| u8::from_str_radix(&w[1][2 * i..2 * i + 2], 16).unwrap())
                    .collect();
                out.extend([34, 2 + bytes.len() as u8]);
                out.extend(bytes);
            }
            other => panic!("option {other}"),
        }
    }
    while out.len() % 4 != 0 {
        out.push(0);
    }
    out
}

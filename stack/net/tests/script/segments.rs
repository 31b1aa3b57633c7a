//! `in` and `out`: segments of the peer, and what the stack is to send.

use std::net::IpAddr;

use super::options::{options_in, options_out};
use super::packet::{self, ACK, FIN, FLAGS, ICMP, ICMPV6, Ip, PSH, Packet, RST, SYN, Tcp, URG};
use super::text::{Args, Wrong, hex, number, span, wrong};
use super::world::{Conn, Sent, World, host};

/// Byte of a stream at `offset`: any other byte, or order, is noticed.
pub fn pattern(offset: i64) -> u8 {
    (offset.rem_euclid(251) ^ (offset >> 8 & 0x3f)) as u8
}

fn flags(args: &mut Args) -> u16 {
    (0..FLAGS.len()).filter(|i| args.word(FLAGS[*i])).map(|i| 1 << i).sum()
}

fn seq_len(flags: u16, data: usize) -> i64 {
    data as i64 + i64::from(flags & SYN != 0) + i64::from(flags & FIN != 0)
}

pub fn relative(seq: u32, iss: Option<u32>) -> i64 {
    i64::from(seq.wrapping_sub(iss.unwrap_or(0)) as i32)
}

pub fn absolute(relative: i64, iss: Option<u32>) -> u32 {
    iss.unwrap_or(0).wrapping_add(relative as u32)
}

fn tos(args: &mut Args) -> Result<Option<u8>, Wrong> {
    let ecn = match args.value("ecn") {
        Some("not") => Some(0),
        Some("ect1") => Some(1),
        Some("ect0") => Some(2),
        Some("ce") => Some(3),
        Some(other) => return wrong("ecn=not|ect0|ect1|ce", other),
        None => None,
    };
    let dscp = args.number("dscp")?.map(|d| (d as u8) << 2);
    Ok((ecn.is_some() || dscp.is_some()).then(|| ecn.unwrap_or(0) | dscp.unwrap_or(0)))
}

fn ip_of_peer(v6: bool, args: &mut Args) -> Result<Ip, Wrong> {
    let addr = |s: Option<&str>, default| match s.map(str::parse::<IpAddr>) {
        Some(Ok(a)) => Ok(a),
        Some(Err(_)) => wrong("an address", s.unwrap_or_default()),
        None => Ok(default),
    };
    Ok(Ip {
        src: addr(args.value("from"), host(2, v6))?,
        dst: addr(args.value("to"), host(1, v6))?,
        ttl: args.number("ttl")?.unwrap_or(64) as u8,
        tos: tos(args)?.unwrap_or(0),
        df: true,
        options: args.value("ipopts").map_or(Ok(Vec::new()), hex)?,
    })
}

impl World {
    /// Milliseconds since the start, and a thousand: the peer's timestamps clock.
    fn peer_clock(&self) -> u32 {
        1000 + (self.now.since(self.start) / 1_000_000) as u32
    }

    /// `in FLAGS key=value ...`
    pub fn segment_in(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let v6 = self.v6;
        let clock = self.peer_clock();
        let conn = &mut self.conns[c];
        let flags = flags(args);
        if let Some(iss) = args.number("iss")? {
            conn.peer_iss = iss as u32;
            (conn.peer_next, conn.peer_offers_ts, conn.ts) = (0, false, false);
        }
        let given_seq = args.number("seq")?;
        let default_seq = if flags & SYN != 0 { 0 } else { conn.peer_next };
        let seq = given_seq.unwrap_or(default_seq);
        let ack = match args.number("ack")? {
            None if flags & ACK == 0 => 0,
            ack => absolute(ack.unwrap_or(conn.stack_next), conn.stack_iss),
        };
        let len = args.number("len")?.unwrap_or(0);
        let first = seq - 1 + i64::from(flags & SYN != 0);
        let fill = args.number("fill")?;
        let data = (first..first + len).map(|o| fill.map_or(pattern(o), |f| f as u8)).collect();
        conn.wnd = args.number("win")?.map_or(conn.wnd, |w| w as u16);
        let urg = args.number("urg")?.unwrap_or(0) as u16;
        let segment = Tcp {
            ip: ip_of_peer(v6, args)?,
            src_port: args.number("sport")?.map_or(conn.peer_port, |p| p as u16),
            dst_port: args.number("dport")?.map_or(conn.stack_port, |p| p as u16),
            seq: absolute(seq, Some(conn.peer_iss)),
            ack,
            flags,
            wnd: conn.wnd,
            urg,
            options: options_in(conn, flags, clock, args)?,
            data,
        };
        let end = seq + seq_len(flags, segment.data.len());
        if seq <= conn.peer_next {
            conn.peer_next = conn.peer_next.max(end);
        }
        let mut l4 = segment.l4(args.number("doff")?.map(|n| n as u8));
        if args.word("badsum") {
            l4[16] ^= 0x55;
        }
        if let Some(n) = args.number("cut")? {
            l4.truncate(n as usize);
        }
        match args.number("frag")? {
            None => self.deliver(&segment.ip.packet(packet::TCP, &l4)),
            Some(n) => {
                segment.ip.fragments(packet::TCP, &l4, n as usize).iter().try_for_each(|f| self.deliver(f))
            }
        }
    }

    /// `in-icmp type=T code=C mtu=M seq=S`: an error that quotes a segment of the stack.
    pub fn icmp_in(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let v6 = self.v6;
        let conn = &self.conns[c];
        let (us, them) = (host(1, v6), host(2, v6));
        let quoted = Tcp {
            ip: Ip { src: us, dst: them, ttl: 60, tos: 0, df: true, options: Vec::new() },
            src_port: conn.stack_port,
            dst_port: conn.peer_port,
            seq: absolute(args.number("seq")?.unwrap_or(conn.stack_next), conn.stack_iss),
            ack: absolute(conn.peer_next, Some(conn.peer_iss)),
            flags: ACK,
            wnd: 1000,
            urg: 0,
            options: Vec::new(),
            data: vec![0; args.number("len")?.unwrap_or(0) as usize],
        };
        let mut quote = quoted.ip.packet(packet::TCP, &quoted.l4(None));
        if let Some(n) = args.number("quote")? {
            quote.truncate(if v6 { 40 } else { 20 } + n as usize);
        }
        let ty = args.number("type")?.unwrap_or(if v6 { 1 } else { 3 }) as u8;
        let code = args.number("code")?.unwrap_or(0) as u8;
        let mut l4 = vec![ty, code, 0, 0];
        l4.extend((args.number("mtu")?.unwrap_or(0) as u32).to_be_bytes());
        l4.extend(quote);
        let ip = ip_of_peer(v6, args)?;
        let protocol = if v6 { ICMPV6 } else { ICMP };
        let sum = packet::l4_sum(ip.src, ip.dst, protocol, &l4).to_be_bytes();
        l4[2..4].copy_from_slice(&sum);
        self.deliver(&ip.packet(protocol, &l4))
    }

    /// The packet that the stack sent first, as a script would write it.
    pub fn show_front(&self) -> String {
        match self.sent.front() {
            None => "nothing".into(),
            Some(Sent { packet: Err(why), .. }) => format!("a broken packet: {why}"),
            Some(Sent { packet: Ok(Packet::Tcp(t)), .. }) => {
                let conn = self.conns.iter().find(|c| c.peer_port == t.dst_port);
                show(t, conn)
            }
            Some(Sent { packet: Ok(Packet::Icmp(ip, ty, code, rest)), .. }) => {
                format!("out-icmp type={ty} code={code} len={} (to {})", rest.len() - 4, ip.dst)
            }
            Some(Sent { packet: Ok(Packet::Other(ip, protocol)), .. }) => {
                format!("a packet of protocol {protocol} to {}", ip.dst)
            }
        }
    }

    /// `out-icmp type=T code=C len=L`, L: bytes behind the first eight.
    pub fn icmp_out(&mut self, args: &mut Args) -> Result<(), Wrong> {
        let wanted = [args.number("type")?, args.number("code")?, args.number("len")?];
        let got = self.show_front();
        if let Some(Ok(Packet::Icmp(_, ty, code, rest))) = self.sent.pop_front().map(|s| s.packet) {
            let found = [i64::from(ty), i64::from(code), rest.len() as i64 - 4];
            if wanted.iter().zip(found).all(|(w, f)| w.is_none_or(|w| w == f)) {
                return Ok(());
            }
        }
        wrong(format!("out-icmp type, code, length {wanted:?}"), got)
    }

    /// `out FLAGS key=value ...`
    pub fn segment_out(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let got = self.show_front();
        let t = match self.sent.pop_front().map(|s| s.packet) {
            Some(Ok(Packet::Tcp(t))) => t,
            _ => return wrong("a TCP segment", got),
        };
        let conn = &mut self.conns[c];
        let tell = |what: String| wrong(what, got.clone());
        let wanted = flags(args);
        if conn.stack_port == 0 && t.dst_port == conn.peer_port {
            conn.stack_port = t.src_port;
        }
        let ports = (
            args.number("sport")?.map_or(conn.stack_port, |p| p as u16),
            args.number("dport")?.map_or(conn.peer_port, |p| p as u16),
        );
        if (t.src_port, t.dst_port) != ports {
            return tell(format!("ports {} to {}, not {} to {}", ports.0, ports.1, t.src_port, t.dst_port));
        }
        let push = wanted & PSH != 0;
        let no_push = args.word("-PSH");
        if t.flags & !PSH != wanted & !PSH || (push && t.flags & PSH == 0) || (no_push && t.flags & PSH != 0)
        {
            return tell(format!("flags {}", show_flags(wanted)));
        }
        let given_seq = args.number("seq")?;
        if wanted & SYN != 0 && (given_seq.is_none() || conn.stack_iss.is_none()) {
            conn.stack_iss = Some(t.seq);
            (conn.stack_next, conn.ts_first) = (0, None);
        }
        let seq = relative(t.seq, conn.stack_iss);
        let want = given_seq.unwrap_or(if wanted & SYN != 0 { 0 } else { conn.stack_next });
        let absolute = args.number("absseq")?;
        let right = absolute.map_or(seq == i64::from(want as u32 as i32), |n| n == i64::from(t.seq));
        if !right {
            return tell(format!("seq={want}"));
        }
        if let Some(ack) = args.number("ack")?
            && (ack as u32 != t.ack.wrapping_sub(conn.peer_iss) || t.flags & ACK == 0)
        {
            return tell(format!("ack={ack}"));
        }
        if t.flags & ACK == 0 && t.ack != 0 {
            return tell("an ACK field of zero without ACK".into());
        }
        let len = args.number("len")?.unwrap_or(0);
        if len != t.data.len() as i64 {
            return tell(format!("len={len}"));
        }
        let first = seq - 1 + i64::from(t.flags & SYN != 0);
        if (first..).zip(&t.data).any(|(o, b)| pattern(o) != *b) {
            return tell("the bytes that were written, in their place".into());
        }
        fixed_fields(&t, args, &got)?;
        options_out(conn, &t, args, &got)?;
        if t.flags & RST == 0 {
            conn.stack_next = conn.stack_next.max(seq + seq_len(t.flags, t.data.len()));
        }
        Ok(())
    }
}

/// Window, urgent pointer, TTL, DSCP, ECN.
fn fixed_fields(t: &Tcp, args: &mut Args, got: &str) -> Result<(), Wrong> {
    if let Some(w) = args.value("win") {
        let (low, high) = w.split_once("..").unwrap_or((w, w));
        if !(number(low)?..=number(high)?).contains(&i64::from(t.wnd)) {
            return wrong(format!("win={w}"), got);
        }
    }
    let urg = args.number("urg")?.unwrap_or(0);
    if urg != i64::from(t.urg) && (t.flags & URG != 0 || urg != 0) {
        return wrong(format!("urg={urg}"), format!("{got} urg={}", t.urg));
    }
    if let Some(ttl) = args.number("ttl")?
        && ttl != i64::from(t.ip.ttl)
    {
        return wrong(format!("ttl={ttl}"), format!("{got} ttl={}", t.ip.ttl));
    }
    if let Some(tos) = tos(args)?
        && tos != t.ip.tos
    {
        return wrong(format!("dscp={} ecn={}", tos >> 2, tos & 3), format!("{got} tos={:#x}", t.ip.tos));
    }
    for (key, addr) in [("from", t.ip.src), ("to", t.ip.dst)] {
        if let Some(a) = args.value(key)
            && a != addr.to_string()
        {
            return wrong(format!("{key}={a}"), format!("{got} {key}={addr}"));
        }
    }
    if args.word("df") && !t.ip.df {
        return wrong("the DF bit", got);
    }
    Ok(())
}

fn show_flags(flags: u16) -> String {
    let names: Vec<_> = (0..FLAGS.len()).filter(|i| flags & 1 << i != 0).map(|i| FLAGS[i]).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

/// A segment of the stack as a script would write it.
fn show(t: &Tcp, conn: Option<&Conn>) -> String {
    use std::fmt::Write;
    let mut s = format!("out {}", show_flags(t.flags));
    let (stack_iss, peer_iss) = (conn.and_then(|c| c.stack_iss), conn.map(|c| c.peer_iss));
    if t.flags & SYN == 0 || stack_iss.is_some() {
        let _ = write!(s, " seq={}", relative(t.seq, stack_iss));
    }
    if t.flags & ACK != 0 {
        let _ = write!(s, " ack={}", relative(t.ack, peer_iss));
    }
    let _ = write!(s, " win={} len={}", t.wnd, t.data.len());
    let be = |v: &[u8]| v.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
    for (kind, v) in packet::options(&t.options).unwrap_or_default() {
        let _ = match (kind, v.len()) {
            (2, 2) => write!(s, " mss={}", be(&v)),
            (3, 1) => write!(s, " wscale={}", v[0]),
            (4, 0) => write!(s, " sackok"),
            (5, _) => {
                let edges = v.chunks_exact(4).map(|e| relative(be(e), peer_iss));
                write!(s, " sack(edges)={:?}", edges.collect::<Vec<_>>())
            }
            (8, 8) => {
                let first = conn.and_then(|c| c.ts_first);
                write!(s, " ts={}/{}", relative(be(&v[..4]), first), be(&v[4..]))
            }
            (kind, _) => write!(s, " option-{kind}={v:02x?}"),
        };
    }
    if t.flags & URG != 0 {
        let _ = write!(s, " urg={}", t.urg);
    }
    if t.ip.tos != 0 {
        let _ = write!(s, " tos={:#x}", t.ip.tos);
    }
    match conn {
        Some(c) => format!("{s} (of {})", c.name),
        None => format!("{s} (ports {} to {}, {} to {})", t.src_port, t.dst_port, t.ip.src, t.ip.dst),
    }
}

/// `+10ms` and `+10ms..20ms`.
pub fn time_prefix(word: &str) -> Result<Option<(u64, Option<u64>)>, Wrong> {
    let Some(rest) = word.strip_prefix('+') else { return Ok(None) };
    Ok(Some(match rest.split_once("..") {
        Some((low, high)) => (span(low)?, Some(span(high)?)),
        None => (span(rest)?, None),
    }))
}

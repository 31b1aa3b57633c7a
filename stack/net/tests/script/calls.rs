//! What is not a segment: the application's calls, settings, and what can be known of a connection.

use linerate_net::{DropReason, Events, State, TcpConfig, TcpError};
use linerate_tcp::SynCookies;
use linerate_tcp::cc::CcKind;

use super::segments::pattern;
use super::text::{Args, Wrong, hex, number, show_span, span, wrong};
use super::world::{Setup, World, host};

fn on(s: &str) -> Result<bool, Wrong> {
    match s {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => wrong("on or off", s),
    }
}

/// `config KEY VALUE ...`
pub fn configure(setup: &mut Setup, args: &mut Args) -> Result<(), Wrong> {
    while let Some(key) = args.next() {
        let value = args.need("a value")?;
        match key {
            "ipv6" => setup.v6 = on(value)?,
            "mtu" => setup.mtu = number(value)? as u16,
            "frames" => setup.frames = number(value)? as u32,
            _ => change(&mut setup.tcp, key, value)?,
        }
    }
    Ok(())
}

/// One setting of TCP, of the stack or of one connection.
fn change(tcp: &mut TcpConfig, key: &str, value: &str) -> Result<(), Wrong> {
    match key {
        "ts" => tcp.timestamps = on(value)?,
        "sack" => tcp.sack = on(value)?,
        "wscale" => tcp.window_scaling = on(value)?,
        "nodelay" => tcp.nodelay = on(value)?,
        "cork" => tcp.cork = on(value)?,
        "rcvbuf" => (tcp.rcv_buf_bytes, tcp.rcv_buf_max_bytes) = (number(value)? as u32, 0),
        "sndbuf" => (tcp.snd_buf_bytes, tcp.snd_buf_max_bytes) = (number(value)? as u32, 0),
        "clamp" => tcp.window_clamp_bytes = number(value)? as u32,
        "mss-max" => tcp.mss_max = number(value)? as u16,
        "rto-min" => tcp.rto_min_ns = span(value)?,
        "delack" => tcp.delack_ns = span(value)?,
        "stretch-acks" => tcp.stretch_acks = on(value)?,
        "quickack" => tcp.quickack_segs = number(value)? as u8,
        "r1" => tcp.r1_retries = number(value)? as u8,
        "r2" => tcp.data_retries = number(value)? as u8,
        "syn-r2" => tcp.syn_retries = number(value)? as u8,
        "linger" => tcp.linger_ns = Some(span(value)?),
        "fin-wait-2" => tcp.fin_wait_2_ns = span(value)?,
        "user-timeout" => tcp.user_timeout_ns = Some(span(value)?),
        "defer-accept" => tcp.defer_accept_ns = span(value)?,
        "ttl" => tcp.ttl = number(value)? as u8,
        "dscp" => tcp.tos = (number(value)? as u8) << 2,
        "keepalive" => (tcp.keepalive, tcp.keepalive_idle_ns) = (true, span(value)?),
        "cookies" => {
            tcp.syn_cookies = match value {
                "always" => SynCookies::Always,
                "never" => SynCookies::Never,
                "auto" => SynCookies::Auto,
                _ => return wrong("always, never or auto", value),
            }
        }
        "cc" => {
            tcp.cc = match value {
                "reno" => CcKind::NewReno,
                "cubic" => CcKind::Cubic,
                _ => return wrong("a congestion control", value),
            }
        }
        _ => return wrong("a setting", key),
    }
    Ok(())
}

fn state_name(s: Option<State>) -> &'static str {
    match s {
        None => "gone",
        Some(State::SynSent) => "SYN-SENT",
        Some(State::SynReceived) => "SYN-RECEIVED",
        Some(State::Established) => "ESTABLISHED",
        Some(State::FinWait1) => "FIN-WAIT-1",
        Some(State::FinWait2) => "FIN-WAIT-2",
        Some(State::CloseWait) => "CLOSE-WAIT",
        Some(State::Closing) => "CLOSING",
        Some(State::LastAck) => "LAST-ACK",
        Some(State::TimeWait) => "TIME-WAIT",
        Some(State::Closed) => "CLOSED",
    }
}

fn error_name(e: Option<TcpError>) -> String {
    e.map_or("none".into(), |e| format!("{e:?}").to_lowercase())
}

fn same(what: &str, expected: impl ToString, got: impl ToString) -> Result<(), Wrong> {
    let (expected, got) = (expected.to_string(), got.to_string());
    if expected == got { Ok(()) } else { wrong(format!("{what} {expected}"), got) }
}

impl World {
    pub fn statement(&mut self, verb: &str, c: usize, args: &mut Args) -> Result<(), Wrong> {
        const ACTS: [&str; 11] = [
            "in", "in-icmp", "in-raw", "connect", "accept", "write", "read", "shutdown", "close", "abort",
            "set",
        ];
        if ACTS.contains(&verb) && !self.burst {
            // What the last act caused is told before the next.
            self.none()?;
        }
        match verb {
            "in" => self.segment_in(c, args),
            "out" => self.segment_out(c, args),
            "in-icmp" => self.icmp_in(c, args),
            "out-icmp" => self.icmp_out(args),
            "in-raw" => {
                let bytes = hex(args.need("bytes")?)?;
                self.deliver(&bytes)
            }
            "none" => self.none(),
            "nothing" => {
                args.word("for");
                self.wait(span(args.need("a span of time")?)?)?;
                self.none()
            }
            "burst" => {
                self.burst = true;
                Ok(())
            }
            "end" => {
                self.burst = false;
                self.turn();
                Ok(())
            }
            "established" => self.established(c, args),
            "connected" => self.connected(c, args),
            "listen" => self.listen(args),
            "connect" => self.connect(c, args),
            "accept" => self.accept(c, args),
            "count" | "drop" => self.counted(verb, args),
            "conns" => same("conns", number(args.need("a number")?)?, self.stack.conns()),
            "time-waits" => same("time-waits", number(args.need("a number")?)?, self.stack.time_waits()),
            _ => self.on_connection(verb, c, args),
        }
    }

    fn listen(&mut self, args: &mut Args) -> Result<(), Wrong> {
        let port = args.number("port")?.unwrap_or(80) as u16;
        let backlog = args.number("backlog")?.unwrap_or(16) as usize;
        let addr = args.value("addr").and_then(|a| a.parse().ok());
        match (self.stack.listen(addr, port, backlog), args.value("error")) {
            (Ok(id), None) => {
                self.listener.get_or_insert(id);
                Ok(())
            }
            (Err(e), Some(want)) => same("error", want, format!("{e:?}")),
            (Ok(_), Some(want)) => wrong(want, "it listens"),
            (Err(e), None) => wrong("it listens", format!("{e:?}")),
        }
    }

    fn connect(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let to = match args.value("to").map(str::parse) {
            Some(Ok(a)) => a,
            Some(Err(_)) => return wrong("an address", "something else"),
            None => host(2, self.v6),
        };
        let conn = &mut self.conns[c];
        match (self.stack.connect(to, conn.peer_port, self.now), args.value("error")) {
            (Ok(id), None) => {
                (conn.flow, conn.stack_port) = (Some(id), 0);
                self.turn();
                Ok(())
            }
            (Err(e), Some(want)) => same("error", want, format!("{e:?}")),
            (Ok(_), Some(want)) => wrong(want, "it connects"),
            (Err(e), None) => wrong("it connects", format!("{e:?}")),
        }
    }

    fn accept(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let Some(listener) = self.listener else { return wrong("listen before", "no listener") };
        match (self.stack.accept(listener), args.word("none")) {
            (None, true) => Ok(()),
            (None, false) => wrong("a connection to accept", "none"),
            (Some(_), true) => wrong("no connection to accept", "one"),
            (Some(id), false) => {
                let remote = self.stack.flow_key(id).map_or(0, |k| k.remote_port);
                self.conns[c].flow = Some(id);
                if remote == 0 { Ok(()) } else { same("remote port", self.conns[c].peer_port, remote) }
            }
        }
    }

    /// A connection that the peer opened: the handshake in one line.
    fn established(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        if self.listener.is_none() {
            self.listen(&mut Args::new(&[]))?;
        }
        let rtt = args.value("rtt").map_or(Ok(10_000_000), span)?;
        let wnd = self.first_window(c, args)?;
        self.segment_in(c, &mut with_flags(args, &["SYN"]))?;
        self.segment_out(c, &mut Args::new(&["SYN", "ACK"]))?;
        self.wait(rtt)?;
        self.conns[c].wnd = wnd;
        self.segment_in(c, &mut Args::new(&["ACK"]))?;
        self.accept(c, &mut Args::new(&[]))?;
        self.none()
    }

    /// A connection that the stack opened: the handshake in one line.
    fn connected(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let rtt = args.value("rtt").map_or(Ok(10_000_000), span)?;
        let wnd = self.first_window(c, args)?;
        self.connect(c, &mut Args::new(&[]))?;
        self.segment_out(c, &mut Args::new(&["SYN"]))?;
        self.wait(rtt)?;
        self.segment_in(c, &mut with_flags(args, &["SYN", "ACK"]))?;
        self.segment_out(c, &mut Args::new(&["ACK"]))?;
        self.conns[c].wnd = wnd;
        self.none()
    }

    /// `win=` of the handshake in one line is that of the segments after the SYN, too.
    fn first_window(&mut self, c: usize, args: &mut Args) -> Result<u16, Wrong> {
        let wnd = args.number("win")?.map_or(65_535, |w| w as u16);
        self.conns[c].wnd = wnd;
        Ok(wnd)
    }

    /// `count NAME=N ...`, `drop REASON=N ...`: since the script began.
    fn counted(&mut self, verb: &str, args: &mut Args) -> Result<(), Wrong> {
        let now = self.stack.counters();
        while let Some(word) = args.next() {
            let Some((name, n)) = word.split_once('=') else { return wrong("NAME=N", word) };
            let n = number(n)? as u64;
            let got = if verb == "drop" {
                let reason = DropReason::ALL.iter().find(|r| r.as_str() == name);
                reason.map(|r| now.dropped(*r) - self.before.dropped(*r))
            } else {
                let was = self.before.iter();
                now.iter().zip(was).find(|((k, _), _)| *k == name).map(|((_, n), (_, was))| n - was)
            };
            let Some(got) = got else { return wrong("a counter of that name", name) };
            same(name, n, got)?;
        }
        Ok(())
    }

    fn on_connection(&mut self, verb: &str, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let Some(id) = self.conns[c].flow else {
            return wrong("a statement of the README, of a connection accepted or connected", verb);
        };
        match verb {
            "write" => self.write(c, args)?,
            "read" => self.read(c, args)?,
            "readable" => {
                let want = args.need("a number")?;
                same("readable", number(want)?, self.stack.readable(id))?;
            }
            "room" => same("room", number(args.need("a number")?)?, self.stack.room(id))?,
            "unacked" => same("unacked", number(args.need("a number")?)?, self.stack.unacked(id))?,
            "shutdown" => self.stack.shutdown(id),
            "close" => self.stack.close(id, self.now),
            "abort" => self.stack.abort(id, self.now),
            "state" => same("state", args.need("a state")?, state_name(self.stack.state(id)))?,
            "error" => same("error", args.need("an error")?, error_name(self.stack.error(id)))?,
            "events" => self.events(c, args)?,
            "info" => self.info(c, args)?,
            "set" => self.set(c, args)?,
            _ => return wrong("a statement of the README", verb),
        }
        if !self.burst {
            self.turn();
        }
        Ok(())
    }

    /// `write N` or `write N took=M`
    fn write(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let n = number(args.need("how many bytes")?)?;
        let took = args.number("took")?.unwrap_or(n);
        let conn = &mut self.conns[c];
        let from = conn.written as i64;
        let data: Vec<u8> = (from..from + n).map(pattern).collect();
        let written = conn.flow.map_or(0, |id| self.stack.write(id, &data));
        conn.written += written as u64;
        same("took", took, written)
    }

    /// `read N` or `read eof`
    fn read(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let what = args.need("how many bytes, or eof")?;
        let conn = &mut self.conns[c];
        let Some(id) = conn.flow else { return wrong("a connection", "none") };
        if what == "eof" {
            return same("eof", true, self.stack.at_eof(id));
        }
        let mut left = number(what)? as usize;
        let fill = args.number("fill")?;
        while left > 0 {
            let bytes = self.stack.recv(id);
            let n = left.min(bytes.len());
            if n == 0 {
                return wrong(format!("{left} bytes more to read"), "none");
            }
            let at = conn.read as i64;
            let right = |o| fill.map_or(pattern(o), |f| f as u8);
            if let Some((o, b)) = (at..).zip(&bytes[..n]).find(|(o, b)| right(*o) != **b) {
                return wrong(format!("byte {} at offset {o}", right(o)), b.to_string());
            }
            self.stack.consume(id, n);
            conn.read += n as u64;
            left -= n;
        }
        Ok(())
    }

    /// `events A B`: all that happened since they were last asked for, and no others.
    fn events(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        const NAMES: [(&str, Events); 4] = [
            ("READABLE", Events::READABLE),
            ("WRITABLE", Events::WRITABLE),
            ("CONNECTED", Events::CONNECTED),
            ("CLOSED", Events::CLOSED),
        ];
        let mut got = Events::default();
        while let Some((id, e)) = self.stack.next_ready() {
            if Some(id) == self.conns[c].flow {
                got.0 |= e.0;
            }
        }
        let named = |e: Events| NAMES.iter().filter(|n| e.contains(n.1)).map(|n| n.0).collect::<Vec<_>>();
        let mut want = Events::default();
        for (name, e) in NAMES {
            want.0 |= if args.word(name) { e.0 } else { 0 };
        }
        args.word("none");
        same("events", named(want).join(" "), named(got).join(" "))
    }

    /// `info KEY=VALUE ...`
    fn info(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let Some(info) = self.conns[c].flow.and_then(|id| self.stack.info(id)) else {
            return wrong("a connection", "none");
        };
        while let Some(word) = args.next() {
            let Some((key, value)) = word.split_once('=') else { return wrong("KEY=VALUE", word) };
            let got = match key {
                "rto" => info.rto_ns as i64,
                "srtt" => info.srtt_ns as i64,
                "rttvar" => info.rttvar_ns as i64,
                "cwnd" => i64::from(info.cwnd_bytes),
                "ssthresh" => i64::from(info.ssthresh_bytes),
                "mss" => i64::from(info.smss),
                "snd_wnd" => i64::from(info.snd_wnd),
                "rcv_wnd" => i64::from(info.rcv_wnd),
                "flight" => i64::from(info.in_flight_bytes),
                "unsent" => i64::from(info.unsent_bytes),
                _ => return wrong("a key of info", key),
            };
            if matches!(key, "rto" | "srtt" | "rttvar") {
                same(key, show_span(span(value)?), show_span(got as u64))?;
            } else {
                let (low, high) = value.split_once("..").unwrap_or((value, value));
                if !(number(low)?..=number(high)?).contains(&got) {
                    return wrong(word, format!("{key}={got}"));
                }
            }
        }
        Ok(())
    }

    /// `set KEY VALUE`
    fn set(&mut self, c: usize, args: &mut Args) -> Result<(), Wrong> {
        let Some(id) = self.conns[c].flow else { return wrong("a connection", "none") };
        let (key, value) = (args.need("an option")?, args.need("a value")?);
        let mut outcome = Ok(());
        self.stack.configure(id, |cfg| outcome = change(cfg, key, value));
        outcome
    }
}

/// The rest of a line with these flags in front.
fn with_flags<'a>(args: &mut Args<'a>, flags: &[&'a str]) -> Args<'a> {
    let mut words = flags.to_vec();
    while let Some(w) = args.next() {
        words.push(w);
    }
    Args::new(&words)
}

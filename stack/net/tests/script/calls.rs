//! What is not a segment: the application's calls, settings, and what can be known of a connection.

use linerate_net::{DropReason, Events, State, TcpError};

use super::segments::pattern;
use super::settings::change;
use super::text::{Args, Wrong, hex, number, show_span, span, wrong};
use super::world::{World, host};

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
        let data: Option<Vec<u8>> = args.number("data")?.map(|n| (0..n).map(pattern).collect());
        let opened = match data {
            None => self.stack.connect(to, conn.peer_port, self.now).map(|id| (id, 0)),
            Some(d) => self.stack.connect_fast_open((None, 0), (to, conn.peer_port), &d, None, self.now),
        };
        match (opened, args.value("error")) {
            (Ok((id, taken)), None) => {
                (conn.flow, conn.stack_port, conn.written) = (Some(id), 0, taken as u64);
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
            "write" | "write-urgent" => self.write(c, verb == "write-urgent", args)?,
            "urgent" => {
                let got = self.stack.urgent(id).map_or("none".into(), |n| n.to_string());
                same("urgent", args.need("a number, or none")?, got)?;
            }
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
    fn write(&mut self, c: usize, urgent: bool, args: &mut Args) -> Result<(), Wrong> {
        let n = number(args.need("how many bytes")?)?;
        let took = args.number("took")?.unwrap_or(n);
        let conn = &mut self.conns[c];
        let from = conn.written as i64;
        let data: Vec<u8> = (from..from + n).map(pattern).collect();
        let written = match conn.flow {
            Some(id) if urgent => self.stack.write_urgent(id, &data),
            Some(id) => self.stack.write(id, &data),
            None => 0,
        };
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
        const NAMES: [(&str, Events); 7] = [
            ("TROUBLE", Events::TROUBLE),
            ("URGENT", Events::URGENT),
            ("SOFT_ERROR", Events::SOFT_ERROR),
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

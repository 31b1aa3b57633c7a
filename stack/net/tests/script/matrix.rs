//! Every state meets every segment: what RFC 9293 section 3.10.7 and RFC 5961 say comes of it, told once more, shortly.

use super::run;

/// A kind of segment: its control bits and its text.
#[derive(Clone, Copy)]
struct Kind {
    flags: &'static str,
    len: i64,
}

impl Kind {
    fn has(self, flag: &str) -> bool {
        self.flags.split(' ').any(|f| f == flag)
    }
}

const KINDS: [Kind; 12] = [
    Kind { flags: "ACK", len: 0 },
    Kind { flags: "PSH ACK", len: 10 },
    Kind { flags: "FIN ACK", len: 0 },
    Kind { flags: "FIN PSH ACK", len: 10 },
    Kind { flags: "PSH", len: 10 },
    Kind { flags: "FIN", len: 0 },
    Kind { flags: "RST", len: 0 },
    Kind { flags: "RST ACK", len: 0 },
    Kind { flags: "SYN", len: 0 },
    Kind { flags: "SYN ACK", len: 0 },
    Kind { flags: "SYN FIN ACK", len: 10 },
    Kind { flags: "SYN RST ACK", len: 0 },
];

/// Where a segment begins, seen from RCV.NXT, and what it acknowledges.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Old,
    Next,
    Inside,
    Beyond,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Acks {
    Una,
    All,
    Unsent,
}

/// A state: how it is reached, RCV.NXT, SND.UNA, SND.NXT.
struct From {
    state: &'static str,
    way: &'static str,
    rcv_nxt: i64,
    snd_una: i64,
    snd_nxt: i64,
}

const STATES: [From; 7] = [
    From { state: "ESTABLISHED", way: "", rcv_nxt: 1, snd_una: 1, snd_nxt: 1 },
    From { state: "FIN-WAIT-1", way: "shutdown\nout FIN ACK\n", rcv_nxt: 1, snd_una: 1, snd_nxt: 2 },
    From { state: "FIN-WAIT-2", way: "shutdown\nout FIN ACK\nin ACK\n", rcv_nxt: 1, snd_una: 2, snd_nxt: 2 },
    From { state: "CLOSE-WAIT", way: "in FIN ACK\nout ACK\n", rcv_nxt: 2, snd_una: 1, snd_nxt: 1 },
    From {
        state: "CLOSING",
        way: "shutdown\nout FIN ACK\nin FIN ACK ack=1\nout ACK\n",
        rcv_nxt: 2,
        snd_una: 1,
        snd_nxt: 2,
    },
    From {
        state: "LAST-ACK",
        way: "in FIN ACK\nout ACK\nshutdown\nout FIN ACK\n",
        rcv_nxt: 2,
        snd_una: 1,
        snd_nxt: 2,
    },
    From {
        state: "TIME-WAIT",
        way: "shutdown\nout FIN ACK\nin FIN ACK\nout ACK\n",
        rcv_nxt: 2,
        snd_una: 2,
        snd_nxt: 2,
    },
];

/// What is answered, and the state behind it.
type Outcome = (&'static str, &'static str);

fn synchronized(s: &From, k: Kind, place: Place, acks: Acks) -> Outcome {
    if s.state == "TIME-WAIT" {
        return time_wait(k, place);
    }
    // First, check sequence number
    if matches!(place, Place::Old | Place::Beyond) {
        return (if k.has("RST") { "none" } else { "ACK" }, s.state);
    }
    // Second, check the RST bit
    if k.has("RST") {
        return if place == Place::Next { ("none", "CLOSED") } else { ("ACK", s.state) };
    }
    // Fourth, check the SYN bit; fifth, the ACK field
    if k.has("SYN") {
        return ("ACK", s.state);
    }
    if !k.has("ACK") {
        return ("none", s.state);
    }
    if acks == Acks::Unsent {
        return ("ACK", s.state);
    }
    let fin_acked = acks == Acks::All && s.snd_una < s.snd_nxt;
    let state = match s.state {
        "FIN-WAIT-1" if fin_acked => "FIN-WAIT-2",
        "CLOSING" if fin_acked => return ("none", "TIME-WAIT"),
        "LAST-ACK" if fin_acked => return ("none", "CLOSED"),
        other => other,
    };
    // Seventh, process the segment text; eighth, check the FIN bit
    let takes_text = matches!(state, "ESTABLISHED" | "FIN-WAIT-1" | "FIN-WAIT-2");
    if !takes_text || (k.len == 0 && !k.has("FIN")) {
        return ("none", state);
    }
    if place == Place::Inside {
        return ("ACK", state);
    }
    match (k.has("FIN"), state) {
        (false, _) => ("none", state), // acknowledged later
        (true, "ESTABLISHED") => ("ACK", "CLOSE-WAIT"),
        (true, "FIN-WAIT-1") => ("ACK", "CLOSING"),
        (true, _) => ("ACK", "TIME-WAIT"),
    }
}

fn time_wait(k: Kind, place: Place) -> Outcome {
    if k.has("RST") {
        return ("none", "TIME-WAIT"); // RFC 1337
    }
    if k.has("SYN") && !k.has("ACK") && matches!(place, Place::Inside | Place::Beyond) {
        return ("SYN ACK", "gone"); // MAY-2
    }
    if k.flags == "ACK" && place == Place::Next {
        return ("none", "TIME-WAIT");
    }
    ("ACK", "TIME-WAIT")
}

/// Of a passive open; "LISTEN" also where it is still half-open: no connection to accept.
fn syn_received(k: Kind, place: Place, acks: Acks) -> Outcome {
    if matches!(place, Place::Old | Place::Beyond) {
        return (if k.has("RST") { "none" } else { "ACK" }, "LISTEN");
    }
    if k.has("RST") {
        return (if place == Place::Next { "none" } else { "ACK" }, "LISTEN");
    }
    if k.has("SYN") || !k.has("ACK") {
        return ("none", "LISTEN");
    }
    if acks != Acks::All {
        return ("RST", "LISTEN");
    }
    match (k.len > 0 || k.has("FIN"), place) {
        (true, Place::Inside) => ("ACK", "ESTABLISHED"),
        (true, _) if k.has("FIN") => ("ACK", "CLOSE-WAIT"),
        _ => ("none", "ESTABLISHED"),
    }
}

fn syn_sent(k: Kind, acks: Acks) -> Outcome {
    // First, check the ACK bit: SND.UNA is ISS, and SND.NXT is one more
    let bad_ack = k.has("ACK") && acks != Acks::All;
    match (k.has("RST"), k.has("SYN")) {
        (true, _) if bad_ack || !k.has("ACK") => ("none", "SYN-SENT"),
        (true, _) => ("none", "CLOSED"),
        _ if bad_ack => ("RST", "SYN-SENT"),
        (_, false) => ("none", "SYN-SENT"),
        (_, true) if k.has("ACK") => ("ACK", "ESTABLISHED"),
        (_, true) => ("SYN ACK", "SYN-RECEIVED"),
    }
}

fn segment(k: Kind, seq: i64, ack: i64, offer: &str) -> String {
    let ack = if k.has("ACK") { format!(" ack={ack}") } else { String::new() };
    // Timestamps go along with all others by themselves.
    let ts = if k.has("SYN") && !k.has("RST") && offer.contains("ts") { " ts" } else { "" };
    format!("in {} seq={seq} len={}{ack}{ts}\n", k.flags, k.len)
}

fn check(script: &str, told: &str, wrong: &mut Vec<String>) {
    for v6 in [false, true] {
        if let Err(f) = run(script, v6) {
            wrong.push(format!("{told}: {} ({}, got {})", f.text, f.wrong.expected, f.wrong.got));
        }
    }
}

fn expectation((reply, state): Outcome, ack: i64) -> String {
    let reply = match reply {
        "none" => "none".into(),
        "RST" => format!("out RST seq={ack}"),
        reply => format!("out {reply} sack=any"),
    };
    format!("{reply}\nstate {state}\n")
}

const PLACES: [(Place, i64); 4] =
    [(Place::Old, -20), (Place::Next, 0), (Place::Inside, 10), (Place::Beyond, 5_000_000)];
const OFFERS: [&str; 2] = ["mss=1000", "mss=1000 sackok ts wscale=7"];

/// All that went otherwise than the RFC says.
pub fn differences() -> Vec<String> {
    let mut wrong = Vec::new();
    for k in KINDS {
        for (acks, offer) in [Acks::Una, Acks::All, Acks::Unsent].iter().flat_map(|a| OFFERS.map(|o| (*a, o)))
        {
            for (place, off) in PLACES {
                for s in &STATES {
                    in_synchronized(s, k, (place, off), acks, offer, &mut wrong);
                }
                in_syn_received(k, (place, off), acks, offer, &mut wrong);
            }
            in_syn_sent(k, acks, &mut wrong);
        }
    }
    wrong
}

fn in_synchronized(
    s: &From,
    k: Kind,
    (place, off): (Place, i64),
    acks: Acks,
    offer: &str,
    wrong: &mut Vec<String>,
) {
    // TIME-WAIT does not keep the window: it answers what has no ACK bit, too.
    if s.state == "TIME-WAIT" && !["ACK", "RST", "SYN"].iter().any(|f| k.has(f)) {
        return;
    }
    let ack = match acks {
        Acks::Una => s.snd_una,
        Acks::All => s.snd_nxt,
        Acks::Unsent => s.snd_nxt + 1,
    };
    let outcome = expectation(synchronized(s, k, place, acks), ack);
    let head = format!("# RFC 9293 section 3.10.7.4: the matrix\nconfig frames 16\nestablished {offer}\n");
    let script = format!("{head}{}{}{outcome}", s.way, segment(k, s.rcv_nxt + off, ack, offer));
    check(&script, &format!("{} {} len {} {place:?} {acks:?} {offer}", s.state, k.flags, k.len), wrong);
}

fn in_syn_received(k: Kind, (place, off): (Place, i64), acks: Acks, offer: &str, wrong: &mut Vec<String>) {
    let ack = acks as i64;
    let outcome = expectation(syn_received(k, place, acks), ack);
    let outcome = match outcome.strip_suffix("state LISTEN\n") {
        Some(reply) => format!("{reply}accept none\n"),
        None => outcome.replace("state", "accept\nstate"),
    };
    let head = format!(
        "# RFC 9293 section 3.10.7.4: the matrix\nconfig frames 16\nlisten\nin SYN {offer}\nout SYN ACK\n"
    );
    let script = format!("{head}{}{outcome}", segment(k, 1 + off, ack, offer));
    check(&script, &format!("SYN-RECEIVED {} len {} {place:?} {acks:?} {offer}", k.flags, k.len), wrong);
}

fn in_syn_sent(k: Kind, acks: Acks, wrong: &mut Vec<String>) {
    let ack = acks as i64;
    let head = "# RFC 9293 section 3.10.7.3: the matrix\nconfig frames 16\nconnect\nout SYN\n";
    let script = format!("{head}{}{}", segment(k, 0, ack, ""), expectation(syn_sent(k, acks), ack));
    check(&script, &format!("SYN-SENT {} len {} {acks:?}", k.flags, k.len), wrong);
}

//! TCP options of both sides.

use super::packet::{self, ACK, RST, SYN, Tcp};
use super::segments::{absolute, relative};
use super::text::{Args, Wrong, hex, number, wrong};
use super::world::Conn;

/// `10:20,30:40`
fn blocks(s: &str) -> Result<Vec<(i64, i64)>, Wrong> {
    let block = |b: &str| match b.split_once(':') {
        Some((l, r)) => Ok((number(l)?, number(r)?)),
        None => wrong("left:right", b),
    };
    s.split(',').map(block).collect()
}

/// Options that the script names; and that timestamps and SACK blocks are there only when they should be.
pub fn options_out(conn: &mut Conn, t: &Tcp, args: &mut Args, got: &str) -> Result<(), Wrong> {
    let options = packet::options(&t.options).or_else(|why| wrong("well-formed options", why))?;
    let find = |kind| options.iter().find(|(k, _)| *k == kind).map(|(_, v)| v.as_slice());
    let be = |v: &[u8]| v.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
    for (key, kind) in [("mss", 2), ("wscale", 3)] {
        match args.value(key) {
            Some("none") if find(kind).is_some() => return wrong(format!("no {key}"), got),
            Some("none") | None => {}
            Some(n) if find(kind).map(|v| i64::from(be(v))) == Some(number(n)?) => {}
            Some(n) => return wrong(format!("{key}={n}"), got),
        }
    }
    if args.word("sackok") && find(4).is_none() {
        return wrong("sackok", got);
    }
    if args.word("nosackok") && find(4).is_some() {
        return wrong("no sackok", got);
    }
    for kind in [2, 3, 4] {
        if find(kind).is_some() && t.flags & SYN == 0 {
            return wrong("options of a SYN only on a SYN (MUST-65)", got);
        }
    }
    fast_open_out(conn, find(34), args, got)?;
    if let Some(kinds) = args.value("kinds") {
        let list: Vec<String> = options.iter().map(|(k, _)| k.to_string()).collect();
        if list.join(",") != kinds {
            return wrong(format!("kinds={kinds}"), format!("kinds={}", list.join(",")));
        }
    }
    let stamps = find(8).map(|v| (be(&v[..4]), be(&v[4..])));
    if let Some((val, _)) = stamps {
        conn.ts_last = val;
        conn.ts_first.get_or_insert(val);
    }
    if t.flags & SYN != 0 && t.flags & ACK != 0 {
        conn.ts = conn.peer_offers_ts && stamps.is_some();
    }
    let wanted = (args.value("ts"), args.word("ts"), args.word("nots"));
    match (wanted, stamps) {
        ((_, _, true), Some(_)) | ((None, true, _) | (Some(_), _, _), None) => return wrong("ts", got),
        ((Some(v), ..), Some((val, ecr))) => {
            let Some((want_val, want_ecr)) = v.split_once('/') else { return wrong("ts=VAL/ECR", v) };
            let val = relative(val, conn.ts_first);
            if (want_val != "*" && number(want_val)? != val)
                || (want_ecr != "*" && number(want_ecr)? as u32 != ecr)
            {
                return wrong(format!("ts={v}"), got);
            }
        }
        ((None, false, false), stamps) if t.flags & (SYN | RST) == 0 && stamps.is_some() != conn.ts => {
            return wrong(if conn.ts { "ts" } else { "no ts" }, got);
        }
        _ => {}
    }
    let edge = |v: &[u8]| relative(be(v), Some(conn.peer_iss));
    let sack: Vec<_> =
        find(5).unwrap_or(&[]).chunks_exact(8).map(|b| (edge(&b[..4]), edge(&b[4..]))).collect();
    let want = match args.value("sack") {
        Some("any") => return Ok(()),
        Some(s) => blocks(s)?,
        None => Vec::new(),
    };
    if sack == want { Ok(()) } else { wrong(format!("SACK blocks {want:?}"), got) }
}

/// Fast Open's option (RFC 7413): `tfo=request`, `tfo=cookie`, `tfo=none`. The cookie is kept for the peer's SYNs.
fn fast_open_out(conn: &mut Conn, value: Option<&[u8]>, args: &mut Args, got: &str) -> Result<(), Wrong> {
    let kind = match value {
        None => "none",
        Some([]) => "request",
        Some(cookie) => {
            conn.cookie = cookie.to_vec();
            "cookie"
        }
    };
    match args.value("tfo") {
        Some(want) if want != kind => wrong(format!("tfo={want}"), format!("{got} tfo={kind}")),
        None if kind == "cookie" => wrong("no Fast Open cookie", got),
        _ => Ok(()),
    }
}

/// The options of a segment of the peer, as bytes.
pub fn options_in(conn: &mut Conn, flags: u16, clock: u32, args: &mut Args) -> Result<Vec<u8>, Wrong> {
    let mut o = Vec::new();
    let mss = args.number("mss")?;
    if let Some(mss) = mss {
        o.extend([2, 4]);
        o.extend((mss as u16).to_be_bytes());
    }
    if args.word("sackok") {
        o.extend([1, 1, 4, 2]);
    }
    let stamps = args.value("ts");
    let wanted = args.word("ts") || (conn.ts && flags & (SYN | RST) == 0 && stamps.is_none());
    if flags & (SYN | RST) == SYN {
        conn.peer_offers_ts = wanted || stamps.is_some();
        if flags & ACK != 0 {
            conn.ts = conn.peer_offers_ts && conn.ts_first.is_some();
        }
    }
    if !args.word("nots") && (wanted || stamps.is_some()) {
        let (val, ecr) = match stamps.map(|s| s.split_once('/')) {
            None => ("*", "*"),
            Some(Some(pair)) => pair,
            Some(None) => return wrong("ts=VAL/ECR", stamps.unwrap_or_default()),
        };
        let val = if val == "*" { clock } else { number(val)? as u32 };
        let ecr = match ecr {
            "*" if flags & ACK == 0 => 0,
            "*" => conn.ts_last,
            n => absolute(number(n)?, conn.ts_first),
        };
        o.extend([1, 1, 8, 10]);
        o.extend(val.to_be_bytes());
        o.extend(ecr.to_be_bytes());
    }
    if let Some(shift) = args.number("wscale")? {
        o.extend([1, 3, 3, shift as u8]);
    }
    if let Some(s) = args.value("sack") {
        let list = blocks(s)?;
        o.extend([1, 1, 5, 2 + 8 * list.len() as u8]);
        for (left, right) in list {
            o.extend(absolute(left, conn.stack_iss).to_be_bytes());
            o.extend(absolute(right, conn.stack_iss).to_be_bytes());
        }
    }
    if let Some(cookie) = args.value("tfo") {
        let cookie = match cookie {
            "request" => Vec::new(),
            "cookie" => conn.cookie.clone(),
            given => hex(given)?,
        };
        o.extend([34, 2 + cookie.len() as u8]);
        o.extend(cookie);
    }
    if let Some(raw) = args.value("opts") {
        o.extend(hex(raw)?);
    }
    Ok(o)
}

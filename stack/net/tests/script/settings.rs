//! Settings of a script's stack, and of one connection.

use linerate_net::TcpConfig;
use linerate_tcp::SynCookies;
use linerate_tcp::cc::CcKind;
use linerate_tcp::ecn::EcnMode;

use super::text::{Args, Wrong, number, span, wrong};
use super::world::Setup;

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
pub fn change(tcp: &mut TcpConfig, key: &str, value: &str) -> Result<(), Wrong> {
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
        "fast-open" => tcp.fast_open_pending = number(value)? as u16,
        "ecn" => {
            tcp.ecn = match value {
                "off" => EcnMode::Off,
                "passive" => EcnMode::Passive,
                "on" => EcnMode::On,
                _ => return wrong("off, passive or on", value),
            }
        }
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

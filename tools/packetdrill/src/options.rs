//! setsockopt and getsockopt: what the stack has is wired to it, what only a kernel has is remembered or refused as
//! Linux would.

use std::collections::BTreeMap;

use linerate_net::limits::{IPV4_TCP_HEADER_BYTES, IPV6_TCP_HEADER_BYTES};
use linerate_net::{State, TcpConfig};
use linerate_tcp::limits::QUICKACK_SEGS;
use linerate_tcp::time::{MS, SEC};

use crate::errno::{Errno, Res};
use crate::sysctl::{Sysctls, congestion_control};
use crate::tcp_sock::Phase;
use crate::world::World;

// Names that the libc crate lacks; numbers of the Linux UAPI.
const TCP_CC_INFO: i32 = 26;
const TCP_SAVE_SYN: i32 = 27;
const TCP_ULP: i32 = 31;
const TCP_INQ: i32 = 36;
const TCP_NOTSENT_LOWAT: i32 = 25;
const TCP_TIMESTAMP: i32 = 24;
const TCP_FASTOPEN_KEY: i32 = 33;
const TCP_FASTOPEN_NO_COOKIE: i32 = 34;
const TCP_RTO_MAX_MS: i32 = 44;
const TCP_RTO_MIN_US: i32 = 45;
const TCP_DELACK_MAX_US: i32 = 46;
const SO_MEMINFO: i32 = 55;

/// TCP_MAXSEG at least: the kernel's TCP_MIN_MSS.
const MAXSEG_MIN: i32 = 88;
/// TCP_MAXSEG, TCP_KEEPIDLE and TCP_KEEPINTVL at most (MAX_TCP_WINDOW, MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL).
const SHORT_MAX: i32 = 32_767;
/// TCP_KEEPCNT and TCP_SYNCNT at most.
const COUNT_MAX: i32 = 127;
/// SO_SNDBUF at least, doubled: the kernel's SOCK_MIN_SNDBUF.
const SNDBUF_MIN: u32 = 4608;
/// SO_RCVBUF at least, doubled: SOCK_MIN_RCVBUF.
const RCVBUF_MIN: u32 = 2304;
/// TCP_LINGER2 at most, seconds: TCP_FIN_TIMEOUT_MAX.
const LINGER2_MAX_SECS: i32 = 120;
/// struct tcp_info's bytes for TCP_CC_INFO: the algorithms that we have give none.
const CC_INFO: &[u8] = &[];

/// What a socket was told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub reuse_addr: bool,
    pub reuse_port: bool,
    pub v6only: bool,
    /// SO_LINGER's seconds if it is on.
    pub linger_secs: Option<u32>,
    pub rcv_lowat: usize,
    pub rcv_timeo_ns: Option<u64>,
    pub snd_timeo_ns: Option<u64>,
    pub notsent_lowat: Option<u32>,
    /// As SO_SNDBUF and SO_RCVBUF report them: twice what was asked for.
    pub sndbuf: u32,
    pub rcvbuf: u32,
    pub congestion: String,
    /// Everything that is a number and no more.
    ints: BTreeMap<(i32, i32), i32>,
}

impl Options {
    pub fn new(sysctls: &Sysctls) -> Self {
        Self {
            reuse_addr: false,
            reuse_port: false,
            v6only: false,
            linger_secs: None,
            rcv_lowat: 1,
            rcv_timeo_ns: None,
            snd_timeo_ns: None,
            notsent_lowat: Some(sysctls.notsent_lowat).filter(|n| *n != 0 && *n != u32::MAX),
            sndbuf: sysctls.wmem[1],
            rcvbuf: sysctls.rmem[1],
            congestion: sysctls.congestion_control.clone(),
            ints: BTreeMap::new(),
        }
    }

    pub fn int(&self, level: i32, opt: i32) -> Option<i32> {
        self.ints.get(&(level, opt)).copied()
    }

    pub fn remember(&mut self, level: i32, opt: i32, value: i32) {
        self.ints.insert((level, opt), value);
    }
}

/// An int at the start of an option's value.
pub(crate) fn int(value: Option<&[u8]>) -> Res<i32> {
    let bytes = value.ok_or(Errno::EFAULT)?;
    let four = bytes.first_chunk::<4>().ok_or(Errno::EINVAL)?;
    Ok(i32::from_ne_bytes(*four))
}

fn within(value: i32, range: std::ops::RangeInclusive<i32>) -> Res<i32> {
    if range.contains(&value) { Ok(value) } else { Err(Errno::EINVAL) }
}

/// A name at the start of an option's value, without what follows a NUL.
fn name(value: Option<&[u8]>) -> Res<String> {
    let bytes = value.ok_or(Errno::EFAULT)?;
    if bytes.is_empty() {
        return Err(Errno::EINVAL);
    }
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// struct timeval; zero is no limit.
fn timeval_ns(value: Option<&[u8]>) -> Res<Option<u64>> {
    let bytes = value.ok_or(Errno::EFAULT)?;
    let sixteen = bytes.first_chunk::<16>().ok_or(Errno::EINVAL)?;
    let (secs, usecs) = sixteen.split_at(8);
    let secs = i64::from_ne_bytes(secs.try_into().expect("8 bytes"));
    let usecs = i64::from_ne_bytes(usecs.try_into().expect("8 bytes"));
    if !(0..1_000_000).contains(&usecs) {
        return Err(Errno::EDOM);
    }
    let ns = u64::try_from(secs).unwrap_or(0).saturating_mul(SEC) + usecs as u64 * 1_000;
    Ok((ns > 0).then_some(ns))
}

fn timeval(ns: Option<u64>) -> Vec<u8> {
    let ns = ns.unwrap_or(0);
    let (secs, usecs) = ((ns / SEC) as i64, (ns % SEC / 1_000) as i64);
    [secs.to_ne_bytes(), usecs.to_ne_bytes()].concat()
}

pub(crate) fn bytes(value: i32) -> Res<Vec<u8>> {
    Ok(value.to_ne_bytes().to_vec())
}

impl World {
    /// Changes the settings of the socket, its connection or its listeners.
    pub fn configure(&mut self, fd: i32, change: impl Fn(&mut TcpConfig)) -> Res<()> {
        let sock = self.tcp(fd)?;
        change(&mut sock.cfg);
        match sock.phase.clone() {
            Phase::Idle => {}
            Phase::Listening(ids) => ids.iter().for_each(|id| self.stack.configure_listener(*id, &change)),
            Phase::Connecting(id) | Phase::Connected(id) => self.stack.configure(id, change),
        }
        Ok(())
    }

    /// setsockopt(2) on a TCP socket; `None` is a null pointer.
    pub fn tcp_setsockopt(&mut self, fd: i32, level: i32, opt: i32, value: Option<&[u8]>) -> Res<()> {
        let v6 = self.tcp(fd)?.v6;
        match level {
            libc::SOL_SOCKET => self.set_socket(fd, opt, value),
            libc::IPPROTO_TCP => self.set_tcp(fd, opt, value),
            libc::IPPROTO_IP => self.set_ip(fd, opt, value),
            libc::IPPROTO_IPV6 if v6 => self.set_ipv6(fd, opt, value),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn set_socket(&mut self, fd: i32, opt: i32, value: Option<&[u8]>) -> Res<()> {
        let v = int(value)?;
        let (wmem_max, rmem_max) = (self.sysctls.core_wmem_max, self.sysctls.core_rmem_max);
        let o = &mut self.tcp(fd)?.options;
        match opt {
            libc::SO_REUSEADDR => o.reuse_addr = v != 0,
            libc::SO_REUSEPORT => o.reuse_port = v != 0,
            libc::SO_SNDBUF | libc::SO_SNDBUFFORCE => {
                // Too much is cut, too little raised, what is left doubled: socket(7).
                let most = if opt == libc::SO_SNDBUF { wmem_max } else { i32::MAX as u32 / 2 };
                o.sndbuf = (v as u32).min(most).saturating_mul(2).max(SNDBUF_MIN);
                let half = o.sndbuf / 2;
                self.configure(fd, |c| c.snd_buf_bytes = half)?;
            }
            libc::SO_RCVBUF | libc::SO_RCVBUFFORCE => {
                let most = if opt == libc::SO_RCVBUF { rmem_max } else { i32::MAX as u32 / 2 };
                o.rcvbuf = (v as u32).min(most).saturating_mul(2).max(RCVBUF_MIN);
                let half = o.rcvbuf / 2;
                self.configure(fd, |c| c.rcv_buf_bytes = half)?;
            }
            libc::SO_KEEPALIVE => {
                o.remember(libc::SOL_SOCKET, opt, (v != 0).into());
                self.configure(fd, |c| c.keepalive = v != 0)?;
            }
            libc::SO_LINGER => {
                let both = value.and_then(|b| b.get(4..8)).ok_or(Errno::EINVAL)?;
                let secs = i32::from_ne_bytes(both.try_into().expect("4 bytes"));
                o.linger_secs = (v != 0).then_some(secs.max(0) as u32);
            }
            libc::SO_RCVLOWAT => {
                o.rcv_lowat = if v < 0 { i32::MAX as usize } else { (v as usize).max(1) };
                self.file(fd)?.edges += 1;
            }
            libc::SO_RCVTIMEO => o.rcv_timeo_ns = timeval_ns(value)?,
            libc::SO_SNDTIMEO => o.snd_timeo_ns = timeval_ns(value)?,
            libc::SO_PRIORITY => o.remember(libc::SOL_SOCKET, opt, within(v, 0..=6)?),
            libc::SO_DEBUG
            | libc::SO_DONTROUTE
            | libc::SO_BROADCAST
            | libc::SO_OOBINLINE
            | libc::SO_NO_CHECK
            | libc::SO_TIMESTAMP
            | libc::SO_TIMESTAMPNS
            | libc::SO_ZEROCOPY
            | libc::SO_RXQ_OVFL
            | libc::SO_PASSCRED => o.remember(libc::SOL_SOCKET, opt, (v != 0).into()),
            libc::SO_MARK
            | libc::SO_TIMESTAMPING
            | libc::SO_MAX_PACING_RATE
            | libc::SO_BUSY_POLL
            | libc::SO_INCOMING_CPU => o.remember(libc::SOL_SOCKET, opt, v),
            libc::SO_BINDTODEVICE | libc::SO_ATTACH_FILTER => {}
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn set_tcp(&mut self, fd: i32, opt: i32, value: Option<&[u8]>) -> Res<()> {
        match opt {
            libc::TCP_CONGESTION => return self.set_congestion(fd, &name(value)?),
            TCP_ULP => return name(value).and(Err(Errno::ENOENT)),
            TCP_FASTOPEN_KEY => {
                return match value.ok_or(Errno::EFAULT)?.len() {
                    16 | 32 => Ok(()),
                    _ => Err(Errno::EINVAL),
                };
            }
            _ => {}
        }
        let v = int(value)?;
        let fin_timeout_s = self.sysctls.fin_timeout_s;
        let idle = self.tcp(fd)?.phase == Phase::Idle;
        let listening = matches!(self.tcp(fd)?.phase, Phase::Listening(_));
        let stored = match opt {
            libc::TCP_NODELAY => {
                self.configure(fd, |c| c.nodelay = v != 0)?;
                (v != 0).into()
            }
            libc::TCP_CORK => {
                self.configure(fd, |c| c.cork = v != 0)?;
                (v != 0).into()
            }
            libc::TCP_MAXSEG => {
                let v = if v == 0 { 0 } else { within(v, MAXSEG_MIN..=SHORT_MAX)? };
                self.configure(fd, |c| c.mss_max = v as u16)?;
                v
            }
            libc::TCP_KEEPIDLE => {
                let v = within(v, 1..=SHORT_MAX)?;
                self.configure(fd, |c| c.keepalive_idle_ns = v as u64 * SEC)?;
                v
            }
            libc::TCP_KEEPINTVL => {
                let v = within(v, 1..=SHORT_MAX)?;
                self.configure(fd, |c| c.keepalive_interval_ns = v as u64 * SEC)?;
                v
            }
            libc::TCP_KEEPCNT => {
                let v = within(v, 1..=COUNT_MAX)?;
                self.configure(fd, |c| c.keepalive_probes = v as u8)?;
                v
            }
            libc::TCP_SYNCNT => {
                let v = within(v, 1..=COUNT_MAX)?;
                self.configure(fd, |c| c.syn_retries = v as u8)?;
                v
            }
            libc::TCP_LINGER2 => {
                let v = v.clamp(-1, LINGER2_MAX_SECS);
                // 0 is the sysctl's value; below it FIN-WAIT-2 does not wait at all.
                let secs = if v == 0 { i64::from(fin_timeout_s) } else { v.max(0).into() };
                self.configure(fd, |c| c.fin_wait_2_ns = secs as u64 * SEC)?;
                v
            }
            libc::TCP_DEFER_ACCEPT => {
                self.configure(fd, |c| c.defer_accept_ns = v.max(0) as u64 * SEC)?;
                v.max(0)
            }
            libc::TCP_WINDOW_CLAMP if v == 0 && !idle => return Err(Errno::EINVAL),
            libc::TCP_WINDOW_CLAMP => {
                let clamp = if v == 0 { 0 } else { (v as u32).max(RCVBUF_MIN / 2) };
                self.configure(fd, |c| c.window_clamp_bytes = clamp)?;
                clamp as i32
            }
            libc::TCP_QUICKACK => {
                self.set_quickack(fd, v)?;
                (v != 0).into()
            }
            libc::TCP_USER_TIMEOUT => {
                let v = within(v, 0..=i32::MAX)?;
                self.configure(fd, |c| c.user_timeout_ns = (v > 0).then_some(v as u64 * MS))?;
                v
            }
            libc::TCP_THIN_LINEAR_TIMEOUTS | libc::TCP_THIN_DUPACK | TCP_INQ => within(v, 0..=1)?,
            TCP_SAVE_SYN => within(v, 0..=2)?,
            libc::TCP_FASTOPEN if v < 0 || !(idle || listening) => return Err(Errno::EINVAL),
            libc::TCP_FASTOPEN => v,
            libc::TCP_FASTOPEN_CONNECT | TCP_FASTOPEN_NO_COOKIE => {
                let v = within(v, 0..=1)?;
                // TFO_CLIENT_ENABLE
                if opt == libc::TCP_FASTOPEN_CONNECT && self.sysctls.fastopen & 1 == 0 {
                    return Err(Errno::EOPNOTSUPP);
                }
                if !(idle || listening && opt == TCP_FASTOPEN_NO_COOKIE) {
                    return Err(Errno::EINVAL);
                }
                v
            }
            TCP_NOTSENT_LOWAT => {
                self.tcp(fd)?.options.notsent_lowat = Some(v as u32).filter(|n| *n != 0);
                self.file(fd)?.edges += 1;
                v
            }
            // Only while a connection is being repaired, which there is no privilege for here.
            TCP_TIMESTAMP | libc::TCP_REPAIR | libc::TCP_REPAIR_QUEUE | libc::TCP_QUEUE_SEQ => {
                return Err(Errno::EPERM);
            }
            TCP_RTO_MAX_MS => within(v, 1_000..=120_000)?,
            TCP_RTO_MIN_US => {
                let v = within(v, 1..=200_000)?;
                self.configure(fd, |c| c.rto_min_ns = v as u64 * 1_000)?;
                v
            }
            TCP_DELACK_MAX_US => {
                let v = within(v, 1..=200_000)?;
                self.configure(fd, |c| c.delack_ns = v as u64 * 1_000)?;
                v
            }
            _ => return Err(Errno::ENOPROTOOPT),
        };
        self.tcp(fd)?.options.remember(libc::IPPROTO_TCP, opt, stored);
        Ok(())
    }

    fn set_congestion(&mut self, fd: i32, name: &str) -> Res<()> {
        let kind = congestion_control(name).ok_or(Errno::ENOENT)?;
        self.configure(fd, |c| c.cc = kind)?;
        self.tcp(fd)?.options.congestion = name.to_owned();
        Ok(())
    }

    fn set_quickack(&mut self, fd: i32, v: i32) -> Res<()> {
        if let Some(id) = self.tcp(fd)?.flow() {
            self.stack.set_quickack(id, if v != 0 { QUICKACK_SEGS } else { 0 });
        }
        Ok(())
    }

    fn set_ip(&mut self, fd: i32, opt: i32, value: Option<&[u8]>) -> Res<()> {
        // A char is enough at this level.
        let v = match value.ok_or(Errno::EFAULT)? {
            [] => 0,
            &[b] | &[b, _] | &[b, _, _] => b.into(),
            _ => int(value)?,
        };
        let stored = match opt {
            // The ECN bits are TCP's own.
            libc::IP_TOS => v & 0xfc,
            libc::IP_TTL if v == -1 => 64,
            libc::IP_TTL => within(v, 1..=255)?,
            libc::IP_MTU_DISCOVER => within(v, 0..=5)?,
            libc::IP_MTU => return Err(Errno::ENOPROTOOPT),
            3..=9 | 11..=13 | 15..=50 => v,
            _ => return Err(Errno::ENOPROTOOPT),
        };
        self.tcp(fd)?.options.remember(libc::IPPROTO_IP, opt, stored);
        self.apply_ip(fd)
    }

    fn set_ipv6(&mut self, fd: i32, opt: i32, value: Option<&[u8]>) -> Res<()> {
        let v = int(value)?;
        let sock = self.tcp(fd)?;
        let stored = match opt {
            libc::IPV6_V6ONLY if sock.bound.is_some() => return Err(Errno::EINVAL),
            libc::IPV6_V6ONLY => {
                sock.options.v6only = v != 0;
                (v != 0).into()
            }
            libc::IPV6_UNICAST_HOPS | libc::IPV6_TCLASS => within(v, -1..=255)?,
            libc::IPV6_MTU_DISCOVER => within(v, 0..=5)?,
            libc::IPV6_MTU if v != 0 && v < 1280 => return Err(Errno::EINVAL),
            1..=80 => v,
            _ => return Err(Errno::ENOPROTOOPT),
        };
        sock.options.remember(libc::IPPROTO_IPV6, opt, stored);
        self.apply_ip(fd)
    }

    /// getsockopt(2) on a TCP socket: the whole value.
    pub fn tcp_getsockopt(&mut self, fd: i32, level: i32, opt: i32) -> Res<Vec<u8>> {
        let v6 = self.tcp(fd)?.v6;
        match level {
            libc::SOL_SOCKET => self.get_socket(fd, opt),
            libc::IPPROTO_TCP => self.get_tcp(fd, opt),
            libc::IPPROTO_IP => self.get_ip(fd, opt),
            libc::IPPROTO_IPV6 if v6 => self.get_ipv6(fd, opt),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn get_socket(&mut self, fd: i32, opt: i32) -> Res<Vec<u8>> {
        if opt == libc::SO_ERROR {
            return bytes(self.take_error(fd)?.map_or(0, |e| e.0));
        }
        if opt == SO_MEMINFO {
            return self.meminfo(fd);
        }
        let sock = self.tcp(fd)?;
        let o = &sock.options;
        bytes(match opt {
            libc::SO_TYPE => libc::SOCK_STREAM,
            libc::SO_PROTOCOL => libc::IPPROTO_TCP,
            libc::SO_DOMAIN => {
                if sock.v6 {
                    libc::AF_INET6
                } else {
                    libc::AF_INET
                }
            }
            libc::SO_ACCEPTCONN => matches!(sock.phase, Phase::Listening(_)).into(),
            libc::SO_REUSEADDR => o.reuse_addr.into(),
            libc::SO_REUSEPORT => o.reuse_port.into(),
            libc::SO_SNDBUF => o.sndbuf as i32,
            libc::SO_RCVBUF => o.rcvbuf as i32,
            libc::SO_RCVLOWAT => o.rcv_lowat as i32,
            libc::SO_SNDLOWAT => 1,
            libc::SO_LINGER => {
                let (on, secs) = (o.linger_secs.is_some() as i32, o.linger_secs.unwrap_or(0) as i32);
                return Ok([on.to_ne_bytes(), secs.to_ne_bytes()].concat());
            }
            libc::SO_RCVTIMEO => return Ok(timeval(o.rcv_timeo_ns)),
            libc::SO_SNDTIMEO => return Ok(timeval(o.snd_timeo_ns)),
            libc::SO_MAX_PACING_RATE => o.int(libc::SOL_SOCKET, opt).unwrap_or(-1),
            libc::SO_KEEPALIVE
            | libc::SO_DEBUG
            | libc::SO_DONTROUTE
            | libc::SO_BROADCAST
            | libc::SO_OOBINLINE
            | libc::SO_NO_CHECK
            | libc::SO_TIMESTAMP
            | libc::SO_TIMESTAMPNS
            | libc::SO_ZEROCOPY
            | libc::SO_RXQ_OVFL
            | libc::SO_PASSCRED
            | libc::SO_PRIORITY
            | libc::SO_MARK
            | libc::SO_TIMESTAMPING
            | libc::SO_BUSY_POLL
            | libc::SO_INCOMING_CPU => o.int(libc::SOL_SOCKET, opt).unwrap_or(0),
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    /// Nine counts (SK_MEMINFO_VARS): what is queued, what may be.
    fn meminfo(&mut self, fd: i32) -> Res<Vec<u8>> {
        let sock = self.tcp(fd)?;
        let (rcvbuf, sndbuf, flow) = (sock.options.rcvbuf, sock.options.sndbuf, sock.flow());
        let (unread, unacked) =
            flow.map_or((0, 0), |id| (self.stack.readable(id) as u32, self.stack.unacked(id) as u32));
        Ok([unread, rcvbuf, unacked, sndbuf, 0, unacked, 0, 0, 0]
            .iter()
            .flat_map(|n| n.to_ne_bytes())
            .collect())
    }

    fn get_tcp(&mut self, fd: i32, opt: i32) -> Res<Vec<u8>> {
        let stored = self.tcp(fd)?.options.int(libc::IPPROTO_TCP, opt);
        bytes(match opt {
            libc::TCP_INFO => return self.tcp_info(fd),
            TCP_CC_INFO => return Ok(CC_INFO.to_vec()),
            libc::TCP_CONGESTION => {
                // TCP_CA_NAME_MAX bytes, as the kernel fills them.
                let mut name = self.tcp(fd)?.options.congestion.clone().into_bytes();
                name.resize(16, 0);
                return Ok(name);
            }
            libc::TCP_MAXSEG => self.maxseg(fd)?,
            libc::TCP_KEEPIDLE => stored.unwrap_or(self.sysctls.keepalive_time_s as i32),
            libc::TCP_KEEPINTVL => stored.unwrap_or(self.sysctls.keepalive_intvl_s as i32),
            libc::TCP_KEEPCNT => stored.unwrap_or(self.sysctls.keepalive_probes as i32),
            libc::TCP_SYNCNT => stored.unwrap_or(self.sysctls.syn_retries as i32),
            libc::TCP_LINGER2 => stored.unwrap_or(self.sysctls.fin_timeout_s as i32),
            libc::TCP_QUICKACK => stored.unwrap_or(1),
            TCP_RTO_MAX_MS => stored.unwrap_or(self.sysctls.rto_max_ms as i32),
            TCP_RTO_MIN_US => stored.unwrap_or(self.sysctls.rto_min_us as i32),
            TCP_DELACK_MAX_US => stored.unwrap_or(200_000),
            TCP_TIMESTAMP => {
                let now = self.clock.now();
                let ms = (now.0 / MS) as i32;
                self.tcp(fd)?.flow().map_or(ms, |id| self.stack.tsval(id, now).map_or(ms, |t| t as i32))
            }
            TCP_NOTSENT_LOWAT => stored.unwrap_or(0),
            libc::TCP_NODELAY
            | libc::TCP_CORK
            | libc::TCP_DEFER_ACCEPT
            | libc::TCP_WINDOW_CLAMP
            | libc::TCP_USER_TIMEOUT
            | libc::TCP_THIN_LINEAR_TIMEOUTS
            | libc::TCP_THIN_DUPACK
            | TCP_INQ
            | TCP_SAVE_SYN
            | libc::TCP_FASTOPEN
            | libc::TCP_FASTOPEN_CONNECT
            | TCP_FASTOPEN_NO_COOKIE => stored.unwrap_or(0),
            libc::TCP_REPAIR => 0,
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    /// TCP_MAXSEG: the current MSS, or what was asked for before there is a connection (536 if nothing was).
    fn maxseg(&mut self, fd: i32) -> Res<i32> {
        let sock = self.tcp(fd)?;
        let asked = i32::from(sock.cfg.mss_max);
        let flow = sock.flow();
        let smss = flow.and_then(|id| self.stack.info(id)).filter(|i| i.state != State::Closed);
        Ok(match smss {
            Some(info) => info.smss.into(),
            None if asked != 0 => asked,
            None => linerate_tcp::limits::MSS_DEFAULT_V4.into(),
        })
    }

    fn get_ip(&mut self, fd: i32, opt: i32) -> Res<Vec<u8>> {
        let stored = self.tcp(fd)?.options.int(libc::IPPROTO_IP, opt);
        bytes(match opt {
            libc::IP_MTU => self.path_mtu(fd)?,
            libc::IP_TTL => stored.unwrap_or(64),
            libc::IP_MTU_DISCOVER => stored.unwrap_or(libc::IP_PMTUDISC_WANT),
            1..=50 => stored.unwrap_or(0),
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    fn get_ipv6(&mut self, fd: i32, opt: i32) -> Res<Vec<u8>> {
        let sock = self.tcp(fd)?;
        let (stored, v6only) = (sock.options.int(libc::IPPROTO_IPV6, opt), sock.options.v6only);
        bytes(match opt {
            libc::IPV6_V6ONLY => v6only.into(),
            libc::IPV6_MTU => self.path_mtu(fd)?,
            libc::IPV6_UNICAST_HOPS => stored.filter(|v| *v >= 0).unwrap_or(64),
            libc::IPV6_TCLASS => stored.filter(|v| *v >= 0).unwrap_or(0),
            libc::IPV6_MTU_DISCOVER => stored.unwrap_or(libc::IP_PMTUDISC_WANT),
            1..=80 => stored.unwrap_or(0),
            _ => return Err(Errno::ENOPROTOOPT),
        })
    }

    fn path_mtu(&mut self, fd: i32) -> Res<i32> {
        let flow = self.tcp(fd)?.flow();
        let info = flow.and_then(|id| self.stack.info(id)).filter(|i| i.state != State::Closed);
        let v4 = flow.and_then(|id| self.stack.flow_key(id)).is_some_and(|k| k.local.is_ipv4());
        let headers = if v4 { IPV4_TCP_HEADER_BYTES } else { IPV6_TCP_HEADER_BYTES };
        info.map(|i| i32::from(i.advmss + headers)).ok_or(Errno::ENOTCONN)
    }

    /// Tells the stack of TTL and traffic class.
    fn apply_ip(&mut self, fd: i32) -> Res<()> {
        let (v6, o) = (self.tcp(fd)?.v6, &self.tcp(fd)?.options);
        let of = |v4: i32, v6_opt: i32| {
            let six = o.int(libc::IPPROTO_IPV6, v6_opt).filter(|v| v6 && *v >= 0);
            six.or(o.int(libc::IPPROTO_IP, v4)).map(|v| v as u8)
        };
        let tos = of(libc::IP_TOS, libc::IPV6_TCLASS).unwrap_or(0);
        let ttl = of(libc::IP_TTL, libc::IPV6_UNICAST_HOPS).unwrap_or(linerate_tcp::limits::TTL);
        self.configure(fd, |c| (c.tos, c.ttl) = (tos, ttl))
    }
}

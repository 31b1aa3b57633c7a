//! Configuration as a script sets it: the sysctls of the network namespace.

use std::fs;

use linerate_tcp::TcpConfig;
use linerate_tcp::cc::{CcKind, IdleRestart};
use linerate_tcp::config::{MtuProbing, SynCookies};
use linerate_tcp::time::{MS, SEC};

use crate::flags::Profile;

/// Values of `/proc/sys/net` that the stack acts on; what is absent or unreadable has Linux's default.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sysctls {
    pub timestamps: bool,
    pub sack: bool,
    pub dsack: bool,
    pub window_scaling: bool,
    pub ecn: u32,
    pub syncookies: u32,
    pub rmem: [u32; 3],
    pub wmem: [u32; 3],
    pub core_rmem_max: u32,
    pub core_wmem_max: u32,
    pub moderate_rcvbuf: bool,
    pub syn_retries: u32,
    pub syn_linear_timeouts: u32,
    pub synack_retries: u32,
    pub retries2: u32,
    pub slow_start_after_idle: bool,
    pub notsent_lowat: u32,
    pub congestion_control: String,
    pub invalid_ratelimit_ms: u32,
    pub early_retrans: u32,
    pub recovery: u32,
    pub frto: u32,
    pub reordering: u32,
    pub mtu_probing: u32,
    pub base_mss: u32,
    pub min_snd_mss: u32,
    pub rto_max_ms: u32,
    pub rto_min_us: u32,
    pub fin_timeout_s: u32,
    pub keepalive_time_s: u32,
    pub keepalive_intvl_s: u32,
    pub keepalive_probes: u32,
    pub fastopen: u32,
    pub abort_on_overflow: bool,
    pub max_syn_backlog: u32,
    pub somaxconn: u32,
    pub autocorking: bool,
    pub tw_reuse: u32,
    pub rfc1337: bool,
}

impl Default for Sysctls {
    /// Linux 6.x on a machine with some gigabytes of memory.
    fn default() -> Self {
        Self {
            timestamps: true,
            sack: true,
            dsack: true,
            window_scaling: true,
            ecn: 2,
            syncookies: 1,
            rmem: [4096, 131_072, 6_291_456],
            wmem: [4096, 16_384, 4_194_304],
            core_rmem_max: 212_992,
            core_wmem_max: 212_992,
            moderate_rcvbuf: true,
            syn_retries: 6,
            // None, for kernels before 6.5 do not have the file.
            syn_linear_timeouts: 0,
            synack_retries: 5,
            retries2: 15,
            slow_start_after_idle: true,
            notsent_lowat: u32::MAX,
            congestion_control: "cubic".into(),
            invalid_ratelimit_ms: 500,
            early_retrans: 3,
            recovery: 1,
            frto: 2,
            reordering: 3,
            mtu_probing: 0,
            base_mss: 1024,
            min_snd_mss: 48,
            rto_max_ms: 120_000,
            rto_min_us: 200_000,
            fin_timeout_s: 60,
            keepalive_time_s: 7200,
            keepalive_intvl_s: 75,
            keepalive_probes: 9,
            fastopen: 1,
            abort_on_overflow: false,
            max_syn_backlog: 4096,
            somaxconn: 4096,
            autocorking: true,
            tw_reuse: 2,
            rfc1337: false,
        }
    }
}

impl Sysctls {
    /// Those of this process's network namespace, now.
    pub fn read() -> Self {
        Self::from(|name| fs::read_to_string(format!("/proc/sys/net/{name}")).ok())
    }

    /// From any source of file contents.
    pub fn from(read: impl Fn(&str) -> Option<String>) -> Self {
        let d = Self::default();
        let number = |name: &str, default: u32| {
            // A value below zero or above 32 bits is as large as can be (tcp_notsent_lowat = -1).
            let text = read(name).unwrap_or_default();
            let value = text.split_ascii_whitespace().next().and_then(|w| w.parse::<i64>().ok());
            value.map_or(default, |v| u32::try_from(v).unwrap_or(u32::MAX))
        };
        let ipv4 = |name: &str, default: u32| number(&format!("ipv4/tcp_{name}"), default);
        let three = |name: &str, default: [u32; 3]| {
            let text = read(&format!("ipv4/tcp_{name}")).unwrap_or_default();
            let words: Vec<u32> = text.split_ascii_whitespace().filter_map(|w| w.parse().ok()).collect();
            <[u32; 3]>::try_from(words).unwrap_or(default)
        };
        let cc = read("ipv4/tcp_congestion_control").map(|s| s.trim().to_owned());
        Self {
            timestamps: ipv4("timestamps", d.timestamps.into()) != 0,
            sack: ipv4("sack", d.sack.into()) != 0,
            dsack: ipv4("dsack", d.dsack.into()) != 0,
            window_scaling: ipv4("window_scaling", d.window_scaling.into()) != 0,
            ecn: ipv4("ecn", d.ecn),
            syncookies: ipv4("syncookies", d.syncookies),
            rmem: three("rmem", d.rmem),
            wmem: three("wmem", d.wmem),
            core_rmem_max: number("core/rmem_max", d.core_rmem_max),
            core_wmem_max: number("core/wmem_max", d.core_wmem_max),
            moderate_rcvbuf: ipv4("moderate_rcvbuf", d.moderate_rcvbuf.into()) != 0,
            syn_retries: ipv4("syn_retries", d.syn_retries),
            syn_linear_timeouts: ipv4("syn_linear_timeouts", d.syn_linear_timeouts),
            synack_retries: ipv4("synack_retries", d.synack_retries),
            retries2: ipv4("retries2", d.retries2),
            slow_start_after_idle: ipv4("slow_start_after_idle", d.slow_start_after_idle.into()) != 0,
            notsent_lowat: ipv4("notsent_lowat", d.notsent_lowat),
            congestion_control: cc.filter(|s| !s.is_empty()).unwrap_or(d.congestion_control),
            invalid_ratelimit_ms: ipv4("invalid_ratelimit", d.invalid_ratelimit_ms),
            early_retrans: ipv4("early_retrans", d.early_retrans),
            recovery: ipv4("recovery", d.recovery),
            frto: ipv4("frto", d.frto),
            reordering: ipv4("reordering", d.reordering),
            mtu_probing: ipv4("mtu_probing", d.mtu_probing),
            base_mss: ipv4("base_mss", d.base_mss),
            min_snd_mss: ipv4("min_snd_mss", d.min_snd_mss),
            rto_max_ms: ipv4("rto_max_ms", d.rto_max_ms),
            rto_min_us: ipv4("rto_min_us", d.rto_min_us),
            fin_timeout_s: ipv4("fin_timeout", d.fin_timeout_s),
            keepalive_time_s: ipv4("keepalive_time", d.keepalive_time_s),
            keepalive_intvl_s: ipv4("keepalive_intvl", d.keepalive_intvl_s),
            keepalive_probes: ipv4("keepalive_probes", d.keepalive_probes),
            fastopen: ipv4("fastopen", d.fastopen),
            abort_on_overflow: ipv4("abort_on_overflow", d.abort_on_overflow.into()) != 0,
            max_syn_backlog: ipv4("max_syn_backlog", d.max_syn_backlog),
            somaxconn: number("core/somaxconn", d.somaxconn),
            autocorking: ipv4("autocorking", d.autocorking.into()) != 0,
            tw_reuse: ipv4("tw_reuse", d.tw_reuse),
            rfc1337: ipv4("rfc1337", d.rfc1337.into()) != 0,
        }
    }

    /// TCP's settings of a socket that is made now.
    pub fn tcp_config(&self, profile: Profile) -> TcpConfig {
        let linux = profile == Profile::Linux;
        TcpConfig {
            // Linux takes half of a buffer for its own bookkeeping (tcp_win_from_space at the default scaling ratio).
            rcv_buf_bytes: (self.rmem[1] / 2).max(2048),
            // (Linux takes net.core.rmem_max if that is more: the host's, not the script's, so it is left out here.)
            wscale_buf_bytes: self.rmem[2],
            // It grows with the window in Linux; here it is what it can grow to.
            snd_buf_bytes: self.wmem[2].max(4608),
            rcv_buf_max_bytes: 0,
            snd_buf_max_bytes: 0,
            // What a script writes is taken whole, as far as the buffer goes.
            notsent_bytes: u32::MAX,
            timestamps: self.timestamps,
            sack: self.sack,
            window_scaling: self.window_scaling,
            mtu_probing: match self.mtu_probing {
                0 => MtuProbing::Off,
                1 => MtuProbing::OnBlackHole,
                _ => MtuProbing::Always,
            },
            mtu_base_mss: self.base_mss.clamp(64, u16::MAX.into()) as u16,
            // Linux's tcp_mtu_probe_floor is 48; our smallest segment is 64.
            mtu_floor_mss: 64,
            icmp_soft_errors_abort_syn: linux,
            cc: congestion_control(&self.congestion_control).unwrap_or(CcKind::Cubic),
            rto_min_ns: u64::from(self.rto_min_us) * 1_000,
            delack_ns: 40 * MS,
            stretch_acks: false,
            stats: true,
            challenge_ack_interval_ns: u64::from(self.invalid_ratelimit_ms) * MS,
            data_retries: self.retries2.min(u8::MAX.into()) as u8,
            syn_linear_timeouts: if linux { self.syn_linear_timeouts.min(u8::MAX.into()) as u8 } else { 0 },
            syn_retries: self.syn_retries.min(u8::MAX.into()) as u8,
            // The stack keeps three bits of it.
            synack_retries: self.synack_retries.min(7) as u8,
            fin_wait_2_ns: u64::from(self.fin_timeout_s) * SEC,
            keepalive_idle_ns: u64::from(self.keepalive_time_s) * SEC,
            keepalive_interval_ns: u64::from(self.keepalive_intvl_s) * SEC,
            keepalive_probes: self.keepalive_probes.clamp(1, u8::MAX.into()) as u8,
            idle_restart: if self.slow_start_after_idle { IdleRestart::Decay } else { IdleRestart::Keep },
            slow_start_l_segs: u32::MAX,
            syn_cookies: match self.syncookies {
                0 => SynCookies::Never,
                1 => SynCookies::Auto,
                _ => SynCookies::Always,
            },
            linux_habits: linux,
            quickack_segs: 0,
            ..TcpConfig::default()
        }
    }
}

/// By the name that TCP_CONGESTION has for it.
pub(crate) fn congestion_control(name: &str) -> Option<CcKind> {
    match name {
        "cubic" => Some(CcKind::Cubic),
        "reno" => Some(CcKind::NewReno),
        "bbr" => Some(CcKind::Bbr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_the_rest_is_default() {
        let s = Sysctls::from(|name| {
            Some(match name {
                "ipv4/tcp_sack" => "0\n".into(),
                "ipv4/tcp_rmem" => "4096\t540000\t15728640\n".into(),
                "ipv4/tcp_wmem" => "nonsense".into(),
                "ipv4/tcp_notsent_lowat" => "-1\n".into(),
                "ipv4/tcp_congestion_control" => "reno\n".into(),
                _ => return None,
            })
        });
        assert!(!s.sack && s.timestamps);
        assert_eq!((s.rmem, s.wmem), ([4096, 540_000, 15_728_640], Sysctls::default().wmem));
        assert_eq!((s.notsent_lowat, s.congestion_control.as_str()), (u32::MAX, "reno"));
        assert_eq!(Sysctls::from(|_| None), Sysctls::default());
    }
}

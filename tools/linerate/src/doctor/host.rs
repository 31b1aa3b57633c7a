//! Facts of the host: read, and where reading says nothing, tried.

use std::fs::read_to_string;

use linerate::load::{Steer, errno_name};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::caps::Caps;

const HUGEPAGES: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0";
const CPUS: &str = "/sys/devices/system/cpu";

#[derive(Clone, Debug, Serialize)]
pub struct HostFacts {
    /// As `uname -r` says it.
    pub kernel: String,
    pub arch: &'static str,
    pub uid: u32,
    pub capabilities: Caps,
    /// socket(AF_XDP).
    pub af_xdp_socket: Tried,
    /// Loading the steering program, unattached; `null`: not tried, the capabilities are missing.
    pub steering_program: Option<Tried>,
    /// `null`: unlimited.
    pub memlock_bytes: Option<u64>,
    /// `null`: the kernel has no 2 MiB pages.
    pub hugepages_2m: Option<HugePages>,
    pub cpus: Cpus,
    pub clock_source: String,
    pub clock_sources: Vec<String>,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    pub ok: bool,
    pub errno: Option<&'static str>,
    /// What was tried, what the kernel answered, what to do.
    pub said: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HugePages {
    pub total: u64,
    pub free: u64,
}

/// CPU lists are written as the kernel does: `0-3,8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cpus {
    pub online: String,
    /// For this process: affinity and cpuset.
    pub allowed: String,
    pub isolated: String,
}

impl HostFacts {
    pub fn read() -> HostFacts {
        let status = read_to_string("/proc/thread-self/status").unwrap_or_default();
        let capabilities = Caps::from_status(&status);
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        HostFacts {
            kernel: word("/proc/sys/kernel/osrelease"),
            arch: std::env::consts::ARCH,
            uid: rustix::process::geteuid().as_raw(),
            af_xdp_socket: try_socket(),
            steering_program: capabilities.missing_to_run().is_empty().then(try_program),
            capabilities,
            memlock_bytes: getrlimit(Resource::Memlock).current,
            hugepages_2m: hugepages(),
            cpus: Cpus {
                online: word(&format!("{CPUS}/online")),
                allowed: field("Cpus_allowed_list:").to_owned(),
                isolated: word(&format!("{CPUS}/isolated")),
            },
            clock_source: word(&format!("{CLOCK}/current_clocksource")),
            clock_sources: word(&format!("{CLOCK}/available_clocksource"))
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn try_socket() -> Tried {
    match socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None) {
        Ok(_) => Tried { ok: true, errno: None, said: None },
        Err(errno) => Tried {
            ok: false,
            errno: Some(errno_name(errno.raw_os_error())),
            said: Some(format!("socket(AF_XDP): {}", errno_name(errno.raw_os_error()))),
        },
    }
}

fn try_program() -> Tried {
    match Steer::load() {
        Ok(_) => Tried { ok: true, errno: None, said: None },
        Err(error) => Tried { ok: false, errno: None, said: Some(error.to_string()) },
    }
}

fn hugepages() -> Option<HugePages> {
    let number = |file: &str| word(&format!("{HUGEPAGES}/{file}")).parse().ok();
    Some(HugePages { total: number("nr_hugepages")?, free: number("free_hugepages")? })
}

fn word(path: &str) -> String {
    read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// How many CPUs a list like `0-3,8` names.
pub fn cpus_in(list: &str) -> usize {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let span = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((number(to)? + 1).saturating_sub(number(from)?)),
        None => number(part).map(|_| 1),
    };
    list.split(',').filter_map(span).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_cpus_of_a_list() {
        assert_eq!([cpus_in("0-3,8"), cpus_in("0"), cpus_in(""), cpus_in("3-1")], [5, 1, 0, 0]);
    }
}

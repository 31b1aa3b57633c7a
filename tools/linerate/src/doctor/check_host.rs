//! Host facts to findings.

use super::caps::needed_for;
use super::finding::{Finding, Level};
use super::host::{HostFacts, cpus_in};

/// The oldest kernel linerate claims to run on (Debian 12).
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Packet memory of one core: 16,384 frames of 2 KiB (engine/poll, FRAMES_PER_CORE).
const CORE_MEMORY_BYTES: u64 = 32 << 20;

/// `again` is the command line to repeat as root.
pub fn check(host: &HostFacts, again: &str) -> Vec<Finding> {
    let all = [kernel(host), af_xdp(host), capabilities(host, again), program(host), memlock(host)];
    let rest = [hugepages(host), cpus(host), clock(host)];
    all.into_iter().chain(rest).flatten().collect()
}

fn kernel(host: &HostFacts) -> Option<Finding> {
    let release = &host.kernel;
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (parts.next()?, parts.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        return Some(Finding::ok(
            "kernel",
            format!("Linux {release} {} (6.1 or later is needed)", host.arch),
        ));
    }
    let finding = Finding::new(Level::Problem, "kernel", format!("Linux {release} is older than 6.1"))
        .cause("linerate is made for 6.1 and later, and tested on nothing older")
        .engine("tries, and says which step this kernel refused");
    Some(finding)
}

fn af_xdp(host: &HostFacts) -> Option<Finding> {
    let tried = &host.af_xdp_socket;
    match tried.errno {
        None => Some(Finding::ok("af_xdp", "AF_XDP sockets can be opened")),
        // The capabilities' finding says it.
        Some("EPERM") => None,
        Some("EAFNOSUPPORT") => Some(
            Finding::new(Level::Problem, "af_xdp", "socket(AF_XDP): EAFNOSUPPORT")
                .cause(
                    "this kernel is built without CONFIG_XDP_SOCKETS, or the sandbox (gVisor) has no AF_XDP",
                )
                .command("grep XDP_SOCKETS /boot/config-$(uname -r)")
                .engine("can't run on this kernel"),
        ),
        Some(_) => Some(
            Finding::new(Level::Problem, "af_xdp", tried.said.clone().unwrap_or_default())
                .cause("not expected here; a seccomp filter or a security module may stand in the way")
                .command("dmesg | tail"),
        ),
    }
}

fn capabilities(host: &HostFacts, again: &str) -> Option<Finding> {
    let missing = host.capabilities.missing_to_run();
    if missing.is_empty() {
        let without = host.capabilities.missing_to_have_all();
        let without: String = without.map(|(name, use_)| format!("; without {name} ({use_})")).collect();
        return Some(Finding::ok("capabilities", host.capabilities.names().join(" ") + &without));
    }
    let purposes: Vec<String> = missing.iter().map(|name| format!("{name}: {}", needed_for(name))).collect();
    let who = format!("user {} lacks {}", host.uid, missing.join(", "));
    let finding = Finding::new(Level::Problem, "capabilities", who)
        .cause(purposes.join("; "))
        .command(again)
        .engine("does not start without them");
    Some(finding)
}

fn program(host: &HostFacts) -> Option<Finding> {
    let tried = host.steering_program.as_ref()?;
    if tried.ok {
        return Some(Finding::ok("bpf", "the kernel takes the steering program"));
    }
    let finding = Finding::new(Level::Problem, "bpf", "the kernel refuses the steering program")
        .cause(tried.said.clone().unwrap_or_default())
        .engine("does not start");
    Some(finding)
}

fn memlock(host: &HostFacts) -> Option<Finding> {
    if host.capabilities.has("CAP_IPC_LOCK") {
        return Some(Finding::ok("memlock", "the limit does not count (CAP_IPC_LOCK)"));
    }
    match host.memlock_bytes {
        Some(bytes) if bytes < CORE_MEMORY_BYTES => Some(
            Finding::new(
                Level::Warning,
                "memlock",
                format!("{} KiB of memory may be locked; a core takes {} MiB", bytes >> 10, CORE_MEMORY_BYTES >> 20),
            )
            .cause("packet memory counts against RLIMIT_MEMLOCK without CAP_IPC_LOCK: XDP_UMEM_REG answers ENOBUFS")
            .command("sudo prlimit --memlock=unlimited --pid $$")
            .engine("says so and does not start"),
        ),
        Some(bytes) => Some(Finding::ok("memlock", format!("{} MiB may be locked", bytes >> 20))),
        None => Some(Finding::ok("memlock", "unlimited")),
    }
}

fn hugepages(host: &HostFacts) -> Option<Finding> {
    let pages = host.hugepages_2m?;
    let (needed, line) =
        (CORE_MEMORY_BYTES >> 21, format!("{} of {} pages of 2 MiB are free", pages.free, pages.total));
    if pages.free >= needed {
        return Some(Finding::ok("hugepages", format!("{line} (a core takes {needed})")));
    }
    // 2.9 against 2.3 Mpps at 1500 bytes on veth: AF_XDP_FACTS, "Speed on veth".
    let cause =
        if pages.total == 0 { "none are reserved" } else { "too few are reserved, or others hold them" };
    let finding = Finding::new(Level::Note, "hugepages", format!("{line}; a core takes {needed}"))
        .cause(format!("{cause}; they save TLB misses on large packets"))
        .command(format!("sudo sysctl -w vm.nr_hugepages={}", pages.total + needed - pages.free))
        .engine("takes ordinary pages");
    Some(finding)
}

fn cpus(host: &HostFacts) -> Option<Finding> {
    let cpus = &host.cpus;
    let isolated = if cpus.isolated.is_empty() { "none" } else { &cpus.isolated };
    let line = format!("online {}, allowed here {}, isolated {isolated}", cpus.online, cpus.allowed);
    if cpus_in(&cpus.allowed) > 1 {
        return Some(Finding::ok("cpus", line));
    }
    let finding = Finding::new(Level::Warning, "cpus", format!("one CPU only ({line})"))
        .cause("the polling core shares it with the kernel's packet work and with every other program")
        .engine("runs, and sleeps when there is nothing to do");
    Some(finding)
}

fn clock(host: &HostFacts) -> Option<Finding> {
    let source = host.clock_source.as_str();
    // These two are read in user space; others may take a system call, once a turn.
    if matches!(source, "tsc" | "arch_sys_counter" | "") {
        return (!source.is_empty()).then(|| Finding::ok("clock", source));
    }
    let finding = Finding::new(Level::Note, "clock", format!("clock source {source}"))
        .cause(
            "reading it may take a system call or leave the virtual machine; the engine reads it once a turn",
        )
        .engine("works, with more time a turn when packets are few");
    let has_tsc = host.clock_sources.iter().any(|name| name == "tsc");
    let command = "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource";
    Some(if has_tsc { finding.command(command) } else { finding })
}

#[cfg(test)]
mod tests {
    use super::super::caps::Caps;
    use super::super::host::{Cpus, HugePages, Tried};
    use super::*;

    fn good() -> HostFacts {
        let ok = Tried { ok: true, errno: None, said: None };
        HostFacts {
            kernel: "6.18.44-x".into(),
            arch: "x86_64",
            uid: 0,
            capabilities: Caps::all(),
            af_xdp_socket: ok.clone(),
            steering_program: Some(ok),
            memlock_bytes: Some(8 << 20),
            hugepages_2m: Some(HugePages { total: 64, free: 64 }),
            cpus: Cpus { online: "0-3".into(), allowed: "0-3".into(), isolated: "2-3".into() },
            clock_source: "tsc".into(),
            clock_sources: vec!["tsc".into(), "kvm-clock".into()],
        }
    }

    fn one(host: &HostFacts, topic: &str) -> Finding {
        check(host, "sudo linerate doctor").into_iter().find(|f| f.topic == topic).expect(topic)
    }

    #[test]
    fn a_good_host_has_nothing_but_ok() {
        let findings = check(&good(), "");
        assert!(findings.iter().all(|f| f.level == Level::Ok), "{findings:?}");
        assert_eq!(findings.len(), 8);
    }

    #[test]
    fn an_ordinary_user_is_told_what_to_type() {
        let denied = Tried { ok: false, errno: Some("EPERM"), said: None };
        let host = HostFacts {
            uid: 65534,
            capabilities: Caps::default(),
            af_xdp_socket: denied,
            steering_program: None,
            ..good()
        };
        let finding = one(&host, "capabilities");
        assert_eq!(
            (finding.level, finding.command.as_deref()),
            (Level::Problem, Some("sudo linerate doctor"))
        );
        assert!(finding.symptom.contains("65534") && finding.cause.unwrap().contains("CAP_BPF: loading"));
        assert_eq!(one(&host, "memlock").level, Level::Warning);
        assert!(check(&host, "").iter().all(|f| f.topic != "af_xdp" && f.topic != "bpf"));
    }

    #[test]
    fn what_is_missing_on_the_host_is_named() {
        let none = Tried { ok: false, errno: Some("EAFNOSUPPORT"), said: None };
        let host = HostFacts {
            kernel: "5.15.0-91-generic".into(),
            af_xdp_socket: none,
            hugepages_2m: Some(HugePages { total: 4, free: 1 }),
            cpus: Cpus { online: "0-3".into(), allowed: "2".into(), isolated: String::new() },
            clock_source: "hpet".into(),
            ..good()
        };
        assert_eq!(one(&host, "kernel").level, Level::Problem);
        assert_eq!(one(&host, "af_xdp").level, Level::Problem);
        assert_eq!(one(&host, "hugepages").command.unwrap(), "sudo sysctl -w vm.nr_hugepages=19");
        assert_eq!(one(&host, "cpus").level, Level::Warning);
        assert!(one(&host, "clock").command.unwrap().starts_with("echo tsc"));
    }
}

//! Capabilities of this process: which are there, and which one is needed for what.

/// Bit in /proc/PID/status, name, what linerate needs it for.
const KNOWN: [(u32, &str, &str); 6] = [
    (12, "CAP_NET_ADMIN", "attaching the steering program, long send buffers"),
    (13, "CAP_NET_RAW", "opening AF_XDP sockets"),
    (14, "CAP_IPC_LOCK", "packet memory beyond the memlock limit"),
    (21, "CAP_SYS_ADMIN", "network namespaces of its own (demo, doctor's throw-away veth)"),
    (24, "CAP_SYS_RESOURCE", "raising the memlock limit"),
    (39, "CAP_BPF", "loading the steering program"),
];

/// The effective capabilities of a process that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps(u64);

impl Caps {
    /// From the text of /proc/self/status.
    pub fn from_status(status: &str) -> Caps {
        let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        Caps(hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0))
    }

    pub fn has(&self, name: &str) -> bool {
        let bit = KNOWN.iter().find(|known| known.1 == name).map_or(0, |known| 1 << known.0);
        // CAP_SYS_ADMIN includes CAP_BPF: the kernel's bpf_capable().
        self.0 & bit != 0 || (name == "CAP_BPF" && self.has("CAP_SYS_ADMIN"))
    }

    /// Names of those that are there.
    pub fn names(&self) -> Vec<&'static str> {
        KNOWN.iter().map(|known| known.1).filter(|name| self.has(name)).collect()
    }

    /// What an engine can't do without, and is missing.
    pub fn missing_to_run(&self) -> Vec<&'static str> {
        ["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF"].into_iter().filter(|name| !self.has(name)).collect()
    }

    #[cfg(test)]
    pub fn all() -> Caps {
        Caps(u64::MAX)
    }
}

/// What linerate needs a capability for.
pub fn needed_for(name: &str) -> &'static str {
    KNOWN.iter().find(|known| known.1 == name).map_or("", |known| known.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_set() {
        let caps = Caps::from_status("Name:\tx\nCapPrm:\tffffffffffffffff\nCapEff:\t0000000000003000\n");
        assert_eq!(caps.names(), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert_eq!(caps.missing_to_run(), ["CAP_BPF"]);
        assert_eq!(Caps::from_status("CapEff:\t0000000000203000\n").missing_to_run(), [""; 0]);
        assert_eq!(Caps::from_status("").missing_to_run().len(), 3);
    }
}

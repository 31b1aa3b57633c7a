//! Capabilities of this thread: which are there, and which one is needed for what.

use serde::Serialize;

/// Bit in /proc/PID/status, name, what linerate needs it for.
const KNOWN: [(u32, &str, &str); 6] = [
    (12, "CAP_NET_ADMIN", "attaching the steering program, long send buffers"),
    (13, "CAP_NET_RAW", "opening AF_XDP sockets"),
    (14, "CAP_IPC_LOCK", "packet memory beyond the memlock limit"),
    (21, "CAP_SYS_ADMIN", "network namespaces of its own (demo, doctor's throw-away veth)"),
    (24, "CAP_SYS_RESOURCE", "raising the memlock limit"),
    (39, "CAP_BPF", "loading the steering program"),
];

/// One capability, for `--json`.
#[derive(Debug, Serialize)]
struct Capability {
    name: &'static str,
    have: bool,
    needed_for: &'static str,
}

/// The effective capabilities of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps(u64);

impl Caps {
    /// From the text of /proc/thread-self/status.
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

    /// What is missing beyond that, with its use.
    pub fn missing_to_have_all(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let needed = self.missing_to_run();
        let known = KNOWN.iter().map(|known| (known.1, known.2));
        known.filter(move |(name, _)| !self.has(name) && !needed.contains(name))
    }

    #[cfg(test)]
    pub fn all() -> Caps {
        Caps(u64::MAX)
    }
}

impl Serialize for Caps {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let known = KNOWN.iter();
        to.collect_seq(known.map(|known| Capability {
            name: known.1,
            have: self.has(known.1),
            needed_for: known.2,
        }))
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

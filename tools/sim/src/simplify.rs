//! A failing scenario made simpler, one thing less at a time, as long as it still fails.

use linerate_port::sim::SimConfig;
use linerate_tcp::config::{MtuProbing, SynCookies};

use crate::scenario::{Leave, Pace, Scenario};

/// Something that a scenario can do without.
pub struct Without {
    /// Its name on the command line.
    pub name: &'static str,
    edit: fn(&mut Scenario),
}

/// Every way to simplify, the greatest first.
pub const ALL: &[Without] = &[
    Without { name: "noise", edit: |s| s.noise.clear() },
    Without { name: "changes", edit: |s| s.changes.clear() },
    Without { name: "burst", edit: |s| wires(s, |w| w.burst_loss = None) },
    Without { name: "loss", edit: |s| wires(s, |w| w.loss = 0.0) },
    Without { name: "corrupt", edit: |s| wires(s, |w| w.corrupt = 0.0) },
    Without { name: "duplicate", edit: |s| wires(s, |w| w.duplicate = 0.0) },
    Without { name: "reorder", edit: |s| wires(s, |w| w.reorder = 0.0) },
    Without { name: "jitter", edit: |s| wires(s, |w| w.jitter_ns = 0) },
    Without { name: "ecn", edit: |s| wires(s, |w| w.ecn_mark_bytes = 0) },
    Without {
        name: "queue",
        edit: |s| {
            wires(s, |w| {
                w.queue_bytes = 0;
                w.queue_pkts = 0;
            });
        },
    },
    Without { name: "rate", edit: |s| wires(s, |w| w.rate_bps = 0) },
    Without { name: "completion", edit: |s| s.hosts.iter_mut().for_each(|h| h.completion_ns = 0) },
    Without { name: "access", edit: |s| s.hosts.iter_mut().for_each(|h| h.access_ns = 0) },
    Without { name: "shortage", edit: |s| s.hosts.iter_mut().for_each(|h| h.frames = h.frames.max(8192)) },
    Without { name: "backlog", edit: |s| s.hosts.iter_mut().for_each(|h| h.backlog = 64) },
    Without { name: "timestamps", edit: |s| s.hosts.iter_mut().for_each(|h| h.tcp.timestamps = false) },
    Without { name: "sack", edit: |s| s.hosts.iter_mut().for_each(|h| h.tcp.sack = false) },
    Without { name: "keepalive", edit: |s| s.hosts.iter_mut().for_each(|h| h.tcp.keepalive = false) },
    Without {
        name: "probing",
        edit: |s| s.hosts.iter_mut().for_each(|h| h.tcp.mtu_probing = MtuProbing::Off),
    },
    Without {
        name: "cookies",
        edit: |s| s.hosts.iter_mut().for_each(|h| h.tcp.syn_cookies = SynCookies::Auto),
    },
    Without {
        name: "clamps",
        edit: |s| s.hosts.iter_mut().for_each(|h| (h.tcp.mss_max, h.tcp.window_clamp_bytes) = (0, 0)),
    },
    Without { name: "cork", edit: |s| s.hosts.iter_mut().for_each(|h| h.tcp.cork = false) },
    Without { name: "ipv6", edit: |s| s.flows.iter_mut().for_each(|f| f.ipv6 = false) },
    Without {
        name: "pauses",
        edit: |s| {
            let pace = Pace { most: 1 << 16, gap_ns: 0 };
            s.flows.iter_mut().flat_map(|f| &mut f.ends).for_each(|e| (e.read, e.write) = (pace, pace));
        },
    },
    Without {
        name: "leave",
        edit: |s| {
            s.flows.iter_mut().flat_map(|f| &mut f.ends).for_each(|e| e.leave = Leave::ByAgreement);
        },
    },
];

fn wires(s: &mut Scenario, edit: impl Fn(&mut SimConfig)) {
    s.wires.iter_mut().for_each(&edit);
    s.changes.iter_mut().for_each(|c| edit(&mut c.to));
}

/// What is left of a scenario.
#[derive(Clone, Default, Debug)]
pub struct Simplification {
    /// Names of [`ALL`].
    pub without: Vec<String>,
    /// These flows only.
    pub flows: Option<Vec<usize>>,
}

impl Simplification {
    /// Applies it.
    ///
    /// # Errors
    /// If a name is unknown.
    pub fn apply(&self, s: &mut Scenario) -> Result<(), String> {
        for name in &self.without {
            let Some(w) = ALL.iter().find(|w| w.name == name) else {
                let names: Vec<_> = ALL.iter().map(|w| w.name).collect();
                return Err(format!("--without {name}: there is {}", names.join(", ")));
            };
            (w.edit)(s);
        }
        if let Some(keep) = &self.flows {
            let mut number = 0..;
            s.flows.retain(|_| number.next().is_some_and(|n| keep.contains(&n)));
        }
        Ok(())
    }

    /// As it stands on a command line.
    pub fn flags(&self) -> String {
        let mut text = String::new();
        if !self.without.is_empty() {
            text += &format!(" --without {}", self.without.join(","));
        }
        if let Some(flows) = &self.flows {
            let flows: Vec<_> = flows.iter().map(usize::to_string).collect();
            text += &format!(" --flows {}", flows.join(","));
        }
        text
    }

    /// The simplest that still `fails`, beginning from everything.
    pub fn smallest(flows: usize, mut fails: impl FnMut(&Self) -> bool) -> Self {
        let mut best = Self::default();
        for n in (0..flows).rev() {
            let mut keep = best.flows.clone().unwrap_or_else(|| (0..flows).collect());
            keep.retain(|k| *k != n);
            let next = Self { flows: Some(keep), ..best.clone() };
            if flows > 1 && next.flows.as_ref().is_some_and(|f| !f.is_empty()) && fails(&next) {
                best = next;
            }
        }
        for w in ALL {
            let mut next = best.clone();
            next.without.push(w.name.to_string());
            if fails(&next) {
                best = next;
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    #[test]
    fn each_edit_is_known_by_its_name_and_leaves_a_scenario() {
        let mut s = random::scenario(3);
        let all = Simplification {
            without: ALL.iter().map(|w| w.name.to_string()).collect(),
            flows: Some(vec![0]),
        };
        all.apply(&mut s).unwrap();
        assert!(s.flows.len() == 1 && s.wires.iter().all(|w| w.loss == 0.0 && w.rate_bps == 0));
        let wrong = Simplification { without: vec!["gravity".into()], flows: None };
        assert!(wrong.apply(&mut s).unwrap_err().contains("burst"));
    }

    #[test]
    fn what_matters_stays() {
        let matters = |s: &Simplification| {
            !s.without.iter().any(|w| w == "loss") && s.flows.as_ref().is_none_or(|f| f.contains(&2))
        };
        let s = Simplification::smallest(4, matters);
        assert_eq!(s.flows, Some(vec![2]));
        assert_eq!(s.without.len(), ALL.len() - 1);
        assert!(s.flags().starts_with(" --without noise,") && s.flags().ends_with(" --flows 2"));
    }
}

//! What the trial showed, to findings: each failure with its cause.

use linerate::load::errno_name;

use super::finding::{Finding, Level};
use super::interface::InterfaceFacts;
use super::pick::Pick;
use super::quirks::{When, mtu_command, native_mtu_max, rows};
use super::trial::{Effects, Trial};

pub fn check(
    facts: &InterfaceFacts,
    trials: &[Trial],
    effects: &Effects,
    pick: Option<&Pick>,
) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    // No frame for this MTU: check_interface has said so.
    let known = |trial: &&Trial| trial.step == Some("memory") && trial.errno.is_none();
    for trial in trials.iter().filter(|trial| trial.result == "failed" && !known(trial)) {
        let finding = failure(facts, trial, pick.is_some());
        // One program, one attach, one memory for two bind modes: said once.
        if !found.iter().any(|known| known.symptom == finding.symptom) {
            found.push(finding);
        }
    }
    found.extend(side_effects(facts, effects));
    if pick.is_some_and(|pick| pick.attach == "generic") && facts.offers("xsk-zerocopy") == Some(true) {
        let trap = rows(&facts.driver, |when| when == When::GenericPicked);
        found.extend(trap.map(|quirk| quirk.finding(Level::Note, facts)));
    }
    found
}

fn failure(facts: &InterfaceFacts, trial: &Trial, usable: bool) -> Finding {
    // Where the engine goes on by itself, this is not what keeps it from running.
    let level = if usable || trial.falls_back { Level::Warning } else { Level::Problem };
    let said = trial.kernel_said.as_deref().unwrap_or("");
    let errno = trial.errno.unwrap_or(0);
    let native_attach = trial.attach == "native" && trial.step == Some("attach");
    let zero_copy_bind = trial.bind == "zero-copy" && trial.step == Some("bind");
    let known = rows(&facts.driver, |when| match when {
        When::AttachSaid(text) => native_attach && said.contains(text),
        When::ZeroCopyErrno(number) => zero_copy_bind && errno == number,
        When::Always | When::GenericPicked => false,
    });
    if let Some(quirk) = { known }.next() {
        return quirk.finding(level, facts);
    }
    match (trial.step.unwrap_or(""), errno) {
        ("bind", libc::EOPNOTSUPP) if zero_copy_bind => no_zero_copy(facts, level),
        ("bind", libc::EBUSY) => busy(facts, trial, level),
        ("attach", libc::EOPNOTSUPP) if trial.falls_back => other(facts, trial, Level::Note)
            .engine("attaches in generic mode, which works on any interface and is slower"),
        ("attach", libc::ERANGE | libc::EINVAL) if native_attach && trial.falls_back => {
            let max = native_mtu_max(&facts.driver).map_or(1500, |(max, _)| max.min(facts.mtu));
            other(facts, trial, level).command(mtu_command(facts, max)).engine("falls back to generic mode")
        }
        ("bind", libc::ENETDOWN) => {
            other(facts, trial, level).command(format!("sudo ip link set dev {} up", facts.name))
        }
        ("memory", libc::ENOBUFS | libc::EPERM | libc::EAGAIN) => {
            other(facts, trial, level).command("sudo prlimit --memlock=unlimited --pid $$")
        }
        _ => other(facts, trial, level),
    }
}

/// The error's own words are cause and advice.
fn other(facts: &InterfaceFacts, trial: &Trial, level: Level) -> Finding {
    let what = match trial.step {
        Some("bind") => format!("{} + {} on queue {}", trial.attach, trial.bind, trial.queue),
        Some("attach") => format!("{} attach", trial.attach),
        Some("program") => "the steering program".to_owned(),
        _ => "packet memory".to_owned(),
    };
    let answer = trial.errno.map_or("refused by linerate itself", errno_name);
    let why = trial.why.clone().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Finding::new(level, "trial", format!("{}: {what}: {answer}", facts.name)).cause(why)
}

fn no_zero_copy(facts: &InterfaceFacts, level: Level) -> Finding {
    let symptom = format!("{}: zero-copy: EOPNOTSUPP", facts.name);
    if facts.offers("xsk-zerocopy") == Some(true) {
        return Finding::new(level, "trial", symptom)
            .cause(format!(
                "driver {} offers xsk-zerocopy, but refuses it as this queue is set up now",
                facts.driver
            ))
            .command("sudo dmesg | tail")
            .engine("uses copy mode");
    }
    let cause = match facts.features {
        Some(_) => format!("driver {} has no zero-copy (xdp-features without xsk-zerocopy)", facts.driver),
        None => format!("driver {} has no zero-copy on this kernel", facts.driver),
    };
    // Most drivers are so; it keeps nothing from running.
    Finding::new(Level::Note, "trial", symptom).cause(cause).engine("uses copy mode")
}

fn busy(facts: &InterfaceFacts, trial: &Trial, level: Level) -> Finding {
    Finding::new(level, "trial", format!("{}: queue {} is taken: EBUSY", facts.name, trial.queue))
        .cause("another AF_XDP socket is bound to it; each queue has room for one with its own memory")
        .command("sudo ss --xdp -a -p -e")
        .engine("does not start on this queue")
}

fn side_effects(facts: &InterfaceFacts, effects: &Effects) -> Vec<Finding> {
    let queues = effects.rx_queues_attached.map(|now| {
        let symptom = format!(
            "{} has {now} receive queues while a program is attached, not {}",
            facts.name, facts.rx_queues
        );
        Finding::new(Level::Warning, "queues", symptom)
            .cause("the driver adds queues for XDP and spreads received packets over them too")
            .command(format!("sudo ethtool -L {} combined {now}", facts.name))
            .engine("counts the queues again after attaching")
            .source("AF_XDP_FACTS, pitfall 1")
    });
    let carrier = effects.carrier_away_ms.map(|ms| {
        Finding::new(Level::Note, "link", format!("{}: no carrier for {ms} ms after attaching", facts.name))
            .cause("the driver resets its link for it; what is sent meanwhile is lost")
            .engine("waits for the carrier after attaching")
    });
    queues.into_iter().chain(carrier).collect()
}

#[cfg(test)]
mod tests {
    use super::super::interface::{XdpFeatures, example};
    use super::super::pick::pick;
    use super::super::trial::MODES;
    use super::*;

    /// Fails the first `n` modes at a step.
    fn failing(n: usize, step: &'static str, errno: Option<i32>, said: Option<&str>) -> Vec<Trial> {
        let trial = |(i, mode)| {
            let trial = Trial::new("x0", 0, mode);
            if i >= n {
                return trial;
            }
            let kernel_said = said.map(str::to_owned);
            Trial {
                result: "failed",
                step: Some(step),
                errno,
                kernel_said,
                why: Some("words".into()),
                ..trial
            }
        };
        MODES.into_iter().enumerate().map(trial).collect()
    }

    fn found(facts: &InterfaceFacts, trials: &[Trial]) -> Vec<Finding> {
        check(facts, trials, &Effects::default(), pick(trials).as_ref())
    }

    #[test]
    fn zero_copy_that_was_never_offered_is_a_note() {
        let veth = InterfaceFacts { features: Some(XdpFeatures::default()), ..example("veth") };
        let findings = found(&veth, &failing(1, "bind", Some(libc::EOPNOTSUPP), None));
        assert_eq!((findings.len(), findings[0].level), (1, Level::Note));
        let findings = found(&example("ice"), &failing(1, "bind", Some(libc::EOPNOTSUPP), None));
        assert_eq!(findings[0].level, Level::Warning);
        assert!(findings[0].cause.as_ref().unwrap().contains("offers xsk-zerocopy"));
    }

    #[test]
    fn virtio_says_which_setting_is_missing() {
        for (errno, word) in [(libc::EINVAL, "iommu_platform=on"), (libc::ENOENT, "queue_reset=on")] {
            let findings = found(&example("virtio_net"), &failing(1, "bind", Some(errno), None));
            assert!(findings[0].cause.as_ref().unwrap().contains(word), "{findings:?}");
            assert!(findings[0].source.is_some());
        }
        let findings = found(&example("igb"), &failing(1, "bind", Some(libc::EINVAL), None));
        assert!(findings[0].source.is_none() && findings[0].symptom.contains("EINVAL"));
    }

    #[test]
    fn ena_is_told_how_many_queues() {
        let facts = InterfaceFacts { rx_queues: 8, ..example("ena") };
        let said = Some("Failed to set xdp program, there is no enough space for allocating XDP queues");
        let trials = failing(2, "attach", Some(libc::EINVAL), said);
        let findings = found(&facts, &trials);
        assert_eq!(findings[0].command.as_deref(), Some("sudo ethtool -L x0 combined 4"));
        // Said once for the two bind modes, and the trap of generic mode beside it.
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[1].engine_does.as_ref().unwrap().contains("copy mode"));
    }

    #[test]
    fn what_leaves_nothing_is_a_problem_said_once() {
        let findings = found(&example("ice"), &failing(3, "bind", Some(libc::EBUSY), None));
        assert_eq!((findings.len(), findings[0].level), (1, Level::Problem));
        let findings = found(&example("ice"), &failing(3, "memory", Some(libc::ENOBUFS), None));
        assert_eq!((findings.len(), findings[0].level), (1, Level::Problem));
        assert!(findings[0].command.as_ref().unwrap().contains("prlimit"));
        assert!(found(&example("ice"), &failing(3, "memory", None, None)).is_empty());
    }

    #[test]
    fn a_driver_without_native_xdp_is_a_note() {
        let mut trials = failing(2, "attach", Some(libc::EOPNOTSUPP), Some("no native mode"));
        trials.iter_mut().for_each(|trial| trial.falls_back = true);
        let plain = InterfaceFacts { features: Some(XdpFeatures::default()), ..example("e1000") };
        let findings = found(&plain, &trials);
        assert_eq!((findings.len(), findings[0].level), (1, Level::Note));
    }

    #[test]
    fn effects_are_told() {
        let effects = Effects { rx_queues_attached: Some(4), carrier_away_ms: Some(500) };
        let findings = check(&example("virtio_net"), &[], &effects, None);
        assert_eq!(findings[0].command.as_deref(), Some("sudo ethtool -L x0 combined 4"));
        assert!(findings[1].symptom.contains("500 ms"));
    }
}

//! The whole of doctor on veth pairs in namespaces without a name. Needs root.

use std::os::fd::AsFd;

use linerate::load::{Attach, Steer};
use linerate::nic::{Netns, if_index, veth};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::finding::Level;
use super::report::Report;
use super::{DoctorArgs, examine};

fn on_veth<R: Send>(queues: u32, work: impl FnOnce() -> R + Send) -> R {
    let netns = Netns::new().expect("doctor's tests need root (CAP_SYS_ADMIN for a network namespace)");
    let inside = || {
        veth::create_pair("d0", "d1", queues, netns.as_fd()).unwrap();
        veth::set_up("d0").unwrap();
        veth::set_up("d1").unwrap();
        work()
    };
    netns.run(inside).unwrap()
}

fn args(queue: u32) -> DoctorArgs {
    DoctorArgs { interface: Some("d0".into()), queue, ..DoctorArgs::default() }
}

fn results(report: &Report) -> Vec<(&str, &str, &str, Option<i32>)> {
    report.trials.iter().map(|trial| (trial.attach, trial.bind, trial.result, trial.errno)).collect()
}

#[test]
fn a_veth_is_tried_and_left_as_it_was() {
    let report = on_veth(2, || {
        let report = examine(&args(1)).map_err(|wrong| wrong.text).unwrap();
        assert!(linerate::nic::scrape("d0").unwrap().link.xdp.is_none(), "a program was left");
        report
    });
    let expected = [
        ("native", "zero-copy", "failed", Some(libc::EOPNOTSUPP)),
        ("native", "copy", "ok", None),
        ("generic", "copy", "ok", None),
    ];
    assert_eq!(results(&report), expected);
    let pick = report.would_pick.as_ref().unwrap();
    assert_eq!((pick.attach, pick.bind, pick.queue), ("native", "copy", 1));
    assert!(report.findings.iter().all(|finding| finding.level != Level::Problem));
    assert!(report.is_usable() && super::text::render(&report).ends_with("would run on d0 (native, copy)\n"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["version"], &json["interface"]["rx_queues"]), (&1.into(), &2.into()));
    assert_eq!(json["trials"][0]["errno"], libc::EOPNOTSUPP);
}

#[test]
fn without_rights_the_rest_is_still_told() {
    let report = on_veth(1, || {
        // Of this thread only.
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        examine(&args(0)).map_err(|wrong| wrong.text).unwrap()
    });
    assert!(!report.is_usable() && report.trials.iter().all(|trial| trial.result == "skipped"));
    assert_eq!(report.interface.as_ref().unwrap().driver, "veth");
    assert!(report.interface.as_ref().unwrap().features.is_some());
    assert_eq!(report.host.af_xdp_socket.errno, Some("EPERM"));
    let summary = report.summary();
    assert!(summary.contains("lacks CAP_NET_RAW") && summary.ends_with("doctor --interface d0"), "{summary}");
}

#[test]
fn a_foreign_program_is_not_touched() {
    let report = on_veth(1, || {
        let mut steer = Steer::load().unwrap();
        steer.attach(if_index("d0").unwrap(), Attach::Generic).unwrap();
        let report = examine(&args(0)).map_err(|wrong| wrong.text).unwrap();
        assert!(linerate::nic::scrape("d0").unwrap().link.xdp.is_some(), "the program is gone");
        report
    });
    assert!(report.trials.iter().all(|trial| trial.result == "skipped"));
    assert!(!report.is_usable() && report.summary().contains("an XDP program is on d0 already"));
}

#[test]
fn a_large_mtu_falls_back_and_a_huge_one_is_refused() {
    let at = |mtu| {
        on_veth(1, move || {
            veth::set_mtu("d0", mtu).unwrap();
            veth::set_mtu("d1", mtu).unwrap();
            examine(&args(0)).map_err(|wrong| wrong.text).unwrap()
        })
    };
    let large = at(3600);
    assert_eq!(large.would_pick.as_ref().map(|pick| (pick.attach, pick.option)), Some(("generic", None)));
    assert!(
        large.findings.iter().any(|f| f.command.as_deref().is_some_and(|c| c.contains("dev PEER mtu 3500")))
    );
    let huge = at(9000);
    assert!(huge.would_pick.is_none() && huge.summary().contains("MTU 9000"), "{}", huge.summary());
}

#[test]
fn wrong_usage_says_what_there_is() {
    on_veth(2, || {
        let wrong = examine(&args(2)).err().unwrap();
        assert_eq!(
            (wrong.exit_code, wrong.text.as_str()),
            (2, "d0 has no queue 2: its receive queues are 0 to 1")
        );
        let unknown = DoctorArgs { interface: Some("nope".into()), ..DoctorArgs::default() };
        let wrong = examine(&unknown).err().unwrap();
        assert!(wrong.exit_code == 2 && wrong.text.contains("d0"), "{}", wrong.text);
    });
}

#[test]
fn without_an_interface_a_throw_away_pair_is_tried() {
    let report = examine(&DoctorArgs::default()).map_err(|wrong| wrong.text).unwrap();
    assert!(report.interface.is_none() && report.would_pick.is_some());
    assert!(report.summary().contains("a veth of this host (native, copy)"));
}

//! Changes are undone: at drop, after kill -9, never twice, never in the wrong place.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use linerate_nic::*;

const CHILD_DIR: &str = "LINERATE_TEST_JOURNAL_CHILD";

struct StateDir(PathBuf);

impl StateDir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("linerate-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        StateDir(dir)
    }

    fn file(&self) -> PathBuf {
        self.0.join("journal.jsonl")
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn netns_with_veth() -> Netns {
    let netns = Netns::new().unwrap_or_else(|error| {
        panic!("this test makes network namespaces and needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN): {error}")
    });
    netns.run(|| veth::create_pair("va", "vb", 1, Netns::current().unwrap().as_fd()).unwrap()).unwrap();
    netns
}

fn change_things(dir: &Path) -> Journal {
    let mut journal = Journal::open_in(dir).unwrap();
    journal.set_offload("va", Offload::Gso, false).unwrap();
    journal.set_offload("va", Offload::Tso, false).unwrap();
    // Already so: nothing to write down.
    journal.set_offload("va", Offload::Tso, false).unwrap();
    journal.create_pair("vj", "vk", 1, Netns::current().unwrap().as_fd()).unwrap();
    journal
}

fn assert_changed() {
    assert!(!Offload::Gso.get("va").unwrap() && !Offload::Tso.get("va").unwrap());
    assert!(if_index("vj").is_ok());
}

fn assert_restored() {
    assert!(Offload::Gso.get("va").unwrap() && Offload::Tso.get("va").unwrap());
    assert!(if_index("vj").is_err());
}

#[test]
fn drop_undoes_from_any_thread() {
    let state = StateDir::new("drop");
    let netns = netns_with_veth();
    let journal = netns.run(|| change_things(&state.0)).unwrap();
    netns.run(assert_changed).unwrap();
    assert_eq!(std::fs::read_to_string(state.file()).unwrap().lines().count(), 3);
    // This thread is in another namespace.
    drop(journal);
    netns.run(assert_restored).unwrap();
    assert!(!state.file().exists());
}

#[test]
fn a_change_that_fails_leaves_no_line() {
    let state = StateDir::new("fails");
    netns_with_veth()
        .run(|| {
            let mut journal = Journal::open_in(&state.0).unwrap();
            journal.create_pair("va", "vz", 1, Netns::current().unwrap().as_fd()).unwrap_err();
            journal.create_pair("vy", "vb", 1, Netns::current().unwrap().as_fd()).unwrap_err();
            journal.set_offload("nope", Offload::Gro, false).unwrap_err();
            assert!(!state.file().exists());
            drop(journal);
            assert!(if_index("va").is_ok());
        })
        .unwrap();
}

#[test]
fn without_a_journal_nothing_is_changed() {
    let state = StateDir::new("unwritable");
    std::fs::write(&state.0, "a file where the folder should be").unwrap();
    let text = Journal::open_in(&state.0).unwrap_err().to_string();
    assert!(text.contains("LINERATE_STATE_DIR"), "{text}");
    std::fs::remove_file(&state.0).unwrap();
}

/// Not a test of its own: the process that gets killed.
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let _journal = change_things(Path::new(&dir));
    println!("\nREADY");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

/// Starts a child in the calling thread's namespace, lets it change things, and kills it with SIGKILL.
fn leave_changes_behind(dir: &Path, look: impl FnOnce()) -> u32 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ready = BufReader::new(child.stdout.take().unwrap()).lines().any(|line| line.unwrap() == "READY");
    assert!(ready, "the child made its changes");
    look();
    child.kill().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn what_a_killed_process_left_is_undone() {
    let state = StateDir::new("kill9");
    netns_with_veth()
        .run(|| {
            let pid = leave_changes_behind(&state.0, || {
                // Its owner lives: hands off.
                assert_eq!(Journal::undo_stale_in(&state.0).unwrap(), []);
            });
            assert_changed();
            let report = Journal::undo_stale_in(&state.0).unwrap();
            assert_restored();
            assert_eq!(report.len(), 3);
            assert!(
                report
                    .iter()
                    .all(|undone| undone.outcome == Outcome::Restored && undone.owner_pid == Some(pid))
            );
            assert_eq!(report[0].change, Some(Change::Link { name: "vj".to_owned() }), "last first");
            assert_eq!(
                report[0].to_string(),
                format!("undone: interface vj deleted (left by process {pid})")
            );
            assert!(!state.file().exists());
            assert_eq!(Journal::undo_stale_in(&state.0).unwrap(), []);
        })
        .unwrap();
}

#[test]
fn corrupt_lines_are_reported_and_the_rest_is_done() {
    let state = StateDir::new("corrupt");
    netns_with_veth()
        .run(|| {
            leave_changes_behind(&state.0, || {});
            let text = std::fs::read(state.file()).unwrap();
            let mut bytes = b"{\"id\":1,\"owner\"\n\xff\xfe\n{}\n".to_vec();
            bytes.extend(text);
            bytes.extend(b"{\"torn");
            std::fs::write(state.file(), bytes).unwrap();
            // A new writer after a torn line starts a line of its own.
            veth::set_mtu("va", 1400).unwrap();
            let mut journal = Journal::open_in(&state.0).unwrap();
            journal.set_offload("vb", Offload::Gso, false).unwrap();

            let report = Journal::undo_stale_in(&state.0).unwrap();
            assert_restored();
            let corrupt =
                report.iter().filter(|undone| matches!(undone.outcome, Outcome::Corrupt(_))).count();
            assert_eq!((report.len(), corrupt), (7, 4), "{report:#?}");
            assert!(!Offload::Gso.get("vb").unwrap(), "the living writer's change stands");
            assert_eq!(std::fs::read_to_string(state.file()).unwrap().lines().count(), 1);
            drop(journal);
            assert!(Offload::Gso.get("vb").unwrap());
        })
        .unwrap();
}

#[test]
fn another_namespace_is_left_alone() {
    let state = StateDir::new("netns");
    let netns = netns_with_veth();
    netns.run(|| leave_changes_behind(&state.0, || {})).unwrap();
    // A thread that sits in it makes it visible in /proc, as a process would.
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let here = Netns::new().unwrap();
    std::thread::scope(|scope| {
        let mut sitter = netns.run(|| Command::new("sleep").arg("60").spawn().unwrap()).unwrap();
        scope.spawn(move || {
            let _ = stopped.recv();
            let _ = sitter.kill();
            let _ = sitter.wait();
        });
        let report = here.run(|| Journal::undo_stale_in(&state.0).unwrap()).unwrap();
        drop(stop);
        assert!(report.len() == 3 && report.iter().all(|undone| undone.outcome == Outcome::OtherNamespace));
    });
    netns.run(assert_changed).unwrap();
    assert_eq!(std::fs::read_to_string(state.file()).unwrap().lines().count(), 3, "kept");

    drop(netns);
    let report = here.run(|| Journal::undo_stale_in(&state.0).unwrap()).unwrap();
    assert!(report.iter().all(|undone| undone.outcome == Outcome::NamespaceGone), "{report:?}");
    assert!(!state.file().exists());
}

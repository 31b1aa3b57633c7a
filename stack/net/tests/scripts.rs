//! Packet scripts: tests/scripts/*.seg, one behaviour each. README.md says how to write one.
//!
//! `SCRIPT=paws cargo test -p linerate-net --test scripts` runs those whose name holds `paws`.

mod script;

use std::fs;
use std::path::{Path, PathBuf};

use script::run;

fn scripts_of(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts_of(&path, found);
        } else if path.extension().is_some_and(|e| e == "seg") {
            found.push(path);
        }
    }
}

/// Does a script name what only IPv4 has? All others run over IPv6, too.
fn is_of_ipv4(text: &str) -> bool {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.flat_map(str::split_whitespace).any(|w| {
        matches!(w, "df" | "in-icmp" | "in-raw" | "ipv6")
            || ["from=", "to=", "addr=", "ipopts=", "frag=", "mss=1460", "mss=536"]
                .iter()
                .any(|k| w.starts_with(k))
    })
}

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let wanted = std::env::var("SCRIPT").unwrap_or_default();
    let mut all = Vec::new();
    scripts_of(&folder, &mut all);
    all.sort();
    all.retain(|p| p.to_string_lossy().contains(&wanted));
    assert!(!all.is_empty(), "no script's name holds {wanted:?}");
    let mut failed = String::new();
    for path in &all {
        let name = path.strip_prefix(&folder).unwrap().display();
        let text = fs::read_to_string(path).unwrap();
        for v6 in [false, true] {
            if v6 && is_of_ipv4(&text) {
                continue;
            }
            let family = if v6 { " (IPv6)" } else { "" };
            let told = match std::panic::catch_unwind(|| run(&text, v6)) {
                Ok(Ok(())) => continue,
                Ok(Err(f)) => {
                    let (line, text, w) = (f.line, f.text.trim(), f.wrong);
                    let (expected, got) = (w.expected, w.got);
                    format!(
                        "scripts/{name}:{line}{family}: {text}\n  expected: {expected}\n  got:      {got}"
                    )
                }
                Err(_) => format!("scripts/{name}{family}: panicked, see above"),
            };
            failed = format!("{failed}\n{told}");
        }
    }
    assert!(failed.is_empty(), "of {} scripts:{failed}", all.len());
}

/// Twelve kinds of segment at four places with three acknowledgments in every state.
#[test]
fn every_state_meets_every_segment() {
    let wrong = script::matrix::differences();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a script gets wrong is told with its line.
#[test]
fn a_wrong_script_fails() {
    let wrong = [
        (1, "listen"),
        (2, "# RFC 9293 section 1: x\nout SYN"),
        (4, "# RFC 9293 section 1: x\nestablished\nin ACK len=10\nnothing for 50ms"),
        (4, "# RFC 9293 section 1: x\nestablished\nin ACK len=10\n+30ms out ACK ack=11"),
        (4, "# RFC 9293 section 1: x\nestablished\nin ACK len=10\n+40ms out ACK ack=10"),
        (3, "# RFC 9293 section 1: x\nestablished\nstate CLOSED"),
        (3, "# RFC 9293 section 1: x\nestablished\nstate ESTABLISHED indeed"),
        (3, "# RFC 9293 section 1: x\nestablished\nset speed high"),
        (4, "# RFC 9293 section 1: x\nestablished\nin ACK len=10\nread 11"),
        (5, "# RFC 9293 section 1: x\nestablished mss=1000\nwrite 10\nout PSH ACK len=10\nout ACK"),
        (4, "# RFC 9293 section 1: x\nestablished\nin ACK len=10 fill=7\nread 10"),
        (3, "# RFC 9293 section 1: x\nestablished\ndrop paws=1"),
    ];
    for (line, text) in wrong {
        match run(text, false) {
            Ok(()) => panic!("passed: {text}"),
            Err(f) => assert_eq!(f.line, line, "{text}: {f:?}"),
        }
    }
    run("# RFC 9293 section 1: x\nestablished\nin ACK len=10\n+40ms out ACK ack=11\nread 10", false).unwrap();
}

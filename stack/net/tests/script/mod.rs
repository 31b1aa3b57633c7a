//! The language of packet scripts: README.md of this folder's parent says how to write one.

pub mod calls;
pub mod matrix;
pub mod options;
pub mod packet;
pub mod segments;
pub mod settings;
pub mod text;
pub mod world;

use text::{Args, Wrong, wrong};
use world::{Setup, World};

/// What went wrong, and where.
#[derive(Debug)]
pub struct Failure {
    pub line: usize,
    pub text: String,
    pub wrong: Wrong,
}

/// Runs a script from its first line to its last, over IPv4 unless it says or is told otherwise.
pub fn run(script: &str, v6: bool) -> Result<(), Failure> {
    let fail = |line: usize, text: &str, wrong| Failure { line, text: text.into(), wrong };
    let first = script.lines().next().unwrap_or_default();
    if !first.starts_with("# RFC ") || !first.contains(": ") {
        let wrong = Wrong { expected: "# RFC NUMBER section X: what is shown".into(), got: first.into() };
        return Err(fail(1, first, wrong));
    }
    let mut setup = Setup { v6, ..Setup::default() };
    let mut world: Option<World> = None;
    let mut last = 0;
    for (i, text) in script.lines().enumerate() {
        let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        last = i + 1;
        let done = match (*first, &mut world) {
            ("config", None) => settings::configure(&mut setup, &mut Args::new(&words[1..])),
            ("config", Some(_)) => wrong("config before everything else", text),
            (_, world) => world.get_or_insert_with(|| World::new(&setup)).line(&words),
        };
        done.map_err(|e| fail(last, text, e))?;
    }
    let Some(mut w) = world else { return Ok(()) };
    w.none().and_then(|()| w.check_frames()).map_err(|e| fail(last, "(the end of the script)", e))
}

impl World {
    /// One line: perhaps time, perhaps a statement.
    fn line(&mut self, words: &[&str]) -> Result<(), Wrong> {
        let (time, words) = match segments::time_prefix(words[0])? {
            Some(t) => (Some(t), &words[1..]),
            None => (None, words),
        };
        match time {
            None => {}
            Some((ns, None)) => self.wait(ns)?,
            Some((low, Some(high))) => {
                self.none()?;
                let from = self.now;
                self.run(from + high, true);
                let after = self.now.since(from);
                if self.sent.is_empty() || after < low {
                    let got = self.show_front();
                    return wrong(
                        format!("a packet after {} to {}", text::show_span(low), text::show_span(high)),
                        format!("after {}: {got}", text::show_span(after)),
                    );
                }
            }
        }
        let Some(verb) = words.first() else { return Ok(()) };
        let mut args = Args::new(&words[1..]);
        let (verb, name) = verb.split_once('@').unwrap_or((verb, "a"));
        let conn = self.conn(name);
        self.statement(verb, conn, &mut args)?;
        args.done()
    }
}

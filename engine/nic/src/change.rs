//! The journal: every host change is written down before it is made, and undone afterwards, by whoever
//! is left to do it.
//!
//! ```text
//!   write line, sync ── make the change ── ... ── drop: undo in reverse order, take the lines out
//!                                           └─ kill -9: the lines stay; the next start, or
//!                                              `linerate undo`, sees that their owner is gone and undoes
//! ```
//! One line of JSON a change, in `journal.jsonl`. Writers hold a lock on `journal.lock`, so several
//! engines share the file. A line names its owner by pid and start time (a pid alone is used again) and
//! its namespace by inode and cookie (an inode alone is used again).

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{Netns, NicError, Offload, sys, veth};

const STATE_DIR_VARIABLE: &str = "LINERATE_STATE_DIR";
const DEFAULT_STATE_DIR: &str = "/run/linerate";

/// A change to the host, with what is needed to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// An offload was switched; undo: switch it back.
    Offload {
        /// Interface.
        ifname: String,
        /// Which.
        feature: Offload,
        /// What it was.
        previous: bool,
    },
    /// An interface was made; undo: delete it.
    Link {
        /// Its name.
        name: String,
    },
}

impl Change {
    /// Undoes it in this thread's namespace. True: done; false: there was nothing left to undo.
    fn undo(&self) -> Result<bool, NicError> {
        let result = match self {
            Change::Offload { ifname, feature, previous } => feature.set(ifname, *previous).map(drop),
            Change::Link { name } => veth::delete_link(name),
        };
        match result {
            Ok(()) => Ok(true),
            Err(NicError::NoSuchInterface { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Offload { ifname, feature, previous } => {
                write!(
                    f,
                    "offload {} of {ifname} back to {}",
                    feature.name(),
                    if *previous { "on" } else { "off" }
                )
            }
            Change::Link { name } => write!(f, "interface {name} deleted"),
        }
    }
}

/// A process that can't be mistaken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    /// Field 22 of /proc/PID/stat, clock ticks since boot.
    start_ticks: u64,
}

impl Owner {
    fn current() -> Self {
        let pid = std::process::id();
        Owner { pid, start_ticks: start_ticks(pid).unwrap_or(0) }
    }

    fn is_gone(&self) -> bool {
        start_ticks(self.pid) != Some(self.start_ticks)
    }
}

/// `None`: no such process, or it is a zombie, which holds nothing any more.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold spaces and brackets; fields are counted from the last one.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Namespace {
    inode: u64,
    /// Zero before Linux 5.14.
    cookie: u64,
    /// A journal on a disk outlives the boot that its numbers belong to.
    boot_id: String,
}

impl Namespace {
    fn current() -> Result<Self, NicError> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Namespace {
            inode: Netns::current()?.inode(),
            cookie: sys::netns_cookie().unwrap_or(0),
            boot_id: boot_id.trim().to_owned(),
        })
    }

    /// Whether some process is in it or a name holds it. One that can't be looked into counts as it.
    fn exists_elsewhere(&self, here: &Namespace) -> bool {
        if self.boot_id != here.boot_id || self.inode == here.inode {
            return false;
        }
        let processes =
            fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path().join("ns/net"));
        let named = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.path());
        let same_inode = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.ino() == self.inode);
        processes.chain(named).filter(same_inode).any(|path| {
            let cookie = Netns::open(&path).and_then(|netns| netns.run(sys::netns_cookie));
            !matches!(cookie, Ok(Ok(cookie)) if cookie != self.cookie)
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    id: u64,
    owner: Owner,
    netns: Namespace,
    change: Change,
}

/// What became of one line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The change; `None` for a line that could not be read.
    pub change: Option<Change>,
    /// The process that made it.
    pub owner_pid: Option<u32>,
    /// What was done about it.
    pub outcome: Outcome,
}

/// The end of a journaled change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The host is as it was.
    Restored,
    /// The interface is gone, and the change with it.
    InterfaceGone,
    /// Its network namespace is gone, and the change with it.
    NamespaceGone,
    /// It belongs to another network namespace that still exists; kept. Run the undo there.
    OtherNamespace,
    /// Undoing failed, with this error; kept.
    Failed(String),
    /// The line is no journal entry; removed. This is its text.
    Corrupt(String),
}

impl Outcome {
    fn keeps_the_line(&self) -> bool {
        matches!(self, Outcome::OtherNamespace | Outcome::Failed(_))
    }
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.change.as_ref().map(Change::to_string).unwrap_or_default();
        let who = self.owner_pid.map(|pid| format!(" (left by process {pid})")).unwrap_or_default();
        match &self.outcome {
            Outcome::Restored => write!(f, "undone: {what}{who}"),
            Outcome::InterfaceGone => write!(f, "nothing to undo, the interface is gone: {what}{who}"),
            Outcome::NamespaceGone => {
                write!(f, "nothing to undo, the network namespace is gone: {what}{who}")
            }
            Outcome::OtherNamespace => {
                write!(f, "left alone, it is in another network namespace: {what}{who}")
            }
            Outcome::Failed(error) => write!(f, "not undone: {what}{who}: {error}"),
            Outcome::Corrupt(line) => write!(f, "removed from the journal, not readable: {line}"),
        }
    }
}

/// The changes this process makes to the host. Dropping it undoes them, last first, in the namespace it
/// was opened in.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    owner: Owner,
    netns: Netns,
    namespace: Namespace,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens the journal in `$LINERATE_STATE_DIR`, else `/run/linerate`, for changes in the calling
    /// thread's namespace. Stale entries are left alone: see [`Journal::undo_stale`].
    pub fn open() -> Result<Journal, NicError> {
        Self::open_in(&state_dir())
    }

    /// Opens the journal in a folder, which is made if need be.
    pub fn open_in(dir: &Path) -> Result<Journal, NicError> {
        fs::create_dir_all(dir).map_err(|error| NicError::Journal {
            tried: "making the state folder",
            path: dir.to_owned(),
            error,
        })?;
        Ok(Journal {
            dir: dir.to_owned(),
            owner: Owner::current(),
            netns: Netns::current()?,
            namespace: Namespace::current()?,
            entries: Vec::new(),
        })
    }

    /// Switches an offload, if it is not so already, to be switched back at drop.
    pub fn set_offload(&mut self, ifname: &str, feature: Offload, on: bool) -> Result<(), NicError> {
        self.in_namespace(|journal| {
            let previous = feature.get(ifname)?;
            if previous == on {
                return Ok(());
            }
            let id = journal.record(Change::Offload { ifname: ifname.to_owned(), feature, previous })?;
            let made = feature.set(ifname, on).map(drop);
            journal.forget_if_failed(id, made)
        })
    }

    /// Makes a veth pair as [`veth::create_pair`] does, to be deleted at drop.
    pub fn create_pair(
        &mut self,
        a: &str,
        b: &str,
        queues: u32,
        peer_netns: BorrowedFd<'_>,
    ) -> Result<(), NicError> {
        self.in_namespace(|journal| {
            // Never journal a link that is there already: undoing would delete somebody else's.
            if crate::if_index(a).is_ok() {
                let error = io::Error::from_raw_os_error(libc::EEXIST);
                return Err(NicError::kernel(format!("making the veth pair {a}, {b}"), &error));
            }
            let id = journal.record(Change::Link { name: a.to_owned() })?;
            let made = veth::create_pair(a, b, queues, peer_netns);
            journal.forget_if_failed(id, made)
        })
    }

    /// Undoes all changes of this journal now, last first, and says what became of each.
    pub fn undo(&mut self) -> Vec<Undone> {
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() {
            return Vec::new();
        }
        let undo_all = || entries.iter().rev().map(|entry| (entry.id, undo_entry(entry))).collect::<Vec<_>>();
        let results = match self.netns.run(undo_all) {
            Ok(results) => results,
            Err(error) => {
                let failed = |entry: &Entry| (entry.id, undone(entry, Outcome::Failed(error.to_string())));
                entries.iter().rev().map(failed).collect()
            }
        };
        let done: Vec<u64> = results
            .iter()
            .filter(|(_, undone)| !undone.outcome.keeps_the_line())
            .map(|(id, _)| *id)
            .collect();
        // A line that stays is undone again by the next start, which is harmless.
        let _ = self.remove(&done);
        results.into_iter().map(|(_, undone)| undone).collect()
    }

    /// Undoes what processes have left behind that are gone, in the calling thread's namespace.
    pub fn undo_stale() -> Result<Vec<Undone>, NicError> {
        Self::undo_stale_in(&state_dir())
    }

    /// [`Journal::undo_stale`] for the journal in a folder.
    pub fn undo_stale_in(dir: &Path) -> Result<Vec<Undone>, NicError> {
        if !path_in(dir).exists() {
            return Ok(Vec::new());
        }
        let here = Namespace::current()?;
        let _lock = lock(dir)?;
        let mut kept = String::new();
        let mut report = Vec::new();
        // Last first, as at drop: a later change may stand on an earlier one.
        let text = read(dir)?;
        let mut keep = |line: &str| kept.insert_str(0, &format!("{line}\n"));
        for line in text.lines().rev().filter(|line| !line.trim().is_empty()) {
            let Ok(entry) = serde_json::from_str::<Entry>(line) else {
                report.push(Undone {
                    change: None,
                    owner_pid: None,
                    outcome: Outcome::Corrupt(line.to_owned()),
                });
                continue;
            };
            if entry.netns.boot_id == here.boot_id && !entry.owner.is_gone() {
                keep(line);
                continue;
            }
            let undone = if entry.netns == here {
                undo_entry(&entry)
            } else if entry.netns.exists_elsewhere(&here) {
                undone(&entry, Outcome::OtherNamespace)
            } else {
                undone(&entry, Outcome::NamespaceGone)
            };
            if undone.outcome.keeps_the_line() {
                keep(line);
            }
            report.push(undone);
        }
        write(dir, &kept)?;
        Ok(report)
    }

    /// Runs in the journal's namespace, where its lines say the changes are.
    fn in_namespace<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, NicError> + Send,
    ) -> Result<R, NicError>
    where
        R: Send,
    {
        if Netns::current()?.inode() == self.netns.inode() {
            return work(self);
        }
        let inside = self.netns.try_clone()?;
        inside.run(|| work(self))?
    }

    fn record(&mut self, change: Change) -> Result<u64, NicError> {
        // Unique in the process: it may have several journals.
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { id, owner: self.owner, netns: self.namespace.clone(), change };
        let line = serde_json::to_string(&entry).map_err(|error| NicError::Journal {
            tried: "writing an entry to",
            path: path_in(&self.dir),
            error: error.into(),
        })?;
        let _lock = lock(&self.dir)?;
        let path = path_in(&self.dir);
        let failed = |error| NicError::Journal { tried: "writing an entry to", path: path.clone(), error };
        let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        // One write; the newline first, in case a writer was killed in the middle of its line.
        let before = read(&self.dir)?;
        let torn = !before.is_empty() && !before.ends_with('\n');
        let line = format!("{}{line}\n", if torn { "\n" } else { "" });
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
        self.entries.push(entry);
        Ok(id)
    }

    fn forget_if_failed(&mut self, id: u64, made: Result<(), NicError>) -> Result<(), NicError> {
        if made.is_err() {
            self.entries.retain(|entry| entry.id != id);
            self.remove(&[id])?;
        }
        made
    }

    /// Takes lines of this process out.
    fn remove(&self, ids: &[u64]) -> Result<(), NicError> {
        let _lock = lock(&self.dir)?;
        let is_ours = |line: &&str| {
            serde_json::from_str::<Entry>(line).is_ok_and(|entry| {
                entry.owner == self.owner && entry.netns == self.namespace && ids.contains(&entry.id)
            })
        };
        let text = read(&self.dir)?;
        let kept: String =
            text.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect();
        write(&self.dir, &kept)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.undo();
    }
}

fn undo_entry(entry: &Entry) -> Undone {
    let outcome = match entry.change.undo() {
        Ok(true) => Outcome::Restored,
        Ok(false) => Outcome::InterfaceGone,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    undone(entry, outcome)
}

fn undone(entry: &Entry, outcome: Outcome) -> Undone {
    Undone { change: Some(entry.change.clone()), owner_pid: Some(entry.owner.pid), outcome }
}

fn state_dir() -> PathBuf {
    std::env::var_os(STATE_DIR_VARIABLE).map_or_else(|| PathBuf::from(DEFAULT_STATE_DIR), PathBuf::from)
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join("journal.jsonl")
}

/// Held until dropped; the kernel lets go when the process dies.
fn lock(dir: &Path) -> Result<File, NicError> {
    let path = dir.join("journal.lock");
    let locked = OpenOptions::new().create(true).write(true).truncate(false).open(&path).and_then(|file| {
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    locked.map_err(|error| NicError::Journal { tried: "locking", path, error })
}

fn read(dir: &Path) -> Result<String, NicError> {
    match fs::read(path_in(dir)) {
        // A corrupt line need not be text.
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(NicError::Journal { tried: "reading", path: path_in(dir), error }),
    }
}

/// Replaces the file in one step: a kill in the middle leaves the old one.
fn write(dir: &Path, text: &str) -> Result<(), NicError> {
    let path = path_in(dir);
    let failed = |error| NicError::Journal { tried: "writing", path: path.clone(), error };
    if text.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    }
    let fresh = dir.join("journal.jsonl.new");
    let mut file = File::create(&fresh).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)?;
    fs::rename(&fresh, &path).map_err(failed)
}

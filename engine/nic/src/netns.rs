//! Anonymous network namespaces: held by an fd, gone with the last process that has it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{NicError, sys};

/// A network namespace. One made by [`Netns::new`] has no name anywhere, so nothing stays behind even
/// after kill -9: its interfaces go when the last fd, thread and socket in it is gone.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    inode: u64,
}

impl Netns {
    /// Makes an empty namespace (only `lo`, down). Needs CAP_SYS_ADMIN. The caller's thread stays where it is.
    pub fn new() -> Result<Netns, NicError> {
        // The namespace of a whole thread changes, so a thread is spent on it.
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                sys::unshare_net().map_err(|error| NicError::kernel("making a network namespace", &error))?;
                Netns::current()
            });
            maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The calling thread's namespace.
    pub fn current() -> Result<Netns, NicError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// One that a file stands for: `/run/netns/NAME`, `/proc/PID/ns/net`.
    pub fn open(path: &Path) -> Result<Netns, NicError> {
        let failed =
            |error| NicError::kernel(format!("opening the network namespace {}", path.display()), &error);
        let file = File::open(path).map_err(failed)?;
        let inode = file.metadata().map_err(failed)?.ino();
        Ok(Netns { fd: file.into(), inode })
    }

    /// Another hold on the same namespace.
    pub fn try_clone(&self) -> Result<Netns, NicError> {
        let failed = |error| NicError::kernel("duplicating a network namespace's fd", &error);
        Ok(Netns { fd: self.fd.try_clone().map_err(failed)?, inode: self.inode })
    }

    /// Moves the calling thread in; sockets and interfaces it makes from now on are made there.
    pub fn enter(&self) -> Result<(), NicError> {
        sys::setns_net(self.fd.as_fd())
            .map_err(|error| NicError::kernel("entering a network namespace", &error))
    }

    /// Runs a closure in a thread inside the namespace and waits for it. A panic in it goes on here.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, NicError> {
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| self.enter().map(|()| work()));
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The namespace's number in nsfs, as `ls -l /proc/PID/ns/net` shows it. Used again after its end.
    pub fn inode(&self) -> u64 {
        self.inode
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

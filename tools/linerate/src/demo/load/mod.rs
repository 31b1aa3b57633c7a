//! The load client: closed loops over ordinary kernel sockets, on a core of its own.
//!
//! Every byte that comes back is checked, every loop ends by itself (a peer that goes silent costs at most
//! [`GRACE`] beyond the asked duration), and what went wrong is counted by kind in the [`Outcome`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::cpu;

mod bulk_in;
mod bulk_out;
mod closed_loop;
mod connect;
mod conns;
mod http;
mod outcome;
mod poller;
mod rr;
mod window;

#[cfg(test)]
pub use outcome::ErrorKind;
pub use outcome::Outcome;

/// How long after its end a load waits for what is still under way, and at its start for connections.
pub const GRACE: Duration = Duration::from_secs(3);

/// How a load waits for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Never sleeps: the figure has the server's latency in it and not the client's own wake-up (tens of
    /// microseconds across cores in a VM), and the server never pays for waking the client.
    Spin,
    /// Sleeps in the kernel when there is nothing to do.
    Sleep,
}

/// What to put on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// `GET /` over keep-alive connections, one request outstanding on each.
    Http {
        /// Connections.
        conns: usize,
        /// How to wait.
        wait: Wait,
    },
    /// One byte there and back on the echo service, one outstanding on each connection.
    Rr {
        /// Connections.
        conns: usize,
        /// How to wait.
        wait: Wait,
    },
    /// Pattern into the sink.
    BulkIn {
        /// Connections.
        conns: usize,
    },
    /// Pattern out of the source.
    BulkOut {
        /// Connections.
        conns: usize,
    },
    /// Connect, one byte there and back, the server closes.
    Conns {
        /// Connections under way at any time.
        parallel: usize,
        /// How to wait.
        wait: Wait,
    },
}

/// Asks for a server's CPU time so far; `None` if it is not known.
pub type CpuProbe = Arc<dyn Fn() -> Option<Duration> + Send + Sync>;

/// One measurement.
#[derive(Clone)]
pub struct Job {
    /// What to do.
    pub load: Load,
    /// To whom.
    pub addr: SocketAddr,
    /// For how long in all; the first tenth warms up and is not counted.
    pub duration: Duration,
    /// The server's CPU time, asked at both ends of the counted time.
    pub server_cpu: Option<CpuProbe>,
    /// Set from outside: stop early; the outcome then says `cut`.
    pub stop: Arc<AtomicBool>,
}

impl Job {
    /// Runs it on this thread.
    pub fn run(&self) -> Outcome {
        match self.load {
            Load::Http { conns, wait } => http::run(self, conns, wait),
            Load::Rr { conns: 1, wait: Wait::Spin } => rr::run_spinning(self),
            Load::Rr { conns, wait } => rr::run(self, conns, wait),
            Load::BulkIn { conns } => bulk_in::run(self, conns),
            Load::BulkOut { conns } => bulk_out::run(self, conns),
            Load::Conns { parallel, wait } => conns::run(self, parallel, wait),
        }
    }
}

/// The client's thread: pinned once, in its network namespace once, then given one job after the other.
pub struct LoadThread {
    jobs: Option<Sender<(Job, Sender<Outcome>)>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl LoadThread {
    /// Starts the thread, runs `before` in it (the place to enter a network namespace) and pins it.
    pub fn start(
        core: Option<usize>,
        before: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, inbox) = channel::<(Job, Sender<Outcome>)>();
        let (ready, is_ready) = channel::<()>();
        let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
            before()?;
            if let Some(core) = core {
                cpu::pin(core)?;
            }
            // Fails only if the starter is gone.
            let _ = ready.send(());
            for (job, answer) in inbox {
                let _ = answer.send(job.run());
            }
            Ok(())
        })?;
        let started = is_ready.recv().is_ok();
        let mut this = Self { jobs: Some(jobs), thread: Some(thread) };
        if started { Ok(this) } else { Err(this.join().err().unwrap_or_else(dead)) }
    }

    /// Runs `job` there and waits for its outcome.
    pub fn run(&self, job: Job) -> io::Result<Outcome> {
        let (answer, answered) = channel();
        self.jobs.as_ref().and_then(|jobs| jobs.send((job, answer)).ok()).ok_or_else(dead)?;
        answered.recv().map_err(|_| dead())
    }

    fn join(&mut self) -> io::Result<()> {
        self.jobs = None;
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err(dead())))
    }
}

impl Drop for LoadThread {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

fn dead() -> io::Error {
    io::Error::other("load client: its thread has ended")
}

//! The server to compare with: kernel sockets, one thread, level-triggered epoll, the same five services.
//!
//! It is meant to be hard to beat without leaving the kernel's stack: reads, works and writes in one go, asks
//! for EPOLLOUT only when the socket is full, touches `epoll_ctl` once in the life of a usual connection (and not
//! at all if its first byte came with it), moves bulk data in 256 KiB calls, and has one core for itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use super::cpu;
use super::load::CpuProbe;
use super::service::{Ports, Service};
use super::socket;

mod conn;
use conn::{Connection, Next};

/// Events taken by one `epoll_wait`.
const EVENTS: usize = 256;
/// Connections accepted in one go, so that a storm of them doesn't starve the established ones.
const ACCEPT_BURST: usize = 64;
/// How long a caller waits for the thread's answer; the thread looks at its eventfd once a turn.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Token of the eventfd; listeners follow, connections after them.
const WAKE: u64 = 0;
const FIRST_LISTENER: u64 = 1;
const FIRST_CONNECTION: u64 = FIRST_LISTENER + Service::ALL.len() as u64;

/// Where the server listens and runs.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Address of every listener; the unspecified address for all.
    pub ip: IpAddr,
    /// Port of each service.
    pub ports: Ports,
    /// Core of the thread; `None` leaves it to the scheduler.
    pub core: Option<usize>,
}

/// What the server did in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that ended by an error instead of by their protocol.
    pub failed: u64,
    /// `accept` calls that failed (out of descriptors, ...).
    pub accept_failed: u64,
    /// CPU time of the thread.
    pub cpu: Duration,
}

enum Command {
    CpuTime(Sender<Duration>),
    Stop,
}

/// The running server; dropping it stops it.
pub struct KernelServer {
    ports: Ports,
    control: Control,
    thread: Option<JoinHandle<io::Result<Stats>>>,
}

#[derive(Clone)]
struct Control {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
}

impl Control {
    fn tell(&self, command: Command) {
        // Both fail only if the thread has ended, which its join tells.
        let _ = self.commands.send(command);
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }

    fn cpu_time(&self) -> Option<Duration> {
        let (answer, answered) = channel();
        self.tell(Command::CpuTime(answer));
        answered.recv_timeout(ANSWER_WITHIN).ok()
    }
}

impl KernelServer {
    /// Starts the thread, runs `before` in it (the place to enter a network namespace), listens, and returns
    /// when all ports are open.
    pub fn start(
        config: Config,
        before: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (commands, inbox) = channel();
        let control = Control { commands, wake: wake.clone() };
        let bound = Arc::new(OnceLock::new());
        let (ready, is_ready) = channel();
        let thread = std::thread::Builder::new().name("kernel-server".into()).spawn({
            let bound = bound.clone();
            move || {
                before()?;
                if let Some(core) = config.core {
                    cpu::pin(core)?;
                }
                let mut server = Server::open(config, inbox, wake)?;
                let _ = bound.set(server.ports);
                drop(ready);
                server.run()?;
                Ok(Stats { cpu: cpu::thread_time(), ..server.stats })
            }
        })?;
        // Ends when `ready` is dropped: after the ports are open, or with the thread.
        let _ = is_ready.recv() as Result<(), _>;
        match bound.get() {
            Some(&ports) => Ok(Self { ports, control, thread: Some(thread) }),
            None => Err(joined(thread).err().unwrap_or_else(|| io::Error::other("kernel server: no ports"))),
        }
    }

    /// The ports it listens on.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// CPU time of its thread so far, asked of the thread itself.
    pub fn cpu_probe(&self) -> CpuProbe {
        let control = self.control.clone();
        Arc::new(move || control.cpu_time())
    }

    /// Closes everything and ends the thread.
    pub fn stop(mut self) -> io::Result<Stats> {
        self.control.tell(Command::Stop);
        self.thread.take().map_or_else(|| Ok(Stats::default()), joined)
    }
}

impl Drop for KernelServer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.control.tell(Command::Stop);
            let _ = joined(thread);
        }
    }
}

fn joined(thread: JoinHandle<io::Result<Stats>>) -> io::Result<Stats> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("kernel server: the thread panicked")))
}

struct Server {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    inbox: Receiver<Command>,
    listeners: Vec<(Service, OwnedFd)>,
    ports: Ports,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buf: Vec<u8>,
    stats: Stats,
}

impl Server {
    fn open(config: Config, inbox: Receiver<Command>, wake: Arc<OwnedFd>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let mut ports = config.ports;
        let mut listeners = Vec::new();
        for (token, service) in (FIRST_LISTENER..).zip(Service::ALL) {
            let listener = socket::listen(SocketAddr::new(config.ip, config.ports.of(service)))?;
            ports.set(service, socket::local_addr(&listener)?.port());
            epoll::add(&epoll, &listener, EventData::new_u64(token), EventFlags::IN)?;
            listeners.push((service, listener));
        }
        Ok(Self {
            epoll,
            wake,
            inbox,
            listeners,
            ports,
            connections: Vec::new(),
            free: Vec::new(),
            buf: vec![0; conn::BUF_BYTES],
            stats: Stats::default(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                let (token, flags) = (event.data.u64(), event.flags);
                match token {
                    WAKE if self.obey() => return Ok(()),
                    WAKE => {}
                    FIRST_LISTENER..FIRST_CONNECTION => self.accept((token - FIRST_LISTENER) as usize),
                    _ => self.serve((token - FIRST_CONNECTION) as usize, flags),
                }
            }
        }
    }

    /// Answers what the handle asked; true to stop.
    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&*self.wake, &mut [0u8; 8]);
        self.inbox.try_iter().any(|command| match command {
            Command::CpuTime(answer) => {
                let _ = answer.send(cpu::thread_time());
                false
            }
            Command::Stop => true,
        })
    }

    fn accept(&mut self, listener: usize) {
        for _ in 0..ACCEPT_BURST {
            let (service, listener) = &self.listeners[listener];
            let fd = match socket::accept(listener) {
                Ok(fd) => fd,
                Err(rustix::io::Errno::AGAIN) => return,
                // The connection died in the queue: the next one may be well.
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => continue,
                Err(_) => {
                    self.stats.accept_failed += 1;
                    return;
                }
            };
            self.stats.accepted += 1;
            let mut connection = Connection::new(*service, fd);
            // The client speaks first in every service and its bytes are often here already: for a
            // connection of one byte this is its whole life, without epoll.
            match connection.on_event(EventFlags::IN, &mut self.buf) {
                Next::Keep => self.register(connection),
                Next::Close => {}
                Next::Fail => self.stats.failed += 1,
            }
        }
    }

    fn register(&mut self, mut connection: Connection) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let token = EventData::new_u64(FIRST_CONNECTION + index as u64);
        connection.registered = connection.wanted();
        match epoll::add(&self.epoll, &connection.fd, token, connection.registered) {
            Ok(()) => self.connections[index] = Some(connection),
            Err(_) => {
                self.stats.failed += 1;
                self.free.push(index);
            }
        }
    }

    fn serve(&mut self, index: usize, flags: EventFlags) {
        // A slot emptied and filled again within one batch could see the old connection's event: harmless,
        // every read and write here may find nothing to do.
        let Some(connection) = &mut self.connections[index] else { return };
        let mut next = connection.on_event(flags, &mut self.buf);
        let wanted = connection.wanted();
        if next == Next::Keep && wanted != connection.registered {
            let token = EventData::new_u64(FIRST_CONNECTION + index as u64);
            match epoll::modify(&self.epoll, &connection.fd, token, wanted) {
                Ok(()) => connection.registered = wanted,
                Err(_) => next = Next::Fail,
            }
        }
        if next != Next::Keep {
            self.stats.failed += u64::from(next == Next::Fail);
            self.connections[index] = None;
            self.free.push(index);
        }
    }
}

//! From an interface's name to running cores, and back to a host as it was.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use linerate_frame::{Pool, RxCsum};
use linerate_load::{Attach, Claim, LoadError, Protocol, Steer};
use linerate_net::neigh::Resolver;
use linerate_net::stack::ConfigError;
use linerate_net::{AutoConfig, Link, Owners, SockError, Stack, StackConfig, TcpConfig};
use linerate_nic::{NeighbourWatch, NicError, PortReservation, Scrape};
use linerate_port::af_xdp::{BindMode, Xsk, XskConfig, XskMode};
use linerate_port::{Caps, PortError, Umem, UmemConfig};

use crate::addresses::Addresses;
use crate::clock;
use crate::core::{Core, CoreId, Shared};
use crate::handoff::{Mesh, Waker};
use crate::limits::{CARRIER_WAIT_NS, FRAMES_PER_CORE};
use crate::mirror;
use crate::placement::{check_cores, pin};
use crate::report::{CoreReport, Report};
use crate::service::ServiceSet;

/// Which port the user wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PortChoice {
    /// The best that works.
    #[default]
    Auto,
    /// AF_XDP with the program in the driver (native), zero-copy if the driver can.
    AfXdp,
    /// AF_XDP with the program in the kernel's generic hook, copying.
    AfXdpGeneric,
}

/// What to launch.
#[derive(Clone, Debug)]
pub struct LaunchConfig {
    /// The interface's name, in the calling thread's network namespace.
    pub interface: String,
    /// CPUs to run on, one thread each.
    pub cores: Vec<usize>,
    /// Port.
    pub port: PortChoice,
    /// Addresses to serve, with their prefix length if they are not the kernel's. Empty: all of the interface.
    pub addresses: Vec<(IpAddr, Option<u8>)>,
    /// TCP ports to claim.
    pub tcp_ports: Vec<u16>,
    /// TCP's settings.
    pub tcp: TcpConfig,
    /// Frames of UMEM a core; 0: [`FRAMES_PER_CORE`].
    pub frames_per_core: u32,
    /// How long to spin before sleeping, ns; `None`: [`SPIN_NS`](crate::limits::SPIN_NS).
    pub spin_ns: Option<u64>,
}

/// Why it did not start: what was tried, what the kernel answered, what to do.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The host's side.
    #[error(transparent)]
    Nic(#[from] NicError),
    /// The steering program.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The stack's configuration.
    #[error("{interface}: {error}")]
    Config {
        /// The interface.
        interface: String,
        /// What is wrong.
        error: ConfigError,
    },
    /// A service could not listen.
    #[error("port {port}: {error}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        error: SockError,
    },
    /// What the user asked for contradicts itself or the host.
    #[error("{0}")]
    Usage(String),
    /// The kernel refused something small.
    #[error("{tried}: {errno}")]
    Kernel {
        /// What was tried.
        tried: &'static str,
        /// What it answered.
        errno: rustix::io::Errno,
    },
}

impl LaunchError {
    /// Is it a mistake in what was asked for (exit code 2), or did it fail (1)?
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Config { .. } | Self::Nic(NicError::NoSuchInterface { .. }))
    }
}

/// A mode that was passed over, and why.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The mode.
    pub port: &'static str,
    /// One line.
    pub reason: String,
}

/// What runs.
#[derive(Clone, Debug)]
pub struct Picked {
    /// `af_xdp`
    pub port: &'static str,
    /// `zero-copy` or `copy`
    pub bind: &'static str,
    /// `native` or `generic`
    pub attach: &'static str,
    /// The interface's driver.
    pub driver: String,
    /// Its MTU.
    pub mtu: u16,
    /// Does it have a carrier?
    pub carrier: bool,
    /// Its queues, dealt to the cores in turn.
    pub queues: u32,
    /// Addresses served, and whether they are ours alone.
    pub addresses: Vec<(IpAddr, bool)>,
    /// What was passed over.
    pub rejected: Vec<Rejected>,
}

/// A running engine. Dropping it stops it.
pub struct Engine {
    /// What runs.
    pub picked: Picked,
    shared: Vec<Arc<Shared>>,
    threads: Vec<JoinHandle<CoreReport>>,
    mirror: Option<(JoinHandle<()>, Arc<Waker>, Arc<AtomicBool>)>,
    steer: Steer,
    /// Ports that the kernel keeps free for us.
    _reserved: Vec<PortReservation>,
    _umem: Umem,
}

/// The kernel leaves sums of local senders to an offload; these drivers hand such packets on as they are.
const LOCAL_DRIVERS: [&str; 3] = ["veth", "tun", "virtio_net"];

/// Starts an engine on an interface of the calling thread's network namespace. `services` is called once a core, on
/// its thread, to fill its set.
///
/// # Errors
/// [`LaunchError`]; nothing is left behind then.
pub fn launch<F>(cfg: &LaunchConfig, services: F) -> Result<Engine, LaunchError>
where
    F: Fn(&mut ServiceSet, &mut Stack) -> Result<(), (u16, SockError)> + Send + Sync + 'static,
{
    check_cores(&cfg.cores)?;
    let scrape = linerate_nic::scrape(&cfg.interface)?;
    let addresses = Addresses::new(cfg, &scrape)?;
    // First of all that takes rights: its error names them best.
    let mut steer = Steer::load()?;
    let reserved = reserve(cfg, &addresses)?;
    let mtu = u16::try_from(scrape.link.mtu).unwrap_or(u16::MAX);
    let chunk_bytes = Umem::chunk_for_mtu(mtu)?;
    for (addr, whole) in &addresses.claims {
        steer.claim_addr(*addr, if *whole { Claim::Whole } else { Claim::Ports })?;
    }
    for port in &cfg.tcp_ports {
        steer.claim_port(Protocol::Tcp, *port)?;
    }
    let (attach, mut rejected) = attach(&mut steer, cfg, &scrape)?;
    // Attaching may change the number of queues (virtio_net adds some), and some drivers reset their link for it.
    let configured = scrape.link.rx_queues;
    let scrape = await_carrier(&cfg.interface, scrape)?;
    let queues = scrape.link.rx_queues;
    // All queues are received from, but only those that were there before send: what is put into the ones that
    // virtio_net adds for XDP goes nowhere, without an error.
    let sending = configured.min(queues);
    if (sending as usize) < cfg.cores.len() {
        return Err(LaunchError::Usage(format!(
            "{}: {} cores were given, but it has {sending} queue(s), and each core needs one: give --cores {sending} of \
             them, or ethtool -L {} combined {}",
            cfg.interface,
            cfg.cores.len(),
            cfg.interface,
            cfg.cores.len()
        )));
    }
    let frames = if cfg.frames_per_core == 0 { FRAMES_PER_CORE } else { cfg.frames_per_core };
    let frames = frames * cfg.cores.len() as u32;
    let umem = Umem::new(&UmemConfig { frames, chunk_bytes, hugepages: true })?;
    let rx_csum = match attach == Attach::Generic || LOCAL_DRIVERS.contains(&scrape.link.driver.as_str()) {
        true => RxCsum::MaybePartial,
        false => RxCsum::Unknown,
    };
    let caps = Caps::ethernet(mtu, scrape.link.mac, rx_csum);
    let socks = open_sockets(&umem, &scrape, caps, attach, queues)?;
    for xsk in &socks {
        steer.set_xsk(xsk.queue_id(), xsk.as_fd())?;
    }
    let zero_copy = socks[0].mode() == XskMode::ZeroCopy;
    if !zero_copy && attach == Attach::Native {
        rejected.insert(0, no_zero_copy(&scrape));
    }
    let picked = Picked {
        port: "af_xdp",
        bind: if zero_copy { "zero-copy" } else { "copy" },
        attach: if attach == Attach::Native { "native" } else { "generic" },
        driver: scrape.link.driver.clone(),
        mtu,
        carrier: scrape.link.carrier,
        queues,
        addresses: addresses.claims.clone(),
        rejected,
    };
    let mut engine = Engine {
        picked,
        shared: Vec::new(),
        threads: Vec::new(),
        mirror: None,
        steer,
        _reserved: reserved,
        _umem: umem,
    };
    let parts = Parts { cfg, scrape: &scrape, addresses: &addresses, mtu };
    engine.start(&parts, socks, Arc::new(services))?;
    Ok(engine)
}

/// What the stacks of all cores are made from.
struct Parts<'a> {
    cfg: &'a LaunchConfig,
    scrape: &'a Scrape,
    addresses: &'a Addresses,
    mtu: u16,
}

impl Parts<'_> {
    fn stack(&self, pool: Pool, secret: [u64; 4], me: usize) -> Result<Stack, LaunchError> {
        let cfg = StackConfig {
            link: Link::Ethernet(self.scrape.link.mac),
            mtu: self.mtu,
            addrs: self.addresses.own.clone(),
            routes: self.addresses.routes(self.scrape),
            resolver: self.addresses.resolver(),
            tcp: self.cfg.tcp.clone(),
            secret,
        };
        let mut stack = Stack::new(cfg, pool, clock::now())
            .map_err(|error| LaunchError::Config { interface: self.cfg.interface.clone(), error })?;
        if self.cfg.cores.len() > 1 {
            stack.set_owners(Owners::equal(self.cfg.cores.len() as u8, me as u8));
        }
        // Addresses of our own: the first core announces and defends them, and reports their groups. Routers are not
        // asked: routes are the host's.
        if me == 0 && self.addresses.resolver() == linerate_net::neigh::Resolver::Own {
            let auto = AutoConfig { slaac: false, ..AutoConfig::default() };
            stack.autoconfigure(auto, clock::now());
        }
        for n in &self.scrape.neighbours {
            let known = match (n.permanent, n.reachable) {
                (true, _) => linerate_net::neigh::Known::Permanent,
                (_, true) => linerate_net::neigh::Known::Reachable,
                _ => linerate_net::neigh::Known::Stale,
            };
            stack.neigh().set(n.addr, n.mac, known, clock::now().0);
        }
        Ok(stack)
    }
}

impl Engine {
    fn start<F>(&mut self, parts: &Parts<'_>, socks: Vec<Xsk>, services: Arc<F>) -> Result<(), LaunchError>
    where
        F: Fn(&mut ServiceSet, &mut Stack) -> Result<(), (u16, SockError)> + Send + Sync + 'static,
    {
        let cpus = &parts.cfg.cores;
        let secret = secret()?;
        let new_waker =
            || Waker::new().map(Arc::new).map_err(|errno| LaunchError::Kernel { tried: "eventfd", errno });
        let wakers = cpus.iter().map(|_| new_waker()).collect::<Result<Vec<_>, _>>()?;
        let ask_waker = new_waker()?;
        let pools = Pool::split(self._umem.region().clone(), cpus.len());
        let mut ports: Vec<Vec<Xsk>> = cpus.iter().map(|_| Vec::new()).collect();
        for (i, xsk) in socks.into_iter().enumerate() {
            ports[i % cpus.len()].push(xsk);
        }
        let meshes = Mesh::new(&wakers);
        let mut cores = Vec::new();
        let each = cpus.iter().zip(pools).zip(ports).zip(meshes).zip(&wakers).enumerate();
        for (me, ((((cpu, pool), ports), mesh), waker)) in each {
            let mut stack = parts.stack(pool, secret, me)?;
            // Listening fails here, where it can be told, rather than on the thread.
            services(&mut ServiceSet::default(), &mut stack)
                .map_err(|(port, error)| LaunchError::Listen { port, error })?;
            stack.close_listeners(clock::now());
            let shared = Arc::new(Shared::new(waker.clone(), ask_waker.clone()));
            self.shared.push(shared.clone());
            cores.push((CoreId(*cpu), stack, ports, mesh, shared));
        }
        for (cpu, stack, ports, mesh, shared) in cores {
            let others = self.shared.iter().filter(|s| !Arc::ptr_eq(s, &shared)).cloned().collect();
            self.spawn(cpu, stack, ports, mesh, shared, others, services.clone(), parts.cfg.spin_ns)?;
        }
        if parts.addresses.resolver() == Resolver::Kernel {
            self.start_mirror(parts.scrape.link.ifindex, ask_waker)?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // the parts of a core, each named once
    fn spawn<F>(
        &mut self,
        cpu: CoreId,
        mut stack: Stack,
        ports: Vec<Xsk>,
        mesh: Mesh,
        shared: Arc<Shared>,
        peers: Vec<Arc<Shared>>,
        services: Arc<F>,
        spin_ns: Option<u64>,
    ) -> Result<(), LaunchError>
    where
        F: Fn(&mut ServiceSet, &mut Stack) -> Result<(), (u16, SockError)> + Send + Sync + 'static,
    {
        let thread = std::thread::Builder::new().name(format!("linerate-{cpu}")).spawn(move || {
            // Checked in check_cores; if the CPU went away since, it runs where the kernel lets it.
            let _ = pin(cpu);
            let mut set = ServiceSet::default();
            let listening = services(&mut set, &mut stack);
            debug_assert!(listening.is_ok(), "tried before the thread was started");
            let mut core = Core::new(cpu, stack, ports, set, mesh, shared);
            core.spin_ns = spin_ns;
            core.peers = peers;
            core.run()
        });
        let errno =
            |e: std::io::Error| rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::AGAIN);
        self.threads
            .push(thread.map_err(|e| LaunchError::Kernel { tried: "start a thread", errno: errno(e) })?);
        Ok(())
    }

    fn start_mirror(&mut self, ifindex: u32, waker: Arc<Waker>) -> Result<(), LaunchError> {
        let watch = NeighbourWatch::new(ifindex)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (cores, w, s) = (self.shared.clone(), waker.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("linerate-mirror".into())
            .spawn(move || mirror::follow(ifindex, watch, &cores, &w, &s))
            .map_err(|_| LaunchError::Kernel { tried: "start a thread", errno: rustix::io::Errno::AGAIN })?;
        self.mirror = Some((thread, waker, stop));
        Ok(())
    }

    /// What the cores did so far.
    pub fn report(&self) -> Report {
        let cores = self.shared.iter().filter_map(|s| s.ask_report()).collect();
        Report { cores, steer: self.steer.counters().unwrap_or_default() }
    }

    /// Stops the cores, closes the sockets, detaches the program; the last report.
    pub fn stop(mut self) -> Report {
        self.end()
    }

    fn end(&mut self) -> Report {
        self.shared.iter().for_each(|s| s.stop());
        let mut cores: Vec<CoreReport> = self.threads.drain(..).filter_map(|t| t.join().ok()).collect();
        if let Some((thread, waker, stop)) = self.mirror.take() {
            stop.store(true, SeqCst);
            waker.wake();
            let _ = thread.join();
        }
        // Every core has closed its ports: only now is the region's account final.
        if let Some(ledger) = cores.last().map(|c| c.ledger) {
            cores.iter_mut().for_each(|c| c.ledger = ledger);
        }
        let steer = self.steer.counters().unwrap_or_default();
        // Sockets first, program second: the other order oopsed a 7.2 guest's virtio_net.
        self.steer.detach();
        Report { cores, steer }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.end();
        }
    }
}

/// Beside a kernel that has the address, nobody else may take a port that we serve.
fn reserve(cfg: &LaunchConfig, addresses: &Addresses) -> Result<Vec<PortReservation>, LaunchError> {
    let shared = addresses.claims.iter().filter(|c| !c.1);
    let pairs = shared.flat_map(|(addr, _)| cfg.tcp_ports.iter().map(move |port| (*addr, *port)));
    // A link-local address can only be bound with its interface as scope; its port is kept by the claim alone.
    let pairs = pairs.filter(|(a, _)| !matches!(a, IpAddr::V6(a) if a.is_unicast_link_local()));
    Ok(pairs.map(|(a, p)| linerate_nic::reserve_port(Protocol::Tcp, a, p)).collect::<Result<_, _>>()?)
}

fn attach(
    steer: &mut Steer,
    cfg: &LaunchConfig,
    scrape: &Scrape,
) -> Result<(Attach, Vec<Rejected>), LaunchError> {
    let ifindex = scrape.link.ifindex;
    match cfg.port {
        PortChoice::AfXdp => steer.attach(ifindex, Attach::Native)?,
        PortChoice::AfXdpGeneric => {
            steer.attach(ifindex, Attach::Generic)?;
            return Ok((Attach::Generic, Vec::new()));
        }
        PortChoice::Auto => {
            let Err(native) = steer.attach(ifindex, Attach::Native) else {
                return Ok((Attach::Native, Vec::new()));
            };
            // Only a driver that can't is a reason to fall back: a foreign program or missing rights are not.
            if !matches!(native, LoadError::NoNativeXdp { .. } | LoadError::MtuTooLarge { .. }) {
                return Err(native.into());
            }
            steer.attach(ifindex, Attach::Generic)?;
            let reason = one_line(&native);
            return Ok((Attach::Generic, vec![Rejected { port: "af_xdp", reason }]));
        }
    }
    Ok((Attach::Native, Vec::new()))
}

fn one_line(e: &dyn std::fmt::Display) -> String {
    e.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn no_zero_copy(scrape: &Scrape) -> Rejected {
    let offered = linerate_nic::features(scrape.link.ifindex).is_ok_and(|f| f.has_zerocopy());
    let driver = &scrape.link.driver;
    let reason = match offered {
        true => format!("driver {driver} offers zero-copy, but refused to bind this queue with it"),
        false => format!("driver {driver} does not offer zero-copy (netdev xdp-features)"),
    };
    Rejected { port: "af_xdp zero-copy", reason }
}

/// igb, ice and others reset their link when a program is attached: packets sent meanwhile are lost.
fn await_carrier(interface: &str, before: Scrape) -> Result<Scrape, LaunchError> {
    let until = clock::now() + CARRIER_WAIT_NS;
    loop {
        let scrape = linerate_nic::scrape(interface)?;
        if scrape.link.carrier || !before.link.carrier || clock::now() > until {
            return Ok(scrape);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn open_sockets(
    umem: &Umem,
    scrape: &Scrape,
    caps: Caps,
    attach: Attach,
    queues: u32,
) -> Result<Vec<Xsk>, LaunchError> {
    let mut socks: Vec<Xsk> = Vec::new();
    for queue in 0..queues {
        let mut config = XskConfig::new(scrape.link.ifindex, queue, caps);
        // With a generic program the kernel would still report zero-copy, and then not deliver.
        config.bind = if attach == Attach::Generic { BindMode::Copy } else { BindMode::Auto };
        // At most half of the frames to receive into, half for the stack and for sending.
        config.fill_level = (umem.region().frames() / queues / 2).min(config.fill_descs);
        let xsk = Xsk::open(umem, &config, socks.first())?;
        socks.push(xsk);
    }
    Ok(socks)
}

fn secret() -> Result<[u64; 4], LaunchError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|_| LaunchError::Kernel { tried: "getrandom", errno: rustix::io::Errno::NOSYS })?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(core::array::from_fn(|i| u64::from_ne_bytes(words[i])))
}

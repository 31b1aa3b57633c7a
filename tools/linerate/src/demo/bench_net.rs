//! The network of the demo: two anonymous namespaces, two equal veth pairs.
//!
//! ```text
//!   server namespace            client namespace
//!     lr0  10.77.0.1  ──────────  lr1  10.77.0.2     linerate: the kernel has no address on lr0
//!     kr0  10.77.1.1  ──────────  kr1  10.77.1.2     kernel sockets
//! ```
//! A namespace without a name lives as long as somebody holds it: nothing is left behind, kill -9 included.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use linerate::nic::{Netns, NicError, Offload, veth};
use linerate::poll::launch::launch;
use linerate::poll::{Engine, LaunchConfig, LaunchError, PortChoice};

use super::kernel_server::KernelServer;
use super::load::CpuProbe;
use super::rows::Measure;
use super::run::Target;
use super::service::{Ports, Service};
use crate::services;

/// One veth pair.
#[derive(Clone, Copy)]
struct Pair {
    server: &'static str,
    client: &'static str,
    subnet: u8,
}

const LINERATE: Pair = Pair { server: "lr0", client: "lr1", subnet: 0 };
const KERNEL: Pair = Pair { server: "kr0", client: "kr1", subnet: 1 };
/// Prefix length of both subnets.
const PREFIX: u8 = 24;

impl Pair {
    fn address(self, host: u8) -> IpAddr {
        Ipv4Addr::new(10, 77, self.subnet, host).into()
    }
}

/// The namespaces and links; they go when this does.
pub struct BenchNet {
    server: Netns,
    client: Netns,
    /// Offloads by interface and name, as they were before anything was switched.
    came_with: Mutex<HashMap<(&'static str, &'static str), bool>>,
}

impl BenchNet {
    /// Makes them, with `queues` queues a link.
    pub fn new(queues: u32) -> Result<Self, NicError> {
        let net = Self { server: Netns::new()?, client: Netns::new()?, came_with: Mutex::default() };
        let client = net.client.try_clone()?;
        net.server.run(move || -> Result<(), NicError> {
            for pair in [LINERATE, KERNEL] {
                use std::os::fd::AsFd;
                veth::create_pair(pair.server, pair.client, queues, client.as_fd())?;
                veth::set_up(pair.server)?;
            }
            veth::add_addr(KERNEL.server, KERNEL.address(1), PREFIX)
        })??;
        net.client.run(|| -> Result<(), NicError> {
            for pair in [LINERATE, KERNEL] {
                veth::set_up(pair.client)?;
                veth::add_addr(pair.client, pair.address(2), PREFIX)?;
            }
            Ok(())
        })??;
        Ok(net)
    }

    /// Starts the engine with all five services.
    pub fn launch(&self, cores: &[usize], port: PortChoice) -> Result<Engine, LaunchError> {
        let cfg = LaunchConfig {
            interface: LINERATE.server.into(),
            cores: cores.to_vec(),
            port,
            addresses: vec![(LINERATE.address(1), Some(PREFIX))],
            tcp_ports: Vec::new(),
            tcp: linerate::net::TcpConfig::default(),
            frames_per_core: 0,
            spin_ns: None,
        };
        let ports = Ports::default();
        self.server.run(move || {
            launch(&cfg, move |set, stack| {
                Service::ALL.iter().try_for_each(|s| services::add(set, stack, *s, ports.of(*s)))
            })
        })?
    }

    /// Address of the server on kernel sockets.
    pub fn kernel_address(&self) -> IpAddr {
        KERNEL.address(1)
    }

    /// What the kernel server's thread does first.
    pub fn enter_server(&self) -> Result<impl FnOnce() -> io::Result<()> + Send + 'static, NicError> {
        let ns = self.server.try_clone()?;
        Ok(move || ns.enter().map_err(io::Error::other))
    }

    /// What the client's thread does first.
    pub fn enter_client(&self) -> Result<impl FnOnce() -> io::Result<()> + Send + 'static, NicError> {
        let ns = self.client.try_clone()?;
        Ok(move || ns.enter().map_err(io::Error::other))
    }

    /// One connection to each server, so that neighbours are known and both answer before anything is measured.
    pub fn warm_up(&self) -> io::Result<()> {
        let try_both = || -> io::Result<()> {
            for pair in [LINERATE, KERNEL] {
                let at = SocketAddr::new(pair.address(1), Ports::default().of(Service::Echo));
                TcpStream::connect_timeout(&at, Duration::from_secs(5))
                    .map_err(|e| io::Error::new(e.kind(), format!("no answer from {at}: {e}")))?;
            }
            Ok(())
        };
        self.client.run(try_both).map_err(io::Error::other)?
    }

    /// Offloads off at both ends for wire-size frames, and back to what the veth came with.
    fn set_offloads(&self, pair: Pair, wire: bool) -> io::Result<()> {
        for (ns, name) in [(&self.server, pair.server), (&self.client, pair.client)] {
            let set = || -> Result<(), NicError> {
                for offload in Offload::ALL {
                    let now = offload.get(name)?;
                    // What a veth comes with differs: the kernel takes segmentation away opposite an XDP program.
                    let mut came_with = self.came_with.lock().unwrap_or_else(PoisonError::into_inner);
                    let first = *came_with.entry((name, offload.name())).or_insert(now);
                    let wanted = first && !wire;
                    if now != wanted {
                        offload.set(name, wanted)?;
                    }
                }
                Ok(())
            };
            ns.run(set).map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn prepare(&self, pair: Pair, ports: Ports, measure: Measure) -> io::Result<SocketAddr> {
        self.set_offloads(pair, measure.wire())?;
        Ok(ports.at(pair.address(1), measure.service()))
    }
}

/// The engine, measured.
pub struct EngineTarget<'a> {
    engine: Arc<Engine>,
    net: &'a BenchNet,
    ports: Ports,
}

impl<'a> EngineTarget<'a> {
    pub fn new(engine: Arc<Engine>, net: &'a BenchNet, ports: Ports) -> Self {
        Self { engine, net, ports }
    }
}

impl Target for EngineTarget<'_> {
    fn name(&self) -> &str {
        "linerate"
    }

    fn prepare(&self, measure: Measure) -> io::Result<SocketAddr> {
        self.net.prepare(LINERATE, self.ports, measure)
    }

    fn cpu_probe(&self) -> Option<CpuProbe> {
        let engine = self.engine.clone();
        Some(Arc::new(move || {
            let ns: u64 = engine.report().cores.iter().map(|c| c.cpu_ns).sum();
            Some(Duration::from_nanos(ns))
        }))
    }
}

/// The server on kernel sockets, measured.
pub struct KernelTarget<'a> {
    cpu: CpuProbe,
    ports: Ports,
    net: &'a BenchNet,
}

impl<'a> KernelTarget<'a> {
    pub fn new(server: &KernelServer, net: &'a BenchNet) -> Self {
        Self { cpu: server.cpu_probe(), ports: server.ports(), net }
    }
}

impl Target for KernelTarget<'_> {
    fn name(&self) -> &str {
        "kernel"
    }

    fn prepare(&self, measure: Measure) -> io::Result<SocketAddr> {
        self.net.prepare(KERNEL, self.ports, measure)
    }

    fn cpu_probe(&self) -> Option<CpuProbe> {
        Some(self.cpu.clone())
    }
}

//! The steering program as an object: claims, sockets, counters, attachment.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError};
use linerate_abi::{self as abi, ClaimMode, Counter, PortKey};

use crate::{LoadError, rtnl, sys};

const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Above this an EINVAL of a driver that gives no reason is read as "MTU too large"; no single-buffer
/// driver refuses less (igb took 3000 and not 9000, virtio_net 3506 and not 4000).
const MTU_SUSPECT_BYTES: u32 = 3000;

/// How much of an address is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Everything to the address, its ARP and ND included: the kernel must not have the address too.
    Whole,
    /// Claimed ports only; the kernel keeps the address and the rest of its traffic.
    Ports,
}

/// Transport protocol of a claimed port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
}

impl Protocol {
    /// IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// In the driver, before an skb exists (`drv`).
    Native,
    /// In the kernel's generic receive path, on any interface (`skb`).
    Generic,
}

impl std::fmt::Display for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Attach::Native => "native mode",
            Attach::Generic => "generic mode",
        })
    }
}

pub(crate) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../steer/steer.o");

/// The loaded program and its maps. Dropping it detaches and unloads.
#[derive(Debug)]
pub struct Steer {
    /// First, so that the program is off the interface before its maps go away.
    link: Option<OwnedFd>,
    bpf: Ebpf,
}

impl Steer {
    /// Loads the embedded program into the kernel, unattached, with empty maps. Needs CAP_BPF and CAP_NET_ADMIN.
    pub fn load() -> Result<Steer, LoadError> {
        let mut bpf = Ebpf::load(OBJECT).map_err(object_error)?;
        for map in [abi::MAP_XSKS, abi::MAP_ADDRS4, abi::MAP_ADDRS6, abi::MAP_PORTS, abi::MAP_COUNTERS] {
            if bpf.map(map).is_none() {
                return Err(LoadError::Object { what: format!("it has no map `{map}`") });
            }
        }
        program(&mut bpf)?.load().map_err(program_error)?;
        Ok(Steer { link: None, bpf })
    }

    /// Claims an address, or changes how much of it is claimed.
    pub fn claim_addr(&mut self, addr: IpAddr, claim: Claim) -> Result<(), LoadError> {
        const TRIED: &str = "claiming an address";
        let mode = match claim {
            Claim::Whole => ClaimMode::Whole,
            Claim::Ports => ClaimMode::Ports,
        } as u32;
        match addr {
            IpAddr::V4(addr) => self
                .hash::<[u8; 4]>(abi::MAP_ADDRS4)?
                .insert(addr.octets(), mode, 0)
                .map_err(|error| map_error(TRIED, abi::MAP_ADDRS4, abi::MAX_ADDRS4, error)),
            IpAddr::V6(addr) => self
                .hash::<[u8; 16]>(abi::MAP_ADDRS6)?
                .insert(addr.octets(), mode, 0)
                .map_err(|error| map_error(TRIED, abi::MAP_ADDRS6, abi::MAX_ADDRS6, error)),
        }
    }

    /// Gives an address back to the kernel. One that was not claimed is no error.
    pub fn unclaim_addr(&mut self, addr: IpAddr) -> Result<(), LoadError> {
        const TRIED: &str = "giving an address back";
        match addr {
            IpAddr::V4(addr) => absent_is_fine(self.hash::<[u8; 4]>(abi::MAP_ADDRS4)?.remove(&addr.octets()))
                .map_err(|error| map_error(TRIED, abi::MAP_ADDRS4, abi::MAX_ADDRS4, error)),
            IpAddr::V6(addr) => {
                absent_is_fine(self.hash::<[u8; 16]>(abi::MAP_ADDRS6)?.remove(&addr.octets()))
                    .map_err(|error| map_error(TRIED, abi::MAP_ADDRS6, abi::MAX_ADDRS6, error))
            }
        }
    }

    /// Claims a port (host order) on every address claimed with [`Claim::Ports`].
    pub fn claim_port(&mut self, protocol: Protocol, port: u16) -> Result<(), LoadError> {
        self.hash::<[u8; 4]>(abi::MAP_PORTS)?
            .insert(PortKey::new(protocol.number(), port).to_bytes(), 1, 0)
            .map_err(|error| map_error("claiming a port", abi::MAP_PORTS, abi::MAX_PORTS, error))
    }

    /// Gives a port back to the kernel. One that was not claimed is no error.
    pub fn unclaim_port(&mut self, protocol: Protocol, port: u16) -> Result<(), LoadError> {
        let key = PortKey::new(protocol.number(), port).to_bytes();
        absent_is_fine(self.hash::<[u8; 4]>(abi::MAP_PORTS)?.remove(&key))
            .map_err(|error| map_error("giving a port back", abi::MAP_PORTS, abi::MAX_PORTS, error))
    }

    /// Sends what is claimed on receive queue `queue` to this AF_XDP socket, which must be bound to that
    /// queue. The map holds the socket: clear it before closing the socket for good.
    pub fn set_xsk(&mut self, queue: u32, xsk: BorrowedFd<'_>) -> Result<(), LoadError> {
        if queue >= abi::MAX_QUEUES {
            return Err(LoadError::QueueOutOfRange { queue });
        }
        self.xsks()?
            .set(queue, xsk, 0)
            .map_err(|error| map_error("placing an AF_XDP socket", abi::MAP_XSKS, abi::MAX_QUEUES, error))
    }

    /// Takes the queue's socket out: what is claimed there goes to the kernel, as `steer_no_xsk`.
    pub fn clear_xsk(&mut self, queue: u32) -> Result<(), LoadError> {
        if queue >= abi::MAX_QUEUES {
            return Err(LoadError::QueueOutOfRange { queue });
        }
        absent_is_fine(self.xsks()?.unset(queue))
            .map_err(|error| map_error("removing an AF_XDP socket", abi::MAP_XSKS, abi::MAX_QUEUES, error))
    }

    /// Packets by reason since the load, summed over CPUs, in the order of [`Counter::ALL`].
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>, LoadError> {
        let failed =
            |error| map_error("reading the counters", abi::MAP_COUNTERS, Counter::ALL.len() as u32, error);
        let map = self.bpf.map(abi::MAP_COUNTERS).ok_or_else(|| missing(abi::MAP_COUNTERS))?;
        let counters = PerCpuArray::<&MapData, u64>::try_from(map).map_err(failed)?;
        Counter::ALL
            .iter()
            .map(|&counter| {
                let per_cpu = counters.get(&(counter as u32), 0).map_err(failed)?;
                Ok((counter.name(), per_cpu.iter().sum()))
            })
            .collect()
    }

    /// Attaches to an interface of the calling thread's network namespace, by a bpf_link that dies with
    /// this object and with the process. Never displaces another program.
    ///
    /// Some drivers (igb) reset their link here: wait for the carrier. virtio_net may enable more receive
    /// queues here: count them again.
    pub fn attach(&mut self, ifindex: u32, mode: Attach) -> Result<(), LoadError> {
        if self.link.is_some() {
            return Err(LoadError::AlreadyAttached { ifindex });
        }
        let flag = match mode {
            Attach::Native => XDP_FLAGS_DRV_MODE,
            Attach::Generic => XDP_FLAGS_SKB_MODE,
        };
        let prog = program(&mut self.bpf)?.fd().map_err(program_error)?.as_fd();
        match sys::xdp_link_create(prog, ifindex, flag) {
            Ok(link) => {
                self.link = Some(link);
                Ok(())
            }
            Err(error) => Err(attach_error(prog, ifindex, mode, flag, errno_of(&error))),
        }
    }

    /// Takes the program off its interface; nothing happens when it is on none. It can be attached again.
    pub fn detach(&mut self) {
        self.link = None;
    }

    /// Whether the program is on an interface.
    pub fn is_attached(&self) -> bool {
        self.link.is_some()
    }

    fn hash<K: aya::Pod>(&mut self, name: &'static str) -> Result<HashMap<&mut MapData, K, u32>, LoadError> {
        let map: &mut Map = self.bpf.map_mut(name).ok_or_else(|| missing(name))?;
        HashMap::try_from(map).map_err(|error| LoadError::Object { what: format!("map `{name}`: {error}") })
    }

    fn xsks(&mut self) -> Result<XskMap<&mut MapData>, LoadError> {
        let map: &mut Map = self.bpf.map_mut(abi::MAP_XSKS).ok_or_else(|| missing(abi::MAP_XSKS))?;
        XskMap::try_from(map)
            .map_err(|error| LoadError::Object { what: format!("map `{}`: {error}", abi::MAP_XSKS) })
    }
}

fn program(bpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    bpf.program_mut(abi::PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| LoadError::Object { what: format!("it has no XDP program `{}`", abi::PROGRAM) })
}

fn missing(map: &'static str) -> LoadError {
    LoadError::Object { what: format!("it has no map `{map}`") }
}

fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// The answers that mean the same at every step.
fn common_error(tried: &'static str, errno: i32) -> LoadError {
    match errno {
        libc::EPERM | libc::EACCES => LoadError::Permission { tried, errno },
        libc::ENOMEM | libc::ENOBUFS => LoadError::NoMemory { tried, errno },
        libc::ENOSYS | libc::EINVAL if kernel_is_too_old() => {
            LoadError::KernelTooOld { tried, errno, release: kernel_release() }
        }
        _ => LoadError::Refused { tried: tried.to_owned(), errno, kernel_said: None },
    }
}

fn object_error(error: EbpfError) -> LoadError {
    match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => {
            common_error("creating the steering maps", errno_of(&io_error))
        }
        EbpfError::MapError(MapError::SyscallError(error)) => {
            common_error("creating the steering maps", errno_of(&error.io_error))
        }
        EbpfError::ProgramError(error) => program_error(error),
        other => LoadError::Object { what: other.to_string() },
    }
}

fn program_error(error: ProgramError) -> LoadError {
    const TRIED: &str = "loading the program steer";
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let errno = errno_of(&io_error);
            // The verifier says EACCES and EPERM too; then it has written a log.
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
            if lines.len() < 2 || kernel_is_too_old() {
                return common_error(TRIED, errno);
            }
            LoadError::Verifier { errno, log_tail: lines[lines.len().saturating_sub(12)..].join("\n") }
        }
        ProgramError::SyscallError(error) => common_error(TRIED, errno_of(&error.io_error)),
        ProgramError::IOError(error) => common_error(TRIED, errno_of(&error)),
        other => LoadError::Object { what: other.to_string() },
    }
}

fn map_error(tried: &'static str, map: &'static str, entries: u32, error: MapError) -> LoadError {
    match error {
        MapError::SyscallError(error) => match errno_of(&error.io_error) {
            errno @ (libc::E2BIG | libc::ENOSPC) => LoadError::TableFull { tried, errno, map, entries },
            errno => common_error(tried, errno),
        },
        MapError::IoError(error) => common_error(tried, errno_of(&error)),
        other => LoadError::Object { what: format!("{tried}: {other}") },
    }
}

fn attach_error(prog: BorrowedFd<'_>, ifindex: u32, mode: Attach, flag: u32, errno: i32) -> LoadError {
    if matches!(errno, libc::EPERM | libc::EACCES) {
        return LoadError::Permission { tried: "attaching the program steer", errno };
    }
    let facts = match rtnl::link_facts(ifindex) {
        Ok(facts) => facts,
        // BPF_LINK_CREATE says EINVAL for an index that netlink calls ENODEV.
        Err(refusal) if refusal.errno == libc::ENODEV => return LoadError::NoSuchInterface { ifindex },
        Err(_) => rtnl::LinkFacts::default(),
    };
    let kernel_said = rtnl::why_not(prog, ifindex, flag).and_then(|refusal| refusal.text);
    let names_mtu = kernel_said.as_ref().is_some_and(|text| text.to_ascii_lowercase().contains("mtu"));
    let large_mtu = facts.mtu_bytes.is_some_and(|mtu| mtu > MTU_SUSPECT_BYTES);
    match (errno, mode) {
        (libc::EBUSY | libc::EEXIST, _) => {
            LoadError::ForeignProgram { ifindex, mode, errno, prog_id: facts.prog_id, kernel_said }
        }
        (libc::ERANGE, Attach::Native) => {
            LoadError::MtuTooLarge { ifindex, errno, mtu_bytes: facts.mtu_bytes, kernel_said }
        }
        (libc::EINVAL | libc::EOPNOTSUPP, Attach::Native)
            if names_mtu || (errno == libc::EINVAL && large_mtu) =>
        {
            LoadError::MtuTooLarge { ifindex, errno, mtu_bytes: facts.mtu_bytes, kernel_said }
        }
        (libc::EOPNOTSUPP, Attach::Native) => LoadError::NoNativeXdp { ifindex, kernel_said },
        _ if kernel_is_too_old() => LoadError::KernelTooOld {
            tried: "attaching the program steer by a link",
            errno,
            release: kernel_release(),
        },
        _ => LoadError::Refused {
            tried: format!("attaching the program steer to interface {ifindex} ({mode})"),
            errno,
            kernel_said,
        },
    }
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn kernel_is_too_old() -> bool {
    let release = kernel_release();
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    // An unreadable release is no reason to blame the kernel.
    parts.next().is_some_and(|major| (major, parts.next().unwrap_or(0)) < (6, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno_name;

    #[test]
    fn errors_name_the_step_the_answer_and_the_remedy() {
        let text = common_error("loading the program steer", libc::EPERM).to_string();
        assert!(text.contains("loading the program steer: EPERM") && text.contains("CAP_BPF"), "{text}");
        let text = common_error("x", libc::ENOMEM).to_string();
        assert!(text.contains("ENOMEM") && text.contains("memory limit"), "{text}");
        assert_eq!(errno_name(libc::EBUSY), "EBUSY");
    }
}

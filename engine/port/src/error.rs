//! What can go wrong on the control path: what was tried, what the kernel answered, what to do.

use rustix::io::Errno;

/// One of the four rings of an AF_XDP socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingKind {
    /// Free frames, to the kernel.
    Fill,
    /// Received frames, from the kernel.
    Rx,
    /// Frames to send, to the kernel.
    Tx,
    /// Sent frames, from the kernel.
    Completion,
}

impl std::fmt::Display for RingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fill => "fill",
            Self::Rx => "RX",
            Self::Tx => "TX",
            Self::Completion => "completion",
        })
    }
}

/// Why a port could not be opened or woken. `Display` says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// A value of the configuration that no kernel takes.
    #[error("{what}")]
    Config {
        /// The complaint, with the value.
        what: String,
    },
    /// No chunk that this kernel registers holds a frame of this MTU.
    #[error(
        "an MTU of {mtu} bytes does not fit a 4096-byte UMEM chunk (3822 at most): lower the MTU \
         (`ip link set dev IF mtu 3500`)"
    )]
    MtuTooLarge {
        /// The MTU asked for.
        mtu: u16,
    },
    /// mmap of packet memory.
    #[error("mmap of {bytes} bytes of packet memory: {}: {}", name(.errno), advice(Step::Memory, .errno))]
    Memory {
        /// How much.
        bytes: usize,
        /// The answer.
        errno: Errno,
    },
    /// socket(AF_XDP).
    #[error("socket(AF_XDP): {}: {}", name(.errno), advice(Step::Socket, .errno))]
    Socket {
        /// The answer.
        errno: Errno,
    },
    /// setsockopt(XDP_UMEM_REG).
    #[error(
        "setsockopt(XDP_UMEM_REG) of {bytes} bytes in {chunk_bytes}-byte chunks: {}: {}",
        name(.errno), advice(Step::UmemReg, .errno)
    )]
    UmemReg {
        /// Length of the memory.
        bytes: usize,
        /// Length of a chunk.
        chunk_bytes: u32,
        /// The answer.
        errno: Errno,
    },
    /// setsockopt of a ring's size, or XDP_MMAP_OFFSETS, or mmap of the ring.
    #[error("{step} of the {ring} ring ({descs} descriptors): {}: {}", name(.errno), advice(Step::Ring, .errno))]
    Ring {
        /// Which one.
        ring: RingKind,
        /// `setsockopt`, `getsockopt(XDP_MMAP_OFFSETS)` or `mmap`.
        step: &'static str,
        /// Its size.
        descs: u32,
        /// The answer.
        errno: Errno,
    },
    /// bind.
    #[error(
        "bind to interface {ifindex} queue {queue_id} ({mode}): {}: {}",
        name(.errno), advice(Step::Bind, .errno)
    )]
    Bind {
        /// The interface.
        ifindex: u32,
        /// The queue.
        queue_id: u32,
        /// What was asked for: "zero-copy", "copy", "auto", "shared UMEM".
        mode: &'static str,
        /// The answer.
        errno: Errno,
    },
    /// getsockopt(XDP_OPTIONS), which says whether zero-copy was obtained.
    #[error("getsockopt(XDP_OPTIONS): {}: {}", name(.errno), advice(Step::Other, .errno))]
    Options {
        /// The answer.
        errno: Errno,
    },
    /// The wake-up system call.
    #[error("{step}: {}: {}", name(.errno), advice(Step::Wake, .errno))]
    Wake {
        /// `sendto on the AF_XDP socket`, `write to the eventfd`.
        step: &'static str,
        /// The answer.
        errno: Errno,
    },
    /// The kernel's index in a shared ring made no sense; the ring is not used any more.
    #[error(
        "the {ring} ring is broken: its other side's index is impossible. Close the port and open it again"
    )]
    RingBroken {
        /// Which one.
        ring: RingKind,
    },
    /// eventfd of a channel port.
    #[error("eventfd: {}: {}", name(.errno), advice(Step::Other, .errno))]
    Eventfd {
        /// The answer.
        errno: Errno,
    },
}

impl PortError {
    /// The kernel's answer, where there was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Memory { errno, .. }
            | Self::Socket { errno }
            | Self::UmemReg { errno, .. }
            | Self::Ring { errno, .. }
            | Self::Bind { errno, .. }
            | Self::Options { errno }
            | Self::Wake { errno, .. }
            | Self::Eventfd { errno } => Some(errno.raw_os_error()),
            Self::Config { .. } | Self::MtuTooLarge { .. } | Self::RingBroken { .. } => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Step {
    Memory,
    Socket,
    UmemReg,
    Ring,
    Bind,
    Wake,
    Other,
}

fn name(e: &Errno) -> String {
    let known = match *e {
        Errno::PERM => "EPERM",
        Errno::ACCESS => "EACCES",
        Errno::INVAL => "EINVAL",
        Errno::BUSY => "EBUSY",
        Errno::NOBUFS => "ENOBUFS",
        Errno::NOMEM => "ENOMEM",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::AFNOSUPPORT => "EAFNOSUPPORT",
        Errno::NODEV => "ENODEV",
        Errno::NXIO => "ENXIO",
        Errno::NOENT => "ENOENT",
        Errno::NETDOWN => "ENETDOWN",
        Errno::NOPROTOOPT => "ENOPROTOOPT",
        Errno::AGAIN => "EAGAIN",
        Errno::MFILE => "EMFILE",
        Errno::FAULT => "EFAULT",
        Errno::BADF => "EBADF",
        e => return format!("errno {}", e.raw_os_error()),
    };
    known.into()
}

fn advice(step: Step, e: &Errno) -> &'static str {
    match (step, *e) {
        (Step::Socket, Errno::PERM) => "it takes CAP_NET_RAW: run as root, or `setcap cap_net_raw+ep`",
        (Step::Socket, Errno::AFNOSUPPORT) => "the kernel has no AF_XDP (CONFIG_XDP_SOCKETS): use AF_PACKET",
        (Step::Socket, Errno::MFILE) => "too many open files: raise `ulimit -n`",
        (Step::UmemReg, Errno::NOBUFS | Errno::NOMEM | Errno::PERM) => {
            "the memory counts against RLIMIT_MEMLOCK: `ulimit -l unlimited`, or CAP_IPC_LOCK, or fewer frames"
        }
        (Step::UmemReg, Errno::INVAL) => {
            "a chunk is 2048 or 4096 bytes, the memory page-aligned and a multiple of it"
        }
        (Step::Memory, Errno::NOMEM) => {
            "not enough memory (huge pages: `sysctl vm.nr_hugepages`): use fewer frames"
        }
        (Step::Memory, Errno::AGAIN) => {
            "more than RLIMIT_MEMLOCK allows: `ulimit -l unlimited`, or CAP_IPC_LOCK"
        }
        (Step::Ring, Errno::INVAL) => "a ring has a power of two of descriptors",
        (Step::Ring, Errno::NOMEM) => "not enough memory for it: use a smaller ring",
        (Step::Bind, Errno::INVAL) => {
            "no such queue (`ethtool -l IF` shows how many there are), or the MTU is larger than a chunk takes; on \
             virtio in a VM zero-copy also needs iommu_platform=on"
        }
        (Step::Bind, Errno::OPNOTSUPP) => {
            "the driver has no zero-copy (or no program is attached): use copy mode"
        }
        (Step::Bind, Errno::BUSY) => {
            "another AF_XDP socket has the queue (`ss -a --xdp` shows whose); after a close it takes a moment"
        }
        (Step::Bind, Errno::NODEV) => "there is no such interface in this network namespace",
        (Step::Bind, Errno::NETDOWN) => "the interface is down: `ip link set dev IF up`",
        (Step::Bind, Errno::PERM) => "it takes CAP_NET_RAW in the interface's network namespace",
        (Step::Bind, Errno::NOENT) => {
            "the driver can't reset this queue (virtio: queue_reset=on): use copy mode"
        }
        (Step::Bind, Errno::NOBUFS | Errno::NOMEM) => "the driver found no memory for it: use fewer frames",
        (Step::Wake, Errno::NETDOWN) => "the interface is down: `ip link set dev IF up`",
        (Step::Wake, Errno::NXIO) => "the interface is gone, or the socket was unbound: open the port again",
        (Step::Wake, Errno::INVAL) => {
            "a zero-copy socket under a generic XDP program can't send: attach natively, or force copy mode"
        }
        _ => "not expected here; `dmesg` may say more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_tried_answered_and_to_do() {
        let e = PortError::Bind { ifindex: 3, queue_id: 9, mode: "copy", errno: Errno::INVAL };
        let s = e.to_string();
        for part in ["interface 3", "queue 9", "copy", "EINVAL", "ethtool -l"] {
            assert!(s.contains(part), "{s}");
        }
        assert_eq!(e.errno(), Some(libc::EINVAL));
        let s = PortError::UmemReg { bytes: 1, chunk_bytes: 2048, errno: Errno::NOBUFS }.to_string();
        assert!(s.contains("ulimit -l") && s.contains("CAP_IPC_LOCK"), "{s}");
        assert!(PortError::Socket { errno: Errno::PERM }.to_string().contains("CAP_NET_RAW"));
        assert!(PortError::Socket { errno: Errno::from_raw_os_error(77) }.to_string().contains("errno 77"));
    }
}

//! What can go wrong between the object in this binary and a program on an interface.

use crate::{Attach, errno_name};

/// Each message says what was tried, what the kernel answered, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A capability is missing.
    #[error(
        "{tried}: {} from the kernel; run as root, or give the program CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW \
         (setcap, or the container's securityContext); before Linux 5.11 also raise the locked-memory limit (ulimit -l unlimited)",
        errno_name(*errno)
    )]
    Permission {
        /// The step.
        tried: &'static str,
        /// EPERM or EACCES.
        errno: i32,
    },
    /// Another XDP program holds the interface; it is left alone.
    #[error(
        "attaching steer to interface {ifindex} ({mode}): {} from the kernel{}: another XDP program{} is attached and stays; \
         see it with `bpftool net`{}, remove it with its owner's command (or `ip link set dev ... xdp off` \
         when it was attached without a link) and start again",
        errno_name(*errno), said(kernel_said), prog_id.map(|id| format!(" (id {id})")).unwrap_or_default(),
        prog_id.map(|id| format!(" and `bpftool prog show id {id}`")).unwrap_or_default()
    )]
    ForeignProgram {
        /// Interface.
        ifindex: u32,
        /// The mode asked for.
        mode: Attach,
        /// EBUSY or EEXIST.
        errno: i32,
        /// The program that is there, when netlink tells.
        prog_id: Option<u32>,
        /// The extended-ack text.
        kernel_said: Option<String>,
    },
    /// The program takes packets in one buffer, and one of this MTU does not fit into it.
    #[error(
        "attaching steer to interface {ifindex} in native mode: {} from the kernel{}: the MTU{} is too large for single-buffer XDP \
         (veth, whose peer's MTU counts, and virtio_net take about 3500); lower it (`ip link set dev ... mtu 1500`) \
         or attach in generic mode",
        errno_name(*errno), said(kernel_said), mtu_bytes.map(|mtu| format!(" ({mtu})")).unwrap_or_default()
    )]
    MtuTooLarge {
        /// Interface.
        ifindex: u32,
        /// ERANGE or EINVAL.
        errno: i32,
        /// The interface's MTU (on veth the peer's may be the one that is too large).
        mtu_bytes: Option<u32>,
        /// The extended-ack text.
        kernel_said: Option<String>,
    },
    /// The driver can't run XDP, or not as it is set up now.
    #[error(
        "attaching steer to interface {ifindex} in native mode: EOPNOTSUPP from the kernel{}: the driver has no native XDP \
         or can't do it as configured now; attach in generic mode, or do what the kernel's text asks for",
        said(kernel_said)
    )]
    NoNativeXdp {
        /// Interface.
        ifindex: u32,
        /// The extended-ack text.
        kernel_said: Option<String>,
    },
    /// No such interface in this thread's network namespace.
    #[error(
        "attaching steer: no interface has index {ifindex} in this network namespace (ENODEV); see `ip link`"
    )]
    NoSuchInterface {
        /// Interface.
        ifindex: u32,
    },
    /// The kernel misses something that 6.1 has.
    #[error(
        "{tried}: {} from the kernel, which is {release}; linerate needs Linux 6.1 or later (or use the af_packet port)",
        errno_name(*errno)
    )]
    KernelTooOld {
        /// The step.
        tried: &'static str,
        /// Its answer.
        errno: i32,
        /// As in `uname -r`.
        release: String,
    },
    /// No memory for a map or the program.
    #[error(
        "{tried}: {} from the kernel: no memory for it; raise the memory limit of the cgroup or container (MemoryMax, limits.memory)",
        errno_name(*errno)
    )]
    NoMemory {
        /// The step.
        tried: &'static str,
        /// ENOMEM or ENOBUFS.
        errno: i32,
    },
    /// The verifier refused the program.
    #[error(
        "loading the program steer: {} from the kernel's verifier; this is a bug of linerate on this kernel: report it with\n{log_tail}",
        errno_name(*errno)
    )]
    Verifier {
        /// EACCES, EINVAL, ...
        errno: i32,
        /// The last lines of the verifier's log.
        log_tail: String,
    },
    /// The object inside this binary is not what this code expects.
    #[error("the embedded steering object can't be used: {what}; rebuild it with bpf/steer/build")]
    Object {
        /// The loader's words.
        what: String,
    },
    /// More addresses or ports than the map has entries.
    #[error("{tried}: {} from the kernel: the map {map} holds {entries} entries; claim fewer, or claim the whole address", errno_name(*errno))]
    TableFull {
        /// The step.
        tried: &'static str,
        /// Its answer.
        errno: i32,
        /// Map.
        map: &'static str,
        /// Its size.
        entries: u32,
    },
    /// No place for this queue.
    #[error("placing an AF_XDP socket for queue {queue}: the map has entries for queues 0 to {}; use fewer queues (`ethtool -L`)", linerate_abi::MAX_QUEUES - 1)]
    QueueOutOfRange {
        /// Queue index.
        queue: u32,
    },
    /// `attach` was called twice.
    #[error("attaching steer to interface {ifindex}: it is attached already; detach it first")]
    AlreadyAttached {
        /// Interface of the second call.
        ifindex: u32,
    },
    /// Any other answer.
    #[error("{tried}: {} ({errno}) from the kernel{}; `linerate doctor` says what this host can do", errno_name(*errno), said(kernel_said))]
    Refused {
        /// The step.
        tried: String,
        /// Its answer.
        errno: i32,
        /// The extended-ack text.
        kernel_said: Option<String>,
    },
}

fn said(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(" (\"{text}\")")).unwrap_or_default()
}

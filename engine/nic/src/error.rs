//! The one error of this crate: what was tried, what the kernel answered, what to do.

use std::io;
use std::path::PathBuf;

use linerate_load::errno_name;

/// Why the host could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NicError {
    /// No interface of that name in this network namespace.
    #[error("interface `{name}` does not exist in this network namespace; there {}", listing(existing))]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// The names that exist.
        existing: Vec<String>,
    },
    /// The kernel refused.
    #[error("{tried}: {} ({errno}) from the kernel{}; {}", errno_name(*errno), said(kernel_said), remedy(*errno))]
    Kernel {
        /// The step.
        tried: String,
        /// Its answer.
        errno: i32,
        /// The extended-ack text.
        kernel_said: Option<String>,
    },
    /// The port is taken by a program on the host's own stack.
    #[error(
        "reserving {protocol} port {port} on {addr}: EADDRINUSE from the kernel: another program has it; \
         see who with `ss -{}np 'sport = :{port}'`, stop it or choose another port",
        if *protocol == "TCP" { "lt" } else { "lu" }
    )]
    PortInUse {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// Address.
        addr: std::net::IpAddr,
        /// Port.
        port: u16,
    },
    /// The kernel's answer makes no sense to this code.
    #[error(
        "{tried}: the kernel's answer can't be read ({what}); this kernel may be newer than this program: report it"
    )]
    Unreadable {
        /// The step.
        tried: String,
        /// What is wrong with it.
        what: String,
    },
    /// The journal can't be written: nothing was changed.
    #[error(
        "{tried} {}: {error}; host changes are only made when they can be journaled: make the folder writable or \
         set LINERATE_STATE_DIR to one that is",
        path.display()
    )]
    Journal {
        /// The step.
        tried: &'static str,
        /// File or folder.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        error: io::Error,
    },
}

impl NicError {
    pub(crate) fn kernel(tried: impl Into<String>, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        NicError::Kernel { tried: tried.into(), errno, kernel_said: None }
    }

    /// The kernel's errno, where it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            NicError::Kernel { errno, .. } => Some(*errno),
            NicError::PortInUse { .. } => Some(libc::EADDRINUSE),
            NicError::Journal { error, .. } => error.raw_os_error(),
            NicError::NoSuchInterface { .. } => Some(libc::ENODEV),
            NicError::Unreadable { .. } => None,
        }
    }
}

fn listing(existing: &[String]) -> String {
    if existing.is_empty() { "is none".to_owned() } else { format!("are: {}", existing.join(", ")) }
}

fn said(text: &Option<String>) -> String {
    text.as_ref().map(|text| format!(" (\"{text}\")")).unwrap_or_default()
}

fn remedy(errno: i32) -> &'static str {
    match errno {
        libc::EPERM | libc::EACCES => {
            "run as root, or give the program CAP_NET_ADMIN (and CAP_SYS_ADMIN to make namespaces)"
        }
        libc::EEXIST => "it exists already: delete it or choose another name",
        libc::ENODEV => "the interface is gone: see `ip link`",
        libc::EADDRNOTAVAIL => "the address is not on this host: see `ip addr`",
        libc::EOPNOTSUPP => "the driver or kernel can't do this; leave it as it is",
        libc::ENETUNREACH => "no route leads to the gateway: add its address range first",
        libc::ENOENT => "it does not exist (or the kernel lacks it)",
        libc::EBUSY => "something else holds it: `linerate doctor` says what it can see",
        libc::EMFILE | libc::ENFILE => "raise the limit of open files (ulimit -n)",
        _ => "see `dmesg`; `linerate doctor` says what this host can do",
    }
}

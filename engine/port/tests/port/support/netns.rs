//! A thread in a network namespace of its own, with the veth pair `va`-`vb`.

use std::process::Command;

use super::sys::unshare_net;

/// Runs `test` on a thread of its own, in a network namespace of its own, with a veth pair up: the interface indices of
/// `va` and `vb`.
pub fn with_veth(queues: u32, mtu: u16, test: impl FnOnce(u32, u32) + Send) {
    let work = || {
        unshare_net().unwrap_or_else(|e| {
            panic!(
                "AF_XDP tests need root (CAP_SYS_ADMIN for a network namespace, CAP_BPF, CAP_NET_RAW): {e}"
            )
        });
        // The kernel's own router solicitations and the like stay out of the rings.
        for conf in ["all", "default"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1");
        }
        let q = queues.to_string();
        let (mtu, queue_args) = (mtu.to_string(), ["numrxqueues", &q, "numtxqueues", &q]);
        let pair =
            [&["link", "add", "va"], &queue_args[..], &["type", "veth", "peer", "name", "vb"], &queue_args];
        ip(&pair.concat());
        for dev in ["va", "vb"] {
            ip(&["link", "set", "dev", dev, "mtu", &mtu, "up"]);
        }
        test(ifindex("va"), ifindex("vb"));
    };
    std::thread::scope(|s| {
        if let Err(panic) = s.spawn(work).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs iproute2 in this thread's namespace.
pub fn ip(args: &[&str]) {
    let out = Command::new("ip").args(args).output().expect("AF_XDP tests need iproute2 (`ip`)");
    assert!(out.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr));
}

fn ifindex(name: &str) -> u32 {
    use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    name_to_index(&any, name).unwrap()
}

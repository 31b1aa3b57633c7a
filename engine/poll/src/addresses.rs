//! Which addresses an engine serves, and whether the kernel has them too.

use std::net::IpAddr;

use linerate_net::addr::IfAddr;
use linerate_net::neigh::Resolver;
use linerate_net::route::Route;
use linerate_nic::Scrape;

use crate::launch::{LaunchConfig, LaunchError};

/// The addresses to serve: the kernel's (then only ports are claimed) or ours alone (then all of them is).
pub(crate) struct Addresses {
    pub own: Vec<IfAddr>,
    /// (address, is it ours alone)
    pub claims: Vec<(IpAddr, bool)>,
}

impl Addresses {
    pub fn new(cfg: &LaunchConfig, scrape: &Scrape) -> Result<Self, LaunchError> {
        let kernels = |a: IpAddr| scrape.addrs.iter().find(|k| k.addr == a);
        let mut own = Vec::new();
        let mut claims = Vec::new();
        for (i, (addr, prefix_len)) in cfg.addresses.iter().enumerate() {
            if cfg.addresses[..i].iter().any(|(before, _)| before == addr) {
                return Err(LaunchError::Usage(format!("--address: {addr} is named twice")));
            }
            let kernel = kernels(*addr);
            let near = scrape
                .addrs
                .iter()
                .find(|k| IfAddr { addr: k.addr, prefix_len: k.prefix_len }.contains(*addr));
            let prefix_len = prefix_len
                .or(kernel.or(near).map(|k| k.prefix_len))
                .unwrap_or(if addr.is_ipv4() { 24 } else { 64 });
            own.push(IfAddr { addr: *addr, prefix_len });
            claims.push((*addr, kernel.is_none()));
        }
        if cfg.addresses.is_empty() {
            own.extend(scrape.addrs.iter().map(|k| IfAddr { addr: k.addr, prefix_len: k.prefix_len }));
            claims.extend(scrape.addrs.iter().map(|k| (k.addr, false)));
        }
        if own.is_empty() {
            return Err(LaunchError::Usage(format!(
                "{}: it has no address: give one with --address ADDR/LEN, or ip addr add ADDR/LEN dev {}",
                cfg.interface, cfg.interface
            )));
        }
        if claims.iter().any(|c| c.1) && claims.iter().any(|c| !c.1) {
            return Err(LaunchError::Usage(format!(
                "{}: --address names addresses that the kernel has and others that it has not; one engine serves one kind",
                cfg.interface
            )));
        }
        Ok(Self { own, claims })
    }

    pub fn resolver(&self) -> Resolver {
        if self.claims.iter().all(|c| c.1) { Resolver::Own } else { Resolver::Kernel }
    }

    /// The interface's routes, and those of addresses that only we have.
    pub fn routes(&self, scrape: &Scrape) -> Vec<Route> {
        let own = self.own.iter().map(|a| Route {
            dst: a.addr,
            prefix_len: a.prefix_len,
            gateway: None,
            metric: 0,
            mtu: None,
            prefsrc: Some(a.addr),
        });
        let kernels = scrape.routes.iter().map(|r| Route {
            dst: r.dst.0,
            prefix_len: r.dst.1,
            gateway: r.gateway,
            metric: r.metric,
            mtu: r.mtu.and_then(|m| u16::try_from(m).ok()),
            prefsrc: r.prefsrc.filter(|p| self.own.iter().any(|a| a.addr == *p)),
        });
        kernels.chain(own).collect()
    }
}

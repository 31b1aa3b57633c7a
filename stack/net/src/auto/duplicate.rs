//! Does anybody else have this address? IPv4: RFC 5227; IPv6: RFC 4862 section 5.4, with the nonce of RFC 7527 that
//! tells our own solicitation, come back, from another's.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_wire::MacAddr;

use super::{AddrEvent, Auto, AutoConfig, Change, Packet, SEC};
use crate::addr::{AddrState, IfAddr};
use crate::neigh::RETRANS_TIMER_NS;

/// PROBE_NUM (RFC 5227 1.1).
const PROBE_NUM: u8 = 3;
/// PROBE_MIN.
const PROBE_MIN_NS: u64 = SEC;
/// PROBE_MAX.
const PROBE_MAX_NS: u64 = 2 * SEC;
/// ANNOUNCE_WAIT.
const ANNOUNCE_WAIT_NS: u64 = 2 * SEC;
/// ANNOUNCE_NUM; RFC 9131's advertisements come as often.
const ANNOUNCE_NUM: u8 = 2;
/// ANNOUNCE_INTERVAL.
const ANNOUNCE_INTERVAL_NS: u64 = 2 * SEC;
/// DEFEND_INTERVAL.
const DEFEND_INTERVAL_NS: u64 = 10 * SEC;

/// An address under test, then one being announced.
pub(crate) struct Probe {
    pub if_addr: IfAddr,
    pub at: u64,
    /// Packets still to send in this phase.
    left: u8,
    announcing: bool,
    nonce: [u8; 6],
}

impl Probe {
    /// PROBE_WAIT and MAX_RTR_SOLICITATION_DELAY are a second both: `delay_ns` of it is drawn.
    pub fn new(if_addr: IfAddr, cfg: &AutoConfig, delay_ns: u64, now_ns: u64) -> Self {
        let left = if if_addr.addr.is_ipv4() { PROBE_NUM } else { cfg.dad_transmits };
        Self { if_addr, at: now_ns + delay_ns, left, announcing: false, nonce: [0; 6] }
    }

    /// Not probed, only announced.
    pub fn announcing(if_addr: IfAddr, now_ns: u64) -> Self {
        Self { if_addr, at: now_ns, left: ANNOUNCE_NUM, announcing: true, nonce: [0; 6] }
    }
}

impl Auto {
    pub(super) fn poll_probes(&mut self, now_ns: u64) -> Option<Packet> {
        loop {
            let i = self.probes.iter().position(|p| p.at <= now_ns)?;
            let (gap, nonce) = (self.random(PROBE_MAX_NS - PROBE_MIN_NS), self.random(1 << 47));
            let p = &mut self.probes[i];
            let ip = p.if_addr.addr;
            if p.left == 0 && !p.announcing {
                self.ready(i, now_ns);
                continue;
            }
            p.left -= 1;
            let packet = match (ip, p.announcing) {
                (IpAddr::V4(ip), false) => {
                    let next = if p.left == 0 { ANNOUNCE_WAIT_NS } else { PROBE_MIN_NS + gap };
                    p.at = now_ns + next;
                    Packet::ArpProbe(ip)
                }
                (IpAddr::V6(ip), false) => {
                    p.at = now_ns + RETRANS_TIMER_NS;
                    p.nonce.copy_from_slice(&nonce.to_be_bytes()[2..]);
                    Packet::DadSolicit(ip, p.nonce)
                }
                (ip, true) => {
                    p.at = now_ns + ANNOUNCE_INTERVAL_NS;
                    match ip {
                        IpAddr::V4(ip) => Packet::ArpAnnounce(ip),
                        IpAddr::V6(ip) => Packet::Advertise(ip),
                    }
                }
            };
            if self.probes[i].announcing && self.probes[i].left == 0 {
                self.probes.swap_remove(i);
            }
            return Some(packet);
        }
    }

    /// Nobody objected.
    //= RFC 5227 section 2.3
    //= RFC 9131 section 6
    fn ready(&mut self, i: usize, now_ns: u64) {
        let p = &mut self.probes[i];
        (p.announcing, p.left, p.at) = (true, ANNOUNCE_NUM, now_ns);
        let if_addr = p.if_addr;
        self.change(Change::SetState(if_addr.addr, AddrState::Preferred));
        self.tell(AddrEvent::Ready(if_addr));
        if matches!(if_addr.addr, IpAddr::V6(ip) if ip.is_unicast_link_local()) {
            self.begin_search(now_ns);
        }
    }

    fn duplicate(&mut self, ip: IpAddr, mac: Option<MacAddr>, now_ns: u64) {
        self.probes.retain(|p| p.if_addr.addr != ip);
        self.change(Change::RemoveAddr(ip));
        self.tell(AddrEvent::Duplicate { addr: ip, mac });
        self.form_another(ip, now_ns);
    }

    fn is_probed(&self, ip: IpAddr) -> bool {
        self.probes.iter().any(|p| p.if_addr.addr == ip && !p.announcing)
    }

    /// An ARP packet that is not our own. `true`: it concerned an address that is being probed.
    //= RFC 5227 section 2.1.1
    pub fn on_arp(&mut self, sender: Ipv4Addr, mac: MacAddr, target: Ipv4Addr, now_ns: u64) -> bool {
        let claimed = if sender.is_unspecified() { target } else { sender };
        if mac == self.mac || !self.is_probed(claimed.into()) {
            return false;
        }
        self.duplicate(claimed.into(), Some(mac), now_ns);
        true
    }

    /// Somebody sends ARP packets from our address: `true` if it is time to defend it.
    //= RFC 5227 section 2.4
    pub fn on_conflict(&mut self, ip: Ipv4Addr, mac: MacAddr, now_ns: u64) -> bool {
        self.defended.retain(|(_, at)| now_ns.saturating_sub(*at) < DEFEND_INTERVAL_NS);
        if self.defended.iter().any(|(a, _)| *a == ip) {
            return false;
        }
        self.defended.push((ip, now_ns));
        self.tell(AddrEvent::Conflict { addr: ip.into(), mac });
        true
    }

    /// A neighbour solicitation from the unspecified address: another probes the same address, unless the nonce
    /// says that it is our own.
    //= RFC 4862 section 5.4.3
    //= RFC 7527 section 4.2
    pub fn on_dad_solicit(&mut self, target: Ipv6Addr, nonce: Option<[u8; 6]>, mac: MacAddr, now_ns: u64) {
        let ip = IpAddr::V6(target);
        let own = self.probes.iter().any(|p| p.if_addr.addr == ip && nonce == Some(p.nonce));
        if mac != self.mac && !own && self.is_probed(ip) {
            self.duplicate(ip, Some(mac), now_ns);
        }
    }

    /// A neighbour advertisement for an address that may be under test.
    //= RFC 4862 section 5.4.4
    pub fn on_advert(&mut self, target: Ipv6Addr, mac: Option<MacAddr>, now_ns: u64) {
        if mac != Some(self.mac) && self.is_probed(target.into()) {
            self.duplicate(target.into(), mac, now_ns);
        }
    }
}

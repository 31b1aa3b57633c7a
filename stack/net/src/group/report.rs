//! Groups on the wire: queries in, reports out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linerate_frame::{Frame, HEADROOM_BYTES};
use linerate_tcp::Instant;
use linerate_wire::igmp::{self, Igmp, Version};
use linerate_wire::ipv4::Ipv4Emit;
use linerate_wire::mld::{self, Mld};
use linerate_wire::parse::{NetInfo, Parsed};
use linerate_wire::{MacAddr, Push, nd, protocol};

use super::{Listener, Report};
use crate::config::Link;
use crate::drop_reason::DropReason;
use crate::sock::SockError;
use crate::stack::Stack;

/// Records a report carries at most: 8 + 60 x 20 bytes fit IPv6's smallest MTU beside 48 bytes of headers.
const RECORDS_MAX: usize = 60;
/// IGMP leaves with the precedence of internetwork control (RFC 3376 4).
const TOS_INTERNETWORK_CONTROL: u8 = 0xc0;

/// Memberships of both families.
pub(crate) struct Groups {
    pub v4: Listener,
    pub v6: Listener,
}

impl Stack {
    /// Receives what is sent to `group`, and tells routers so ([`AutoConfig::reports`](crate::AutoConfig)). As often as
    /// it is joined it is to be left.
    ///
    /// # Errors
    /// [`SockError::InvalidDestination`] if it is no group, [`SockError::NoBuffer`] for too many groups.
    pub fn join_group(&mut self, group: IpAddr, now: Instant) -> Result<(), SockError> {
        if !group.is_multicast() {
            return Err(SockError::InvalidDestination);
        }
        if !self.addrs.join(group) {
            return Err(SockError::NoBuffer);
        }
        self.sync_groups(now);
        Ok(())
    }

    /// Takes back one [`join_group`](Self::join_group); `false` if there was none.
    pub fn leave_group(&mut self, group: IpAddr, now: Instant) -> bool {
        let left = self.addrs.leave(group);
        self.sync_groups(now);
        left
    }

    /// Addresses or memberships have changed: routers are to hear of it.
    pub(crate) fn sync_groups(&mut self, now: Instant) {
        let Some(auto) = &mut self.auto else { return };
        let groups = self.addrs.groups().iter().copied();
        auto.groups.v4.sync(groups.clone().filter(IpAddr::is_ipv4), now.0);
        auto.groups.v6.sync(groups.filter(IpAddr::is_ipv6), now.0);
    }

    pub(crate) fn igmp_in(&mut self, frame: Frame, parsed: &Parsed, net: &NetInfo, now: Instant) {
        let message = igmp::parse(parsed.l4(self.pool.bytes(&frame)));
        self.pool.free(frame);
        // RFC 3376 section 4: never forwarded, so what has passed a router is forged.
        let (Ok(message), 1) = (message, net.ttl) else {
            return self.counters.drop(DropReason::ParseIcmp);
        };
        self.counters.icmp_in += 1;
        let Some(auto) = &mut self.auto else { return };
        match message {
            Igmp::Query { version, max_resp_ms, group } => {
                auto.groups.v4.on_query(version, max_resp_ms, group.map(IpAddr::V4), now.0);
            }
            Igmp::Report(group) => auto.groups.v4.on_report(group.into()),
            Igmp::Other => {}
        }
    }

    pub(crate) fn mld_in(&mut self, frame: Frame, parsed: &Parsed, net: &NetInfo, now: Instant) {
        let message = mld::parse(parsed.l4(self.pool.bytes(&frame)));
        self.pool.free(frame);
        let link_local = matches!(net.src, IpAddr::V6(src) if src.is_unicast_link_local());
        // RFC 3810 section 5.1.14: from the link, with hop limit 1 and Router Alert.
        let (Ok(message), true) = (message, link_local && net.ttl == 1 && net.has_options) else {
            return self.counters.drop(DropReason::ParseIcmp);
        };
        let Some(auto) = &mut self.auto else { return };
        match message {
            Mld::Query { version, max_resp_ms, group } => {
                auto.groups.v6.on_query(version, max_resp_ms, group.map(IpAddr::V6), now.0);
            }
            Mld::Report(group) => auto.groups.v6.on_report(group.into()),
            Mld::Other => {}
        }
    }

    /// Sends the reports that are due.
    pub(crate) fn poll_groups(&mut self, now: Instant) {
        loop {
            let Some(auto) = &mut self.auto else { return };
            if let Some(report) = auto.groups.v4.poll(now.0) {
                self.send_igmp(&report);
            } else if let Some(report) = auto.groups.v6.poll(now.0) {
                self.send_mld(&report);
            } else {
                return;
            }
        }
    }

    fn send_igmp(&mut self, report: &Report) {
        // RFC 3376 section 4.2.13: from the unspecified address as long as there is no other.
        let src = match self.addrs.source_for(igmp::ALL_V3_ROUTERS.into()) {
            Some(IpAddr::V4(src)) => src,
            _ => Ipv4Addr::UNSPECIFIED,
        };
        let v4 = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        match report {
            Report::Records(records) => {
                for piece in records.chunks(RECORDS_MAX) {
                    let records = piece.iter().map(|(ty, g)| (*ty, v4(*g)));
                    self.send_igmp_to(igmp::ALL_V3_ROUTERS, src, |out| igmp::emit_report(records, out).0);
                }
            }
            Report::Old(version, group) => {
                let ty = if *version == Version::V1 { igmp::REPORT_V1 } else { igmp::REPORT_V2 };
                self.send_igmp_to(v4(*group), src, |out| igmp::emit_old(ty, v4(*group), out));
            }
            Report::Leave(group) => {
                self.send_igmp_to(igmp::ALL_ROUTERS, src, |out| igmp::emit_old(igmp::LEAVE, v4(*group), out));
            }
        }
    }

    fn send_igmp_to(&mut self, dst: Ipv4Addr, src: Ipv4Addr, emit: impl FnOnce(&mut [u8]) -> usize) {
        let header = |p: &mut Push<'_>| {
            p.ipv4(&Ipv4Emit {
                src,
                dst,
                protocol: protocol::IGMP,
                ttl: 1,
                tos: TOS_INTERNETWORK_CONTROL,
                id: 0,
                dont_fragment: true,
                more_fragments: false,
                offset_bytes: 0,
                options: &igmp::ROUTER_ALERT,
            })
            .is_ok()
        };
        self.send_to_group(nd::multicast_mac(dst.into()), emit, header);
    }

    fn send_mld(&mut self, report: &Report) {
        // RFC 3590: link-local, or the unspecified address before there is one (during DAD).
        let src = match self.addrs.source_for(mld::ALL_V2_ROUTERS.into()) {
            Some(IpAddr::V6(src)) if src.is_unicast_link_local() => src,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let v6 = |ip: IpAddr| match ip {
            IpAddr::V6(ip) => ip,
            IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
        };
        match report {
            Report::Records(records) => {
                for piece in records.chunks(RECORDS_MAX) {
                    let records = piece.iter().map(|(ty, g)| (*ty, v6(*g)));
                    self.send_mld_to(mld::ALL_V2_ROUTERS, src, |out| mld::emit_report(records, src, out).0);
                }
            }
            Report::Old(_, group) => {
                let group = v6(*group);
                self.send_mld_to(group, src, |out| mld::emit_v1(mld::REPORT_V1, group, src, group, out));
            }
            Report::Leave(group) => {
                let all = crate::addr::ALL_ROUTERS;
                self.send_mld_to(all, src, |out| mld::emit_v1(mld::DONE, v6(*group), src, all, out));
            }
        }
    }

    fn send_mld_to(&mut self, dst: Ipv6Addr, src: Ipv6Addr, emit: impl FnOnce(&mut [u8]) -> usize) {
        let header = |p: &mut Push<'_>| {
            p.raw(&mld::ROUTER_ALERT).is_ok()
                && p.ip(src.into(), dst.into(), protocol::IPV6_HOP_BY_HOP, 1, 0, 0, true, 0).is_ok()
        };
        self.send_to_group(nd::multicast_mac(dst.into()), emit, header);
    }

    fn send_to_group(
        &mut self,
        to: MacAddr,
        emit: impl FnOnce(&mut [u8]) -> usize,
        header: impl FnOnce(&mut Push<'_>) -> bool,
    ) {
        let Link::Ethernet(mac) = self.link else { return };
        let Some(mut frame) = self.pool.alloc() else { return self.counters.drop(DropReason::NoFrame) };
        let at = HEADROOM_BYTES as usize;
        let range = self.pool.writable(&mut frame).and_then(|chunk| {
            let len = emit(&mut chunk[at..]);
            let mut p = Push::new(chunk, at, at + len);
            (header(&mut p) && p.eth(mac, to, None).is_ok()).then(|| (p.start(), p.end() - p.start()))
        });
        let Some((start, len)) = range else { return self.drop_frame(frame, DropReason::TxRefused) };
        self.pool.set_range(&mut frame, start, len);
        self.counters.icmp_out += 1;
        self.transmit(frame);
    }
}

//! Which groups routers are told of: IGMPv3 (RFC 3376) and MLDv2 (RFC 3810), which are one protocol in two
//! formats, and their elders IGMPv1, IGMPv2 and MLDv1 where such a querier is on the link.
//!
//! Any-source memberships only (RFC 5790's EXCLUDE with no sources): nobody here filters by source.

pub(crate) mod report;

use core::net::{IpAddr, Ipv4Addr};

use alloc::vec::Vec;
use linerate_wire::igmp::{RecordType, Version};

use crate::limits::GROUPS_MAX;

/// Robustness Variable: how often a change is told (RFC 3376 8.1, RFC 3810 9.1).
const ROBUSTNESS: u8 = 2;
/// Unsolicited Report Interval: between those, at most (RFC 3376 8.11, RFC 3810 9.11).
const UNSOLICITED_REPORT_NS: u64 = 1_000_000_000;
/// The same of IGMPv2 and MLDv1 (RFC 2236 8.10, RFC 2710 7.10).
const UNSOLICITED_REPORT_OLD_NS: u64 = 10_000_000_000;
/// Older Version Querier Present Timeout: robustness x Query Interval + Query Response Interval (RFC 3376 8.12,
/// RFC 3810 9.12) with their defaults of 125 s and 10 s.
const OLDER_QUERIER_NS: u64 = (ROBUSTNESS as u64 * 125 + 10) * 1_000_000_000;

/// A report that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Report {
    /// Version 3 (MLDv2).
    Records(Vec<(RecordType, IpAddr)>),
    /// Version 1 or 2 (MLDv1).
    Old(Version, IpAddr),
    /// Version 2 (MLDv1): the group is left.
    Leave(IpAddr),
}

struct Member {
    group: IpAddr,
    /// Left: kept until that is told.
    left: bool,
    /// State-change reports still to send.
    changes: u8,
    /// When to answer a query about it.
    respond_at: u64,
}

/// The memberships of one family.
pub(crate) struct Listener {
    members: Vec<Member>,
    change_at: u64,
    /// When to answer a general query.
    respond_at: u64,
    /// The oldest version heard from a querier of late.
    version: Version,
    version_until: u64,
    rng: u64,
}

/// Nothing armed.
const NEVER: u64 = u64::MAX;

/// Routers don't ask after these: all hosts, all nodes, and what never leaves the interface (RFC 3376 5, RFC 3810 6).
fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(g) => g != Ipv4Addr::new(224, 0, 0, 1),
        IpAddr::V6(g) => g != crate::addr::ALL_NODES && g.octets()[1] & 0xf > 1,
    }
}

impl Listener {
    pub fn new(seed: u64) -> Self {
        Self {
            members: Vec::new(),
            change_at: NEVER,
            respond_at: NEVER,
            version: Version::V3,
            version_until: 0,
            rng: seed,
        }
    }

    /// Somewhere in (0, span].
    fn random(&mut self, span: u64) -> u64 {
        self.rng = self.rng.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.rng >> 16) % span.max(1) + 1
    }

    /// The groups that we are a member of are these now (all of one family).
    pub fn sync(&mut self, groups: impl Iterator<Item = IpAddr> + Clone, now_ns: u64) {
        let mut changed = false;
        for m in self.members.iter_mut().filter(|m| !m.left) {
            if !groups.clone().any(|g| g == m.group) {
                (m.left, m.changes, m.respond_at) = (true, ROBUSTNESS, NEVER);
                changed = true;
            }
        }
        for group in groups.filter(|g| is_reported(*g)) {
            match self.members.iter().position(|m| m.group == group) {
                Some(i) if self.members[i].left => {
                    (self.members[i].left, self.members[i].changes) = (false, ROBUSTNESS);
                }
                Some(_) => continue,
                None if self.members.len() >= GROUPS_MAX => continue,
                None => {
                    self.members.push(Member { group, left: false, changes: ROBUSTNESS, respond_at: NEVER });
                }
            }
            changed = true;
        }
        if changed {
            // RFC 3376 section 5.1: at once.
            self.change_at = now_ns;
        }
    }

    /// A querier asks.
    pub fn on_query(&mut self, version: Version, max_resp_ms: u32, group: Option<IpAddr>, now_ns: u64) {
        self.refresh(now_ns);
        if version < Version::V3 && (version <= self.version || now_ns >= self.version_until) {
            if version != self.version {
                // RFC 3376 section 7.2.1: pending answers of another version are off.
                self.respond_at = NEVER;
                self.members.iter_mut().for_each(|m| m.respond_at = NEVER);
            }
            self.version = version;
            self.version_until = now_ns + OLDER_QUERIER_NS;
        }
        let span = u64::from(max_resp_ms) * 1_000_000;
        if self.version == Version::V3 && group.is_none() {
            let at = now_ns + self.random(span);
            self.respond_at = self.respond_at.min(at);
            return;
        }
        for i in 0..self.members.len() {
            let at = now_ns + self.random(span);
            let m = &mut self.members[i];
            // RFC 3376 section 5.2 rule 1: an answer to everything that comes sooner is enough.
            if !m.left && group.is_none_or(|g| g == m.group) && self.respond_at > at {
                m.respond_at = m.respond_at.min(at);
            }
        }
    }

    /// Another member's report of an old version: it spares us ours (RFC 2236 3, RFC 2710 4).
    pub fn on_report(&mut self, group: IpAddr) {
        if self.version < Version::V3
            && let Some(m) = self.members.iter_mut().find(|m| m.group == group)
        {
            m.respond_at = NEVER;
        }
    }

    /// When [`poll`](Self::poll) is needed next.
    pub fn next_deadline(&self) -> Option<u64> {
        let members = self.members.iter().map(|m| m.respond_at).min().unwrap_or(NEVER);
        let at = members.min(self.change_at).min(self.respond_at);
        (at != NEVER).then_some(at)
    }

    /// A report that is due, one a call.
    pub fn poll(&mut self, now_ns: u64) -> Option<Report> {
        self.refresh(now_ns);
        if self.change_at <= now_ns {
            let report =
                if self.version == Version::V3 { self.changes(now_ns) } else { self.old_change(now_ns) };
            if report.is_some() {
                return report;
            }
        }
        if self.respond_at <= now_ns {
            self.respond_at = NEVER;
            let all = self.members.iter_mut().filter(|m| !m.left);
            let records: Vec<_> = all
                .map(|m| {
                    m.respond_at = NEVER;
                    (RecordType::ModeIsExclude, m.group)
                })
                .collect();
            if !records.is_empty() {
                return Some(Report::Records(records));
            }
        }
        let m = self.members.iter_mut().find(|m| m.respond_at <= now_ns)?;
        m.respond_at = NEVER;
        Some(match self.version {
            Version::V3 => Report::Records([(RecordType::ModeIsExclude, m.group)].into()),
            version => Report::Old(version, m.group),
        })
    }

    /// The state-change report: everything that is not told often enough.
    fn changes(&mut self, now_ns: u64) -> Option<Report> {
        let of = |m: &Member| {
            if m.left { RecordType::ChangeToInclude } else { RecordType::ChangeToExclude }
        };
        let mut records = Vec::new();
        for m in self.members.iter_mut().filter(|m| m.changes > 0) {
            m.changes -= 1;
            records.push((of(m), m.group));
        }
        self.members.retain(|m| !m.left || m.changes > 0);
        let more = self.members.iter().any(|m| m.changes > 0);
        self.change_at = if more { now_ns + self.random(UNSOLICITED_REPORT_NS) } else { NEVER };
        (!records.is_empty()).then_some(Report::Records(records))
    }

    /// The same beside an old querier: a message a group, and one leave.
    fn old_change(&mut self, now_ns: u64) -> Option<Report> {
        if let Some(i) = self.members.iter().position(|m| m.left) {
            let left = self.members.swap_remove(i);
            // Version 1 knows no leave.
            return match self.version {
                Version::V1 => self.old_change(now_ns),
                _ => Some(Report::Leave(left.group)),
            };
        }
        let report = self.members.iter_mut().find(|m| m.changes == ROBUSTNESS).or(None).map(|m| {
            m.changes -= 1;
            m.group
        });
        if let Some(group) = report {
            return Some(Report::Old(self.version, group));
        }
        // All are told once: the repetitions wait.
        let again = self.members.iter_mut().filter(|m| m.changes > 0);
        let mut groups: Vec<_> = again.map(|m| (m.group, core::mem::take(&mut m.changes))).collect();
        self.change_at = NEVER;
        for (group, _) in groups.drain(..) {
            let at = now_ns + self.random(UNSOLICITED_REPORT_OLD_NS);
            if let Some(m) = self.members.iter_mut().find(|m| m.group == group) {
                m.respond_at = m.respond_at.min(at);
            }
        }
        None
    }

    /// Back to version 3 when the old querier is gone.
    fn refresh(&mut self, now_ns: u64) {
        if self.version < Version::V3 && now_ns >= self.version_until {
            self.version = Version::V3;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const SEC: u64 = 1_000_000_000;

    fn group(n: u8) -> IpAddr {
        Ipv4Addr::new(239, 0, 0, n).into()
    }

    fn join(l: &mut Listener, groups: &[IpAddr], now: u64) {
        l.sync(groups.iter().copied(), now);
    }

    /// Everything due until `until`, with its time.
    fn run(l: &mut Listener, until: u64) -> Vec<(u64, Report)> {
        let mut out = Vec::new();
        while let Some(at) = l.next_deadline().filter(|at| *at <= until) {
            while let Some(r) = l.poll(at) {
                out.push((at, r));
            }
        }
        out
    }

    fn records(ty: RecordType, groups: &[IpAddr]) -> Report {
        Report::Records(groups.iter().map(|g| (ty, *g)).collect())
    }

    //= RFC 3376 section 5.1
    #[test]
    fn a_change_is_told_at_once_and_once_more_within_a_second() {
        let mut l = Listener::new(1);
        join(&mut l, &[group(1), group(2), Ipv4Addr::new(224, 0, 0, 1).into()], 5);
        let out = run(&mut l, 10 * SEC);
        let want = records(RecordType::ChangeToExclude, &[group(1), group(2)]);
        assert_eq!(out.iter().map(|o| o.1.clone()).collect::<Vec<_>>(), vec![want.clone(), want]);
        assert_eq!(out[0].0, 5);
        assert!(out[1].0 > 5 && out[1].0 <= 5 + SEC);
        join(&mut l, &[group(2)], 20 * SEC);
        let out = run(&mut l, 30 * SEC);
        let want = records(RecordType::ChangeToInclude, &[group(1)]);
        assert_eq!(out.iter().map(|o| o.1.clone()).collect::<Vec<_>>(), vec![want.clone(), want]);
        assert!(l.next_deadline().is_none() && l.members.len() == 1);
    }

    //= RFC 3376 section 5.2
    #[test]
    fn queries_are_answered_within_their_time() {
        let mut l = Listener::new(2);
        join(&mut l, &[group(1), group(2)], 0);
        run(&mut l, 2 * SEC);
        for _ in 0..50 {
            let now = 10 * SEC;
            l.on_query(Version::V3, 1000, None, now);
            l.on_query(Version::V3, 100_000, Some(group(1)), now);
            let out = run(&mut l, 200 * SEC);
            assert_eq!(out[0].1, records(RecordType::ModeIsExclude, &[group(1), group(2)]));
            assert!(out[0].0 > now && out[0].0 <= now + SEC);
            assert_eq!(out.len(), 1, "the general answer is enough");
        }
        l.on_query(Version::V3, 1000, Some(group(2)), 300 * SEC);
        l.on_query(Version::V3, 1000, Some(group(9)), 300 * SEC);
        let out = run(&mut l, 400 * SEC);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].1, records(RecordType::ModeIsExclude, &[group(2)]));
    }

    //= RFC 3376 section 7.2.1
    #[test]
    fn an_old_querier_hears_its_own_version() {
        let mut l = Listener::new(3);
        join(&mut l, &[group(1)], 0);
        run(&mut l, 2 * SEC);
        l.on_query(Version::V2, 1000, None, 10 * SEC);
        let out = run(&mut l, 20 * SEC);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].1, Report::Old(Version::V2, group(1)));
        // Another member was faster.
        l.on_query(Version::V2, 1000, None, 30 * SEC);
        l.on_report(group(1));
        assert_eq!(run(&mut l, 40 * SEC), vec![]);
        // A join is told twice, a leave once.
        join(&mut l, &[group(1), group(2)], 40 * SEC);
        let out: Vec<_> = run(&mut l, 60 * SEC).into_iter().map(|o| o.1).collect();
        assert_eq!(out, vec![Report::Old(Version::V2, group(2)), Report::Old(Version::V2, group(2))]);
        join(&mut l, &[group(1)], 60 * SEC);
        let out: Vec<_> = run(&mut l, 80 * SEC).into_iter().map(|o| o.1).collect();
        assert_eq!(out, vec![Report::Leave(group(2))]);
        // Gone for long: version 3 again.
        l.on_query(Version::V3, 1000, None, 30 * SEC + OLDER_QUERIER_NS);
        let out = run(&mut l, 1000 * SEC);
        assert_eq!(out[0].1, records(RecordType::ModeIsExclude, &[group(1)]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut l = Listener::new(4);
        let many: Vec<IpAddr> =
            (0..2 * GROUPS_MAX as u32).map(|n| Ipv4Addr::from(0xe800_0000 + n).into()).collect();
        join(&mut l, &many, 0);
        assert_eq!(l.members.len(), GROUPS_MAX);
        join(&mut l, &[], SEC);
        run(&mut l, 10 * SEC);
        assert_eq!(l.members.len(), 0);
    }
}

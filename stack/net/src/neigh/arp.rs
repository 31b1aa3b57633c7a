//! ARP's part of neighbour resolution: what a received packet teaches (RFC 826, RFC 5227).

use super::{Lesson, NeighState};
use core::net::Ipv4Addr;

/// What an ARP packet is (RFC 826: ar$op).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOp {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
}

/// What to learn of the sender of an ARP packet; `entry` is what we know of it so far.
///
/// The order of RFC 826 (merge into an entry that exists, then create one if the packet is for us) with the two
/// limits that later practice put on it: nobody who wasn't asked creates an entry by replying, and only the
/// answer to an outstanding request makes a neighbour REACHABLE.
pub(super) fn learn(
    op: ArpOp,
    sender_ip: Ipv4Addr,
    sender_mac: [u8; 6],
    target_is_us: bool,
    entry: Option<(NeighState, [u8; 6])>,
) -> Lesson {
    // An all-zero sender is a probe: its address is not in use yet (RFC 5227 2.1.1).
    if sender_ip.is_unspecified()
        || sender_ip.is_multicast()
        || sender_ip.is_broadcast()
        || sender_ip.is_loopback()
    {
        return Lesson::Nothing;
    }
    if !super::is_unicast_mac(sender_mac) {
        return Lesson::Nothing;
    }
    match entry {
        Some((state, _)) if op == ArpOp::Reply && target_is_us && state.is_soliciting() => {
            Lesson::Reachable(sender_mac)
        }
        // Its own request or announcement (RFC 5227 3) says where it is, not that our packets reach it.
        Some((state, mac)) if !state.has_mac() || mac != sender_mac => Lesson::Stale(sender_mac),
        Some(_) => Lesson::Nothing,
        // RFC 826: the sender is about to talk to us, so spare both the question back.
        None if op == ArpOp::Request && target_is_us => Lesson::Stale(sender_mac),
        None => Lesson::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ArpOp::{Reply, Request};

    const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

    fn lesson(op: ArpOp, to_us: bool, entry: Option<(NeighState, [u8; 6])>) -> Lesson {
        learn(op, Ipv4Addr::new(10, 0, 0, 2), A, to_us, entry)
    }

    #[test]
    fn only_requests_for_us_create() {
        assert_eq!(lesson(Request, true, None), Lesson::Stale(A));
        assert_eq!(lesson(Request, false, None), Lesson::Nothing);
        assert_eq!(lesson(Reply, true, None), Lesson::Nothing);
        assert_eq!(lesson(Reply, false, None), Lesson::Nothing);
    }

    #[test]
    fn only_answers_confirm() {
        use NeighState::*;
        for state in [Incomplete, Probe, Failed] {
            assert_eq!(lesson(Reply, true, Some((state, A))), Lesson::Reachable(A), "{state:?}");
        }
        for state in [Reachable, Stale, Delay] {
            assert_eq!(lesson(Reply, true, Some((state, A))), Lesson::Nothing, "{state:?}");
            assert_eq!(lesson(Reply, true, Some((state, B))), Lesson::Stale(A), "{state:?}");
        }
        assert_eq!(lesson(Reply, false, Some((Probe, B))), Lesson::Stale(A));
    }

    #[test]
    fn known_neighbours_are_merged() {
        use NeighState::*;
        assert_eq!(lesson(Request, false, Some((Reachable, B))), Lesson::Stale(A));
        assert_eq!(lesson(Request, false, Some((Reachable, A))), Lesson::Nothing);
        assert_eq!(lesson(Request, false, Some((Incomplete, [0; 6]))), Lesson::Stale(A));
    }

    #[test]
    fn probes_and_junk_teach_nothing() {
        for ip in
            [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST, Ipv4Addr::new(224, 0, 0, 1)]
        {
            assert_eq!(learn(Request, ip, A, true, None), Lesson::Nothing);
        }
        for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            assert_eq!(learn(Request, Ipv4Addr::new(10, 0, 0, 2), mac, true, None), Lesson::Nothing);
        }
    }
}

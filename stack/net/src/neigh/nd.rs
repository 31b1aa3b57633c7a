//! Neighbour discovery's part of neighbour resolution: what solicitations and advertisements teach (RFC 4861 7.2).
//!
//! The checks of RFC 4861 7.1 (hop limit 255, checksum, lengths) are the parser's; what comes here has passed.

use super::{Lesson, NeighState, is_unicast_mac};
use core::net::Ipv6Addr;

/// The flags of a neighbour advertisement (RFC 4861 4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NaFlags {
    /// R: the sender is a router.
    pub router: bool,
    /// S: it answers a solicitation of ours.
    pub solicited: bool,
    /// O: it replaces an address we have.
    pub override_: bool,
}

/// What to learn of the sender of a neighbour solicitation, router solicitation or router advertisement with a
/// source link-layer address (RFC 4861 7.2.3, 6.2.6, 6.3.4): it is STALE, for nothing says that we reach it.
pub(super) fn learn_from_source(
    src: Ipv6Addr,
    slla: Option<[u8; 6]>,
    entry: Option<(NeighState, [u8; 6])>,
) -> Lesson {
    // From the unspecified address it is duplicate address detection: nobody to learn about yet (RFC 4861 7.2.3).
    if src.is_unspecified() || src.is_multicast() || src.is_loopback() {
        return Lesson::Nothing;
    }
    match (slla, entry) {
        (Some(mac), _) if !is_unicast_mac(mac) => Lesson::Nothing,
        (Some(mac), Some((state, known))) if state.has_mac() && known == mac => Lesson::Nothing,
        (Some(mac), _) => Lesson::Stale(mac),
        (None, _) => Lesson::Nothing,
    }
}

/// What to learn of the target of a neighbour advertisement (RFC 4861 7.2.5).
pub(super) fn learn_from_na(
    flags: NaFlags,
    tlla: Option<[u8; 6]>,
    entry: Option<(NeighState, [u8; 6])>,
) -> Lesson {
    // Nobody wanted to know: no entry is created.
    let Some((state, known)) = entry else { return Lesson::Nothing };
    if tlla.is_some_and(|mac| !is_unicast_mac(mac)) {
        return Lesson::Nothing;
    }
    if !state.has_mac() {
        // Still unknown: whatever comes is taken, the override flag doesn't matter; without an address it is
        // discarded.
        return match tlla {
            Some(mac) if flags.solicited => Lesson::Reachable(mac),
            Some(mac) => Lesson::Stale(mac),
            None => Lesson::Nothing,
        };
    }
    let mac = tlla.unwrap_or(known);
    if mac != known && !flags.override_ {
        // Another address that may not replace ours: ours is in doubt if we thought it was good, no more (I).
        return if state == NeighState::Reachable { Lesson::Stale(known) } else { Lesson::Nothing };
    }
    match (flags.solicited, mac != known) {
        (true, _) => Lesson::Reachable(mac),
        (false, true) => Lesson::Stale(mac),
        (false, false) => Lesson::Nothing,
    }
}

/// Is the router flag of this advertisement to be recorded (RFC 4861 7.2.5)? Not where the advertisement is discarded,
/// or names an address that may not replace ours.
pub(super) fn takes_router_flag(
    flags: NaFlags,
    tlla: Option<[u8; 6]>,
    state: NeighState,
    known: [u8; 6],
) -> bool {
    match tlla {
        Some(mac) => is_unicast_mac(mac) && (!state.has_mac() || flags.override_ || mac == known),
        None => state.has_mac(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NeighState::*;

    const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

    fn na(flags: &str, tlla: Option<[u8; 6]>, entry: Option<(NeighState, [u8; 6])>) -> Lesson {
        let flag = |c| flags.contains(c);
        learn_from_na(NaFlags { router: flag('R'), solicited: flag('S'), override_: flag('O') }, tlla, entry)
    }

    /// RFC 4861 appendix C, advertisement by advertisement.
    #[test]
    fn advertisements_follow_the_table() {
        use Lesson::*;
        assert_eq!(na("SO", Some(A), None), Nothing);
        for state in [Incomplete, Failed] {
            assert_eq!(na("SO", None, Some((state, [0; 6]))), Nothing);
            assert_eq!(na("S", Some(A), Some((state, [0; 6]))), Reachable(A));
            assert_eq!(na("", Some(A), Some((state, [0; 6]))), Stale(A));
        }
        for state in [NeighState::Reachable, NeighState::Stale, Delay, Probe] {
            let entry = Some((state, A));
            let doubt = if state == NeighState::Reachable { Stale(A) } else { Nothing };
            assert_eq!(na("S", Some(A), entry), Reachable(A));
            assert_eq!(na("S", None, entry), Reachable(A));
            assert_eq!(na("SO", Some(B), entry), Reachable(B));
            assert_eq!(na("O", Some(B), entry), Stale(B));
            assert_eq!(na("O", Some(A), entry), Nothing);
            assert_eq!(na("", Some(A), entry), Nothing);
            assert_eq!(na("S", Some(B), entry), doubt);
            assert_eq!(na("", Some(B), entry), doubt);
            assert_eq!(na("SO", Some([0xff; 6]), entry), Nothing);
        }
    }

    #[test]
    fn solicitations_make_stale_entries() {
        let src = "fe80::2".parse().unwrap();
        assert_eq!(learn_from_source(src, Some(A), None), Lesson::Stale(A));
        assert_eq!(learn_from_source(src, None, None), Lesson::Nothing);
        assert_eq!(learn_from_source(src, Some(A), Some((Reachable, A))), Lesson::Nothing);
        assert_eq!(learn_from_source(src, Some(B), Some((Reachable, A))), Lesson::Stale(B));
        assert_eq!(learn_from_source(src, Some(A), Some((Incomplete, [0; 6]))), Lesson::Stale(A));
        assert_eq!(learn_from_source(Ipv6Addr::UNSPECIFIED, Some(A), None), Lesson::Nothing);
        assert_eq!(learn_from_source(src, Some([0x33; 6]), None), Lesson::Nothing);
    }

    #[test]
    fn the_router_flag_goes_with_what_is_believed() {
        let o = NaFlags { override_: true, ..NaFlags::default() };
        let none = NaFlags::default();
        assert!(takes_router_flag(none, Some(A), Incomplete, [0; 6]));
        assert!(!takes_router_flag(none, None, Incomplete, [0; 6]));
        assert!(takes_router_flag(none, None, Stale, A));
        assert!(!takes_router_flag(none, Some(B), Stale, A));
        assert!(takes_router_flag(o, Some(B), Stale, A));
    }
}

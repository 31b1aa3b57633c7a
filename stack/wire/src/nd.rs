//! Neighbour discovery, RFC 4861, with RDNSS (RFC 8106) and the nonce of enhanced DAD (RFC 7527).

use core::net::{IpAddr, Ipv6Addr};

use crate::eth::MacAddr;
use crate::icmpv6;
use crate::parse::ParseError;

/// Router solicitation.
pub const ROUTER_SOLICIT: u8 = 133;
/// Router advertisement.
pub const ROUTER_ADVERT: u8 = 134;
/// Neighbour solicitation.
pub const NEIGHBOR_SOLICIT: u8 = 135;
/// Neighbour advertisement.
pub const NEIGHBOR_ADVERT: u8 = 136;
/// Redirect.
pub const REDIRECT: u8 = 137;
/// Hop limit every ND message is sent with, and must arrive with: a router on the way would have lowered it
/// (RFC 4861 6.1, 7.1, 8.1).
pub const HOP_LIMIT: u8 = 255;
/// Longest message the `emit_*` functions write, bytes.
pub const MAX_EMIT_LEN: usize = 40;

const OPT_SLLA: u8 = 1;
const OPT_TLLA: u8 = 2;
const OPT_PREFIX: u8 = 3;
const OPT_MTU: u8 = 5;
const OPT_NONCE: u8 = 14;
const OPT_RDNSS: u8 = 25;

/// Whether an ND message may be looked at.
#[inline]
pub const fn hop_limit_ok(hop_limit: u8) -> bool {
    hop_limit == HOP_LIMIT
}

/// The solicited-node multicast address ff02::1:ffXX:XXXX (RFC 4291 2.7.1).
#[inline]
pub const fn solicited_node_multicast(address: Ipv6Addr) -> Ipv6Addr {
    let low = address.to_bits() & 0x00ff_ffff;
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | low)
}

/// The Ethernet address of a multicast group: RFC 1112 6.4 for IPv4, RFC 2464 7 for IPv6. Limited broadcast
/// gives the broadcast address.
#[inline]
pub const fn multicast_mac(group: IpAddr) -> MacAddr {
    match group {
        IpAddr::V4(a) if a.is_broadcast() => crate::eth::BROADCAST,
        IpAddr::V4(a) => {
            let [_, b, c, d] = a.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(a) => {
            let [a, b, c, d] = (a.to_bits() as u32).to_be_bytes();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

/// An ND message. Its options are checked for length already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NdMessage<'a> {
    /// Router solicitation.
    RouterSolicit {
        /// Options.
        options: NdOptions<'a>,
    },
    /// Router advertisement.
    RouterAdvert(RouterAdvert<'a>),
    /// Neighbour solicitation.
    NeighborSolicit {
        /// The address asked for.
        target: Ipv6Addr,
        /// Options.
        options: NdOptions<'a>,
    },
    /// Neighbour advertisement.
    NeighborAdvert {
        /// The address told about.
        target: Ipv6Addr,
        /// R, S and O.
        flags: NaFlags,
        /// Options.
        options: NdOptions<'a>,
    },
    /// Redirect.
    Redirect {
        /// The better first hop (equal to `destination` where that is on the link).
        target: Ipv6Addr,
        /// What the redirect is about.
        destination: Ipv6Addr,
        /// Options.
        options: NdOptions<'a>,
    },
}

/// A router advertisement (RFC 4861 4.2). Zero means "unspecified by this router" in all but the lifetime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterAdvert<'a> {
    /// Hop limit to use.
    pub hop_limit: u8,
    /// M: addresses by DHCPv6.
    pub managed: bool,
    /// O: other configuration by DHCPv6.
    pub other_config: bool,
    /// Seconds the sender is a default router for; 0: it is none.
    pub lifetime_s: u16,
    /// Reachable time, milliseconds.
    pub reachable_ms: u32,
    /// Retransmission timer, milliseconds.
    pub retrans_ms: u32,
    /// Options.
    pub options: NdOptions<'a>,
}

/// Flags of a neighbour advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NaFlags {
    /// The sender is a router.
    pub router: bool,
    /// It answers a solicitation.
    pub solicited: bool,
    /// It overrides a cached link-layer address.
    pub override_: bool,
}

/// The options of a message, each with a length that fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NdOptions<'a>(&'a [u8]);

/// One ND option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NdOption<'a> {
    /// Link-layer address of the sender.
    SourceLinkLayer(MacAddr),
    /// Link-layer address of the target.
    TargetLinkLayer(MacAddr),
    /// Prefix information.
    Prefix(PrefixInfo),
    /// MTU of the link, bytes.
    Mtu(u32),
    /// Recursive DNS servers.
    Rdnss(Rdnss<'a>),
    /// Nonce of enhanced DAD.
    Nonce([u8; 6]),
    /// Another one, or one of the above in another length than its own.
    Other {
        /// Type.
        kind: u8,
        /// The whole option.
        bytes: &'a [u8],
    },
}

/// Prefix information (RFC 4861 4.6.2). Lifetimes of `u32::MAX` mean for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefixInfo {
    /// The prefix; bits behind `prefix_len` are to be ignored.
    pub prefix: Ipv6Addr,
    /// Its length in bits, 0-128.
    pub prefix_len: u8,
    /// L: addresses in it are on the link.
    pub on_link: bool,
    /// A: may be used for address configuration.
    pub autonomous: bool,
    /// Valid lifetime, seconds.
    pub valid_s: u32,
    /// Preferred lifetime, seconds.
    pub preferred_s: u32,
}

/// Recursive DNS servers (RFC 8106 5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rdnss<'a> {
    /// Seconds they may be used for; 0: no longer.
    pub lifetime_s: u32,
    addresses: &'a [[u8; 16]],
}

impl Rdnss<'_> {
    /// The servers.
    pub fn servers(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.addresses.iter().map(|octets| Ipv6Addr::from_octets(*octets))
    }
}

impl<'a> NdOptions<'a> {
    // RFC 4861 4.6: a message with an option of length zero MUST be discarded, whole; so the check comes first.
    fn check(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = rest.get(1).map_or(0, |units| usize::from(*units) * 8);
            match rest.get(len..) {
                Some(after) if len > 0 => rest = after,
                _ => return Err(ParseError::NdOption),
            }
        }
        Ok(Self(bytes))
    }

    /// All options in order.
    pub fn iter(&self) -> impl Iterator<Item = NdOption<'a>> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let &[kind, units, ..] = rest else { return None };
            let (option, after) = rest.split_at_checked(usize::from(units) * 8)?;
            if option.is_empty() {
                return None;
            }
            rest = after;
            Some(parse_option(kind, option))
        })
    }

    /// The first source link-layer address.
    pub fn source_link_layer(&self) -> Option<MacAddr> {
        self.iter().find_map(|o| if let NdOption::SourceLinkLayer(mac) = o { Some(mac) } else { None })
    }

    /// The first target link-layer address.
    pub fn target_link_layer(&self) -> Option<MacAddr> {
        self.iter().find_map(|o| if let NdOption::TargetLinkLayer(mac) = o { Some(mac) } else { None })
    }

    /// The nonce, if there is one.
    pub fn nonce(&self) -> Option<[u8; 6]> {
        self.iter().find_map(|o| if let NdOption::Nonce(nonce) = o { Some(nonce) } else { None })
    }
}

fn parse_option(kind: u8, bytes: &[u8]) -> NdOption<'_> {
    let be32 =
        |at: usize| bytes.get(at..).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_be_bytes(*b));
    match (kind, bytes) {
        (OPT_SLLA, &[_, _, a, b, c, d, e, f]) => NdOption::SourceLinkLayer([a, b, c, d, e, f]),
        (OPT_TLLA, &[_, _, a, b, c, d, e, f]) => NdOption::TargetLinkLayer([a, b, c, d, e, f]),
        (OPT_NONCE, &[_, _, a, b, c, d, e, f]) => NdOption::Nonce([a, b, c, d, e, f]),
        (OPT_MTU, &[_, _, _, _, _, _, _, _]) => NdOption::Mtu(be32(4)),
        (OPT_PREFIX, &[_, _, prefix_len @ 0..=128, flags, ..]) if bytes.len() == 32 => {
            NdOption::Prefix(PrefixInfo {
                prefix: address_at(bytes, 16).unwrap_or(Ipv6Addr::UNSPECIFIED),
                prefix_len,
                on_link: flags & 0x80 != 0,
                autonomous: flags & 0x40 != 0,
                valid_s: be32(4),
                preferred_s: be32(8),
            })
        }
        (OPT_RDNSS, _) if bytes.len() >= 24 && bytes.len() % 16 == 8 => {
            let addresses = bytes.get(8..).unwrap_or(&[]).as_chunks::<16>().0;
            NdOption::Rdnss(Rdnss { lifetime_s: be32(4), addresses })
        }
        _ => NdOption::Other { kind, bytes },
    }
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    bytes.get(at..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from_octets(*octets))
}

impl<'a> NdMessage<'a> {
    /// Reads a message from its ICMPv6 header on. Hop limit and checksum are the caller's to check, the rules
    /// about addresses are in [`NdMessage::is_valid`].
    ///
    /// # Errors
    /// `NdTruncated`, `NdType` (another type, or a code other than 0), `NdOption`.
    pub fn parse(l4: &'a [u8]) -> Result<Self, ParseError> {
        let &[ty, code, _, _, r0, r1, r2, r3] = l4.first_chunk::<8>().ok_or(ParseError::NdTruncated)?;
        if code != 0 || !(ROUTER_SOLICIT..=REDIRECT).contains(&ty) {
            return Err(ParseError::NdType);
        }
        let options = |at: usize| NdOptions::check(l4.get(at..).ok_or(ParseError::NdTruncated)?);
        let address = |at: usize| address_at(l4, at).ok_or(ParseError::NdTruncated);
        Ok(match ty {
            ROUTER_SOLICIT => Self::RouterSolicit { options: options(8)? },
            ROUTER_ADVERT => {
                let be32 = |at: usize| {
                    let bytes =
                        l4.get(at..).and_then(|b| b.first_chunk::<4>()).ok_or(ParseError::NdTruncated)?;
                    Ok(u32::from_be_bytes(*bytes))
                };
                Self::RouterAdvert(RouterAdvert {
                    hop_limit: r0,
                    managed: r1 & 0x80 != 0,
                    other_config: r1 & 0x40 != 0,
                    lifetime_s: u16::from_be_bytes([r2, r3]),
                    reachable_ms: be32(8)?,
                    retrans_ms: be32(12)?,
                    options: options(16)?,
                })
            }
            NEIGHBOR_SOLICIT => Self::NeighborSolicit { target: address(8)?, options: options(24)? },
            NEIGHBOR_ADVERT => Self::NeighborAdvert {
                target: address(8)?,
                flags: NaFlags {
                    router: r0 & 0x80 != 0,
                    solicited: r0 & 0x40 != 0,
                    override_: r0 & 0x20 != 0,
                },
                options: options(24)?,
            },
            _ => Self::Redirect { target: address(8)?, destination: address(24)?, options: options(40)? },
        })
    }

    /// The options.
    pub const fn options(&self) -> NdOptions<'a> {
        match *self {
            Self::RouterSolicit { options }
            | Self::NeighborSolicit { options, .. }
            | Self::NeighborAdvert { options, .. }
            | Self::Redirect { options, .. }
            | Self::RouterAdvert(RouterAdvert { options, .. }) => options,
        }
    }

    /// The validation rules about addresses: RFC 4861 6.1.1, 6.1.2, 7.1.1, 7.1.2, 8.1. `src` and `dst` are
    /// those of the IPv6 header. An invalid message is dropped silently.
    pub fn is_valid(&self, src: Ipv6Addr, dst: Ipv6Addr) -> bool {
        let no_source = src.is_unspecified();
        match self {
            Self::RouterSolicit { options } => !no_source || options.source_link_layer().is_none(),
            Self::RouterAdvert(_) => src.is_unicast_link_local(),
            Self::NeighborSolicit { target, options } => {
                let is_dad_ok =
                    dst == solicited_node_multicast(*target) && options.source_link_layer().is_none();
                !target.is_multicast() && (!no_source || is_dad_ok)
            }
            Self::NeighborAdvert { target, flags, .. } => {
                !target.is_multicast() && (!dst.is_multicast() || !flags.solicited)
            }
            Self::Redirect { target, destination, .. } => {
                let target_ok = target.is_unicast_link_local() || target == destination;
                src.is_unicast_link_local() && !destination.is_multicast() && target_ok
            }
        }
    }
}

// Builds the body on the stack (at most 32 bytes behind the header) and hands it to icmpv6::emit.
struct Body {
    bytes: [u8; MAX_EMIT_LEN - icmpv6::HEADER_LEN],
    len: usize,
}

impl Body {
    const fn new() -> Self {
        Self { bytes: [0; MAX_EMIT_LEN - icmpv6::HEADER_LEN], len: 0 }
    }

    fn put(&mut self, piece: &[u8]) {
        if let Some(to) = self.bytes.get_mut(self.len..self.len + piece.len()) {
            to.copy_from_slice(piece);
            self.len += piece.len();
        }
    }

    fn put_option(&mut self, kind: u8, value: Option<[u8; 6]>) {
        if let Some(value) = value {
            self.put(&[kind, 1]);
            self.put(&value);
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes a neighbour solicitation with its checksum at the start of `out`; returns its length, or 0 where
/// it does not fit. For DAD: `src` unspecified, no `source_mac`, and a nonce (RFC 7527). With both options
/// only the address is sent: enhanced DAD never carries one.
pub fn emit_ns(
    out: &mut [u8],
    src: Ipv6Addr,
    dst: Ipv6Addr,
    target: Ipv6Addr,
    source_mac: Option<MacAddr>,
    nonce: Option<[u8; 6]>,
) -> usize {
    let mut body = Body::new();
    body.put(&target.octets());
    body.put_option(OPT_SLLA, source_mac);
    body.put_option(OPT_NONCE, nonce.filter(|_| source_mac.is_none()));
    icmpv6::emit((NEIGHBOR_SOLICIT, 0), [0; 4], body.as_slice(), src, dst, out)
}

/// Writes a neighbour advertisement with its checksum at the start of `out`; returns its length, or 0 where
/// it does not fit.
pub fn emit_na(
    out: &mut [u8],
    src: Ipv6Addr,
    dst: Ipv6Addr,
    target: Ipv6Addr,
    flags: NaFlags,
    target_mac: Option<MacAddr>,
) -> usize {
    let mut body = Body::new();
    body.put(&target.octets());
    body.put_option(OPT_TLLA, target_mac);
    let bits = u8::from(flags.router) << 7 | u8::from(flags.solicited) << 6 | u8::from(flags.override_) << 5;
    icmpv6::emit((NEIGHBOR_ADVERT, 0), [bits, 0, 0, 0], body.as_slice(), src, dst, out)
}

/// Writes a router solicitation with its checksum at the start of `out`; returns its length, or 0 where it
/// does not fit. No `source_mac` with an unspecified `src`.
pub fn emit_rs(out: &mut [u8], src: Ipv6Addr, dst: Ipv6Addr, source_mac: Option<MacAddr>) -> usize {
    let mut body = Body::new();
    body.put_option(OPT_SLLA, source_mac);
    icmpv6::emit((ROUTER_SOLICIT, 0), [0; 4], body.as_slice(), src, dst, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::icmpv6::{Icmpv6Packet, checksum, ndp};
    use std::vec::Vec;

    const MAC: MacAddr = [2, 3, 4, 5, 6, 7];

    fn ll(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x12, n)
    }

    #[test]
    fn addresses() {
        let sn = solicited_node_multicast("2001:db8::12:3456:789a".parse().unwrap());
        assert_eq!(sn, "ff02::1:ff56:789a".parse::<Ipv6Addr>().unwrap());
        assert_eq!(multicast_mac(sn.into()), [0x33, 0x33, 0xff, 0x56, 0x78, 0x9a]);
        assert_eq!(multicast_mac("239.129.2.3".parse().unwrap()), [1, 0, 0x5e, 1, 2, 3]);
        assert_eq!(multicast_mac("255.255.255.255".parse().unwrap()), [0xff; 6]);
        assert!(hop_limit_ok(255) && !hop_limit_ok(254));
    }

    #[test]
    fn ns_na_rs_and_pnet_agrees() {
        let (src, dst) = (ll(1), solicited_node_multicast(ll(2)));
        let mut b = [0; 64];
        let n = emit_ns(&mut b, src, dst, ll(2), Some(MAC), None);
        let p = ndp::NeighborSolicitPacket::new(&b[..n]).unwrap();
        assert_eq!((n, p.get_target_addr(), p.get_options().len()), (32, ll(2), 1));
        let p = Icmpv6Packet::new(&b[..n]).unwrap();
        assert_eq!(p.get_checksum(), checksum(&p, &src, &dst));
        let m = NdMessage::parse(&b[..n]).unwrap();
        assert_eq!(m.options().source_link_layer(), Some(MAC));
        assert!(m.is_valid(src, dst) && !m.is_valid(Ipv6Addr::UNSPECIFIED, dst));

        let n = emit_ns(&mut b, Ipv6Addr::UNSPECIFIED, dst, ll(2), None, Some([9; 6]));
        let m = NdMessage::parse(&b[..n]).unwrap();
        assert!(m.is_valid(Ipv6Addr::UNSPECIFIED, dst) && !m.is_valid(Ipv6Addr::UNSPECIFIED, ll(2)));
        assert_eq!(m.options().nonce(), Some([9; 6]));

        let flags = NaFlags { solicited: true, override_: true, router: false };
        let n = emit_na(&mut b, src, ll(2), ll(1), flags, Some(MAC));
        let p = ndp::NeighborAdvertPacket::new(&b[..n]).unwrap();
        assert_eq!((p.get_flags(), p.get_target_addr()), (0x60, ll(1)));
        let m = NdMessage::parse(&b[..n]).unwrap();
        assert!(matches!(m, NdMessage::NeighborAdvert { flags: f, .. } if f == flags));
        assert_eq!(m.options().target_link_layer(), Some(MAC));
        assert!(!m.is_valid(src, "ff02::1".parse().unwrap()));

        assert_eq!(emit_rs(&mut b, src, dst, Some(MAC)), 16);
        assert!(matches!(NdMessage::parse(&b[..16]), Ok(NdMessage::RouterSolicit { .. })));
        assert_eq!(emit_rs(&mut b[..15], src, dst, Some(MAC)), 0);
    }

    #[test]
    fn router_advertisement_with_options() {
        let mut b = std::vec![134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0x75, 0x30, 0, 0, 3, 0xe8];
        b.extend([5, 1, 0, 0, 0, 0, 5, 0xdc]);
        b.extend([3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0]);
        b.extend("2001:db8:1::".parse::<Ipv6Addr>().unwrap().octets());
        b.extend([25, 5, 0, 0, 0, 0, 4, 0]);
        b.extend(ll(53).octets());
        b.extend(ll(54).octets());
        b.extend([1, 1, 2, 3, 4, 5, 6, 7]);
        b.extend([200, 1, 0, 0, 0, 0, 0, 0]);
        let m = NdMessage::parse(&b).unwrap();
        let NdMessage::RouterAdvert(ra) = m else { panic!() };
        assert_eq!((ra.hop_limit, ra.lifetime_s, ra.reachable_ms, ra.retrans_ms), (64, 0x0708, 30_000, 1000));
        assert!(ra.managed && ra.other_config && m.is_valid(ll(1), ll(2)));
        let o: Vec<_> = ra.options.iter().collect();
        assert_eq!(o[0], NdOption::Mtu(1500));
        let NdOption::Prefix(p) = o[1] else { panic!() };
        assert_eq!(
            (p.prefix_len, p.on_link, p.autonomous, p.valid_s, p.preferred_s),
            (64, true, true, 65536, 32768)
        );
        let NdOption::Rdnss(r) = o[2] else { panic!() };
        assert_eq!((r.lifetime_s, r.servers().collect::<Vec<_>>()), (1024, std::vec![ll(53), ll(54)]));
        assert_eq!(o[3], NdOption::SourceLinkLayer(MAC));
        assert!(matches!(o[4], NdOption::Other { kind: 200, .. }));
        for cut in 0..16 {
            assert_eq!(NdMessage::parse(&b[..cut]), Err(ParseError::NdTruncated));
        }
        assert_eq!(NdMessage::parse(&b[..b.len() - 1]), Err(ParseError::NdOption));
        b[17] = 0;
        assert_eq!(NdMessage::parse(&b), Err(ParseError::NdOption));
        b[1] = 1;
        assert_eq!(NdMessage::parse(&b), Err(ParseError::NdType));
    }

    #[test]
    fn redirect() {
        let mut b = std::vec![137, 0, 0, 0, 0, 0, 0, 0];
        b.extend(ll(9).octets());
        b.extend("2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        let m = NdMessage::parse(&b).unwrap();
        assert!(m.is_valid(ll(1), ll(2)));
        assert!(!m.is_valid("2001:db8::1".parse().unwrap(), ll(2)));
        assert_eq!(NdMessage::parse(&b[..39]), Err(ParseError::NdTruncated));
    }
}

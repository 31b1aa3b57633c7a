//! Headers are pushed into the headroom in front of a payload that lies in its frame already, L4 down to L2.
//!
//! ```text
//!  buf  |......... headroom .........|  payload  |... tailroom
//!       |        <- eth <- ip <- tcp |           |
//!       |        ^ start()           |           ^ end
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::arp::ArpPacket;
use crate::checksum::{Sum, pseudo_header, sum};
use crate::eth::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, MacAddr};
use crate::ipv4::{self, Ipv4Emit};
use crate::ipv6::{self, Ipv6Emit};
use crate::parse::{Fragment, protocol};
use crate::tcp::{self, TcpFlags};
use crate::tcp_options::{MAX_OPTIONS_LEN, TcpOptions, emit_options, timestamps_group};
use crate::udp::{self, UdpHeader};
use crate::vlan;

/// Headroom that is enough for any header chain this crate pushes by itself: Ethernet 14, VLAN tag 4, IPv6 40,
/// TCP with options 60, rounded up to whole cache lines. Bytes.
pub const MAX_HEADER: usize = 128;

/// Why a header could not be pushed. The buffer may hold header bytes in front of `start()` then; `start()`
/// itself has not moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmitError {
    /// The headroom is too small.
    Headroom,
    /// The packet would be longer than its length field can say.
    TooLong,
    /// Source and destination are of different families.
    MixedFamilies,
    /// IPv4 options or an extension header of a length that cannot stand in a header.
    OptionsLength,
}

impl core::fmt::Display for EmitError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Headroom => "not enough headroom for the header",
            Self::TooLong => "packet longer than its length field can say",
            Self::MixedFamilies => "source and destination address of different families",
            Self::OptionsLength => "options of a length that fits no header",
        })
    }
}

impl core::error::Error for EmitError {}

/// The fields of a TCP header to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpEmit<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window as it stands in the field (scaled down already).
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options.
    pub options: &'a TcpOptions,
}

// Who completes an L4 checksum.
enum L4Checksum {
    Full(Option<Sum>),
    Partial,
}

/// A packet being built from the inside out. One `tcp`/`udp`/`icmp*` (or none, where the L4 message is the
/// payload), one `ip`, one `eth`.
#[derive(Debug)]
pub struct Push<'a> {
    buf: &'a mut [u8],
    start: usize,
    end: usize,
    ethertype: u16,
}

impl<'a> Push<'a> {
    /// Begins with the payload `buf[payload_start..payload_end]`; both are cut to the buffer where they reach
    /// beyond it.
    #[inline]
    pub fn new(buf: &'a mut [u8], payload_start: usize, payload_end: usize) -> Self {
        let end = payload_end.min(buf.len());
        Self { start: payload_start.min(end), end, buf, ethertype: 0 }
    }

    /// Offset of the first byte pushed so far.
    #[inline]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Offset behind the last byte of the payload.
    #[inline]
    pub fn end(&self) -> usize {
        self.end
    }

    /// The packet so far.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or(&[])
    }

    /// Says what the Ethernet header will name, where the payload begins with a network header already.
    pub fn set_ethertype(&mut self, ethertype: u16) {
        self.ethertype = ethertype;
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn put<const N: usize>(&mut self, header: [u8; N]) -> Result<(), EmitError> {
        let at = self.start.checked_sub(N).ok_or(EmitError::Headroom)?;
        let room =
            self.buf.get_mut(at..).and_then(|b| b.first_chunk_mut::<N>()).ok_or(EmitError::Headroom)?;
        *room = header;
        self.start = at;
        Ok(())
    }

    /// Pushes bytes as they are, e.g. a hop-by-hop options header.
    ///
    /// # Errors
    /// `Headroom`.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), EmitError> {
        let at = self.start.checked_sub(bytes.len()).ok_or(EmitError::Headroom)?;
        self.buf.get_mut(at..self.start).ok_or(EmitError::Headroom)?.copy_from_slice(bytes);
        self.start = at;
        Ok(())
    }

    #[inline(always)]
    fn payload_sum(&self, known: Option<Sum>) -> Sum {
        match known {
            Some(known) => known,
            None => sum(self.bytes()),
        }
    }

    /// Pushes a TCP header with options and checksum. With `payload_sum` (the sum of the whole payload, as if
    /// at an even offset) the payload is not read.
    ///
    /// # Errors
    /// `Headroom`, `TooLong` (segment over 65,535 bytes), `MixedFamilies`.
    #[inline]
    //= RFC 9293 section 3.1, MUST-2
    pub fn tcp(
        &mut self,
        tcp: &TcpEmit<'_>,
        src: IpAddr,
        dst: IpAddr,
        payload_sum: Option<Sum>,
    ) -> Result<(), EmitError> {
        self.tcp_with(tcp, src, dst, L4Checksum::Full(payload_sum))
    }

    /// Pushes a TCP header whose checksum field holds the pseudo-header sum only, for a port that completes it
    /// (virtio NEEDS_CSUM with csum_start at this header and csum_offset 16; GSO).
    ///
    /// # Errors
    /// As [`Push::tcp`].
    #[inline]
    pub fn tcp_partial(&mut self, tcp: &TcpEmit<'_>, src: IpAddr, dst: IpAddr) -> Result<(), EmitError> {
        self.tcp_with(tcp, src, dst, L4Checksum::Partial)
    }

    #[inline(always)]
    fn tcp_with(
        &mut self,
        tcp: &TcpEmit<'_>,
        src: IpAddr,
        dst: IpAddr,
        checksum: L4Checksum,
    ) -> Result<(), EmitError> {
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(EmitError::MixedFamilies);
        }
        let payload_len = self.len();
        let payload = match checksum {
            L4Checksum::Full(known) => Some(self.payload_sum(known)),
            L4Checksum::Partial => None,
        };
        let before = self.start;
        let options_sum = self.tcp_options(tcp.options)?;
        let options_len = before - self.start;
        let header_len = tcp::HEADER_LEN + options_len;
        let l4_len = header_len + payload_len;
        if l4_len > usize::from(u16::MAX) {
            self.start = before;
            return Err(EmitError::TooLong);
        }
        let offset_flags = (header_len as u32 / 4) << 12 | u32::from(tcp.flags.bits());
        let w0 = u32::from(tcp.src_port) << 16 | u32::from(tcp.dst_port);
        let w3 = offset_flags << 16 | u32::from(tcp.window);
        let pseudo = pseudo_header(src, dst, protocol::TCP, l4_len as u32);
        let field = match payload {
            Some(payload) => {
                let words = [w0, tcp.seq, tcp.ack, w3, u32::from(tcp.urgent)];
                let fixed = Sum::from_host_words(words.iter().map(|w| u64::from(*w)).sum());
                fixed.add(options_sum).add(pseudo).add(payload).checksum()
            }
            None => pseudo.fold(),
        };
        let w4 = u32::from(field) << 16 | u32::from(tcp.urgent);
        let mut header = [0; tcp::HEADER_LEN];
        let (to, _) = header.as_chunks_mut::<4>();
        for (to, word) in to.iter_mut().zip([w0, tcp.seq, tcp.ack, w3, w4]) {
            *to = word.to_be_bytes();
        }
        self.put(header).inspect_err(|_| self.start = before)
    }

    #[inline(always)]
    fn tcp_options(&mut self, options: &TcpOptions) -> Result<Sum, EmitError> {
        match options {
            TcpOptions {
                mss: None,
                wscale: None,
                sack_permitted: false,
                timestamps,
                sack,
                user_timeout: 0,
                fast_open,
            } if sack.is_empty() && fast_open.is_none() => {
                let Some((tsval, tsecr)) = *timestamps else { return Ok(Sum::ZERO) };
                self.put(timestamps_group(1, 1, (tsval, tsecr)))?;
                // <nop, nop, TS, 10> as a word, then the two values.
                Ok(Sum::from_host_words(0x0101_080a + u64::from(tsval) + u64::from(tsecr)))
            }
            _ => self.tcp_options_any(options),
        }
    }

    #[inline(never)]
    fn tcp_options_any(&mut self, options: &TcpOptions) -> Result<Sum, EmitError> {
        let mut bytes = [0; MAX_OPTIONS_LEN];
        let len = emit_options(options, &mut bytes);
        self.raw(&bytes[..len])?;
        Ok(sum(&bytes[..len]))
    }

    /// Pushes a UDP header with checksum. With `payload_sum` the payload is not read.
    ///
    /// # Errors
    /// `Headroom`, `TooLong` (datagram over 65,535 bytes), `MixedFamilies`.
    #[inline]
    pub fn udp(
        &mut self,
        src_port: u16,
        dst_port: u16,
        src: IpAddr,
        dst: IpAddr,
        payload_sum: Option<Sum>,
    ) -> Result<(), EmitError> {
        self.udp_with(src_port, dst_port, src, dst, L4Checksum::Full(payload_sum))
    }

    /// Pushes a UDP header whose checksum field holds the pseudo-header sum only (csum_offset 6).
    ///
    /// # Errors
    /// As [`Push::udp`].
    #[inline]
    pub fn udp_partial(
        &mut self,
        src_port: u16,
        dst_port: u16,
        src: IpAddr,
        dst: IpAddr,
    ) -> Result<(), EmitError> {
        self.udp_with(src_port, dst_port, src, dst, L4Checksum::Partial)
    }

    #[inline(always)]
    fn udp_with(
        &mut self,
        src_port: u16,
        dst_port: u16,
        src: IpAddr,
        dst: IpAddr,
        checksum: L4Checksum,
    ) -> Result<(), EmitError> {
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(EmitError::MixedFamilies);
        }
        let length = u16::try_from(udp::HEADER_LEN + self.len()).map_err(|_| EmitError::TooLong)?;
        let pseudo = pseudo_header(src, dst, protocol::UDP, u32::from(length));
        let checksum = match checksum {
            L4Checksum::Full(known) => {
                let words = u64::from(src_port) + u64::from(dst_port) + u64::from(length);
                match Sum::from_host_words(words).add(pseudo).add(self.payload_sum(known)).checksum() {
                    // RFC 768: zero would mean "no checksum"; ones are the same number.
                    0 => 0xffff,
                    checksum => checksum,
                }
            }
            L4Checksum::Partial => pseudo.fold(),
        };
        self.put(udp::to_bytes(UdpHeader { src_port, dst_port, length, checksum }))
    }

    /// Pushes the 8 bytes of an ICMP header in front of its body.
    ///
    /// # Errors
    /// `Headroom`.
    #[inline]
    pub fn icmpv4(
        &mut self,
        ty: u8,
        code: u8,
        rest: [u8; 4],
        body_sum: Option<Sum>,
    ) -> Result<(), EmitError> {
        self.icmp(ty, code, rest, body_sum, Sum::ZERO)
    }

    /// Pushes the 8 bytes of an ICMPv6 header in front of its body.
    ///
    /// # Errors
    /// `Headroom`, `TooLong`.
    #[inline]
    pub fn icmpv6(
        &mut self,
        (ty, code): (u8, u8),
        rest: [u8; 4],
        src: Ipv6Addr,
        dst: Ipv6Addr,
        body_sum: Option<Sum>,
    ) -> Result<(), EmitError> {
        let len = u32::try_from(8 + self.len()).map_err(|_| EmitError::TooLong)?;
        let pseudo = pseudo_header(IpAddr::V6(src), IpAddr::V6(dst), protocol::ICMPV6, len);
        self.icmp(ty, code, rest, body_sum, pseudo)
    }

    #[inline]
    fn icmp(
        &mut self,
        ty: u8,
        code: u8,
        rest: [u8; 4],
        body_sum: Option<Sum>,
        pseudo: Sum,
    ) -> Result<(), EmitError> {
        let first = u16::from_be_bytes([ty, code]);
        let words = u64::from(first) + u64::from(u32::from_be_bytes(rest));
        let checksum = Sum::from_host_words(words).add(pseudo).add(self.payload_sum(body_sum)).checksum();
        let high = u32::from(first) << 16 | u32::from(checksum);
        self.put((u64::from(high) << 32 | u64::from(u32::from_be_bytes(rest))).to_be_bytes())
    }

    /// Pushes an IPv4 or IPv6 header, by the family of the addresses. `tos` is DSCP and ECN; `id` and `df` count
    /// for IPv4 only, `flow_label` for IPv6 only.
    ///
    /// # Errors
    /// `Headroom`, `TooLong`, `MixedFamilies`.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the fields of two headers, named at the one call site")]
    pub fn ip(
        &mut self,
        src: IpAddr,
        dst: IpAddr,
        protocol: u8,
        ttl: u8,
        tos: u8,
        id: u16,
        df: bool,
        flow_label: u32,
    ) -> Result<(), EmitError> {
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4_plain(src, dst, (protocol, ttl, tos), id, df),
            (IpAddr::V6(src), IpAddr::V6(dst)) => self.ipv6(&Ipv6Emit {
                src,
                dst,
                next_header: protocol,
                hop_limit: ttl,
                traffic_class: tos,
                flow_label,
            }),
            _ => Err(EmitError::MixedFamilies),
        }
    }

    #[inline(always)]
    fn ipv4_plain(
        &mut self,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        (protocol, ttl, tos): (u8, u8, u8),
        id: u16,
        dont_fragment: bool,
    ) -> Result<(), EmitError> {
        self.ipv4(&Ipv4Emit {
            src,
            dst,
            protocol,
            ttl,
            tos,
            id,
            dont_fragment,
            more_fragments: false,
            offset_bytes: 0,
            options: &[],
        })
    }

    /// Pushes an IPv4 header with all its fields: fragments and options too.
    ///
    /// # Errors
    /// `Headroom`, `TooLong`, `OptionsLength` (over 40 bytes, or not a multiple of 4).
    #[inline]
    pub fn ipv4(&mut self, header: &Ipv4Emit<'_>) -> Result<(), EmitError> {
        let options_len = header.options.len();
        if options_len > ipv4::MAX_OPTIONS_LEN || !options_len.is_multiple_of(4) {
            return Err(EmitError::OptionsLength);
        }
        let total_len = ipv4::HEADER_LEN + options_len + self.len();
        let total_len = u16::try_from(total_len).map_err(|_| EmitError::TooLong)?;
        let before = self.start;
        if options_len > 0 {
            self.raw(header.options)?;
        }
        self.put(header.fixed_bytes(total_len)).inspect_err(|_| self.start = before)?;
        self.ethertype = ETHERTYPE_IPV4;
        Ok(())
    }

    /// Pushes an IPv6 header.
    ///
    /// # Errors
    /// `Headroom`, `TooLong` (payload over 65,535 bytes).
    #[inline]
    pub fn ipv6(&mut self, header: &Ipv6Emit) -> Result<(), EmitError> {
        let payload_len = u16::try_from(self.len()).map_err(|_| EmitError::TooLong)?;
        self.put(header.to_bytes(payload_len))?;
        self.ethertype = ETHERTYPE_IPV6;
        Ok(())
    }

    /// Pushes an IPv6 fragment header; the IPv6 header after it says next header 44.
    ///
    /// # Errors
    /// `Headroom`.
    pub fn ipv6_fragment(&mut self, next_header: u8, fragment: Fragment) -> Result<(), EmitError> {
        let offset_flags = (fragment.offset_bytes & !7) | u16::from(fragment.more);
        let [o0, o1] = offset_flags.to_be_bytes();
        let [i0, i1, i2, i3] = fragment.id.to_be_bytes();
        let header: [u8; ipv6::FRAGMENT_HEADER_LEN] = [next_header, 0, o0, o1, i0, i1, i2, i3];
        self.put(header)
    }

    /// Pushes an ARP packet; the payload should be empty.
    ///
    /// # Errors
    /// `Headroom`.
    pub fn arp(&mut self, arp: &ArpPacket) -> Result<(), EmitError> {
        self.put(arp.to_bytes())?;
        self.ethertype = ETHERTYPE_ARP;
        Ok(())
    }

    /// Pushes the Ethernet header with an 802.1Q tag of this TCI, if any. The ethertype is that of the header
    /// pushed before. Short frames are not padded: the port or the driver does that.
    ///
    /// # Errors
    /// `Headroom`.
    #[inline]
    pub fn eth(&mut self, src: MacAddr, dst: MacAddr, vlan: Option<u16>) -> Result<(), EmitError> {
        let mut header = [0; eth::HEADER_LEN + vlan::TAG_LEN];
        header[..6].copy_from_slice(&dst);
        header[6..12].copy_from_slice(&src);
        match vlan {
            None => {
                header[12..14].copy_from_slice(&self.ethertype.to_be_bytes());
                let [plain @ .., _, _, _, _] = header;
                self.put(plain)
            }
            Some(tci) => {
                let tag =
                    u64::from(vlan::TPID_8021Q) << 32 | u64::from(tci) << 16 | u64::from(self.ethertype);
                header[12..].copy_from_slice(&tag.to_be_bytes()[2..]);
                self.put(header)
            }
        }
    }
}

#[cfg(test)]
mod tests;

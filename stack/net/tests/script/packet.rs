//! Packets as bytes, written and read here without the stack's own code, so that both can't be wrong together.

use std::net::IpAddr;

pub const TCP: u8 = 6;
pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

/// Control bits in the order of the header, lowest first (RFC 9293 section 3.1, RFC 3168, RFC 9768).
pub const FLAGS: [&str; 9] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"];
pub const FIN: u16 = 1;
pub const SYN: u16 = 2;
pub const RST: u16 = 4;
pub const PSH: u16 = 8;
pub const ACK: u16 = 16;
pub const URG: u16 = 32;

/// What the IP header says.
#[derive(Clone, Debug)]
pub struct Ip {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ttl: u8,
    pub tos: u8,
    pub df: bool,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
}

/// A TCP segment.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub ip: Ip,
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u16,
    pub wnd: u16,
    pub urg: u16,
    pub options: Vec<u8>,
    pub data: Vec<u8>,
}

/// A packet that the stack sent.
#[derive(Clone, Debug)]
pub enum Packet {
    Tcp(Tcp),
    /// Type, code, and what follows the first four bytes.
    Icmp(Ip, u8, u8, Vec<u8>),
    Other(Ip, u8),
}

fn ones_sum(mut sum: u64, bytes: &[u8]) -> u64 {
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    sum
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn octets(a: IpAddr) -> Vec<u8> {
    match a {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// The checksum of an L4 message, whose own field is zero (or, to verify, which then gives zero).
pub fn l4_sum(src: IpAddr, dst: IpAddr, protocol: u8, l4: &[u8]) -> u16 {
    let pseudo = match protocol {
        ICMP => 0,
        _ => ones_sum(ones_sum(u64::from(protocol) + l4.len() as u64, &octets(src)), &octets(dst)),
    };
    fold(ones_sum(pseudo, l4))
}

impl Ip {
    pub fn packet(&self, protocol: u8, l4: &[u8]) -> Vec<u8> {
        let mut p = Vec::new();
        if self.src.is_ipv4() {
            let header = 20 + self.options.len();
            p.extend([0x40 | (header / 4) as u8, self.tos]);
            p.extend(((header + l4.len()) as u16).to_be_bytes());
            p.extend([0, 7, if self.df { 0x40 } else { 0 }, 0, self.ttl, protocol, 0, 0]);
            p.extend(octets(self.src));
            p.extend(octets(self.dst));
            p.extend(&self.options);
            let sum = fold(ones_sum(0, &p)).to_be_bytes();
            p[10..12].copy_from_slice(&sum);
        } else {
            p.extend([0x60 | self.tos >> 4, self.tos << 4, 0, 0]);
            p.extend((l4.len() as u16).to_be_bytes());
            p.extend([protocol, self.ttl]);
            p.extend(octets(self.src));
            p.extend(octets(self.dst));
        }
        p.extend(l4);
        p
    }
}

impl Ip {
    /// IPv4 fragments of `n` bytes, a multiple of eight.
    pub fn fragments(&self, protocol: u8, l4: &[u8], n: usize) -> Vec<Vec<u8>> {
        let whole = Ip { df: false, ..self.clone() };
        let part = |(i, bytes): (usize, &[u8])| {
            let mut p = whole.packet(protocol, bytes);
            let more = u16::from((i + 1) * n < l4.len()) << 13;
            p[6..8].copy_from_slice(&(more | (i * n / 8) as u16).to_be_bytes());
            p[10..12].fill(0);
            let sum = fold(ones_sum(0, &p[..20 + self.options.len()])).to_be_bytes();
            p[10..12].copy_from_slice(&sum);
            p
        };
        l4.chunks(n).enumerate().map(part).collect()
    }
}

impl Tcp {
    /// Header, options (padded by end-of-list), data. `header_len` lies about the data offset, for tests of that.
    pub fn l4(&self, header_len: Option<u8>) -> Vec<u8> {
        let padded = self.options.len().next_multiple_of(4);
        let len = header_len.unwrap_or(20 + padded as u8);
        let mut b = Vec::new();
        b.extend(self.src_port.to_be_bytes());
        b.extend(self.dst_port.to_be_bytes());
        b.extend(self.seq.to_be_bytes());
        b.extend(self.ack.to_be_bytes());
        b.extend((u16::from(len / 4) << 12 | self.flags).to_be_bytes());
        b.extend(self.wnd.to_be_bytes());
        b.extend([0, 0]);
        b.extend(self.urg.to_be_bytes());
        b.extend(&self.options);
        b.resize(20 + padded, 0);
        b.extend(&self.data);
        let sum = l4_sum(self.ip.src, self.ip.dst, TCP, &b).to_be_bytes();
        b[16..18].copy_from_slice(&sum);
        b
    }
}

fn u16_at(b: &[u8], i: usize) -> u16 {
    u16::from_be_bytes([b[i], b[i + 1]])
}

fn u32_at(b: &[u8], i: usize) -> u32 {
    u32::from_be_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]])
}

/// Reads a packet of the stack and complains of whatever a strict receiver would.
pub fn decode(b: &[u8]) -> Result<Packet, String> {
    let (ip, protocol, l4) = decode_ip(b)?;
    if matches!(protocol, TCP | ICMP | ICMPV6) && l4_sum(ip.src, ip.dst, protocol, l4) != 0 {
        return Err("its checksum is wrong".into());
    }
    match protocol {
        TCP => decode_tcp(ip, l4).map(Packet::Tcp),
        ICMP | ICMPV6 if l4.len() >= 8 => Ok(Packet::Icmp(ip, l4[0], l4[1], l4[4..].to_vec())),
        _ => Ok(Packet::Other(ip, protocol)),
    }
}

fn decode_ip(b: &[u8]) -> Result<(Ip, u8, &[u8]), String> {
    let addr = |i, n| -> IpAddr {
        match n {
            4 => <[u8; 4]>::try_from(&b[i..i + 4]).unwrap().into(),
            _ => <[u8; 16]>::try_from(&b[i..i + 16]).unwrap().into(),
        }
    };
    match b.first().map(|v| v >> 4) {
        Some(4) if b.len() >= 20 => {
            let header = usize::from(b[0] & 15) * 4;
            if header < 20 || usize::from(u16_at(b, 2)) != b.len() || fold(ones_sum(0, &b[..header])) != 0 {
                return Err("its IPv4 header is wrong".into());
            }
            let ip = Ip {
                src: addr(12, 4),
                dst: addr(16, 4),
                ttl: b[8],
                tos: b[1],
                df: b[6] & 0x40 != 0,
                options: b[20..header].to_vec(),
            };
            Ok((ip, b[9], &b[header..]))
        }
        Some(6) if b.len() >= 40 => {
            if usize::from(u16_at(b, 4)) != b.len() - 40 {
                return Err("its IPv6 payload length is wrong".into());
            }
            let tos = b[0] << 4 | b[1] >> 4;
            let ip =
                Ip { src: addr(8, 16), dst: addr(24, 16), ttl: b[7], tos, df: true, options: Vec::new() };
            Ok((ip, b[6], &b[40..]))
        }
        _ => Err("it is neither IPv4 nor IPv6".into()),
    }
}

fn decode_tcp(ip: Ip, b: &[u8]) -> Result<Tcp, String> {
    let header = b.get(12).map_or(0, |o| usize::from(o >> 4) * 4);
    if header < 20 || header > b.len() {
        return Err("its TCP data offset is wrong".into());
    }
    if b[12] & 0x0e != 0 {
        return Err("reserved bits are set in its TCP header".into());
    }
    Ok(Tcp {
        ip,
        src_port: u16_at(b, 0),
        dst_port: u16_at(b, 2),
        seq: u32_at(b, 4),
        ack: u32_at(b, 8),
        flags: u16_at(b, 12) & 0x1ff,
        wnd: u16_at(b, 14),
        urg: u16_at(b, 18),
        options: b[20..header].to_vec(),
        data: b[header..].to_vec(),
    })
}

/// The options of a segment of the stack: (kind, value), padding left out. Strict: what the stack sends is well formed.
pub fn options(mut o: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, String> {
    let mut found = Vec::new();
    while let [kind, rest @ ..] = o {
        match (kind, rest) {
            (0, rest) if rest.iter().all(|b| *b == 0) => break,
            (0, _) => return Err("bytes that are not zero follow its end of options (MUST-69)".into()),
            (1, rest) => o = rest,
            (_, [len, ..]) if usize::from(*len) >= 2 && usize::from(*len) <= o.len() => {
                found.push((*kind, o[2..usize::from(*len)].to_vec()));
                o = &o[usize::from(*len)..];
            }
            _ => return Err("an option of it has an illegal length".into()),
        }
    }
    Ok(found)
}

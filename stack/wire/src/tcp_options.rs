//! TCP options, RFC 9293 3.2, 7323 and 2018: read leniently, written in the layout Linux uses (a peer's fast
//! path, and a middlebox's rules, know that one best).

/// Most bytes of options a header can carry.
pub const MAX_OPTIONS_LEN: usize = 40;
/// Largest shift a window-scale option may ask for; larger ones count as this (RFC 7323 2.3).
pub const MAX_WSCALE: u8 = 14;

const EOL: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WSCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const USER_TIMEOUT: u8 = 28;
const FAST_OPEN: u8 = 34;

/// Up to four SACK blocks: left edge, and right edge (the sequence number behind the block). D-SACK first.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SackBlocks {
    blocks: [(u32, u32); 4],
    len: u8,
}

impl SackBlocks {
    /// No blocks.
    pub const EMPTY: Self = Self { blocks: [(0, 0); 4], len: 0 };

    /// Adds a block behind the others; false where four are there already.
    #[inline]
    pub fn push(&mut self, left: u32, right: u32) -> bool {
        match self.blocks.get_mut(usize::from(self.len)) {
            Some(slot) => {
                *slot = (left, right);
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// The blocks in the order of the option.
    #[inline]
    pub fn as_slice(&self) -> &[(u32, u32)] {
        &self.blocks[..usize::from(self.len).min(4)]
    }

    /// Number of blocks, 0-4.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The options of one segment that the stack knows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpOptions {
    /// Maximum segment size, bytes; only on SYN (RFC 9293 MUST-65).
    pub mss: Option<u16>,
    /// Window shift, 0-14; only on SYN.
    pub wscale: Option<u8>,
    /// The sender takes SACK; only on SYN.
    pub sack_permitted: bool,
    /// TSval and TSecr, in the sender's and our own ticks.
    pub timestamps: Option<(u32, u32)>,
    /// SACK blocks.
    pub sack: SackBlocks,
    /// User timeout (RFC 5482 section 4): granularity bit and 15 bits; 0 (which is to be ignored): none.
    pub user_timeout: u16,
    /// Fast Open (RFC 7413 section 4.1.1); only on SYN.
    pub fast_open: FastOpen,
}

/// The Fast Open option: none, a request for a cookie, or a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FastOpen {
    cookie: [u8; 16],
    /// Bytes of the cookie, and [`Self::PRESENT`] if there is an option at all.
    len: u8,
}

impl FastOpen {
    const PRESENT: u8 = 0x80;
    /// No option.
    pub const NONE: Self = Self { cookie: [0; 16], len: 0 };
    /// The option without a cookie: a request for one.
    pub const REQUEST: Self = Self { cookie: [0; 16], len: Self::PRESENT };

    /// A cookie: 4 to 16 bytes, an even number of them. `None`: it is not.
    pub fn new(cookie: &[u8]) -> Option<Self> {
        if !(4..=16).contains(&cookie.len()) || !cookie.len().is_multiple_of(2) {
            return None;
        }
        let mut bytes = [0; 16];
        bytes[..cookie.len()].copy_from_slice(cookie);
        Some(Self { cookie: bytes, len: Self::PRESENT | cookie.len() as u8 })
    }

    /// Is there no option?
    #[inline]
    pub const fn is_none(&self) -> bool {
        self.len == 0
    }

    /// An option without a cookie?
    pub const fn is_request(&self) -> bool {
        self.len == Self::PRESENT
    }

    /// The cookie, empty if there is none.
    pub fn cookie(&self) -> &[u8] {
        &self.cookie[..usize::from(self.len & !Self::PRESENT).min(16)]
    }

    fn encoded_len(&self) -> usize {
        if self.is_none() { 0 } else { (2 + self.cookie().len()).next_multiple_of(4) }
    }
}

impl TcpOptions {
    /// No options.
    pub const EMPTY: Self = Self {
        mss: None,
        wscale: None,
        sack_permitted: false,
        timestamps: None,
        sack: SackBlocks::EMPTY,
        user_timeout: 0,
        fast_open: FastOpen::NONE,
    };

    /// Bytes [`emit_options`] writes given 40 of room: a multiple of 4.
    #[inline]
    pub fn encoded_len(&self) -> usize {
        let mut len = 0;
        len += if self.mss.is_some() { 4 } else { 0 };
        len += match (self.timestamps.is_some(), self.sack_permitted) {
            (true, _) => 12,
            (false, true) => 4,
            (false, false) => 0,
        };
        len += if self.wscale.is_some() { 4 } else { 0 };
        len += if self.user_timeout != 0 { 4 } else { 0 };
        let fast_open = self.fast_open.encoded_len();
        len += if len + fast_open <= MAX_OPTIONS_LEN { fast_open } else { 0 };
        len + sack_len(self.sack.len(), MAX_OPTIONS_LEN - len)
    }
}

// RFC 2018 3: as many whole blocks as fit.
#[inline]
fn sack_len(blocks: usize, room: usize) -> usize {
    match blocks.min(room.saturating_sub(4) / 8) {
        0 => 0,
        n => 4 + 8 * n,
    }
}

/// Reads the option bytes of a header (`l4[20..data_off_bytes]`). Never fails: unknown options are skipped by
/// their length (RFC 9293 MUST-6), an illegal length ends the walk with what was found (MUST-7), a known
/// option with a length that is not its own is skipped like an unknown one.
#[inline]
pub fn parse_options(options: &[u8]) -> TcpOptions {
    // RFC 7323 appendix A: the layout nearly every segment of an established connection has.
    if let &[NOP, NOP, TIMESTAMPS, 10, a, b, c, d, e, f, g, h] = options {
        let timestamps = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
        return TcpOptions { timestamps, ..TcpOptions::EMPTY };
    }
    if options.is_empty() { TcpOptions::EMPTY } else { parse_any(options) }
}

//= RFC 9293 section 3.2, MUST-4, MUST-5
fn parse_any(options: &[u8]) -> TcpOptions {
    let mut found = TcpOptions::EMPTY;
    for (kind, value) in raw_options(options) {
        match (kind, value) {
            (MSS, &[a, b]) => found.mss = Some(u16::from_be_bytes([a, b])),
            (WSCALE, &[shift]) => found.wscale = Some(shift.min(MAX_WSCALE)),
            (SACK_PERMITTED, &[]) => found.sack_permitted = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                found.timestamps = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
            }
            (USER_TIMEOUT, &[a, b]) => found.user_timeout = u16::from_be_bytes([a, b]),
            (FAST_OPEN, &[]) => found.fast_open = FastOpen::REQUEST,
            // A cookie of a length that can't be is no option at all (RFC 7413 section 4.1.1).
            (FAST_OPEN, cookie) => found.fast_open = FastOpen::new(cookie).unwrap_or_default(),
            (SACK, edges) if edges.len() % 8 == 0 => {
                for &[a, b, c, d, e, f, g, h] in edges.as_chunks::<8>().0 {
                    found.sack.push(u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
                }
            }
            _ => {}
        }
    }
    found
}

/// All options with a length as (kind, value), for those that [`TcpOptions`] does not hold. Ends at end-of-list or at the first illegal length.
//= RFC 9293 section 3.2, MUST-6, MUST-7, MUST-68
//= RFC 9293 section 3.1, MUST-64
pub fn raw_options(options: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = options;
    core::iter::from_fn(move || {
        while let [NOP, after @ ..] = rest {
            rest = after;
        }
        let &[kind, len, ref after @ ..] = rest else { return None };
        let (value, after) = after.split_at_checked(usize::from(len).checked_sub(2)?)?;
        if kind == EOL {
            return None;
        }
        rest = after;
        Some((kind, value))
    })
}

/// Writes the options at the start of `out` and returns their length, a multiple of 4, at most 40. Order as
/// Linux: `mss, sackOK, TS, nop, wscale`; without timestamps `mss, nop, nop, sackOK, nop, wscale`; on data
/// `nop, nop, TS, nop, nop, sack`. What does not fit is left off, SACK blocks first.
///
/// Every group is padded in front with NOPs, so that nothing is left to pad behind (MUST-69).
#[inline]
//= RFC 9293 section 3.1, MUST-69
pub fn emit_options(options: &TcpOptions, out: &mut [u8]) -> usize {
    if let Some(to) = out.first_chunk_mut::<12>()
        && let TcpOptions {
            mss: None,
            wscale: None,
            sack_permitted: false,
            timestamps: Some(ts),
            sack,
            user_timeout: 0,
            fast_open,
        } = options
        && sack.is_empty()
        && fast_open.is_none()
    {
        *to = timestamps_group(NOP, NOP, *ts);
        return 12;
    }
    emit_any(options, out)
}

#[inline]
pub(crate) fn timestamps_group(first: u8, second: u8, (tsval, tsecr): (u32, u32)) -> [u8; 12] {
    let mut group = [first, second, TIMESTAMPS, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    group[4..8].copy_from_slice(&tsval.to_be_bytes());
    group[8..].copy_from_slice(&tsecr.to_be_bytes());
    group
}

fn emit_any(options: &TcpOptions, out: &mut [u8]) -> usize {
    let room = out.len().min(MAX_OPTIONS_LEN);
    let mut at = 0;
    let mut put = |group: &[u8]| {
        if let Some(to) = out[..room].get_mut(at..at + group.len()) {
            to.copy_from_slice(group);
            at += group.len();
        }
        at
    };
    let mut written = 0;
    if let Some(mss) = options.mss {
        let [a, b] = mss.to_be_bytes();
        written = put(&[MSS, 4, a, b]);
    }
    match (options.timestamps, options.sack_permitted) {
        (Some(ts), true) => written = put(&timestamps_group(SACK_PERMITTED, 2, ts)),
        (Some(ts), false) => written = put(&timestamps_group(NOP, NOP, ts)),
        (None, true) => written = put(&[NOP, NOP, SACK_PERMITTED, 2]),
        (None, false) => {}
    }
    if let Some(shift) = options.wscale {
        written = put(&[NOP, WSCALE, 3, shift.min(MAX_WSCALE)]);
    }
    if options.user_timeout != 0 {
        let [a, b] = options.user_timeout.to_be_bytes();
        written = put(&[USER_TIMEOUT, 4, a, b]);
    }
    if !options.fast_open.is_none() {
        let cookie = options.fast_open.cookie();
        let mut group = [NOP; 20];
        let len = options.fast_open.encoded_len();
        let at = len - 2 - cookie.len();
        (group[at], group[at + 1]) = (FAST_OPEN, 2 + cookie.len() as u8);
        group[at + 2..len].copy_from_slice(cookie);
        written = put(&group[..len]);
    }
    let sack_len = sack_len(options.sack.len(), room - written);
    if sack_len > 0 {
        written = put(&[NOP, NOP, SACK, (sack_len - 2) as u8]);
        for (left, right) in options.sack.as_slice().iter().take((sack_len - 4) / 8) {
            put(&left.to_be_bytes());
            written = put(&right.to_be_bytes());
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use pnet_packet::Packet;
    use pnet_packet::tcp::{TcpOptionNumbers, TcpPacket};
    use std::vec::Vec;

    fn bytes(options: &TcpOptions) -> Vec<u8> {
        let mut out = [0xee; 40];
        let len = emit_options(options, &mut out);
        assert_eq!(len, options.encoded_len());
        assert!(len.is_multiple_of(4) && out[len..].iter().all(|b| *b == 0xee));
        out[..len].to_vec()
    }

    const SYN: TcpOptions = TcpOptions {
        mss: Some(1460),
        wscale: Some(7),
        sack_permitted: true,
        timestamps: Some((0x0102_0304, 0)),
        ..TcpOptions::EMPTY
    };

    #[test]
    fn linux_layouts() {
        let ts = [8, 10, 1, 2, 3, 4, 0, 0, 0, 0];
        assert_eq!(bytes(&SYN), [&[2, 4, 5, 0xb4, 4, 2][..], &ts, &[1, 3, 3, 7]].concat());
        let no_ts = TcpOptions { timestamps: None, ..SYN };
        assert_eq!(bytes(&no_ts), [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7]);
        assert_eq!(bytes(&TcpOptions { sack_permitted: false, ..no_ts }), [2, 4, 5, 0xb4, 1, 3, 3, 7]);
        let data = TcpOptions { timestamps: SYN.timestamps, ..TcpOptions::EMPTY };
        assert_eq!(bytes(&data), [&[1, 1][..], &ts].concat());
        let mut sack = data;
        assert!(sack.sack.push(10, 20) && sack.sack.push(30, 40));
        assert_eq!(bytes(&sack)[12..], [1, 1, 5, 18, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40]);
        assert_eq!(bytes(&TcpOptions::EMPTY), []);
    }

    #[test]
    fn blocks_that_do_not_fit_are_left_off() {
        let mut o = TcpOptions { timestamps: Some((1, 2)), ..TcpOptions::EMPTY };
        for i in 0..4 {
            assert!(o.sack.push(i, i + 1));
        }
        assert!(!o.sack.push(9, 9));
        assert_eq!((bytes(&o).len(), parse_options(&bytes(&o)).sack.len()), (40, 3));
        o.timestamps = None;
        assert_eq!((bytes(&o).len(), parse_options(&bytes(&o)).sack.len()), (36, 4));
        for room in 0..40 {
            let mut out = [0; 40];
            let len = emit_options(&SYN, &mut out[..room]);
            assert!(len <= room && len.is_multiple_of(4));
        }
    }

    #[test]
    fn round_trip_and_pnet_agrees() {
        let b = bytes(&SYN);
        assert_eq!(parse_options(&b), SYN);
        let mut segment = std::vec![0; 20];
        segment[12] = (((20 + b.len()) / 4) << 4) as u8;
        segment.extend(&b);
        let p = TcpPacket::new(&segment).unwrap();
        let kinds: Vec<_> = p.get_options_iter().map(|o| (o.get_number(), o.payload().to_vec())).collect();
        assert_eq!(kinds[0], (TcpOptionNumbers::MSS, std::vec![5, 0xb4]));
        assert_eq!(kinds[1].0, TcpOptionNumbers::SACK_PERMITTED);
        assert_eq!(kinds[2], (TcpOptionNumbers::TIMESTAMPS, std::vec![1, 2, 3, 4, 0, 0, 0, 0]));
        assert_eq!(kinds[4], (TcpOptionNumbers::WSCALE, std::vec![7]));
    }

    #[test]
    fn user_timeout_and_fast_open() {
        let uto = TcpOptions { user_timeout: 0x8005, ..TcpOptions::EMPTY };
        assert_eq!(bytes(&uto), [28, 4, 0x80, 5]);
        assert_eq!(parse_options(&bytes(&uto)), uto);
        for len in [0, 4, 6, 8, 10, 16] {
            let cookie: Vec<u8> = (1..=len).collect();
            let fast_open = if len == 0 { FastOpen::REQUEST } else { FastOpen::new(&cookie).unwrap() };
            for timestamps in [None, Some((1, 2))] {
                let o = TcpOptions { fast_open, timestamps, ..SYN };
                let fits = TcpOptions { fast_open, ..o }.encoded_len() <= 40 && len <= 16;
                let back = parse_options(&bytes(&o));
                assert!(fits && back == o, "{len} bytes: {back:?}");
            }
        }
        // Too short, odd, too long: none of them is a cookie.
        for bad in [
            &[34, 4, 1, 2][..],
            &[34, 7, 1, 2, 3, 4, 5],
            &[34, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18],
        ] {
            assert!(parse_options(bad).fast_open.is_none());
        }
        assert!(parse_options(&[34, 2]).fast_open.is_request());
    }

    #[test]
    fn must_4_to_7() {
        // Unknown skipped by length, any alignment, after it a known one.
        assert_eq!(parse_options(&[253, 5, 1, 2, 3, 2, 4, 1, 0]).mss, Some(256));
        // Illegal lengths end the walk and keep what was found.
        for bad in [&[8u8, 0][..], &[8, 1], &[8, 10, 1], &[8]] {
            let all = [&[2, 4, 1, 0][..], bad].concat();
            assert_eq!(parse_options(&all), TcpOptions { mss: Some(256), ..TcpOptions::EMPTY });
        }
        // A known kind with another length is skipped.
        assert_eq!(parse_options(&[2, 3, 9, 3, 3, 20]), TcpOptions { wscale: Some(14), ..TcpOptions::EMPTY });
        // Nothing behind end-of-list.
        assert_eq!(parse_options(&[0, 2, 4, 1, 0]), TcpOptions::EMPTY);
        assert_eq!(parse_options(&[5, 9, 1, 2, 3, 4, 5, 6, 7]).sack, SackBlocks::EMPTY);
        let tfo: Vec<_> = raw_options(&[34, 6, 1, 2, 3, 4, 1, 1]).collect();
        assert_eq!(tfo, [(34, &[1, 2, 3, 4][..])]);
    }
}

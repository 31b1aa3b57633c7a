//! What the receiver reports in SACK blocks: RFC 2018 section 4, RFC 2883.

use linerate_wire::tcp_options::SackBlocks;

use crate::limits::SACK_RANGES;
use crate::seq::SeqNum;

/// Ranges held beyond RCV.NXT, the most recently changed first.
#[derive(Clone, Debug, Default)]
pub(crate) struct SackRanges {
    ranges: [(SeqNum, SeqNum); SACK_RANGES],
    len: u8,
    /// A duplicate to report once, in front (RFC 2883 section 4).
    dsack: Option<(SeqNum, SeqNum)>,
}

impl SackRanges {
    /// A segment arrived and is now part of `[start, end)`.
    pub fn add(&mut self, start: SeqNum, end: SeqNum) {
        // Ranges that grew together with this one are part of it now.
        self.retain(|r| r.1.before(start) || r.0.after(end));
        let n = (self.len as usize).min(SACK_RANGES - 1);
        self.ranges.copy_within(0..n, 1);
        self.ranges[0] = (start, end);
        self.len = n as u8 + 1;
    }

    /// RCV.NXT moved: ranges below it are acknowledged.
    pub fn advance(&mut self, rcv_nxt: SeqNum) {
        if self.len > 0 {
            self.retain(|r| r.1.after(rcv_nxt));
        }
    }

    /// `[start, end)` came twice.
    pub fn duplicate(&mut self, start: SeqNum, end: SeqNum) {
        self.dsack = Some((start, end));
        // Section 4: the range that holds it is reported right behind it.
        let ranges = &mut self.ranges[..self.len as usize];
        if let Some(i) = ranges.iter().position(|r| r.0.at_or_before(start) && end.at_or_before(r.1)) {
            ranges[..=i].rotate_right(1);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.dsack.is_none()
    }

    /// Up to `max` blocks for the segment that leaves now; a D-SACK is reported once.
    //= RFC 2018 section 4
    //= RFC 2883 section 4
    pub fn take_blocks(&mut self, max: usize) -> SackBlocks {
        let mut blocks = SackBlocks::default();
        if max == 0 {
            return blocks;
        }
        if let Some((a, b)) = self.dsack.take() {
            blocks.push(a.0, b.0);
        }
        for r in &self.ranges[..self.len as usize] {
            if blocks.len() >= max {
                break;
            }
            blocks.push(r.0.0, r.1.0);
        }
        blocks
    }

    fn retain(&mut self, keep: impl Fn(&(SeqNum, SeqNum)) -> bool) {
        let mut n = 0;
        for i in 0..self.len as usize {
            if keep(&self.ranges[i]) {
                self.ranges[n] = self.ranges[i];
                n += 1;
            }
        }
        self.len = n as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn list(s: &mut SackRanges, max: usize) -> Vec<(u32, u32)> {
        s.take_blocks(max).as_slice().to_vec()
    }

    /// The example of RFC 2018 section 4, case 2 and 3: newest first, merged ranges once.
    #[test]
    fn newest_first_and_merged() {
        let mut s = SackRanges::default();
        s.add(SeqNum(5500), SeqNum(6000));
        s.add(SeqNum(6500), SeqNum(7000));
        s.add(SeqNum(7500), SeqNum(8000));
        assert_eq!(list(&mut s, 3), [(7500, 8000), (6500, 7000), (5500, 6000)]);
        s.add(SeqNum(5500), SeqNum(7000));
        assert_eq!(list(&mut s, 3), [(5500, 7000), (7500, 8000)]);
        s.advance(SeqNum(7000));
        assert_eq!(list(&mut s, 3), [(7500, 8000)]);
    }

    #[test]
    fn dsack_comes_first_and_once() {
        let mut s = SackRanges::default();
        s.add(SeqNum(100), SeqNum(200));
        s.duplicate(SeqNum(10), SeqNum(20));
        assert_eq!(list(&mut s, 3), [(10, 20), (100, 200)]);
        assert_eq!(list(&mut s, 3), [(100, 200)]);
    }

    /// RFC 2883 section 4.2.2: the block behind the D-SACK is the range that holds the duplicate.
    #[test]
    fn the_range_of_a_duplicate_follows_it() {
        let mut s = SackRanges::default();
        for start in [100, 300, 500] {
            s.add(SeqNum(start), SeqNum(start + 100));
        }
        s.duplicate(SeqNum(110), SeqNum(120));
        assert_eq!(list(&mut s, 4), [(110, 120), (100, 200), (500, 600), (300, 400)]);
        s.duplicate(SeqNum(10), SeqNum(20));
        assert_eq!(list(&mut s, 4), [(10, 20), (100, 200), (500, 600), (300, 400)]);
    }

    #[test]
    fn never_more_than_fit() {
        let mut s = SackRanges::default();
        for i in 0..10 {
            s.add(SeqNum(i * 100), SeqNum(i * 100 + 50));
        }
        assert_eq!(list(&mut s, 4).len(), 4);
        assert_eq!(list(&mut s, 3)[0], (900, 950));
        assert!(list(&mut s, 0).is_empty());
    }
}

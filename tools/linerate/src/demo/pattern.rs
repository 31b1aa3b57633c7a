//! The bytes that sink and source exchange: cheap to make, addressed by stream position.
//!
//! Byte `i` of a stream is `block[i % 65521]`. 65521 is prime, so the period never lines up with a segment,
//! a frame or a buffer: a lost, doubled or swapped piece of any usual size shows as a mismatch. Checking is a
//! memcmp with the block, about the price of reading the payload once.

use std::sync::OnceLock;

/// Period of the pattern, bytes (the largest prime below 64 Ki).
pub const PERIOD: usize = 65_521;
/// The longest piece [`slice_at`] gives, bytes: what one `send` of the kernel server moves.
pub const MAX_SLICE: usize = 256 * 1024;

const SEED: u64 = 0x6c69_6e65_7261_7465; // "linerate"

/// The block, repeated until a piece of `MAX_SLICE` fits at any phase, so no copy ever has a seam.
fn unrolled() -> &'static [u8] {
    static UNROLLED: OnceLock<Vec<u8>> = OnceLock::new();
    UNROLLED.get_or_init(|| {
        let mut block = Vec::with_capacity(PERIOD + 8);
        let mut state = SEED;
        while block.len() < PERIOD {
            block.extend_from_slice(&splitmix64(&mut state).to_le_bytes());
        }
        block.truncate(PERIOD);
        let mut unrolled = block.repeat((PERIOD + MAX_SLICE).div_ceil(PERIOD));
        unrolled.truncate(PERIOD + MAX_SLICE);
        unrolled
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014): one add and three mixes for eight bytes.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The pattern from stream position `offset` on, `min(len, MAX_SLICE)` bytes.
pub fn slice_at(offset: u64, len: usize) -> &'static [u8] {
    let phase = (offset % PERIOD as u64) as usize;
    &unrolled()[phase..phase + len.min(MAX_SLICE)]
}

/// How many bytes of `bytes`, which stand at stream position `offset`, are not the pattern's.
pub fn mismatches(offset: u64, bytes: &[u8]) -> u64 {
    let mut at = offset;
    let mut wrong = 0;
    for piece in bytes.chunks(MAX_SLICE) {
        let expected = slice_at(at, piece.len());
        // Equality first: a memcmp; counting byte by byte is for the failure that never happens.
        if piece != expected {
            wrong += piece.iter().zip(expected).filter(|(a, b)| a != b).count() as u64;
        }
        at += piece.len() as u64;
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_depends_on_its_position_only() {
        let whole: Vec<u8> = (0..4 * PERIOD as u64).step_by(1000).map(|i| slice_at(i, 1)[0]).collect();
        for (n, &byte) in whole.iter().enumerate() {
            let at = n as u64 * 1000;
            assert_eq!(slice_at(at.saturating_sub(777), 778)[at.min(777) as usize], byte);
            assert_eq!(slice_at(at + PERIOD as u64, 1)[0], byte);
        }
    }

    #[test]
    fn it_does_not_repeat_within_a_period() {
        let head = slice_at(0, 64);
        assert!((1..PERIOD as u64).all(|i| slice_at(i, 64) != head));
        // No byte value is missing or dominates.
        let mut histogram = [0u32; 256];
        slice_at(0, PERIOD).iter().for_each(|&b| histogram[b as usize] += 1);
        assert!(histogram.iter().all(|&n| (128..512).contains(&n)));
    }

    #[test]
    fn right_bytes_match_at_any_offset_and_length() {
        for offset in [0, 1, 65_520, 65_521, 1 << 40, u64::MAX / 2] {
            for len in [0, 1, 1448, PERIOD, MAX_SLICE, MAX_SLICE + 5000] {
                let mut bytes = slice_at(offset, len).to_vec();
                let rest = len - bytes.len();
                bytes.extend_from_slice(slice_at(offset + bytes.len() as u64, rest));
                assert_eq!(mismatches(offset, &bytes), 0, "offset {offset} len {len}");
            }
        }
    }

    #[test]
    fn flipped_lost_and_swapped_bytes_are_found() {
        let mut bytes = slice_at(100, 100_000).to_vec();
        bytes[70_000] ^= 1;
        assert_eq!(mismatches(100, &bytes), 1);
        bytes[70_000] ^= 1;
        let mut lost = bytes.clone();
        lost.drain(1448..2896);
        assert!(mismatches(100, &lost) > 90_000);
        bytes.swap(5, 1453);
        assert!(mismatches(100, &bytes) <= 2);
        let (a, b) = bytes.split_at_mut(20_000);
        a[10_000..11_448].swap_with_slice(&mut b[..1448]);
        assert!(mismatches(100, &bytes) > 2000);
    }
}

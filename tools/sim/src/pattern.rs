//! The bytes of a stream: known by their place, so that a byte lost, doubled or moved shows.

use linerate_port::sim::SplitMix64;

/// Bytes after which a stream repeats itself: a prime, so that no power of two and no segment size divides it.
pub const PERIOD: usize = 65_521;
/// Bytes of a slice at most.
pub const SLICE_BYTES: usize = 1 << 16;

/// The table that all streams are cut from.
pub struct Pattern(Vec<u8>);

impl Default for Pattern {
    fn default() -> Self {
        let mut rng = SplitMix64::new(0x1ea7);
        let period: Vec<u8> = (0..PERIOD).map(|_| rng.next_u64() as u8).collect();
        let mut table = period.clone();
        while table.len() < PERIOD + SLICE_BYTES {
            table.extend_from_slice(&period);
        }
        Self(table)
    }
}

impl Pattern {
    /// `len` bytes from place `at` of stream number `stream`. `len` <= [`SLICE_BYTES`].
    pub fn slice(&self, stream: usize, at: u64, len: usize) -> &[u8] {
        let from = ((at + stream as u64 * 10_007) % PERIOD as u64) as usize;
        &self.0[from..from + len]
    }

    /// The first place where `got`, read at place `at`, differs from the stream.
    pub fn mismatch(&self, stream: usize, at: u64, got: &[u8]) -> Option<u64> {
        let mut done = 0;
        for chunk in got.chunks(SLICE_BYTES) {
            let want = self.slice(stream, at + done, chunk.len());
            if chunk != want {
                let i = chunk.iter().zip(want).position(|(a, b)| a != b).unwrap_or(0);
                return Some(at + done + i as u64);
            }
            done += chunk.len() as u64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_wrong_byte() {
        let p = Pattern::default();
        let mut got: Vec<u8> =
            (0..200_000).step_by(1000).flat_map(|at| p.slice(3, at, 1000).to_vec()).collect();
        assert_eq!(p.mismatch(3, 0, &got), None);
        got[123_456] ^= 1;
        assert_eq!(p.mismatch(3, 0, &got), Some(123_456));
        assert_eq!(p.mismatch(3, 1, &got[..100]), Some(1), "shifted by one");
        assert!(p.mismatch(4, 0, &got[..100]).is_some(), "another stream");
    }
}

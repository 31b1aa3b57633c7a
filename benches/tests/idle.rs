//! An idle established connection takes at most 512 bytes, all told. A test of its own: its allocator counts.

use linerate_benches::{idle, sys};

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

/// 14,000: just under what the flow table's 16,384 places take, and 14,337 would double it: both are weighed.
#[test]
fn an_idle_connection_is_512_bytes_at_most() {
    for conns in [14_000, 14_400] {
        let w = idle::weigh(conns);
        assert!(w.opened <= 512.0 && w.used <= 512.0, "{conns} connections: {w:?}");
    }
}

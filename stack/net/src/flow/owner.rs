//! Which core owns a flow: one indirection table (hash bucket -> core), the same for every core.

use alloc::boxed::Box;

use linerate_wire::FlowKey;
use linerate_wire::rss::Toeplitz;

/// Buckets of the indirection table: the common size of NICs' RSS tables (82599, E810, mlx5 at its default).
pub const BUCKETS: usize = 128;

/// The indirection table as one core sees it.
#[derive(Clone)]
pub struct Owners {
    toeplitz: Box<Toeplitz>,
    table: [u8; BUCKETS],
    me: u8,
}

impl Owners {
    /// Buckets dealt to `cores` in turn, seen from core `me`. The hash is symmetric: both directions of a flow
    /// fall into one bucket.
    ///
    /// # Panics
    /// If there is no such core.
    pub fn equal(cores: u8, me: u8) -> Self {
        assert!(me < cores, "core {me} of {cores}");
        let table = core::array::from_fn(|i| (i % cores as usize) as u8);
        Self { toeplitz: Box::new(Toeplitz::symmetric()), table, me }
    }

    /// The core that owns this flow, if it is another one.
    pub fn other(&self, key: &FlowKey) -> Option<u8> {
        let owner = self.table[self.toeplitz.hash(key) as usize % BUCKETS];
        (owner != self.me).then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn both_directions_have_one_owner_and_loads_are_even() {
        let (a, b) = (Owners::equal(2, 0), Owners::equal(2, 1));
        let mut mine = 0;
        for port in 1000..3000 {
            let key = FlowKey {
                local: Ipv4Addr::new(10, 0, 0, 1).into(),
                remote: Ipv4Addr::new(10, 0, 0, 2).into(),
                local_port: 80,
                remote_port: port,
            };
            assert_eq!(a.other(&key), a.other(&key.reversed()));
            assert_ne!(a.other(&key).is_some(), b.other(&key).is_some(), "exactly one owner");
            mine += a.other(&key).is_none() as u32;
        }
        assert!((900..1100).contains(&mine), "{mine} of 2000");
    }
}

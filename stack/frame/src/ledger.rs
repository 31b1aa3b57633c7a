//! Where every frame is. The counts add up, always.

/// Frames of a region by place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// All there are.
    pub frames: u32,
    /// In the pools.
    pub free: u32,
    /// With the kernel or a peer, to be filled.
    pub fill: u32,
    /// Transmitted or queued for it, kept by nobody.
    pub tx: u32,
    /// Held by a token: stack, application, a burst, a handoff ring.
    pub held: u32,
}

impl Ledger {
    /// Does every frame have a place, given what the holders themselves count as held?
    pub fn accounts_for(&self, held_by_count: u32) -> bool {
        self.accounted(held_by_count) == self.frames
    }

    /// Frames accounted for when the holders count `held_by_count` of them.
    pub fn accounted(&self, held_by_count: u32) -> u32 {
        self.free + self.fill + self.tx + held_by_count
    }

    /// Is every frame in a pool?
    pub fn is_home(&self) -> bool {
        self.free == self.frames
    }
}

#[cfg(test)]
mod tests {
    use crate::{Pool, Region};

    #[test]
    fn a_dropped_token_shows() {
        let mut p = Pool::new(Region::heap(3, 512));
        let f = p.alloc().unwrap();
        drop(f);
        let l = p.ledger();
        assert!(!l.accounts_for(0), "the state byte says held, nobody counts it");
        assert_eq!(l.accounted(0), 2);
        assert!(l.accounts_for(1));
    }
}

//! The flow table: from the hash of a 4-tuple to a connection's slot, O(1) at a million flows.
//!
//! The table never sees a key: it stores 4-byte slots, and the caller hashes and compares (the key stands in the
//! connection already, so it isn't stored twice). The hash must be *keyed*: SipHash-1-3 under a secret drawn for
//! each stack. Peers choose addresses and ports, so with a public hash they could choose thousands of tuples that
//! land in one chain and make each lookup linear; without the secret they can't tell which tuples collide.

use hashbrown::HashTable;

/// Slots of connections by a keyed 64-bit hash.
#[derive(Default)]
pub struct FlowTable(HashTable<u32>);

impl FlowTable {
    /// An empty table; allocates nothing.
    pub const fn new() -> Self {
        Self(HashTable::new())
    }

    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No flows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Flows that fit before the table grows.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Makes room for `additional` more flows now, so that no packet has to wait for the table to grow
    /// (which rehashes every flow: some tens of milliseconds at a million).
    pub fn reserve(&mut self, additional: usize, rehash: impl Fn(u32) -> u64) {
        self.0.reserve(additional, |slot| rehash(*slot));
    }

    /// Adds a flow that is not in the table yet (the caller has looked: this doesn't compare).
    /// `rehash` gives the hash of a slot already in the table; it is called only when the table grows.
    pub fn insert(&mut self, hash: u64, slot: u32, rehash: impl Fn(u32) -> u64) {
        self.0.insert_unique(hash, slot, |slot| rehash(*slot));
    }

    /// The slot with this hash for which `eq` holds.
    #[inline]
    pub fn find(&self, hash: u64, eq: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |slot| eq(*slot)).copied()
    }

    /// Takes out the slot with this hash for which `eq` holds.
    pub fn remove(&mut self, hash: u64, eq: impl Fn(u32) -> bool) -> Option<u32> {
        self.0.find_entry(hash, |slot| eq(*slot)).ok().map(|entry| entry.remove().0)
    }

    /// Every slot, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec;

    #[test]
    fn equal_hashes_are_told_apart_by_eq() {
        let mut t = FlowTable::new();
        for slot in 0..8 {
            t.insert(7, slot, |_| 7);
        }
        assert_eq!(t.find(7, |s| s == 5), Some(5));
        assert_eq!(t.remove(7, |s| s == 5), Some(5));
        assert_eq!(t.find(7, |s| s == 5), None);
        assert_eq!(t.remove(7, |s| s == 5), None);
        assert_eq!(t.len(), 7);
    }

    #[test]
    fn agrees_with_a_map() {
        let mut seed = 1u64;
        let mut rng = move || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as u32
        };
        // A connection's key is a number; few hash values, so that chains and growth are both met.
        let hash = |key: u32| u64::from(key % 97).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut keys = vec![0u32; 512];
        let mut free: alloc::vec::Vec<u32> = (0..512).collect();
        let (mut table, mut model) = (FlowTable::new(), BTreeMap::new());
        for _ in 0..5_000 {
            let key = rng() % 600;
            match model.get(&key).copied() {
                Some(slot) if rng() % 3 == 0 => {
                    assert_eq!(table.remove(hash(key), |s| keys[s as usize] == key), Some(slot));
                    model.remove(&key);
                    free.push(slot);
                }
                Some(slot) => assert_eq!(table.find(hash(key), |s| keys[s as usize] == key), Some(slot)),
                None => {
                    assert_eq!(table.find(hash(key), |s| keys[s as usize] == key), None);
                    if let Some(slot) = free.pop() {
                        keys[slot as usize] = key;
                        table.insert(hash(key), slot, |s| hash(keys[s as usize]));
                        model.insert(key, slot);
                    }
                }
            }
            assert_eq!(table.len(), model.len());
        }
        assert_eq!(table.iter().count(), model.len());
    }
}

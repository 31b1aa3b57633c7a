//! Connections by slot, in pages that never move: a table that grows copies nothing and wastes at most a page.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Entries of a page: some 30 KiB of connections at a time.
const PAGE: usize = 64;

/// Places by a dense index, each occupied or not.
pub struct Slab<T> {
    pages: Vec<Box<[Option<T>]>>,
    len: usize,
}

impl<T> Slab<T> {
    /// No places.
    pub const fn new() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    /// Places, occupied or not.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Adds an occupied place; returns its index.
    pub fn push(&mut self, entry: T) -> usize {
        let at = self.len;
        if at.is_multiple_of(PAGE) {
            self.pages.push((0..PAGE).map(|_| None).collect());
        }
        self.len += 1;
        self[at] = Some(entry);
        at
    }

    /// What stands at `i`; `None` if there is no such place or it is free.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&T> {
        self.pages.get(i / PAGE)?[i % PAGE].as_ref()
    }

    /// The same, to change it.
    #[inline]
    pub fn get_mut(&mut self, i: usize) -> Option<&mut T> {
        self.pages.get_mut(i / PAGE)?[i % PAGE].as_mut()
    }

    /// Every place in order, free ones as `None`.
    pub fn iter(&self) -> impl Iterator<Item = Option<&T>> {
        self.pages.iter().flat_map(|p| p.iter()).take(self.len).map(Option::as_ref)
    }
}

impl<T> Index<usize> for Slab<T> {
    type Output = Option<T>;
    #[inline]
    fn index(&self, i: usize) -> &Option<T> {
        &self.pages[i / PAGE][i % PAGE]
    }
}

impl<T> IndexMut<usize> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, i: usize) -> &mut Option<T> {
        &mut self.pages[i / PAGE][i % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_their_index() {
        let mut s = Slab::new();
        for i in 0..200 {
            assert_eq!(s.push(i), i);
        }
        assert_eq!((s.len(), s.get(199), s.get(200), s.get(1000)), (200, Some(&199), None, None));
        assert_eq!(s[130].take(), Some(130));
        assert!(s.get_mut(130).is_none());
        assert_eq!((s.iter().count(), s.iter().flatten().sum::<usize>()), (200, 19_900 - 130));
    }
}

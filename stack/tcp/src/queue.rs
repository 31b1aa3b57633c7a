//! A queue whose oldest entry stands inline: a connection with at most one segment under way in a direction, which is
//! what request and response are, allocates nothing. Deeper queues use a deque of their own, given back by [`Queue::trim`].
//!
//! ```text
//!   first        rest (boxed, if ever needed)
//!  ┌──────┐     ┌──────┬──────┬─ ─
//!  │  0   │     │  1   │  2   │
//!  └──────┘     └──────┴──────┴─ ─       `first` is empty only if `rest` is
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::ops::{Index, IndexMut};

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    first: Option<T>,
    /// Boxed although it is a heap structure: 8 bytes a queue instead of 32, and most have none.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> Queue<T> {
    /// Entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.first.is_some() as usize + self.rest.as_ref().map_or(0, |r| r.len())
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.first.as_mut()
    }

    #[inline]
    pub fn get(&self, i: usize) -> Option<&T> {
        match i {
            0 => self.first.as_ref(),
            i => self.rest.as_ref()?.get(i - 1),
        }
    }

    #[inline]
    pub fn back_mut(&mut self) -> Option<&mut T> {
        match self.rest.as_mut().and_then(|r| r.back_mut()) {
            Some(last) => Some(last),
            None => self.first.as_mut(),
        }
    }

    #[inline]
    pub fn push_back(&mut self, entry: T) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.get_or_insert_default().push_back(entry);
        }
    }

    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        let entry = self.first.take();
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
        }
        entry
    }

    /// Puts an entry before the one at `i` (at the end if there is none).
    ///
    /// # Panics
    /// If `i` is beyond the end.
    pub fn insert(&mut self, i: usize, entry: T) {
        match (i, self.first.take()) {
            (0, None) => self.first = Some(entry),
            (0, Some(old)) => {
                self.first = Some(entry);
                self.rest.get_or_insert_default().push_front(old);
            }
            (i, first) => {
                assert!(first.is_some(), "no entry stands before {i}");
                self.first = first;
                self.rest.get_or_insert_default().insert(i - 1, entry);
            }
        }
    }

    /// Takes the entry at `i` out.
    pub fn remove(&mut self, i: usize) -> Option<T> {
        match i {
            0 => self.pop_front(),
            i => self.rest.as_mut()?.remove(i - 1),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flat_map(|r| r.iter()))
    }

    /// Is there a deque that nothing stands in?
    #[inline]
    pub fn has_spare(&self) -> bool {
        self.rest.is_some() && self.first.is_none()
    }

    /// Gives the memory of an empty deque back.
    pub fn trim(&mut self) {
        if self.rest.as_ref().is_some_and(|r| r.is_empty()) {
            self.rest = None;
        }
    }
}

impl<T> Index<usize> for Queue<T> {
    type Output = T;
    #[inline]
    fn index(&self, i: usize) -> &T {
        self.get(i).expect("within the queue")
    }
}

impl<T> IndexMut<usize> for Queue<T> {
    #[inline]
    fn index_mut(&mut self, i: usize) -> &mut T {
        let entry = match i {
            0 => self.first.as_mut(),
            i => self.rest.as_mut().and_then(|r| r.get_mut(i - 1)),
        };
        entry.expect("within the queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any mix of calls does what a deque does.
    #[test]
    fn is_a_deque() {
        let (mut q, mut model) = (Queue::default(), VecDeque::new());
        let mut x = 1u64;
        for n in 0..10_000u32 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            match (x >> 33) % 10 {
                0..=2 => {
                    q.push_back(n);
                    model.push_back(n);
                }
                3..=5 => assert_eq!(q.pop_front(), model.pop_front()),
                6 | 7 => {
                    let at = (x >> 40) as usize % (model.len() + 1);
                    q.insert(at, n);
                    model.insert(at, n);
                }
                8 => {
                    let at = (x >> 40) as usize % (model.len() + 1);
                    assert_eq!(q.remove(at), model.remove(at));
                }
                _ => {
                    q.trim();
                }
            }
            assert_eq!((q.len(), q.is_empty()), (model.len(), model.is_empty()));
            assert_eq!(q.front(), model.front());
            assert_eq!(q.back_mut(), model.back_mut());
            assert!(q.iter().eq(model.iter()));
            assert!((0..model.len()).all(|i| q[i] == model[i]) && q.get(model.len()).is_none());
        }
    }

    #[test]
    fn an_idle_queue_holds_no_memory() {
        let mut q = Queue::default();
        for _ in 0..3 {
            q.push_back(1);
            q.trim();
            assert!(q.rest.is_none(), "one entry stands inline");
            q.push_back(2);
            q.trim();
            assert!(q.rest.is_some() && !q.has_spare(), "the second does not");
            q.pop_front();
            q.pop_front();
            assert!(q.has_spare());
            q.trim();
            assert!(q.rest.is_none() && !q.has_spare());
        }
    }
}

//! The connections of a stack and the table that finds them.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use linerate_tcp::limits::TIME_WAIT_NS;
use linerate_tcp::time::SEC;
use linerate_tcp::{HalfOpen, Instant, Tcb, TcpConfig, TimeWait};
use linerate_wire::FlowKey;
use linerate_wire::flow_key::HashKey;

use crate::egress::Path;
use crate::flow::FlowId;
use crate::flow::half_opens::HalfOpens;
use crate::flow::slab::Slab;
use crate::flow::table::FlowTable;
use crate::limits::TIME_WAIT_CONNS_MAX;

/// A connection.
pub(crate) struct Conn {
    pub tcb: Tcb,
    /// Settings of its own; else those of the stack.
    pub cfg: Option<Arc<TcpConfig>>,
    pub key: FlowKey,
    pub path: Path,
    pub generation: u32,
    /// It is in the list of connections to run output for.
    pub dirty: bool,
    /// It is in the list of connections with events.
    pub ready: bool,
}

struct Waiting {
    key: FlowKey,
    tw: TimeWait,
}

/// What the table holds for a key.
pub(crate) enum Found {
    Conn(u32),
    TimeWait(u32),
    HalfOpen(u32),
}

/// A slot of the table with this bit is an index into `waiting`.
const WAITING: u32 = 1 << 31;
/// A slot with this one is an index into `half_opens`.
const HALF_OPEN: u32 = 1 << 30;
/// The index.
const INDEX: u32 = HALF_OPEN - 1;

/// Connections by slot, and TIME-WAIT entries, found by their key.
pub(crate) struct Flows {
    table: FlowTable,
    hash_key: HashKey,
    pub conns: Slab<Conn>,
    free: Vec<u32>,
    generation: u32,
    waiting: Slab<Waiting>,
    waiting_free: Vec<u32>,
    /// In the order of their end: all wait equally long.
    waiting_order: VecDeque<(u32, Instant)>,
    pub half_opens: HalfOpens,
    len: usize,
}

impl Flows {
    pub fn new(hash_key: HashKey) -> Self {
        Self {
            table: FlowTable::new(),
            hash_key,
            conns: Slab::new(),
            free: Vec::new(),
            generation: 0,
            waiting: Slab::new(),
            waiting_free: Vec::new(),
            waiting_order: VecDeque::new(),
            half_opens: HalfOpens::new(),
            len: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn waiting_len(&self) -> usize {
        self.waiting.len() - self.waiting_free.len()
    }

    pub fn find(&self, key: &FlowKey) -> Option<Found> {
        let slot = self.table.find(self.hash(key), |slot| match slot & !INDEX {
            0 => self.conns.get(slot as usize).is_some_and(|c| c.key == *key),
            WAITING => self.waiting.get((slot & INDEX) as usize).is_some_and(|w| w.key == *key),
            _ => self.half_opens.key(slot & INDEX).as_ref() == Some(key),
        })?;
        Some(match slot & !INDEX {
            0 => Found::Conn(slot),
            WAITING => Found::TimeWait(slot & INDEX),
            _ => Found::HalfOpen(slot & INDEX),
        })
    }

    /// The keyed hash of a flow.
    pub fn hash(&self, key: &FlowKey) -> u64 {
        key.hash_keyed(&self.hash_key)
    }

    fn insert_slot(&mut self, key: &FlowKey, slot: u32) {
        let Self { table, hash_key, conns, waiting, half_opens, .. } = self;
        table.insert(key.hash_keyed(hash_key), slot, |slot| {
            let hash = match slot & !INDEX {
                0 => conns.get(slot as usize).map(|c| c.key.hash_keyed(hash_key)),
                WAITING => waiting.get((slot & INDEX) as usize).map(|w| w.key.hash_keyed(hash_key)),
                _ => half_opens.key(slot & INDEX).map(|key| key.hash_keyed(hash_key)),
            };
            hash.expect("every slot of the table is occupied")
        });
    }

    fn remove_slot(&mut self, key: &FlowKey, slot: u32) {
        self.table.remove(key.hash_keyed(&self.hash_key), |s| s == slot);
    }

    pub fn insert(&mut self, key: FlowKey, tcb: Tcb, cfg: Option<Arc<TcpConfig>>) -> FlowId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let conn = Conn { tcb, cfg, key, path: Path::default(), generation, dirty: false, ready: false };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.conns[slot as usize] = Some(conn);
                slot
            }
            None => self.conns.push(conn) as u32,
        };
        self.insert_slot(&key, slot);
        self.len += 1;
        FlowId { slot, generation }
    }

    /// A connection that is over for the peer: its addresses and ports are free, whoever holds it still.
    pub fn unlink(&mut self, slot: u32) {
        if let Some(key) = self.conns[slot as usize].as_ref().map(|c| c.key) {
            self.remove_slot(&key, slot);
        }
    }

    pub fn remove(&mut self, slot: u32) -> Conn {
        let conn = self.conns[slot as usize].take().expect("slot is occupied");
        self.remove_slot(&conn.key, slot);
        self.free.push(slot);
        self.len -= 1;
        conn
    }

    /// `None`: there are too many of them.
    pub fn insert_half_open(&mut self, key: &FlowKey, half: HalfOpen, now: Instant) -> Option<u32> {
        let i = self.half_opens.insert(key, half, now)?;
        self.insert_slot(key, i | HALF_OPEN);
        Some(i)
    }

    pub fn remove_half_open(&mut self, i: u32) -> HalfOpen {
        let key = self.half_opens.key(i).expect("found in the table");
        self.remove_slot(&key, i | HALF_OPEN);
        self.half_opens.remove(i)
    }

    pub fn get(&self, id: FlowId) -> Option<&Conn> {
        self.conns.get(id.slot as usize).filter(|c| c.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot as usize).filter(|c| c.generation == id.generation)
    }

    /// What is left of a connection waits for 2 MSL. Above the limit the oldest goes early.
    pub fn insert_waiting(&mut self, key: FlowKey, tw: TimeWait) {
        if self.waiting_len() >= TIME_WAIT_CONNS_MAX {
            self.drop_oldest_waiting();
        }
        let index = match self.waiting_free.pop() {
            Some(i) => {
                self.waiting[i as usize] = Some(Waiting { key, tw });
                i
            }
            None => self.waiting.push(Waiting { key, tw }) as u32,
        };
        self.insert_slot(&key, index | WAITING);
        self.waiting_order.push_back((index, tw.expires));
    }

    pub fn waiting(&self, index: u32) -> &TimeWait {
        &self.waiting[index as usize].as_ref().expect("found in the table").tw
    }

    pub fn remove_waiting(&mut self, index: u32) {
        let w = self.waiting[index as usize].take().expect("found in the table");
        self.remove_slot(&w.key, index | WAITING);
        self.waiting_free.push(index);
    }

    /// 2 MSL begin anew. At most once a second: the order queue gets an entry for each time.
    pub fn restart_waiting(&mut self, index: u32, now: Instant) {
        let w = self.waiting[index as usize].as_mut().expect("found in the table");
        let expires = now + TIME_WAIT_NS;
        if expires.since(w.tw.expires) >= SEC {
            w.tw.expires = expires;
            self.waiting_order.push_back((index, expires));
        }
    }

    fn drop_oldest_waiting(&mut self) {
        while let Some((index, expires)) = self.waiting_order.pop_front() {
            if self.is_waiting_until(index, expires) {
                self.remove_waiting(index);
                return;
            }
        }
    }

    /// The order queue may name entries that were reopened or began anew, or whose place another has taken since.
    fn is_waiting_until(&self, index: u32, expires: Instant) -> bool {
        self.waiting[index as usize].as_ref().is_some_and(|w| w.tw.expires == expires)
    }

    pub fn next_waiting_deadline(&self) -> Option<Instant> {
        self.waiting_order.front().map(|(_, at)| *at)
    }

    pub fn expire_waiting(&mut self, now: Instant) {
        while let Some((index, expires)) = self.waiting_order.front().copied() {
            if expires > now {
                return;
            }
            self.waiting_order.pop_front();
            if self.is_waiting_until(index, expires) {
                self.remove_waiting(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There are up to [`TIME_WAIT_CONNS_MAX`] of them (limits.rs gives the size).
    #[test]
    fn a_connection_in_time_wait_is_small() {
        assert!(size_of::<Option<Waiting>>() <= 64);
    }

    /// With 24 bytes in the timer wheel and up to 10 in the flow table: 512 for an idle connection.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Option<Conn>>() <= 472, "Conn is {} bytes", size_of::<Option<Conn>>());
    }
}

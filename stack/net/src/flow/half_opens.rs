//! The half-open connections of a stack: 64 bytes each, all told, and their timers a list for each number of retries.
//!
//! A SYN-ACK that was repeated n times is due again 2^n s after the last time, so those with equal n become due in the
//! order in which they were sent: eight lists do what a timer each would.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use core::num::NonZeroU32;

use linerate_tcp::Instant;
use linerate_tcp::half_open::{HalfOpen, SYNACK_RETRIES_MAX};
use linerate_wire::FlowKey;

use crate::flow::slab::Slab;
use crate::limits::HALF_OPEN_MAX;

const LISTS: usize = SYNACK_RETRIES_MAX as usize + 1;

/// No entry. (Entries are linked by index + 1, so that a free place costs no byte to tell.)
const NONE: u32 = 0;

struct Entry {
    /// An IPv4 address as IPv6 would map it; `half` knows which it is.
    remote: [u8; 16],
    half: HalfOpen,
    remote_port: u16,
    /// Index into `locals`.
    local: u16,
    next: u32,
    /// The entry before it + 1, or itself + 1.
    prev: NonZeroU32,
}

/// See the module.
pub(crate) struct HalfOpens {
    entries: Slab<Entry>,
    free: Vec<u32>,
    /// First and last by retries, + 1.
    lists: [(u32, u32); LISTS],
    /// Addresses of ours that half-open connections ever had.
    locals: Vec<IpAddr>,
    /// Ports by listener.
    ports: Vec<u16>,
    /// The last time that was seen: ticks are told from it.
    now: Instant,
}

impl HalfOpens {
    pub fn new() -> Self {
        Self {
            entries: Slab::new(),
            free: Vec::new(),
            lists: [(NONE, NONE); LISTS],
            locals: Vec::new(),
            ports: Vec::new(),
            now: Instant(0),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub fn is_full(&self) -> bool {
        self.len() >= HALF_OPEN_MAX
    }

    /// `None`: no room.
    pub fn insert(&mut self, key: &FlowKey, half: HalfOpen, now: Instant) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let local = self.local(key.local)?;
        let listener = half.listener as usize;
        if listener >= self.ports.len() {
            self.ports.resize(listener + 1, 0);
        }
        self.ports[listener] = key.local_port;
        let remote = match key.remote {
            IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
            IpAddr::V6(a) => a.octets(),
        };
        let entry =
            Entry { remote, half, remote_port: key.remote_port, local, next: NONE, prev: NonZeroU32::MAX };
        let i = match self.free.pop() {
            Some(i) => {
                self.entries[i as usize] = Some(entry);
                i
            }
            None => self.entries.push(entry) as u32,
        };
        self.now = now;
        self.append(i);
        Some(i)
    }

    /// The index of an address of ours. There are few, and they rarely change.
    fn local(&mut self, addr: IpAddr) -> Option<u16> {
        let i = match self.locals.iter().position(|a| *a == addr) {
            Some(i) => i,
            None => {
                self.locals.push(addr);
                self.locals.len() - 1
            }
        };
        u16::try_from(i).ok()
    }

    pub fn key(&self, i: u32) -> Option<FlowKey> {
        let e = self.entries.get(i as usize)?;
        let remote = Ipv6Addr::from(e.remote);
        let remote = match (e.half.ipv6(), remote.to_ipv4_mapped()) {
            (false, Some(v4)) => IpAddr::V4(v4),
            _ => IpAddr::V6(remote),
        };
        Some(FlowKey {
            local: self.locals[e.local as usize],
            remote,
            local_port: self.ports[e.half.listener as usize],
            remote_port: e.remote_port,
        })
    }

    pub fn get(&self, i: u32) -> &HalfOpen {
        &self.entry(i).half
    }

    pub fn get_mut(&mut self, i: u32) -> &mut HalfOpen {
        &mut self.entry_mut(i).half
    }

    fn entry(&self, i: u32) -> &Entry {
        self.entries.get(i as usize).expect("found in the table")
    }

    fn entry_mut(&mut self, i: u32) -> &mut Entry {
        self.entries.get_mut(i as usize).expect("found in the table")
    }

    pub fn remove(&mut self, i: u32) -> HalfOpen {
        self.unlink(i);
        let e = self.entries[i as usize].take().expect("found in the table");
        self.free.push(i);
        e.half
    }

    /// All of a listener: a walk over everything.
    pub fn of_listener(&self, listener: u16) -> Vec<u32> {
        let all = (0u32..).zip(self.entries.iter());
        all.filter(|(_, e)| e.is_some_and(|e| e.half.listener == listener)).map(|(i, _)| i).collect()
    }

    fn append(&mut self, i: u32) {
        let list = self.entry(i).half.retries() as usize;
        let last = self.lists[list].1;
        let e = self.entry_mut(i);
        e.next = NONE;
        e.prev = NonZeroU32::new(if last == NONE { i + 1 } else { last }).expect("an index + 1");
        match last {
            NONE => self.lists[list].0 = i + 1,
            last => self.entry_mut(last - 1).next = i + 1,
        }
        self.lists[list].1 = i + 1;
    }

    fn unlink(&mut self, i: u32) {
        let e = self.entry(i);
        let (list, prev, next) = (e.half.retries() as usize, e.prev.get(), e.next);
        let first = prev == i + 1;
        match first {
            true => self.lists[list].0 = next,
            false => self.entry_mut(prev - 1).next = next,
        }
        let before = if first { NONE } else { prev };
        match next {
            NONE => self.lists[list].1 = before,
            next => {
                let prev = if first { next } else { prev };
                self.entry_mut(next - 1).prev = NonZeroU32::new(prev).expect("an index + 1");
            }
        }
    }

    /// When the first SYN-ACK is due again.
    pub fn next_deadline(&self) -> Option<Instant> {
        let heads = self.lists.iter().filter(|(first, _)| *first != NONE);
        heads.map(|(first, _)| self.get(first - 1).deadline(self.now)).min()
    }

    /// One whose SYN-ACK is due. Its fate is the caller's: [`retry`](Self::retry) or removal.
    pub fn next_due(&mut self, now: Instant) -> Option<u32> {
        self.now = self.now.max(now);
        let heads = self.lists.iter().filter(|(first, _)| *first != NONE);
        heads.map(|(first, _)| first - 1).find(|i| self.get(*i).deadline(now) <= now)
    }

    /// Its SYN-ACK went out again for the peer's SYN: the timer begins anew.
    pub fn resent(&mut self, i: u32, now: Instant) {
        self.unlink(i);
        self.get_mut(i).resent(now);
        self.append(i);
    }

    /// Its SYN-ACK goes out again.
    pub fn retry(&mut self, i: u32, now: Instant) {
        self.unlink(i);
        self.get_mut(i).retry(now);
        self.append(i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use linerate_tcp::time::SEC;
    use linerate_tcp::{SegmentIn, SeqNum};
    use linerate_wire::tcp::TcpFlags;
    use linerate_wire::tcp_options::TcpOptions;

    /// The 64 bytes: with the flow table's 4-byte slot and control byte, in a table just after it has doubled
    /// (load 7/16), which is the worst.
    #[test]
    fn a_half_open_connection_takes_64_bytes() {
        let table = 5 * 16 / 7 + 1;
        let place = size_of::<Option<Entry>>();
        assert!(place + table <= 64, "{place} + {table}");
    }

    fn half(iss: u32, ipv6: bool, now: Instant) -> HalfOpen {
        let syn = SegmentIn {
            seq: SeqNum(0),
            ack: SeqNum(0),
            flags: TcpFlags::SYN,
            wnd: 0,
            ecn: 0,
            payload_len: 0,
            urgent: 0,
            options: TcpOptions::EMPTY,
        };
        HalfOpen::new(&syn, SeqNum(iss), ipv6, 3, now)
    }

    fn key(port: u16, ipv6: bool) -> FlowKey {
        let v4 = Ipv4Addr::new(10, 0, 0, 2);
        let remote = if ipv6 { v4.to_ipv6_mapped().into() } else { v4.into() };
        FlowKey { local: Ipv4Addr::new(10, 0, 0, 1).into(), remote, local_port: 80, remote_port: port }
    }

    #[test]
    fn keys_come_back_as_they_were() {
        let mut h = HalfOpens::new();
        for v6 in [false, true] {
            let i = h.insert(&key(5, v6), half(1, v6, Instant(0)), Instant(0)).unwrap();
            assert_eq!(h.key(i), Some(key(5, v6)), "a mapped address is another flow than its IPv4 twin");
        }
    }

    #[test]
    fn due_in_the_order_of_their_times_whatever_leaves_in_between() {
        let mut h = HalfOpens::new();
        let at = |ms: u64| Instant(100 * SEC + ms * 1_000_000);
        let all: Vec<u32> = (0..10u64)
            .map(|n| h.insert(&key(n as u16, false), half(n as u32, false, at(n)), at(n)).unwrap())
            .collect();
        for gone in [0, 5, 9] {
            h.remove(all[gone]);
        }
        assert_eq!((h.len(), h.next_due(at(999))), (7, None));
        let mut seen = Vec::new();
        while let Some(i) = h.next_due(at(1010)) {
            seen.push(h.get(i).iss.0);
            h.retry(i, at(1010));
        }
        assert_eq!(seen, [1, 2, 3, 4, 6, 7, 8]);
        let next = h.next_deadline().unwrap();
        assert_eq!(next, at(3010));
        for i in h.of_listener(3) {
            h.remove(i);
        }
        assert_eq!((h.len(), h.next_deadline(), h.next_due(at(1 << 20))), (0, None, None));
    }
}

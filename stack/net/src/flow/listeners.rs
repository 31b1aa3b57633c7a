//! Who listens where, and who has bound a port. A listener has a backlog for its handshakes under way (the SYN queue) and
//! the same for the connections not accepted yet (the accept queue).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;
use linerate_tcp::{Instant, TcpConfig};

use crate::flow::{FlowId, ListenerId};

/// One listener, or one who will listen or connect from there.
pub(crate) struct Listener {
    pub addr: Option<IpAddr>,
    pub port: u16,
    /// The port is taken; SYNs are refused all the same until it listens.
    pub listening: bool,
    /// Others that say so, too, may listen on the same address and port.
    pub shared: bool,
    /// Handshakes under way, and connections not accepted yet, at most.
    pub backlog: usize,
    /// Settings of its connections, if not the stack's.
    pub cfg: Option<Arc<TcpConfig>>,
    /// Handshakes under way.
    pub half_open: usize,
    /// Complete, not accepted yet.
    pub queue: VecDeque<FlowId>,
    /// Times that it stands in the stack's list of listeners with connections to accept.
    pub told: usize,
    /// SYN cookies are taken until then.
    pub cookies_until: Instant,
    generation: u16,
}

impl Listener {
    /// The SYN queue is full.
    pub fn is_syn_queue_full(&self) -> bool {
        self.half_open >= self.backlog
    }

    /// The accept queue is full.
    pub fn is_full(&self) -> bool {
        self.queue.len() >= self.backlog
    }
}

/// What a new listener is to be.
pub(crate) struct Place {
    pub addr: Option<IpAddr>,
    pub port: u16,
    pub shared: bool,
    pub cfg: Option<Arc<TcpConfig>>,
}

type Sip = core::hash::BuildHasherDefault<siphasher::sip::SipHasher13>;

/// All listeners of a stack. Few, and changed rarely; looked up once a SYN.
#[derive(Default)]
pub(crate) struct Listeners {
    all: Vec<Option<Listener>>,
    free: Vec<u16>,
    generation: u16,
    /// Who is on an address and port: one, or a group that shares it. The key holds no attacker's choice: only ports
    /// that we have bound are in it.
    by_port: HashMap<(Option<IpAddr>, u16), Vec<u16>, Sip>,
}

impl Listeners {
    /// `None`: somebody is there who does not share.
    pub fn add(&mut self, place: Place) -> Option<ListenerId> {
        let Place { addr, port, shared, cfg } = place;
        let group = self.by_port.entry((addr, port)).or_default();
        let all = &self.all;
        let shares = |slot: &u16| all[*slot as usize].as_ref().is_some_and(|l| l.shared);
        if !(group.is_empty() || shared && group.iter().all(shares)) {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            // u16::MAX listeners are more than there are ports.
            None => u16::try_from(all.len()).ok().filter(|n| *n < u16::MAX)?,
        };
        self.generation = self.generation.wrapping_add(1);
        group.push(slot);
        let listener = Listener {
            addr,
            port,
            listening: false,
            shared,
            backlog: 0,
            cfg,
            half_open: 0,
            queue: VecDeque::new(),
            told: 0,
            cookies_until: Instant(0),
            generation: self.generation,
        };
        if slot as usize == self.all.len() {
            self.all.push(None);
        }
        self.all[slot as usize] = Some(listener);
        Some(ListenerId { slot, generation: self.generation })
    }

    /// A place becomes a listener, or a listener's backlog another.
    pub fn listen(&mut self, id: ListenerId, backlog: usize) {
        if let Some(l) = self.get_mut(id) {
            (l.listening, l.backlog) = (true, backlog.max(1));
        }
    }

    /// Is there any listener, or anyone else, on this port?
    pub fn is_bound(&self, addr: IpAddr, port: u16) -> bool {
        let taken = |a| self.by_port.get(&(a, port)).is_some_and(|group| !group.is_empty());
        taken(Some(addr)) || taken(None)
    }

    /// RFC 9293 MUST-42: a listener for this very address comes before one for all addresses. Of a group that shares
    /// them, the one that ranks highest for this flow: as long as it listens it is always the same (rendezvous hashing).
    //= RFC 9293 section 3.9.1.1, MUST-42, MUST-41
    pub fn find(&self, addr: IpAddr, port: u16, flow_hash: u64) -> Option<ListenerId> {
        if self.by_port.is_empty() {
            return None;
        }
        [Some(addr), None].into_iter().find_map(|a| {
            let group = self.by_port.get(&(a, port))?;
            let listening = group.iter().filter_map(|slot| {
                let l = self.all[*slot as usize].as_ref()?;
                l.listening.then_some(ListenerId { slot: *slot, generation: l.generation })
            });
            listening.max_by_key(|id| rank(flow_hash, id.generation))
        })
    }

    pub fn ids(&self) -> Vec<ListenerId> {
        let all = (0u16..).zip(&self.all);
        all.filter_map(|(slot, l)| Some(ListenerId { slot, generation: l.as_ref()?.generation })).collect()
    }

    pub fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.all.get(id.slot as usize)?.as_ref().filter(|l| l.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.all.get_mut(id.slot as usize)?.as_mut().filter(|l| l.generation == id.generation)
    }

    /// The listener in a slot that a half-open connection names: those go with it.
    pub fn id_of(&self, slot: u16) -> Option<ListenerId> {
        let l = self.all.get(slot as usize)?.as_ref()?;
        Some(ListenerId { slot, generation: l.generation })
    }

    /// Does this connection wait to be accepted?
    pub fn is_queued(&self, flow: FlowId) -> bool {
        self.all.iter().flatten().any(|l| l.queue.contains(&flow))
    }

    pub fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        self.get(id)?;
        let l = self.all[id.slot as usize].take()?;
        self.free.push(id.slot);
        if let Some(group) = self.by_port.get_mut(&(l.addr, l.port)) {
            group.retain(|slot| *slot != id.slot);
            if group.is_empty() {
                self.by_port.remove(&(l.addr, l.port));
            }
        }
        Some(l)
    }
}

/// SplitMix64's finalizer over both.
fn rank(flow_hash: u64, member: u16) -> u64 {
    let mut z = flow_hash ^ (member as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn add(l: &mut Listeners, addr: Option<IpAddr>, shared: bool) -> Option<ListenerId> {
        let id = l.add(Place { addr, port: 80, shared, cfg: None })?;
        l.listen(id, 1);
        Some(id)
    }

    //= RFC 9293 section 3.9.1.1, MUST-42
    #[test]
    fn the_closer_listener_wins_and_ports_are_taken_once() {
        let mut l = Listeners::default();
        let a = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        let any = add(&mut l, None, false).unwrap();
        let own = add(&mut l, Some(a), false).unwrap();
        assert!(add(&mut l, None, false).is_none() && add(&mut l, None, true).is_none());
        assert_eq!(l.find(a, 80, 0), Some(own));
        assert_eq!(l.find(Ipv4Addr::new(10, 0, 0, 2).into(), 80, 0), Some(any));
        assert_eq!(l.find(a, 81, 0), None);
        assert!(l.remove(own).is_some() && l.remove(own).is_none());
        assert_eq!(l.find(a, 80, 0), Some(any));
        let again = add(&mut l, Some(a), false).unwrap();
        assert!(
            again.slot == own.slot && l.get(own).is_none(),
            "the place is used again, its old name is not"
        );
    }

    #[test]
    fn a_place_that_does_not_listen_is_taken_and_not_found() {
        let mut l = Listeners::default();
        let a = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        let id = l.add(Place { addr: None, port: 80, shared: false, cfg: None }).unwrap();
        assert_eq!((l.find(a, 80, 0), l.is_bound(a, 80)), (None, true));
        assert!(add(&mut l, None, false).is_none());
        l.listen(id, 5);
        assert_eq!(l.find(a, 80, 0), Some(id));
    }

    #[test]
    fn a_group_shares_evenly_and_a_leaver_moves_only_its_own() {
        let mut l = Listeners::default();
        let a = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        let ids: Vec<_> = (0..4).map(|_| add(&mut l, None, true).unwrap()).collect();
        assert!(add(&mut l, None, false).is_none(), "who does not share does not get in");
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let before: Vec<_> = (0..4000).map(|n| l.find(a, 80, hash(n)).unwrap()).collect();
        for id in &ids {
            let share = before.iter().filter(|b| *b == id).count();
            assert!((900..1100).contains(&share), "{share} of 4000");
        }
        l.remove(ids[2]);
        for (n, was) in before.iter().enumerate() {
            let is = l.find(a, 80, hash(n as u64)).unwrap();
            assert!(is == *was || *was == ids[2]);
        }
    }
}

//! Who listens where. A listener has a backlog: handshakes under way and connections not accepted yet.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashMap;
use linerate_tcp::TcpConfig;

use crate::flow::{FlowId, ListenerId};

/// One listener.
pub(crate) struct Listener {
    pub addr: Option<IpAddr>,
    pub port: u16,
    /// Handshakes under way plus connections not accepted yet, at most.
    pub backlog: usize,
    /// Settings of its connections, if not the stack's.
    pub cfg: Option<Arc<TcpConfig>>,
    /// Handshakes under way.
    pub half_open: usize,
    /// Complete, not accepted yet.
    pub queue: VecDeque<FlowId>,
}

impl Listener {
    pub fn is_full(&self) -> bool {
        self.half_open + self.queue.len() >= self.backlog
    }
}

/// All listeners of a stack. Few, and changed rarely; looked up once a SYN.
#[derive(Default)]
pub(crate) struct Listeners {
    all: Vec<Option<Listener>>,
    /// The key holds no attacker's choice: only ports that we listen on are in it.
    by_port: HashMap<(Option<IpAddr>, u16), u32, core::hash::BuildHasherDefault<siphasher::sip::SipHasher13>>,
}

impl Listeners {
    /// `None`: somebody listens there.
    pub fn add(
        &mut self,
        addr: Option<IpAddr>,
        port: u16,
        backlog: usize,
        cfg: Option<Arc<TcpConfig>>,
    ) -> Option<ListenerId> {
        if self.by_port.contains_key(&(addr, port)) {
            return None;
        }
        let id = self.all.len() as u32;
        let listener =
            Listener { addr, port, backlog: backlog.max(1), cfg, half_open: 0, queue: VecDeque::new() };
        self.all.push(Some(listener));
        self.by_port.insert((addr, port), id);
        Some(ListenerId(id))
    }

    /// RFC 9293 MUST-42: a listener for this very address comes before one for all addresses.
    //= RFC 9293 section 3.9.1.1, MUST-42, MUST-41
    pub fn find(&self, addr: IpAddr, port: u16) -> Option<ListenerId> {
        if self.by_port.is_empty() {
            return None;
        }
        let id = self.by_port.get(&(Some(addr), port)).or_else(|| self.by_port.get(&(None, port)))?;
        Some(ListenerId(*id))
    }

    pub fn ids(&self) -> Vec<ListenerId> {
        (0u32..).zip(&self.all).filter(|(_, l)| l.is_some()).map(|(i, _)| ListenerId(i)).collect()
    }

    pub fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.all.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.all.get_mut(id.0 as usize)?.as_mut()
    }

    pub fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        let l = self.all.get_mut(id.0 as usize)?.take()?;
        self.by_port.remove(&(l.addr, l.port));
        Some(l)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn the_closer_listener_wins_and_ports_are_taken_once() {
        let mut l = Listeners::default();
        let a = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        let any = l.add(None, 80, 1, None).unwrap();
        let own = l.add(Some(a), 80, 1, None).unwrap();
        assert!(l.add(None, 80, 5, None).is_none());
        assert_eq!(l.find(a, 80), Some(own));
        assert_eq!(l.find(Ipv4Addr::new(10, 0, 0, 2).into(), 80), Some(any));
        assert_eq!(l.find(a, 81), None);
        assert!(l.remove(own).is_some() && l.remove(own).is_none());
        assert_eq!(l.find(a, 80), Some(any));
    }
}

//! Fast Open's cookies: RFC 7413. Those that we give to clients, and those that servers gave us.
//!
//! Ours are a keyed hash of the client's address, so that we keep none of them; the key changes every 12 hours, and the
//! last one is good still.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;

use linerate_frame::Frame;
use linerate_tcp::fast_open::SynData;
use linerate_tcp::{Instant, SegmentIn, State, Tcb, TcpConfig};
use linerate_wire::FlowKey;
use linerate_wire::flow_key::HashKey;
use linerate_wire::tcp_options::FastOpen;
use siphasher::sip::SipHasher24;

use crate::flow::{FlowId, ListenerId};
use crate::limits::{FAST_OPEN_BLACK_HOLE_NS, FAST_OPEN_CACHE_MAX, FAST_OPEN_KEY_NS};
use crate::stack::Stack;

/// What we know of a server.
#[derive(Clone, Copy)]
struct Server {
    cookie: FastOpen,
    mss: u16,
    /// Its path swallows SYNs with data: no more of them before then.
    black_hole_until: Instant,
}

/// See the module.
#[derive(Default)]
pub(crate) struct FastOpens {
    servers: BTreeMap<IpAddr, Server>,
    /// Oldest first, to make room.
    order: VecDeque<IpAddr>,
    /// Connections whose handshakes are not complete, as far as it was looked.
    pending: Vec<(FlowId, ListenerId)>,
}

impl FastOpens {
    fn server(&mut self, addr: IpAddr) -> &mut Server {
        if !self.servers.contains_key(&addr) {
            if self.servers.len() >= FAST_OPEN_CACHE_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.servers.remove(&oldest);
            }
            self.order.push_back(addr);
        }
        let unknown = Server { cookie: FastOpen::REQUEST, mss: 0, black_hole_until: Instant(0) };
        self.servers.entry(addr).or_insert(unknown)
    }
}

/// The cookie for a client in the `epoch`th period of our key.
//= RFC 7413 section 4.1.2
fn cookie(secret: &HashKey, key: &FlowKey, epoch: u64) -> Option<FastOpen> {
    let pair = FlowKey { local_port: 0, remote_port: 0, ..*key };
    let mut b = [0; 16];
    b[..8].copy_from_slice(&pair.hash_keyed(secret).to_be_bytes());
    b[8..].copy_from_slice(&epoch.to_be_bytes());
    FastOpen::new(&SipHasher24::new_with_keys(!secret.0[0], !secret.0[1]).hash(&b).to_be_bytes())
}

/// What a SYN with the option is answered with.
pub(crate) struct Verdict {
    /// The cookie was valid, and there is room: its data is to be taken.
    pub take: bool,
    /// The option of the SYN-ACK: a cookie, if the client has none that will be good for long.
    pub answer: FastOpen,
}

impl Stack {
    fn fast_open_secret(&self) -> HashKey {
        let [k0, k1, k2, k3] = self.secret;
        HashKey([k0 ^ k2.rotate_left(17), k1 ^ k3.rotate_left(31)])
    }

    /// A SYN for a listener that takes data on SYNs from `cfg.fast_open_pending` clients at a time.
    //= RFC 7413 section 4.2.2
    //= RFC 7413 section 5.1
    pub(crate) fn judge_fast_open(
        &mut self,
        id: ListenerId,
        key: &FlowKey,
        syn: &SegmentIn,
        cfg: &TcpConfig,
        now: Instant,
    ) -> Verdict {
        let offered = syn.options.fast_open;
        if cfg.fast_open_pending == 0 || offered.is_none() {
            return Verdict { take: false, answer: FastOpen::NONE };
        }
        let (secret, epoch) = (self.fast_open_secret(), now.0 / FAST_OPEN_KEY_NS);
        let current = cookie(&secret, key, epoch);
        if Some(offered) == current {
            return Verdict { take: self.may_pend(id, cfg), answer: FastOpen::NONE };
        }
        let last = epoch.checked_sub(1).and_then(|e| cookie(&secret, key, e));
        let take = Some(offered) == last && self.may_pend(id, cfg);
        Verdict { take, answer: current.unwrap_or_default() }
    }

    /// Is one more connection without a complete handshake allowed?
    fn may_pend(&mut self, id: ListenerId, cfg: &TcpConfig) -> bool {
        let of_listener = |p: &&(FlowId, ListenerId)| p.1 == id;
        if self.fast_opens.pending.iter().filter(of_listener).count() >= cfg.fast_open_pending as usize {
            let flows = &self.flows;
            self.fast_opens
                .pending
                .retain(|(f, _)| flows.get(*f).is_some_and(|c| c.tcb.state() == State::SynReceived));
        }
        self.fast_opens.pending.iter().filter(of_listener).count() < cfg.fast_open_pending as usize
    }

    /// A connection in SYN-RECEIVED, with data, and in the accept queue.
    pub(crate) fn fast_open_in(
        &mut self,
        id: ListenerId,
        key: &FlowKey,
        syn: &SegmentIn,
        payload: Option<Frame>,
        answer: FastOpen,
        now: Instant,
    ) {
        let Some(own) = self.listeners.get(id).map(|l| l.cfg.clone()) else { return };
        let (cfg, opening) = (self.listener_config(id), self.opening(key, now));
        let mut tcb =
            self.for_a_moment(key, &cfg, now, |env, _| Tcb::accept_with_data(&opening, syn, payload, env));
        if !answer.is_none() {
            tcb.set_fast_open(answer);
        }
        let flow = self.flows.insert(*key, tcb, own);
        self.fast_opens.pending.push((flow, id));
        self.counters.tcp_fast_opens_in += 1;
        self.counters.tcp_accepts += 1;
        self.offer(id, flow);
        self.mark_dirty(flow.slot);
        self.settle(flow.slot, now);
    }

    /// What a SYN to `remote` may carry: the option and the MSS to count on. `None`: nothing, it would be swallowed.
    pub(crate) fn fast_open_for(&self, remote: IpAddr, now: Instant) -> Option<(FastOpen, u16)> {
        match self.fast_opens.servers.get(&remote) {
            Some(s) if now < s.black_hole_until => None,
            Some(s) => Some((s.cookie, s.mss)),
            None => Some((FastOpen::REQUEST, 0)),
        }
    }

    /// Our SYN was answered: what does that say about Fast Open to this server?
    //= RFC 7413 section 4.1.3
    pub(crate) fn learn_fast_open(&mut self, slot: u32, syn_ack: &SegmentIn, now: Instant) {
        let Some(conn) = self.flows.conns.get_mut(slot as usize) else { return };
        if conn.tcb.state() == State::SynReceived || conn.tcb.state() == State::SynSent {
            return;
        }
        let Some(outcome) = conn.tcb.take_syn_data() else { return };
        let remote = conn.key.remote;
        self.counters.tcp_fast_opens_out += (outcome == SynData::Taken) as u64;
        let given = syn_ack.options.fast_open;
        let server = self.fast_opens.server(remote);
        if !given.cookie().is_empty() {
            server.cookie = given;
            server.mss = syn_ack.options.mss.unwrap_or(0);
        } else if outcome == SynData::Refused {
            server.cookie = FastOpen::REQUEST;
        }
        if outcome == SynData::Lost {
            server.black_hole_until = now + FAST_OPEN_BLACK_HOLE_NS;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn cookies_are_for_one_client_and_one_key() {
        let key = |n: u8, port: u16| FlowKey {
            local: Ipv4Addr::new(10, 0, 0, 1).into(),
            remote: Ipv4Addr::new(10, 0, 0, n).into(),
            local_port: 80,
            remote_port: port,
        };
        let s = HashKey([1, 2]);
        let c = cookie(&s, &key(2, 5), 7);
        assert!(c.is_some_and(|c| c.cookie().len() == 8));
        assert_eq!(c, cookie(&s, &key(2, 6), 7), "of the address, not the port");
        assert_ne!(c, cookie(&s, &key(3, 5), 7));
        assert_ne!(c, cookie(&s, &key(2, 5), 8));
        assert_ne!(c, cookie(&HashKey([1, 3]), &key(2, 5), 7));
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut f = FastOpens::default();
        for n in 0..2 * FAST_OPEN_CACHE_MAX as u32 {
            f.server(Ipv4Addr::from_bits(n).into()).mss = 9;
            f.server(Ipv4Addr::from_bits(n).into()).mss += 1;
        }
        assert_eq!((f.servers.len(), f.order.len()), (FAST_OPEN_CACHE_MAX, FAST_OPEN_CACHE_MAX));
        let youngest = Ipv4Addr::from_bits(2 * FAST_OPEN_CACHE_MAX as u32 - 1);
        assert_eq!(f.servers[&youngest.into()].mss, 10);
    }
}

//! Datagram sockets: UDP (RFC 768, RFC 8085), ICMP echo ("ping"), raw IP. One table, three kinds.
//!
//! Received payload stays in its frame until the application has read it ([`Stack::dgram_front`]); where frames run short
//! it is copied to the heap. A socket belongs to one core; several cores may each bind the same port.
//!
//! [`Stack::dgram_front`]: crate::Stack::dgram_front

mod call;
mod complaint;
mod recv;
mod send;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;

use linerate_frame::{Frame, Pool};
use linerate_wire::FlowKey;
use linerate_wire::flow_key::HashKey;

use crate::flow::table::FlowTable;
use crate::limits::{DGRAM_OVERHEAD, DGRAM_RECV_BYTES, TTL};
use crate::sock::SockError;

/// A datagram socket of one stack. Stale ids (the socket is closed) are recognised by the generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DgramId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What a socket speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DgramKind {
    /// Datagrams with ports.
    Udp,
    /// ICMP or ICMPv6 echo; the port is the identifier.
    Ping,
    /// Packets of an IP protocol.
    Raw {
        /// Which.
        protocol: u8,
    },
}

/// What is done about the path's MTU: Linux's IP_MTU_DISCOVER.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PmtuDiscovery {
    /// DF on what fits the path, fragments of what does not.
    #[default]
    Want,
    /// DF always; what does not fit the path is refused with [`SockError::MessageSize`].
    Do,
    /// Never DF; fragments of what does not fit the link.
    Dont,
    /// DF always, up to the link's MTU, whatever the path is known to take: for those who search for themselves.
    Probe,
}

/// What a socket may be told. Plain values; they count from the next call on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DgramOptions {
    /// Time to live, hop limit; 0 is taken as 1.
    pub ttl: u8,
    /// The same for multicast: RFC 1112 section 6.1 says 1.
    pub multicast_ttl: u8,
    /// DSCP and ECN of what is sent.
    pub tos: u8,
    /// Datagrams to broadcast addresses may be sent.
    pub broadcast: bool,
    /// DF and fragments.
    pub pmtu_discovery: PmtuDiscovery,
    /// Bytes that may wait to be read, upkeep included.
    pub recv_bytes: usize,
    /// ICMP errors are queued for an unconnected socket, too ([`Stack::dgram_next_notice`]).
    ///
    /// [`Stack::dgram_next_notice`]: crate::Stack::dgram_next_notice
    pub notices: bool,
    /// Others that say so, too, may bind the same address and port.
    pub reuse: bool,
    /// UDP over IPv4 leaves without a checksum (RFC 768); IPv6 has none without.
    pub no_checksum: bool,
    /// Raw, IPv4: what is sent begins with an IP header of the caller's.
    pub header_included: bool,
}

impl Default for DgramOptions {
    fn default() -> Self {
        Self {
            ttl: TTL,
            multicast_ttl: 1,
            tos: 0,
            broadcast: false,
            pmtu_discovery: PmtuDiscovery::Want,
            recv_bytes: DGRAM_RECV_BYTES,
            notices: false,
            reuse: false,
            no_checksum: false,
            header_included: false,
        }
    }
}

/// Where a datagram came from, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DgramMeta {
    /// Its sender.
    pub src: IpAddr,
    /// The sender's port; 0 if there is none.
    pub src_port: u16,
    /// The address it was sent to: ours, a group's, a broadcast address.
    pub dst: IpAddr,
    /// TTL or hop limit as it came.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
}

/// An ICMP error about a datagram of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DgramNotice {
    /// What it says.
    pub error: SockError,
    /// Where the datagram was sent to.
    pub dst: IpAddr,
    /// The port there.
    pub dst_port: u16,
    /// For [`SockError::MessageSize`] the MTU that the path takes.
    pub mtu: Option<u16>,
}

/// Payload that waits to be read.
pub(crate) enum Payload {
    Frame(Frame),
    Heap(Box<[u8]>),
}

impl Payload {
    pub fn bytes<'a>(&'a self, pool: &'a Pool) -> &'a [u8] {
        match self {
            Self::Frame(f) => pool.bytes(f),
            Self::Heap(b) => b,
        }
    }

    pub fn free(self, pool: &mut Pool) {
        if let Self::Frame(f) = self {
            pool.free(f);
        }
    }
}

pub(crate) struct Datagram {
    pub meta: DgramMeta,
    pub payload: Payload,
    pub charged: usize,
}

/// One socket.
pub(crate) struct Socket {
    pub kind: DgramKind,
    generation: u32,
    /// `None`: every address of both families; unspecified: every address of its family.
    pub local: Option<IpAddr>,
    pub port: u16,
    /// The port was our choice.
    auto_port: bool,
    pub remote: Option<(IpAddr, u16)>,
    /// Towards `remote`.
    source: Option<IpAddr>,
    pub options: DgramOptions,
    queue: VecDeque<Datagram>,
    queued: usize,
    pub drops: u64,
    error: Option<SockError>,
    notices: VecDeque<DgramNotice>,
    groups: Vec<IpAddr>,
    /// It is in the list of sockets with events.
    ready: bool,
}

impl Socket {
    /// Does it take what is sent to `dst`?
    fn takes(&self, dst: IpAddr) -> bool {
        match self.local {
            None => true,
            Some(a) if a.is_unspecified() => a.is_ipv4() == dst.is_ipv4(),
            Some(a) => a == dst,
        }
    }

    fn is_bound_to(&self, dst: IpAddr) -> bool {
        self.local == Some(dst)
    }

    fn key(&self) -> Option<FlowKey> {
        let (remote, remote_port) = self.remote?;
        Some(FlowKey { local: self.source?, remote, local_port: self.port, remote_port })
    }
}

/// All datagram sockets of a stack.
pub(crate) struct Dgrams {
    sockets: Vec<Option<Socket>>,
    free: Vec<u32>,
    generation: u32,
    /// By kind and port, in the order they were bound.
    ports: BTreeMap<(DgramKind, u16), Vec<u32>>,
    /// Connected UDP sockets by their flow.
    connected: FlowTable,
    hash_key: HashKey,
    /// Raw sockets.
    raws: u32,
    ready: VecDeque<DgramId>,
}

impl Dgrams {
    pub fn new(hash_key: HashKey) -> Self {
        Self {
            sockets: Vec::new(),
            free: Vec::new(),
            generation: 0,
            ports: BTreeMap::new(),
            connected: FlowTable::new(),
            hash_key,
            raws: 0,
            ready: VecDeque::new(),
        }
    }

    pub fn has_raw(&self) -> bool {
        self.raws > 0
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub fn frames_held(&self) -> usize {
        let queues = self.sockets.iter().flatten().flat_map(|s| &s.queue);
        queues.filter(|d| matches!(d.payload, Payload::Frame(_))).count()
    }

    pub fn get(&self, id: DgramId) -> Option<&Socket> {
        self.sockets.get(id.slot as usize)?.as_ref().filter(|s| s.generation == id.generation)
    }

    pub fn get_mut(&mut self, id: DgramId) -> Option<&mut Socket> {
        self.sockets.get_mut(id.slot as usize)?.as_mut().filter(|s| s.generation == id.generation)
    }

    fn insert(
        &mut self,
        kind: DgramKind,
        local: Option<IpAddr>,
        port: u16,
        options: DgramOptions,
    ) -> DgramId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let socket = Socket {
            kind,
            generation,
            local,
            port,
            auto_port: false,
            remote: None,
            source: None,
            options,
            queue: VecDeque::new(),
            queued: 0,
            drops: 0,
            error: None,
            notices: VecDeque::new(),
            groups: Vec::new(),
            ready: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.sockets[slot as usize] = Some(socket);
                slot
            }
            None => {
                self.sockets.push(Some(socket));
                self.sockets.len() as u32 - 1
            }
        };
        self.ports.entry((kind, port)).or_default().push(slot);
        self.raws += matches!(kind, DgramKind::Raw { .. }) as u32;
        DgramId { slot, generation }
    }

    fn unlist(&mut self, kind: DgramKind, port: u16, slot: u32) {
        if let Some(slots) = self.ports.get_mut(&(kind, port)) {
            slots.retain(|s| *s != slot);
            if slots.is_empty() {
                self.ports.remove(&(kind, port));
            }
        }
    }

    fn remove(&mut self, id: DgramId) -> Option<Socket> {
        self.get(id)?;
        self.set_connected(id.slot, None);
        let socket = self.sockets[id.slot as usize].take()?;
        self.unlist(socket.kind, socket.port, id.slot);
        self.free.push(id.slot);
        self.raws -= matches!(socket.kind, DgramKind::Raw { .. }) as u32;
        Some(socket)
    }

    /// Connects, or disconnects: the table of flows follows.
    fn set_connected(&mut self, slot: u32, to: Option<(IpAddr, IpAddr, u16)>) {
        let Self { sockets, connected, hash_key, .. } = self;
        let Some(socket) = sockets[slot as usize].as_mut() else { return };
        if let Some(key) = socket.key().filter(|_| socket.kind == DgramKind::Udp) {
            connected.remove(key.hash_keyed(hash_key), |s| s == slot);
        }
        socket.source = to.map(|(source, _, _)| source);
        socket.remote = to.map(|(_, remote, port)| (remote, port));
        if let Some(key) = socket.key().filter(|_| socket.kind == DgramKind::Udp) {
            connected.insert(key.hash_keyed(hash_key), slot, |s| {
                let key = sockets[s as usize].as_ref().and_then(Socket::key);
                key.expect("every slot of the table is connected").hash_keyed(hash_key)
            });
        }
    }

    /// Sockets of this kind and port.
    fn at_port(&self, kind: DgramKind, port: u16) -> impl Iterator<Item = (u32, &Socket)> {
        let slots = self.ports.get(&(kind, port)).map_or(&[][..], |s| s);
        slots.iter().filter_map(|s| Some((*s, self.sockets[*s as usize].as_ref()?)))
    }

    /// The socket for a datagram to one of our addresses: connected to its sender, else bound to its destination, else
    /// to all. Of several that share an address each flow has its own.
    fn find_udp(&self, key: &FlowKey) -> Option<u32> {
        if self.sockets.len() == self.free.len() {
            return None;
        }
        let hash = key.hash_keyed(&self.hash_key);
        let is_key =
            |s: u32| self.sockets[s as usize].as_ref().and_then(Socket::key).is_some_and(|k| k == *key);
        if let Some(slot) = self.connected.find(hash, is_key) {
            return Some(slot);
        }
        let open = |(_, s): &(u32, &Socket)| s.remote.is_none() && s.takes(key.local);
        let of_port = || self.at_port(DgramKind::Udp, key.local_port).filter(open);
        let bound = of_port().filter(|(_, s)| s.is_bound_to(key.local)).count();
        let closest = |(_, s): &(u32, &Socket)| bound == 0 || s.is_bound_to(key.local);
        let n = of_port().filter(closest).count();
        let pick = if n > 1 { hash as usize % n } else { 0 };
        of_port().filter(closest).nth(pick).map(|(slot, _)| slot)
    }

    /// Is there a socket that sends from this port, or would take an answer to it?
    pub fn has_udp(&self, key: &FlowKey) -> bool {
        self.find_udp(key).is_some()
    }

    fn wake(&mut self, slot: u32) {
        let Some(socket) = self.sockets[slot as usize].as_mut() else { return };
        if !socket.ready {
            socket.ready = true;
            self.ready.push_back(DgramId { slot, generation: socket.generation });
        }
    }

    /// Queues a datagram; counted and given back if there is no room.
    fn push(&mut self, slot: u32, meta: DgramMeta, payload: Payload, len: usize) -> Result<(), Payload> {
        let Some(socket) = self.sockets[slot as usize].as_mut() else { return Err(payload) };
        let charged = len + DGRAM_OVERHEAD;
        // One datagram always fits, whatever the limit.
        if socket.queued + charged > socket.options.recv_bytes && !socket.queue.is_empty() {
            socket.drops += 1;
            return Err(payload);
        }
        socket.queued += charged;
        socket.queue.push_back(Datagram { meta, payload, charged });
        self.wake(slot);
        Ok(())
    }
}

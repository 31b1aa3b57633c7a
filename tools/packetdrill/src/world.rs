//! The stack of one script, and what the script has open.

use std::collections::{BTreeMap, HashMap, VecDeque};

use linerate_frame::{Pool, Region, RxCsum};
use linerate_net::neigh::Resolver;
use linerate_net::route::Route;
use linerate_net::{
    DgramId, Events, FlowId, Ingress, Instant, Link, ListenerId, Stack, StackConfig, TcpConfig,
};

use crate::clock::Clock;
use crate::epoll::Epoll;
use crate::errno::{Errno, Res};
use crate::flags::{Flags, Profile};
use crate::pipe::Pipe;
use crate::shared::Sleepers;
use crate::sys::Reserved;
use crate::sysctl::Sysctls;
use crate::tcp_sock::TcpSock;
use crate::udp_sock::UdpSock;

/// MTU of the link for IPv6 if the flags name none: scripts count an MSS of 1460 there, too.
const MTU_V6: u16 = 1520;
/// MTU for IPv4 if the flags name none.
const MTU_V4: u16 = 1500;
/// Where a received packet begins in its frame: as an Ethernet port would leave it, and more.
const RX_START: u32 = 256;
/// Packet memory, bytes. Small, for packetdrill has locked what the process maps; a write of 4 MiB fits.
const MEMORY_BYTES: usize = 24 << 20;
/// Packets that left and that nobody fetched, at most: a script that never looks at them is not to eat the memory.
const OUT_PKTS_MAX: usize = 1 << 17;

/// What stands behind a descriptor.
pub(crate) enum Kind {
    Tcp(Box<TcpSock>),
    Udp(Box<UdpSock>),
    Epoll(Epoll),
    Pipe { pipe: usize, writes: bool },
}

/// A descriptor.
pub(crate) struct File {
    pub reserved: Reserved,
    pub nonblock: bool,
    pub kind: Kind,
    /// Counts what happened: edges for epoll.
    pub edges: u64,
}

/// See the module.
pub(crate) struct World {
    pub stack: Stack,
    pub clock: Clock,
    pub profile: Profile,
    /// As they were when the last socket was made.
    pub sysctls: Sysctls,
    pub files: BTreeMap<i32, File>,
    pub pipes: Vec<Pipe>,
    /// Whose connections and listeners they are.
    pub flow_fds: HashMap<FlowId, i32>,
    pub listener_fds: HashMap<ListenerId, i32>,
    pub dgram_fds: HashMap<DgramId, i32>,
    pub sleepers: Sleepers,
    out: VecDeque<(Instant, Vec<u8>)>,
    mtu: u16,
}

impl World {
    pub fn new(flags: Flags) -> Self {
        let mtu = flags.mtu.unwrap_or(MTU_V6);
        let mtu_v4 = flags.mtu.unwrap_or(MTU_V4);
        let any = |dst: &str, mtu| Route {
            dst: dst.parse().expect("constant"),
            prefix_len: 0,
            gateway: None,
            metric: 0,
            mtu: Some(mtu),
            prefsrc: None,
        };
        let cfg = StackConfig {
            link: Link::RawIp,
            mtu,
            addrs: flags.local,
            routes: vec![any("0.0.0.0", mtu_v4), any("::", mtu)],
            resolver: Resolver::Own,
            tcp: TcpConfig::default(),
            // A test wants the same run each time; there is nobody to guess.
            secret: [0x6c69_6e65, 0x7261_7465, 0x7061_636b, 0x6472_696c],
        };
        let chunk_bytes = (mtu as usize + RX_START as usize).next_power_of_two().max(2048);
        let frames = MEMORY_BYTES / chunk_bytes;
        let pool = Pool::new(Region::heap(frames as u32, chunk_bytes as u32));
        let clock = Clock::new(flags.real);
        let stack = Stack::new(cfg, pool, clock.now()).expect("the flags were checked");
        Self {
            stack,
            clock,
            profile: flags.profile,
            sysctls: Sysctls::default(),
            files: BTreeMap::new(),
            pipes: Vec::new(),
            flow_fds: HashMap::new(),
            listener_fds: HashMap::new(),
            dgram_fds: HashMap::new(),
            sleepers: Sleepers::default(),
            out: VecDeque::new(),
            mtu,
        }
    }

    /// A new descriptor.
    pub fn open(&mut self, kind: Kind, nonblock: bool) -> Res<i32> {
        let reserved = Reserved::open()?;
        // The C library may have closed a descriptor of ours behind our back and its number be free again: what stood
        // there ends as if it had been closed here.
        let _ = self.forget(reserved.fd);
        self.files.insert(reserved.fd, File { reserved, nonblock, kind, edges: 0 });
        Ok(reserved.fd)
    }

    pub fn file(&mut self, fd: i32) -> Res<&mut File> {
        self.files.get_mut(&fd).ok_or(Errno::EBADF)
    }

    /// Does everything that is due now, and takes what leaves.
    pub fn pump(&mut self) {
        let now = self.clock.now();
        loop {
            self.stack.on_timers(now);
            self.stack.output(now);
            let (pool, batch) = self.stack.pool_and_batch();
            let mut sent = false;
            while let Some(tx) = batch.pop() {
                if self.out.len() < OUT_PKTS_MAX {
                    self.out.push_back((now, pool.tx_bytes(&tx).to_vec()));
                }
                let known = pool.complete(tx.into_index());
                debug_assert!(known, "what is in the batch is being sent");
                sent = true;
            }
            self.note_events();
            if !sent {
                return;
            }
        }
    }

    fn note_events(&mut self) {
        while let Some((flow, events)) = self.stack.next_ready() {
            debug_assert!(events != Events::default());
            if let Some(file) = self.flow_fds.get(&flow).and_then(|fd| self.files.get_mut(fd)) {
                file.edges += 1;
            }
        }
        while let Some(id) = self.stack.next_dgram_ready() {
            if let Some(file) = self.dgram_fds.get(&id).and_then(|fd| self.files.get_mut(fd)) {
                file.edges += 1;
            }
        }
        while let Some(listener) = self.stack.next_accepting() {
            if let Some(file) = self.listener_fds.get(&listener).and_then(|fd| self.files.get_mut(fd)) {
                file.edges += 1;
            }
        }
    }

    /// A packet from the wire. One that is larger than the link's packets (a script's shorthand for many) comes in
    /// as several, before anything is answered.
    pub fn inject(&mut self, packet: &[u8]) {
        let now = self.clock.now();
        for packet in crate::split::split(packet, self.mtu as usize) {
            let pool = self.stack.pool();
            let Some(index) = pool.alloc_fill() else { return };
            let Some(mut frame) = pool.claim_rx(index, RX_START, packet.len() as u32, RxCsum::Unknown) else {
                let _ = pool.reclaim_fill(index);
                return;
            };
            let to = pool.writable(&mut frame).expect("just claimed, not transmitting");
            to[RX_START as usize..RX_START as usize + packet.len()].copy_from_slice(&packet);
            match self.stack.ingress(frame, now) {
                Ingress::Done => {}
                Ingress::Handoff { frame, .. } => self.stack.pool().free(frame),
            }
        }
    }

    pub fn has_packets(&self) -> bool {
        !self.out.is_empty()
    }

    pub fn take_packet(&mut self) -> Option<(Instant, Vec<u8>)> {
        self.out.pop_front()
    }

    /// Takes a descriptor out of everything. Its reserved number is the caller's to close.
    pub fn forget(&mut self, fd: i32) -> Res<File> {
        let file = self.files.remove(&fd).ok_or(Errno::EBADF)?;
        for other in self.files.values_mut() {
            if let Kind::Epoll(epoll) = &mut other.kind {
                epoll.remove(fd);
            }
        }
        match &file.kind {
            Kind::Tcp(_) | Kind::Epoll(_) => {}
            Kind::Udp(sock) => {
                if let Some(id) = sock.id {
                    self.dgram_fds.remove(&id);
                    self.stack.dgram_close(id, self.clock.now());
                }
            }
            Kind::Pipe { pipe, writes } => self.pipes[*pipe].close_end(*writes),
        }
        Ok(file)
    }
}

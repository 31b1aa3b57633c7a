//! The socket and its rings: made, sized, mapped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use linerate_frame::{Pool, Region};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_send_buffer_size_force, set_xdp_rx_ring_size, set_xdp_tx_ring_size,
    set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size, xdp_mmap_offsets,
};
use rustix::net::xdp::XdpRingOffset;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::bind::{BindMode, XskMode, bind};
use super::lent::Lent;
use crate::error::{PortError, RingKind};
use crate::port::Caps;
use crate::ring::{
    CompletionRing, Entry, FillRing, Offsets, RxRing, TxRing, kernel_consumer, kernel_producer,
};
use crate::stats::PortStats;
use crate::sys::mmap::Mapping;
use crate::sys::xsk::register_umem;
use crate::umem::Umem;

/// Descriptors of a ring at most: 2^20 x 16 bytes is far beyond what any NIC's ring uses.
const RING_DESCS_MAX: u32 = 1 << 20;

/// In copy mode a packet under way is charged to the socket's send buffer until its skb is freed; the default of 208 KiB
/// would stop a burst after some hundred packets of 1500 bytes where the NIC completes late. veth frees at once, so
/// there it makes no difference.
const SEND_BUFFER_BYTES: usize = 8 << 20;

/// Which queue, how large the rings, which mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XskConfig {
    /// The interface.
    pub ifindex: u32,
    /// Its queue. One socket with rings of its own a queue.
    pub queue_id: u32,
    /// RX ring; all four have a power of two of descriptors.
    pub rx_descs: u32,
    /// TX ring.
    pub tx_descs: u32,
    /// Fill ring.
    pub fill_descs: u32,
    /// Completion ring, at least as large as the TX ring.
    pub completion_descs: u32,
    /// Frames that the kernel has to receive into, at most; 0: as many as the fill ring holds, but no more than half
    /// of the frames that are free when [`refill`](crate::Port::refill) is first called (the other half is for
    /// the stack and for sending).
    pub fill_level: u32,
    /// What to ask for; a socket on a shared UMEM gets what the first one got.
    pub bind: BindMode,
    /// XDP_USE_NEED_WAKEUP: system calls only when the driver asks for them. Kernel 5.4.
    pub need_wakeup: bool,
    /// What the stack is told; the caller knows the interface. In copy mode, mark received frames
    /// [`RxCsum::MaybePartial`](linerate_frame::RxCsum) where the peer may be a local kernel (veth, tap).
    pub caps: Caps,
}

impl XskConfig {
    /// The defaults for a queue: TX and completion rings of 2048; RX and fill rings of 8192, for ten thousand clients that
    /// connect at once; [`BindMode::Auto`], need_wakeup.
    pub fn new(ifindex: u32, queue_id: u32, caps: Caps) -> Self {
        Self {
            ifindex,
            queue_id,
            rx_descs: 8192,
            tx_descs: 2048,
            fill_descs: 8192,
            completion_descs: 2048,
            fill_level: 0,
            bind: BindMode::Auto,
            need_wakeup: true,
            caps,
        }
    }

    fn check(&self, umem: &Umem) -> Result<(), PortError> {
        let rings = [
            (RingKind::Rx, self.rx_descs),
            (RingKind::Tx, self.tx_descs),
            (RingKind::Fill, self.fill_descs),
            (RingKind::Completion, self.completion_descs),
        ];
        let refuse = |what| Err(PortError::Config { what });
        for (ring, descs) in rings {
            if !descs.is_power_of_two() || descs > RING_DESCS_MAX {
                return refuse(format!(
                    "the {ring} ring has a power of two of descriptors up to {RING_DESCS_MAX}, not {descs}"
                ));
            }
        }
        if self.completion_descs < self.tx_descs {
            let (c, t) = (self.completion_descs, self.tx_descs);
            return refuse(format!("a completion ring of {c} stalls a TX ring of {t}: make it as large"));
        }
        let chunk = umem.region().chunk_bytes();
        let need = Umem::chunk_for_mtu(self.caps.mtu)?;
        if chunk < need {
            return refuse(format!("an MTU of {} takes chunks of {need} bytes, not {chunk}", self.caps.mtu));
        }
        Ok(())
    }
}

/// An AF_XDP socket on one queue, with its four rings: a [`Port`](crate::Port) of one core.
///
/// Dropping it without [`Port::close`](crate::Port::close) is safe but leaves the frames it had unaccounted for,
/// and their memory is then never unmapped.
pub struct Xsk {
    pub(super) socket: Option<OwnedFd>,
    pub(super) rx: RxRing,
    pub(super) tx: TxRing,
    pub(super) fill: FillRing,
    pub(super) done: CompletionRing,
    pub(super) region: Arc<Region>,
    /// log2 of the chunk's bytes: the index of a frame is its address shifted right by it.
    pub(super) chunk_shift: u32,
    pub(super) lent: Lent,
    /// Frames lent that are to be received into (the other ones are being sent).
    pub(super) filled: u32,
    /// Frames to receive into, for now.
    pub(super) fill_level: u32,
    /// And at most.
    pub(super) fill_max: u32,
    /// Refills in a row that found the kernel well supplied.
    pub(super) calm_refills: u32,
    pub(super) need_wakeup: bool,
    /// There may be descriptors that the kernel has not taken from the TX ring.
    pub(super) unsent: bool,
    /// The last descriptor said that its packet goes on in the next one.
    pub(super) in_fragments: bool,
    pub(super) caps: Caps,
    pub(super) stats: PortStats,
    mode: XskMode,
    at: (u32, u32),
}

impl Xsk {
    /// Opens a socket on `umem` and binds it. The first socket of a UMEM registers it; the ones on further queues (or
    /// interfaces) name any open one as `shared`.
    ///
    /// Nothing is received before [`refill`](crate::Port::refill) and before the socket is in the XSKMAP.
    pub fn open(umem: &Umem, config: &XskConfig, shared: Option<&Xsk>) -> Result<Self, PortError> {
        config.check(umem)?;
        let shared = shared.map(|first| check_shared(first, umem, config)).transpose()?;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::XDP, SocketType::RAW, flags, None)
            .map_err(|errno| PortError::Socket { errno })?;
        let fd = socket.as_fd();
        if shared.is_none() {
            let (bytes, chunk_bytes) = (umem.len_bytes(), umem.region().chunk_bytes());
            register_umem(fd, umem.memory(), bytes, chunk_bytes).map_err(|errno| PortError::UmemReg {
                bytes,
                chunk_bytes,
                errno,
            })?;
        }
        // Needs CAP_NET_ADMIN; without it bursts are shorter, nothing else.
        let _ = set_socket_send_buffer_size_force(fd, SEND_BUFFER_BYTES);
        let rings = Rings::new(fd, config)?;
        let mode = bind(fd, config, shared)?;
        let region = umem.region().clone();
        Ok(Self {
            rx: rings.rx,
            tx: rings.tx,
            fill: rings.fill,
            done: rings.done,
            chunk_shift: region.chunk_bytes().trailing_zeros(),
            lent: Lent::new(region.frames()),
            region,
            filled: 0,
            fill_level: 0,
            fill_max: config.fill_level.min(config.fill_descs),
            calm_refills: 0,
            need_wakeup: config.need_wakeup,
            unsent: false,
            in_fragments: false,
            caps: config.caps,
            stats: PortStats::default(),
            mode,
            at: (config.ifindex, config.queue_id),
            socket: Some(socket),
        })
    }

    /// The socket, for the XSKMAP.
    ///
    /// # Panics
    /// After [`close`](crate::Port::close).
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("the port is closed").as_fd()
    }

    /// What was obtained (XDP_OPTIONS).
    pub fn mode(&self) -> XskMode {
        self.mode
    }

    /// The interface.
    pub fn ifindex(&self) -> u32 {
        self.at.0
    }

    /// The queue.
    pub fn queue_id(&self) -> u32 {
        self.at.1
    }

    /// An address means a frame of *this* UMEM: with another pool a forged token would come of it.
    #[inline]
    pub(super) fn check_pool(&self, pool: &Pool) {
        assert!(Arc::ptr_eq(pool.region(), &self.region), "pool over another UMEM");
    }
}

fn check_shared<'a>(first: &'a Xsk, umem: &Umem, config: &XskConfig) -> Result<BorrowedFd<'a>, PortError> {
    let refuse = |what: String| Err(PortError::Config { what });
    let Some(fd) = &first.socket else {
        return refuse("the socket whose UMEM is to be shared is closed".into());
    };
    if !Arc::ptr_eq(&first.region, umem.region()) {
        return refuse("the socket to share with is on another UMEM".into());
    }
    if first.at == (config.ifindex, config.queue_id) {
        let (i, q) = first.at;
        return refuse(format!("interface {i} queue {q} has a socket already: one with own rings a queue"));
    }
    match (config.bind, first.mode) {
        (BindMode::ZeroCopy, XskMode::Copy) | (BindMode::Copy, XskMode::ZeroCopy) => {
            refuse(format!("a shared UMEM is in one mode, the first socket's: {:?}", first.mode))
        }
        _ => Ok(fd.as_fd()),
    }
}

struct Rings {
    rx: RxRing,
    tx: TxRing,
    fill: FillRing,
    done: CompletionRing,
}

impl Rings {
    fn new(fd: BorrowedFd<'_>, c: &XskConfig) -> Result<Self, PortError> {
        use RingKind::{Completion, Fill, Rx, Tx};
        let sized = |ring, descs, r: Result<(), Errno>| {
            r.map_err(|errno| PortError::Ring { ring, step: "setsockopt", descs, errno })
        };
        sized(Fill, c.fill_descs, set_xdp_umem_fill_ring_size(fd, c.fill_descs))?;
        sized(Completion, c.completion_descs, set_xdp_umem_completion_ring_size(fd, c.completion_descs))?;
        sized(Rx, c.rx_descs, set_xdp_rx_ring_size(fd, c.rx_descs))?;
        sized(Tx, c.tx_descs, set_xdp_tx_ring_size(fd, c.tx_descs))?;
        let at = xdp_mmap_offsets(fd).map_err(|errno| {
            let step = "getsockopt(XDP_MMAP_OFFSETS)";
            PortError::Ring { ring: Rx, step, descs: c.rx_descs, errno }
        })?;
        let failed = |ring, descs| move |errno| PortError::Ring { ring, step: "mmap", descs, errno };
        let (rx, tx) = (failed(Rx, c.rx_descs), failed(Tx, c.tx_descs));
        let (fill, done) = (failed(Fill, c.fill_descs), failed(Completion, c.completion_descs));
        // linux/if_xdp.h XDP_PGOFF_* and XDP_UMEM_PGOFF_*.
        Ok(Self {
            rx: map(fd, 0, at.rx, c.rx_descs, kernel_producer).map(RxRing::new).map_err(rx)?,
            tx: map(fd, 0x8000_0000, at.tx, c.tx_descs, kernel_consumer).map(TxRing::new).map_err(tx)?,
            fill: map(fd, 0x1_0000_0000, at.fr, c.fill_descs, kernel_consumer)
                .map(FillRing::new)
                .map_err(fill)?,
            done: map(fd, 0x1_8000_0000, at.cr, c.completion_descs, kernel_producer)
                .map(CompletionRing::new)
                .map_err(done)?,
        })
    }
}

fn map<C, T: Entry>(
    fd: BorrowedFd<'_>,
    page_offset: u64,
    at: XdpRingOffset,
    descs: u32,
    cursor: impl Fn(Mapping, Offsets, u32) -> Result<C, Errno>,
) -> Result<C, Errno>
where
    C: CursorOf<T>,
{
    // No flags word: a kernel before 5.4, which has no need_wakeup either.
    let flags = at.flags.ok_or(Errno::NOPROTOOPT)?;
    let at = Offsets { producer: at.producer, consumer: at.consumer, flags, desc: at.desc };
    cursor(Mapping::of_fd(fd, page_offset, at.map_bytes::<T>(descs))?, at, descs)
}

/// Ties a cursor to its entry, for [`map`] to know the length.
trait CursorOf<T> {}
impl<T: Entry, const PRODUCER: bool> CursorOf<T> for crate::ring::Cursor<T, PRODUCER> {}

/// A socket whose kernel is the test.
#[cfg(test)]
pub(super) mod fake {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::ring::{Consumer, Desc, Producer, memory_pair};
    use linerate_frame::RxCsum;

    pub(in super::super) struct Kernel {
        pub(in super::super) fill: Consumer<u64>,
        pub(in super::super) rx: Producer<Desc>,
        pub(in super::super) tx: Consumer<Desc>,
        pub(in super::super) done: Producer<u64>,
    }

    pub(in super::super) fn xsk(frames: u32, fill_level: u32) -> (Xsk, Pool, Kernel) {
        let region = Region::heap(frames, 2048);
        let (fill, kfill) = memory_pair(1024);
        let (krx, rx) = memory_pair(64);
        let (tx, ktx) = memory_pair(64);
        let (kdone, done) = memory_pair(64);
        let xsk = Xsk {
            // Any fd: system calls on it answer ENOTSOCK.
            socket: Some(eventfd(0, EventfdFlags::CLOEXEC).unwrap()),
            rx: RxRing::new(rx),
            tx: TxRing::new(tx),
            fill: FillRing::new(fill),
            done: CompletionRing::new(done),
            chunk_shift: 11,
            lent: Lent::new(frames),
            region: region.clone(),
            filled: 0,
            fill_level,
            fill_max: fill_level,
            calm_refills: 0,
            need_wakeup: true,
            unsent: false,
            in_fragments: false,
            caps: Caps::ethernet(1500, [2, 0, 0, 0, 0, 1], RxCsum::Unknown),
            stats: PortStats::default(),
            mode: XskMode::Copy,
            at: (1, 0),
        };
        (xsk, Pool::new(region), Kernel { fill: kfill, rx: krx, tx: ktx, done: kdone })
    }
}

//! The account of a port, by the names of LAYOUT.md's "counted when lost" column.

/// Counters since the port was opened. They only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames given to the engine.
    pub rx_packets: u64,
    /// Their bytes, link header included.
    pub rx_bytes: u64,
    /// Transmissions put in.
    pub tx_packets: u64,
    /// Their bytes, link header included.
    pub tx_bytes: u64,
    /// Descriptors from the kernel (RX or completion) that no frame of ours answers to; ignored.
    pub desc_invalid: u64,
    /// Received frames dropped because they span several descriptors (never asked for), or are larger than
    /// the pool's frames.
    pub rx_oversize: u64,
    /// `tx_burst` calls that left transmissions behind for want of room (back-pressure, nothing is lost).
    pub tx_ring_full: u64,
    /// Transmissions no port can carry (empty, or too large), completed unsent.
    pub tx_refused: u64,
    /// Times a ring's peer index was impossible (ahead of what the ring can hold): the ring was then taken for
    /// empty, or full.
    pub ring_invalid: u64,
    /// Refills that found the pool empty while the port wanted frames.
    pub refill_short: u64,
    /// Wake-up system calls made.
    pub wakeups: u64,
    /// What the kernel counted (AF_XDP), or the simulated link dropped for want of frames.
    pub kernel: KernelStats,
}

/// `getsockopt(XDP_STATISTICS)`, linux/if_xdp.h `struct xdp_statistics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KernelStats {
    /// Packets dropped for other reasons (too large for the chunk, for one).
    pub rx_dropped: u64,
    /// Fill addresses the kernel refused.
    pub rx_invalid_descs: u64,
    /// TX descriptors the kernel refused.
    pub tx_invalid_descs: u64,
    /// Packets dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times a packet came and the fill ring was empty.
    pub fill_ring_empty: u64,
    /// Times the kernel looked for work and the TX ring was empty (harmless).
    pub tx_ring_empty: u64,
}

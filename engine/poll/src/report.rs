//! What a core did, as plain numbers, for whoever asks.

use linerate_frame::Ledger;
use linerate_net::Counters;
use linerate_port::PortStats;
use linerate_tcp::TcpCounters;

/// One core at one moment.
#[derive(Clone, Debug)]
pub struct CoreReport {
    /// The CPU.
    pub cpu: usize,
    /// The stack's counters, drops by reason among them.
    pub counters: Counters,
    /// TCP's own.
    pub tcp: TcpCounters,
    /// Each port's.
    pub ports: Vec<PortStats>,
    /// Frames of the whole region by place (the same for all cores but for what moved meanwhile).
    pub ledger: Ledger,
    /// Frames that this core's stack and rings hold, counted where they are.
    pub held: usize,
    /// Connections.
    pub conns: usize,
    /// Connections in TIME-WAIT.
    pub time_waits: usize,
    /// Turns made.
    pub turns: u64,
    /// Times it slept.
    pub sleeps: u64,
    /// Packets handed to other cores.
    pub handoffs_out: u64,
    /// Packets taken over from other cores.
    pub handoffs_in: u64,
    /// CPU time of the thread, ns.
    pub cpu_ns: u64,
}

/// All cores, and what they share.
#[derive(Clone, Debug)]
pub struct Report {
    /// Core by core.
    pub cores: Vec<CoreReport>,
    /// The steering program's counters.
    pub steer: Vec<(&'static str, u64)>,
}

impl Report {
    /// Frames of the region.
    pub fn frames(&self) -> u32 {
        self.cores.first().map_or(0, |c| c.ledger.frames)
    }

    /// Frames accounted for: in pools, with the kernel, being sent, or held and counted where they are.
    pub fn frames_accounted(&self) -> u32 {
        let held: usize = self.cores.iter().map(|c| c.held).sum();
        self.cores.first().map_or(0, |c| c.ledger.accounted(held as u32))
    }

    /// Everything that was lost, by reason: the stack's reasons, the ports', the kernel's.
    pub fn drops(&self) -> std::collections::BTreeMap<String, u64> {
        let mut all = std::collections::BTreeMap::new();
        let mut add = |name: &str, n: u64| {
            if n > 0 {
                *all.entry(name.to_owned()).or_insert(0) += n;
            }
        };
        for core in &self.cores {
            core.counters.nonzero_drops().for_each(|(name, n)| add(name, n));
            for p in &core.ports {
                add("desc_invalid", p.desc_invalid);
                add("rx_oversize", p.rx_oversize);
                add("tx_refused", p.tx_refused);
                add("ring_invalid", p.ring_invalid);
                add("kernel_rx_dropped", p.kernel.rx_dropped);
                add("kernel_rx_invalid_descs", p.kernel.rx_invalid_descs);
                add("kernel_tx_invalid_descs", p.kernel.tx_invalid_descs);
                add("kernel_rx_ring_full", p.kernel.rx_ring_full);
                add("kernel_fill_ring_empty", p.kernel.fill_ring_empty);
            }
        }
        all
    }
}

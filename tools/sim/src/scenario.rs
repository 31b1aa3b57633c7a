//! What a run is made of: everything that is known before it begins.
//!
//! ```text
//!  host 0 ─┐                                          ┌─ host n
//!  host 1 ─┼─► queue, rate, loss, delay, ... ─────────┼─► host n+1      wires[0]
//!   ...    │◄──────────────────────── the same back ──│    ...          wires[1]
//!  host n-1┘        one bottleneck each way           └─ host 2n-1
//! ```

use linerate_net::TcpConfig;
use linerate_port::sim::SimConfig;

/// A run's plan.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Of everything that happens by chance while it runs.
    pub seed: u64,
    /// The bottleneck from left to right, and back.
    pub wires: [SimConfig; 2],
    /// The bottleneck changes on the way (an outage, a slower route), in the order of time.
    pub changes: Vec<Change>,
    /// The left half, then the right half.
    pub hosts: Vec<HostPlan>,
    /// The connections.
    pub flows: Vec<FlowPlan>,
    /// Cross traffic.
    pub noise: Vec<NoisePlan>,
    /// Measure goodput between these times, and stop there; else the run ends when everything is said.
    pub measure_ns: Option<(u64, u64)>,
}

/// From `at_ns` on, the bottleneck of a direction is this.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    /// When.
    pub at_ns: u64,
    /// Which direction: index into [`Scenario::wires`].
    pub way: usize,
    /// To what.
    pub to: SimConfig,
}

/// One host.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Frames of its pool, of 2048 bytes.
    pub frames: u32,
    /// How long the port takes to end a transmission: the frame can't be sent again before.
    pub completion_ns: u64,
    /// Its own way to the bottleneck, ns, for what arrives at it.
    pub access_ns: u64,
    /// Connections that may wait at its listener.
    pub backlog: usize,
    /// TCP's settings.
    pub tcp: TcpConfig,
}

/// One connection: `ends[0]` opens it, `ends[1]` accepts it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FlowPlan {
    /// The hosts of the ends.
    pub hosts: [usize; 2],
    /// Over IPv6.
    pub ipv6: bool,
    /// When it is opened.
    pub start_ns: u64,
    /// What the ends do.
    pub ends: [EndPlan; 2],
}

impl FlowPlan {
    /// One end leaves before everything is said, so bytes may be missing at the other.
    pub fn is_rough(&self) -> bool {
        self.ends.iter().any(|e| e.leave != Leave::ByAgreement)
    }
}

/// What the application at one end does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct EndPlan {
    /// Bytes that it sends.
    pub bytes: u64,
    /// When it may send them.
    pub when: When,
    /// How it writes.
    pub write: Pace,
    /// How it reads.
    pub read: Pace,
    /// How it ends.
    pub leave: Leave,
    /// Nagle's algorithm off.
    pub nodelay: bool,
}

impl Default for EndPlan {
    /// Sends nothing and reads everything.
    fn default() -> Self {
        let pace = Pace { most: 1 << 16, gap_ns: 0 };
        Self {
            bytes: 0,
            when: When::AtOnce,
            write: pace,
            read: pace,
            leave: Leave::ByAgreement,
            nodelay: false,
        }
    }
}

/// When an end may send.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum When {
    /// As soon as there is room.
    AtOnce,
    /// Request and response: `mine` bytes for each `theirs` received, and `mine` ahead if it begins.
    Turns {
        /// Bytes of what this end says in its turn.
        mine: u64,
        /// Bytes that it waits for.
        theirs: u64,
        /// Speaks first.
        first: bool,
    },
    /// When the peer has said everything and closed its side.
    AfterEof,
}

/// At most `most` bytes at once, then a pause.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    /// Bytes, 1 to 65,536.
    pub most: u64,
    /// The pause; 0: none, until there is no more to do.
    pub gap_ns: u64,
}

/// How an end leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// Shuts down when all is sent, closes at the peer's end of stream.
    ByAgreement,
    /// Closes after it sent and received this many bytes, whatever is still to come.
    CloseAfter(u64),
    /// The same, but aborts.
    AbortAfter(u64),
}

/// Packets that no connection sends, at a constant rate, on and off.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NoisePlan {
    /// Direction.
    pub way: usize,
    /// Bytes of a frame, 64 to 1514.
    pub bytes: usize,
    /// Between two of them.
    pub gap_ns: u64,
    /// On for so long, ...
    pub on_ns: u64,
    /// ... then off for so long; 0: always on.
    pub off_ns: u64,
    /// UDP to a port of this host that nobody listens on; `None`: to nobody.
    pub to: Option<usize>,
    /// ECT(0) or not.
    pub ect: bool,
    /// Ends after so many.
    pub packets: u64,
}

//! Every bound of the engine, with its origin.

use linerate_tcp::time::MS;

/// Frames of UMEM a core: half of them to receive into, up to 2048 in the TX ring, the rest for what connections hold
/// (32 MiB at 2 KiB a frame). Above it received payload is copied to the heap before anything is dropped.
pub const FRAMES_PER_CORE: u32 = 16_384;

/// Frames in the ring between two cores: 16 bursts. A full ring is a counted drop, never a wait.
pub const HANDOFF_FRAMES: usize = 1024;

/// Frames that a core has of another before it gives as many back.
pub const FRAMES_HOME_BATCH: u32 = 64;

/// How long a core spins after its last work before it sleeps: several times the 50 us that a wake-up across cores
/// takes in a virtual machine, so that a request-response exchange never pays for one, and far below 1 % of a CPU when
/// packets are rare.
pub const SPIN_NS: u64 = MS / 2;

/// A sleep at most: a lost wake-up (there should be none) costs no more than this.
pub const SLEEP_NS_MAX: u64 = 1000 * MS;

/// Messages from the control thread to a core that are not read yet.
pub const INBOX_MESSAGES: usize = 4096;

/// How long the carrier may be away after a program was attached: igb takes 0.5 s, ice and mlx5 up to a few seconds.
pub const CARRIER_WAIT_NS: u64 = 10_000 * MS;

/// Connections not accepted yet, or half open, of a listener of the built-in services.
pub const BACKLOG: usize = 16_384;

//! The trial: a throw-away socket a mode, really bound to a queue, and undone.
//!
//! ```text
//!   attach native ── bind zero-copy, close ── bind copy, close ── detach ── attach generic ── bind copy ── detach
//! ```
//! The program claims nothing, so it passes every packet on; its link and the sockets die with this process, in
//! whatever way it ends.

use std::time::{Duration, Instant};

use linerate::frame::{Pool, RxCsum};
use linerate::load::{Attach, LoadError, Steer};
use linerate::nic;
use linerate::port::af_xdp::{BindMode, Xsk, XskConfig, XskMode};
use linerate::port::{Caps, Port, PortError, Umem, UmemConfig};
use serde::Serialize;

use super::interface::InterfaceFacts;

/// Enough for every driver's minimum, and 1 or 2 MiB: below the usual memlock limit.
const TRIAL_FRAMES: u32 = 512;
const TRIAL_RING_DESCS: u32 = 256;

/// A driver lets go of a closed socket's queue a little later (engine/port waits 100 ms for zero-copy); detaching
/// before that oopsed a 7.2 guest with virtio_net (AF_XDP_FACTS, pitfall 2).
const SETTLE: Duration = Duration::from_millis(50);

/// How long a carrier that was there is waited for: igb takes 0.5 s, others a few seconds.
const CARRIER_WAIT: Duration = Duration::from_secs(10);

/// The modes, best first.
pub const MODES: [(Attach, BindMode); 3] = [
    (Attach::Native, BindMode::ZeroCopy),
    (Attach::Native, BindMode::Copy),
    (Attach::Generic, BindMode::Copy),
];

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    pub interface: String,
    pub queue: u32,
    /// `native` or `generic`.
    pub attach: &'static str,
    /// `zero-copy` or `copy`: what was asked for.
    pub bind: &'static str,
    /// `ok`, `failed` or `skipped`.
    pub result: &'static str,
    /// Where it failed: `program`, `attach`, `memory` (of the packets), `bind`, `steer` (socket into the map).
    pub step: Option<&'static str>,
    pub errno: Option<i32>,
    /// `zero-copy` or `copy`: what was obtained.
    pub mode: Option<&'static str>,
    /// The kernel's extended-ack text. AF_XDP's bind has none.
    pub kernel_said: Option<String>,
    /// What was tried, what the kernel answered, what to do; or why it was skipped.
    pub why: Option<String>,
    /// The engine goes on to generic mode by itself after this failure of a native attach.
    #[serde(skip)]
    pub falls_back: bool,
}

/// What the trial did to the interface, as the engine will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effects {
    /// Receive queues while a native program was attached, where that is another number.
    pub rx_queues_attached: Option<u32>,
    /// How long the carrier was away after attaching, ms.
    pub carrier_away_ms: Option<u64>,
}

impl Trial {
    pub fn new(interface: &str, queue: u32, mode: (Attach, BindMode)) -> Trial {
        Trial {
            interface: interface.to_owned(),
            queue,
            attach: if mode.0 == Attach::Native { "native" } else { "generic" },
            bind: if mode.1 == BindMode::ZeroCopy { "zero-copy" } else { "copy" },
            result: "ok",
            step: None,
            errno: None,
            mode: None,
            kernel_said: None,
            why: None,
            falls_back: false,
        }
    }

    fn failed_to_attach(mut self, step: &'static str, error: &LoadError) -> Trial {
        (self.result, self.step, self.why) = ("failed", Some(step), Some(error.to_string()));
        (self.errno, self.kernel_said) = match error {
            LoadError::NoNativeXdp { kernel_said, .. } => (Some(libc::EOPNOTSUPP), kernel_said.clone()),
            LoadError::NoSuchInterface { .. } => (Some(libc::ENODEV), None),
            LoadError::ForeignProgram { errno, kernel_said, .. }
            | LoadError::MtuTooLarge { errno, kernel_said, .. }
            | LoadError::Refused { errno, kernel_said, .. } => (Some(*errno), kernel_said.clone()),
            LoadError::Permission { errno, .. }
            | LoadError::KernelTooOld { errno, .. }
            | LoadError::NoMemory { errno, .. }
            | LoadError::Verifier { errno, .. }
            | LoadError::TableFull { errno, .. } => (Some(*errno), None),
            LoadError::Object { .. }
            | LoadError::QueueOutOfRange { .. }
            | LoadError::AlreadyAttached { .. } => (None, None),
        };
        self.falls_back = matches!(error, LoadError::NoNativeXdp { .. } | LoadError::MtuTooLarge { .. });
        self
    }

    fn failed_to_bind(mut self, error: &PortError) -> Trial {
        let step = match error {
            PortError::Bind { .. } | PortError::Options { .. } | PortError::Socket { .. } => "bind",
            _ => "memory",
        };
        (self.result, self.step, self.why) = ("failed", Some(step), Some(error.to_string()));
        self.errno = error.errno();
        self
    }
}

/// All modes, not tried.
pub fn skipped(interface: &str, queue: u32, why: &str) -> Vec<Trial> {
    let skip =
        |mode| Trial { result: "skipped", why: Some(why.to_owned()), ..Trial::new(interface, queue, mode) };
    MODES.into_iter().map(skip).collect()
}

/// Tries all modes in the calling thread's network namespace.
pub fn run(facts: &InterfaceFacts, queue: u32) -> (Vec<Trial>, Effects) {
    let mut effects = Effects::default();
    let trial = |mode| Trial::new(&facts.name, queue, mode);
    let mut steer = match Steer::load() {
        Ok(steer) => steer,
        Err(error) => {
            let failed = MODES.into_iter().map(|mode| trial(mode).failed_to_attach("program", &error));
            return (failed.collect(), effects);
        }
    };
    let mut trials = Vec::new();
    for attach in [Attach::Native, Attach::Generic] {
        let modes = MODES.into_iter().filter(|mode| mode.0 == attach);
        if let Err(error) = steer.attach(facts.ifindex, attach) {
            trials.extend(modes.map(|mode| trial(mode).failed_to_attach("attach", &error)));
            continue;
        }
        let away = await_carrier(facts);
        if attach == Attach::Native {
            effects.carrier_away_ms = away;
            let now = nic::scrape(&facts.name).map_or(facts.rx_queues, |scrape| scrape.link.rx_queues);
            effects.rx_queues_attached = (now != facts.rx_queues).then_some(now);
        }
        trials.extend(modes.map(|mode| bind(trial(mode), mode.1, facts, &mut steer)));
        std::thread::sleep(SETTLE);
        steer.detach();
        // The next attach, and whoever comes after us, should find the link as it was.
        await_carrier(facts);
    }
    (trials, effects)
}

fn bind(mut trial: Trial, bind: BindMode, facts: &InterfaceFacts, steer: &mut Steer) -> Trial {
    let mut xsk = match open(bind, facts, trial.queue) {
        Ok(opened) => opened,
        Err(error) => return trial.failed_to_bind(&error),
    };
    trial.mode = Some(match xsk.socket.mode() {
        XskMode::ZeroCopy => "zero-copy",
        XskMode::Copy => "copy",
    });
    let placed = steer.set_xsk(trial.queue, xsk.socket.as_fd()).and_then(|()| steer.clear_xsk(trial.queue));
    xsk.socket.close(&mut xsk.pool);
    match placed {
        Ok(()) => trial,
        Err(error) => trial.failed_to_attach("steer", &error),
    }
}

/// Fields drop in this order: the socket before the memory that the kernel knows it by.
struct Opened {
    socket: Xsk,
    pool: Pool,
    _umem: Umem,
}

fn open(bind: BindMode, facts: &InterfaceFacts, queue: u32) -> Result<Opened, PortError> {
    // As the engine does: an MTU that no frame holds is refused here, before the kernel is asked.
    let mtu = u16::try_from(facts.mtu).unwrap_or(u16::MAX);
    let chunk_bytes = Umem::chunk_for_mtu(mtu)?;
    let umem = Umem::new(&UmemConfig { frames: TRIAL_FRAMES, chunk_bytes, hugepages: false })?;
    let caps = Caps::ethernet(mtu, facts.mac_bytes, RxCsum::Unknown);
    let config = XskConfig {
        rx_descs: TRIAL_RING_DESCS,
        tx_descs: TRIAL_RING_DESCS,
        fill_descs: TRIAL_RING_DESCS,
        completion_descs: TRIAL_RING_DESCS,
        bind,
        ..XskConfig::new(facts.ifindex, queue, caps)
    };
    let socket = Xsk::open(&umem, &config, None)?;
    Ok(Opened { socket, pool: Pool::new(umem.region().clone()), _umem: umem })
}

/// Waits until a carrier that was there is there again; how long it was away, `None`: not at all.
fn await_carrier(before: &InterfaceFacts) -> Option<u64> {
    let (start, mut away) = (Instant::now(), false);
    while before.carrier && start.elapsed() < CARRIER_WAIT {
        match nic::scrape(&before.name) {
            Ok(scrape) if scrape.link.carrier => break,
            Ok(_) => away = true,
            Err(_) => break,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    away.then(|| start.elapsed().as_millis() as u64)
}

//! What must hold of a stack between any two calls, checked by a walk over everything it has: for simulators and
//! fuzzers, not for a turn.

use core::fmt;

use linerate_frame::Ledger;
use linerate_tcp::State;

use crate::flow::FlowId;
use crate::stack::Stack;

/// What was found wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditError {
    /// A frame is nowhere, or in two places.
    Frames {
        /// The region's own account.
        ledger: Ledger,
        /// What connections, neighbours and the like count.
        held: usize,
    },
    /// A connection waits for something that no timer watches over: it could wait for ever.
    NoTimer {
        /// Which.
        id: FlowId,
        /// Its state.
        state: State,
        /// What it waits for.
        waits_for: &'static str,
    },
    /// The wheel would fire later than the connection's deadline, or never.
    WheelLate {
        /// Which.
        id: FlowId,
        /// Its deadline, ns.
        deadline_ns: u64,
        /// What the wheel has.
        armed_ns: Option<u64>,
    },
    /// A connection has work for the next turn, and is in no list of it.
    Forgotten {
        /// Which.
        id: FlowId,
        /// The list.
        list: &'static str,
    },
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames { ledger, held } => write!(f, "frames lost: {ledger:?}, {held} held by count"),
            Self::NoTimer { id, state, waits_for } => {
                write!(f, "{id:?} in {state:?} waits for {waits_for} without a timer")
            }
            Self::WheelLate { id, deadline_ns, armed_ns } => {
                write!(f, "{id:?} has a deadline at {deadline_ns} ns, the wheel fires at {armed_ns:?}")
            }
            Self::Forgotten { id, list } => write!(f, "{id:?} should be in the {list} list"),
        }
    }
}

impl core::error::Error for AuditError {}

impl Stack {
    /// Checks that every frame has one place, that whatever a connection waits for is watched by a timer, and that no
    /// connection with work is forgotten. Between turns, with no frame of this pool outside but those being sent.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn audit(&self) -> Result<(), AuditError> {
        let (ledger, held) = (self.pool.ledger(), self.frames_held());
        if !ledger.accounts_for(held as u32) {
            return Err(AuditError::Frames { ledger, held });
        }
        for (slot, conn) in (0u32..).zip(self.flows.conns.iter()) {
            let Some(conn) = conn else { continue };
            let id = FlowId { slot, generation: conn.generation };
            if conn.dirty != self.dirty.contains(&slot) {
                return Err(AuditError::Forgotten { id, list: "output" });
            }
            if conn.ready && !self.is_listed_ready(id) {
                return Err(AuditError::Forgotten { id, list: "ready" });
            }
            // What is to be sent in the next turn has its timers set there.
            if conn.dirty {
                continue;
            }
            if let Some(waits_for) = conn.tcb.unwatched() {
                return Err(AuditError::NoTimer { id, state: conn.tcb.state(), waits_for });
            }
            let deadline = conn.tcb.next_deadline().armed().map(|t| t.0);
            let armed_ns = self.wheel.deadline(slot);
            if let Some(deadline_ns) = deadline
                && armed_ns.is_none_or(|armed| armed > deadline_ns)
            {
                return Err(AuditError::WheelLate { id, deadline_ns, armed_ns });
            }
        }
        Ok(())
    }

    /// Connections that wait to be accepted count as told: accept tells them.
    fn is_listed_ready(&self, id: FlowId) -> bool {
        self.ready.contains(&id) || self.listeners.is_queued(id)
    }
}

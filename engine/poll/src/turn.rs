//! The turn: everything a core does, in the order of a packet's journey.

use linerate_net::{DropReason, Ingress, Instant};
use linerate_port::Port;

use crate::core::Core;

impl<P: Port> Core<P> {
    /// One turn at time `now`. Returns how much there was to do; 0: nothing.
    pub fn turn(&mut self, now: Instant) -> usize {
        let mut work = self.take_messages(now);
        for i in 0..self.ports.len() {
            self.ports[i].reap(self.stack.pool());
            work += self.ports[i].rx_burst(self.stack.pool(), &mut self.burst);
            self.ingress_burst(now);
        }
        while let Some((frame, parsed)) = self.mesh.take(self.stack.pool()) {
            self.stack.ingress_handed(frame, parsed, now);
            work += 1;
        }
        self.stack.on_timers(now);
        work += self.services.turn(&mut self.stack, now);
        self.stack.output(now);
        work += self.tx();
        self.mesh.settle_debts(self.stack.pool());
        self.mesh.wake();
        self.pass_lessons();
        for port in &mut self.ports {
            port.refill(self.stack.pool());
        }
        #[cfg(debug_assertions)]
        self.check_ledger();
        work
    }

    fn ingress_burst(&mut self, now: Instant) {
        for frame in self.burst.drain() {
            if let Ingress::Handoff { frame, parsed, owner } = self.stack.ingress(frame, now)
                && let Err(frame) = self.mesh.give(owner, frame, parsed)
            {
                self.stack.drop_frame(frame, DropReason::HandoffFull);
            }
        }
    }

    fn tx(&mut self) -> usize {
        let (pool, batch) = self.stack.pool_and_batch();
        let Some(port) = self.ports.first_mut() else { return 0 };
        let mut sent = 0;
        if !batch.is_empty() {
            sent = port.tx_burst(pool, batch);
        }
        if sent > 0 || port.needs_poll_wake() {
            // What the kernel does not take now stays in the ring; an interface that is gone is the control
            // thread's to notice.
            let _ = port.wake();
        }
        sent
    }

    /// DESIGN rule 1, every turn of a debug build: with one core (others move frames meanwhile) the counts add up.
    #[cfg(debug_assertions)]
    fn check_ledger(&mut self) {
        if self.mesh.is_alone() {
            let held = (self.stack.frames_held() + self.burst.len()) as u32;
            let ledger = self.stack.pool().ledger();
            debug_assert!(ledger.accounts_for(held), "{ledger:?}, {held} held by count");
        }
    }
}

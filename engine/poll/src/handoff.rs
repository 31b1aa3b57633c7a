//! From core to core: a bounded ring of frames for each ordered pair. The frame moves, its bytes don't.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use linerate_frame::{Frame, Pool};
use linerate_wire::Parsed;
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::fd::OwnedFd;

use crate::limits::{FRAMES_HOME_BATCH, HANDOFF_FRAMES};

/// What one core gives another.
pub enum Handed {
    /// A packet of a flow that the other one owns.
    Packet {
        /// The frame.
        frame: Frame,
        /// What it was parsed to.
        parsed: Parsed,
    },
    /// A frame of the other's share that is not needed here any more.
    Home(Frame),
}

/// How to wake a core that may sleep.
pub struct Waker {
    sleeping: AtomicBool,
    eventfd: OwnedFd,
}

impl Waker {
    /// # Errors
    /// If the kernel has no eventfd to give.
    pub fn new() -> rustix::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let eventfd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { sleeping: AtomicBool::new(false), eventfd })
    }

    /// What was put into a ring or a flag before this call is seen by the core: either it is awake and looks before it
    /// sleeps, or it is woken. One atomic load while it is awake.
    pub fn wake(&self) {
        // The store to the ring must be visible before the flag is read; the sleeper does it the other way round.
        std::sync::atomic::fence(SeqCst);
        if self.sleeping.swap(false, SeqCst) {
            // It can only fail when the counter is full, and then the core is being woken already.
            let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// The core says that it goes to sleep; it must look for work once more after this.
    pub(crate) fn about_to_sleep(&self) {
        self.sleeping.store(true, SeqCst);
        std::sync::atomic::fence(SeqCst);
    }

    /// The core is awake.
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, SeqCst);
        let mut count = [0; 8];
        // Empty is fine: then something else woke it.
        let _ = rustix::io::read(&self.eventfd, &mut count);
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.eventfd
    }
}

/// The rings between one core and all others.
pub struct Mesh {
    to: Vec<Option<(Producer<Handed>, Arc<Waker>)>>,
    from: Vec<Option<Consumer<Handed>>>,
    /// Frames received from each core and not given back.
    owed: Vec<u32>,
    /// Cores that something was put in for since they were last woken.
    touched: Vec<bool>,
    /// Packets handed over.
    pub sent: u64,
    /// Packets taken over.
    pub received: u64,
}

impl Mesh {
    /// The meshes of cores with these wakers.
    pub fn new(wakers: &[Arc<Waker>]) -> Vec<Self> {
        let n = wakers.len();
        let mut meshes: Vec<Self> = (0..n)
            .map(|_| Self {
                to: (0..n).map(|_| None).collect(),
                from: (0..n).map(|_| None).collect(),
                owed: vec![0; n],
                touched: vec![false; n],
                sent: 0,
                received: 0,
            })
            .collect();
        for a in 0..n {
            for b in (0..n).filter(|b| *b != a) {
                let (p, c) = RingBuffer::new(HANDOFF_FRAMES);
                meshes[a].to[b] = Some((p, wakers[b].clone()));
                meshes[b].from[a] = Some(c);
            }
        }
        meshes
    }

    /// Gives a packet to the core that owns its flow; back if the ring is full, or there is no such core.
    pub fn give(&mut self, owner: u8, frame: Frame, parsed: Parsed) -> Result<(), Frame> {
        let Some(Some((ring, _))) = self.to.get_mut(owner as usize) else { return Err(frame) };
        match ring.push(Handed::Packet { frame, parsed }) {
            Ok(()) => {
                self.touched[owner as usize] = true;
                self.sent += 1;
                Ok(())
            }
            Err(rtrb::PushError::Full(Handed::Packet { frame, .. } | Handed::Home(frame))) => Err(frame),
        }
    }

    /// The next packet for this core; frames that come home go to the pool.
    pub fn take(&mut self, pool: &mut Pool) -> Option<(Frame, Parsed)> {
        for (core, ring) in self.from.iter_mut().enumerate() {
            let Some(ring) = ring else { continue };
            while let Ok(handed) = ring.pop() {
                match handed {
                    Handed::Packet { frame, parsed } => {
                        self.owed[core] += 1;
                        self.received += 1;
                        return Some((frame, parsed));
                    }
                    Handed::Home(frame) => pool.free(frame),
                }
            }
        }
        None
    }

    /// Gives back as many frames as came from a core, a batch at a time, so that no core runs dry by handing over.
    pub fn settle_debts(&mut self, pool: &mut Pool) {
        for core in 0..self.owed.len() {
            if self.owed[core] < FRAMES_HOME_BATCH {
                continue;
            }
            let Some((ring, _)) = &mut self.to[core] else { continue };
            while self.owed[core] > 0 && ring.slots() > 0 {
                let Some(frame) = pool.alloc() else { return };
                if let Err(rtrb::PushError::Full(Handed::Home(frame) | Handed::Packet { frame, .. })) =
                    ring.push(Handed::Home(frame))
                {
                    pool.free(frame);
                    break;
                }
                self.owed[core] -= 1;
            }
        }
    }

    /// Wakes the cores that got something this turn.
    pub fn wake(&mut self) {
        for (core, touched) in self.touched.iter_mut().enumerate() {
            if core::mem::take(touched)
                && let Some((_, waker)) = &self.to[core]
            {
                waker.wake();
            }
        }
    }

    /// One core, no mesh.
    pub fn is_alone(&self) -> bool {
        self.from.len() < 2
    }

    /// Frames waiting for this core.
    pub fn waiting(&self) -> usize {
        self.from.iter().flatten().map(Consumer::slots).sum()
    }

    /// Is nothing waiting for this core?
    pub fn is_empty(&self) -> bool {
        self.from.iter().flatten().all(Consumer::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linerate_frame::Region;

    fn parsed() -> Parsed {
        let mut arp = vec![0xff; 14];
        arp[12..].copy_from_slice(&[8, 6]);
        arp.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        arp.resize(60, 0);
        linerate_wire::parse(&arp).unwrap()
    }

    fn two() -> (Vec<Pool>, Vec<Mesh>) {
        let wakers: Vec<_> = (0..2).map(|_| Arc::new(Waker::new().unwrap())).collect();
        (Pool::split(Region::heap(4096, 512), 2), Mesh::new(&wakers))
    }

    #[test]
    fn packets_arrive_in_order_and_frames_come_home() {
        let (mut pools, mut m) = two();
        for round in 0..100 {
            let mut order = Vec::new();
            for _ in 0..50 {
                let f = pools[0].alloc().expect("frames come home");
                order.push(f.index());
                m[0].give(1, f, parsed()).unwrap();
            }
            let (pool0, pool1) = pools.split_at_mut(1);
            for index in order {
                let (f, _) = m[1].take(&mut pool1[0]).unwrap();
                assert_eq!(f.index(), index);
                pool1[0].free(f);
            }
            m[1].settle_debts(&mut pool1[0]);
            assert!(m[0].take(&mut pool0[0]).is_none());
            assert!(pools[0].free_len() >= 2048 - 128, "round {round}: {}", pools[0].free_len());
        }
        assert_eq!((m[0].sent, m[1].received), (5000, 5000));
    }

    #[test]
    fn a_full_ring_gives_the_frame_back() {
        let (mut pools, mut m) = two();
        for _ in 0..HANDOFF_FRAMES {
            let f = pools[0].alloc().unwrap();
            m[0].give(1, f, parsed()).unwrap();
        }
        let f = pools[0].alloc().unwrap();
        let f = m[0].give(1, f, parsed()).unwrap_err();
        pools[0].free(f);
        let f = pools[0].alloc().unwrap();
        let f = m[0].give(7, f, parsed()).unwrap_err();
        pools[0].free(f);
    }

    #[test]
    fn no_wake_up_is_lost() {
        let w = Arc::new(Waker::new().unwrap());
        let flag = Arc::new(AtomicBool::new(false));
        let (w2, flag2) = (w.clone(), flag.clone());
        let sleeper = std::thread::spawn(move || {
            for _ in 0..1000 {
                while !flag2.swap(false, SeqCst) {
                    w2.about_to_sleep();
                    if !flag2.load(SeqCst) {
                        let mut fds = [rustix::event::PollFd::new(w2.fd(), rustix::event::PollFlags::IN)];
                        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
                        assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1), "slept for ever");
                    }
                    w2.awake();
                }
            }
        });
        for _ in 0..1000 {
            flag.store(true, SeqCst);
            w.wake();
            while flag.load(SeqCst) {
                std::thread::yield_now();
            }
        }
        sleeper.join().unwrap();
    }
}

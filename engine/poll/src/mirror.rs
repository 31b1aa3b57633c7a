//! The host's neighbour table, mirrored into the stacks: beside a kernel that has the same addresses, the kernel
//! resolves, and we follow.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use linerate_net::neigh::{Known, Resolver};
use linerate_net::{Instant, Lesson};
use linerate_nic::NeighbourWatch;
use linerate_port::Port;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;

use crate::core::{Core, Shared};
use crate::handoff::Waker;

/// What the kernel says of a neighbour.
#[derive(Clone, Copy, Debug)]
pub struct NeighbourNews {
    /// Who.
    pub addr: IpAddr,
    /// Where; `None`: not known any more.
    pub mac: Option<[u8; 6]>,
    /// Set by hand: never ages.
    pub permanent: bool,
}

/// What a core is told by others.
#[derive(Clone, Debug)]
pub enum Message {
    /// By the control thread: the kernel's news.
    Kernel(NeighbourNews),
    /// By another core: what a packet on its queue taught.
    Lesson(Lesson),
}

impl<P: Port> Core<P> {
    /// Tells the other cores what ARP and ND packets on this one's queues taught.
    pub(crate) fn pass_lessons(&mut self) {
        while let Some(lesson) = self.stack.next_lesson() {
            for peer in &self.peers {
                peer.inbox.force_push(Message::Lesson(lesson.clone()));
                peer.waker.wake();
            }
        }
    }

    /// Takes in what the control thread has to say, and asks it what the stack wants to know.
    pub(crate) fn take_messages(&mut self, now: Instant) -> usize {
        let mut n = 0;
        while let Some(message) = self.shared.inbox.pop() {
            n += 1;
            match message {
                Message::Kernel(news) => self.take_news(news, now),
                Message::Lesson(lesson) => self.stack.learn(lesson, now),
            }
        }
        if self.stack.neigh().resolver() == Resolver::Kernel {
            while let Some(ip) = self.stack.next_asked() {
                // A full queue: the stack asks again.
                let _ = self.shared.asks.push(ip);
                self.shared.ask_waker.wake();
            }
        }
        n
    }

    fn take_news(&mut self, news: NeighbourNews, now: Instant) {
        let neigh = self.stack.neigh();
        match news.mac {
            Some(mac) => {
                let known = if news.permanent { Known::Permanent } else { Known::Stale };
                neigh.set(news.addr, mac, known, now.0);
            }
            None => neigh.fail(news.addr, now.0),
        }
    }
}

/// The control thread's loop: kernel's news to all cores, their questions to the kernel. Ends with `stop`.
pub(crate) fn follow(
    ifindex: u32,
    mut watch: NeighbourWatch,
    cores: &[Arc<Shared>],
    waker: &Waker,
    stop: &AtomicBool,
) {
    while !stop.load(SeqCst) {
        for event in watch.by_ref() {
            tell(cores, NeighbourNews { addr: event.addr, mac: event.mac, permanent: false });
        }
        for core in cores {
            while let Some(addr) = core.asks.pop() {
                // An error (the interface is gone) looks to the stack like a neighbour that doesn't answer.
                if let Ok(Some(mac)) = linerate_nic::ask_kernel(ifindex, addr) {
                    tell(cores, NeighbourNews { addr, mac: Some(mac), permanent: false });
                }
            }
        }
        waker.about_to_sleep();
        if stop.load(SeqCst) || cores.iter().any(|c| !c.asks.is_empty()) {
            waker.awake();
            continue;
        }
        let mut fds =
            [PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN), PollFd::new(waker.fd(), PollFlags::IN)];
        let _ = poll(&mut fds, None);
        waker.awake();
    }
}

fn tell(cores: &[Arc<Shared>], news: NeighbourNews) {
    for core in cores {
        // A core that doesn't read its messages loses the oldest ones: it asks again when it needs them.
        core.inbox.force_push(Message::Kernel(news));
        core.waker.wake();
    }
}

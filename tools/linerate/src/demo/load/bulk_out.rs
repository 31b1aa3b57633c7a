//! Bulk out of the server: pattern from the source, every byte compared, counted where it arrives.

use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::{Shutdown, shutdown};

use super::super::service::ENDLESS;
use super::super::{pattern, socket};
use super::connect::connect_all;
use super::outcome::{ErrorKind, Outcome};
use super::poller::Poller;
use super::window::Window;
use super::{Job, Wait};

/// Size of a read, bytes.
const BUF_BYTES: usize = pattern::MAX_SLICE;
/// Full reads for one event.
const CALLS: usize = 8;

struct Stream {
    fd: OwnedFd,
    received: u64,
    ended: bool,
}

/// Runs it. At the end it sends its FIN, and reads on to the server's: nothing is reset, and the tail of the
/// stream is checked as its middle is.
pub fn run(job: &Job, conns: usize) -> Outcome {
    let mut errors = Default::default();
    let fds = connect_all(job.addr, conns, &mut errors);
    let mut window = Window::start(job);
    window.errors = errors;
    let mut streams: Vec<Stream> =
        fds.into_iter().map(|fd| Stream { fd, received: 0, ended: false }).collect();
    if let Err(errno) = receive(&mut streams, &mut window) {
        window.errors.add_errno(errno);
    }
    window.finish()
}

fn receive(streams: &mut [Stream], window: &mut Window) -> rustix::io::Result<()> {
    let mut poller = Poller::new(Wait::Sleep)?;
    for (token, stream) in (0..).zip(streams.iter()) {
        poller.add(&stream.fd, token, EventFlags::IN)?;
        socket::send(&stream.fd, &ENDLESS.to_be_bytes())?;
    }
    let mut buf = vec![0; BUF_BYTES];
    let mut now = Instant::now();
    let mut deadline = window.deadline();
    let mut running = true;
    let mut open = streams.len();
    while open > 0 && now < deadline {
        if running && !window.running(now) {
            running = false;
            deadline = window.deadline();
            for stream in streams.iter().filter(|stream| !stream.ended) {
                shutdown(&stream.fd, Shutdown::Write)?;
            }
        }
        let until = if running { window.end() } else { deadline };
        for event in poller.wait(now, until)? {
            let stream = &mut streams[event.data.u64() as usize];
            if !stream.ended {
                stream.read(&mut buf, window)?;
                if stream.ended {
                    open -= 1;
                    if running {
                        window.errors.add(ErrorKind::Short, "an endless stream ended");
                    }
                }
            }
        }
        now = Instant::now();
    }
    window.close();
    for _ in 0..open {
        window.errors.add(ErrorKind::Stalled, "no end of the stream within the time of grace");
    }
    if streams.iter().any(|stream| stream.received == 0) {
        window.errors.add(ErrorKind::Stalled, "not one byte came");
    }
    Ok(())
}

impl Stream {
    fn read(&mut self, buf: &mut [u8], window: &mut Window) -> rustix::io::Result<()> {
        for _ in 0..CALLS {
            match socket::recv(&self.fd, buf)? {
                Some(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Some(n) => {
                    let wrong = pattern::mismatches(self.received, &buf[..n]);
                    if wrong != 0 {
                        let at = self.received;
                        window.errors.add(ErrorKind::Mismatch, format!("{wrong} wrong bytes of {n} at {at}"));
                    }
                    self.received += n as u64;
                    window.moved(n as u64);
                    if n < buf.len() {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

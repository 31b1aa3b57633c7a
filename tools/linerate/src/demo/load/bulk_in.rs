//! Bulk into the server: pattern to the sink, as fast as it takes it. The figure is the receiver's count over
//! the time until its report came, so what only filled buffers is not counted as delivered.

use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::net::{Shutdown, shutdown};

use super::super::service::SINK_ANSWER_BYTES;
use super::super::{pattern, socket};
use super::connect::connect_all;
use super::outcome::{ErrorKind, Outcome};
use super::poller::Poller;
use super::window::Window;
use super::{GRACE, Job, Wait};

/// Full `send`s for one event.
const CALLS: usize = 8;

struct Stream {
    fd: OwnedFd,
    sent: u64,
    answer: Vec<u8>,
    done: bool,
}

/// Runs it: a tenth of the time on connections that don't count (the server's report is for a whole
/// connection, so a warm-up can't be cut out of it), then the rest on new ones.
pub fn run(job: &Job, conns: usize) -> Outcome {
    let mut window = Window::start(job);
    let warm_up = job.duration / 10;
    transfer(job, conns, warm_up, &mut window);
    if window.errors.total() == 0 {
        window.open();
        let delivered = transfer(job, conns, job.duration - warm_up, &mut window);
        window.moved(delivered);
    }
    window.finish()
}

/// Sends for `duration`, waits for the reports, and returns the bytes that arrived right.
fn transfer(job: &Job, conns: usize, duration: Duration, window: &mut Window) -> u64 {
    let end = Instant::now() + duration;
    let fds = connect_all(job.addr, conns, &mut window.errors);
    let mut streams: Vec<Stream> =
        fds.into_iter().map(|fd| Stream { fd, sent: 0, answer: Vec::new(), done: false }).collect();
    if let Err(errno) = send_until(job, end, &mut streams).and_then(|()| collect_reports(&mut streams)) {
        window.errors.add_errno(errno);
    }
    streams.iter().map(|stream| judge(stream, window)).sum()
}

fn send_until(job: &Job, end: Instant, streams: &mut [Stream]) -> rustix::io::Result<()> {
    let mut poller = Poller::new(Wait::Sleep)?;
    for (token, stream) in (0..).zip(streams.iter()) {
        poller.add(&stream.fd, token, EventFlags::OUT)?;
    }
    let mut now = Instant::now();
    while now < end && !streams.is_empty() && !job.stop.load(std::sync::atomic::Ordering::Relaxed) {
        for event in poller.wait(now, end)? {
            let stream = &mut streams[event.data.u64() as usize];
            for _ in 0..CALLS {
                let bytes = pattern::slice_at(stream.sent, pattern::MAX_SLICE);
                let n = socket::send(&stream.fd, bytes)?;
                stream.sent += n as u64;
                if n < bytes.len() {
                    break;
                }
            }
        }
        now = Instant::now();
    }
    Ok(())
}

fn collect_reports(streams: &mut [Stream]) -> rustix::io::Result<()> {
    let mut poller = Poller::new(Wait::Sleep)?;
    for (token, stream) in (0..).zip(streams.iter()) {
        shutdown(&stream.fd, Shutdown::Write)?;
        poller.add(&stream.fd, token, EventFlags::IN)?;
    }
    let mut now = Instant::now();
    let deadline = now + GRACE;
    let mut left = streams.len();
    while left > 0 && now < deadline {
        for event in poller.wait(now, deadline)? {
            let stream = &mut streams[event.data.u64() as usize];
            let mut buf = [0; 64];
            match socket::recv(&stream.fd, &mut buf)? {
                Some(n) => stream.answer.extend_from_slice(&buf[..n]),
                None => continue,
            }
            // The report ends the measurement; the FIN behind it is not waited for.
            if !stream.done && stream.answer.len() >= SINK_ANSWER_BYTES {
                stream.done = true;
                left -= 1;
            }
        }
        now = Instant::now();
    }
    Ok(())
}

/// The bytes that arrived, if the report says that all did and were right.
fn judge(stream: &Stream, window: &mut Window) -> u64 {
    let Ok(answer) = <[u8; SINK_ANSWER_BYTES]>::try_from(stream.answer.as_slice()) else {
        let kind = if stream.answer.is_empty() { ErrorKind::Stalled } else { ErrorKind::Short };
        window.errors.add(kind, format!("the sink's report has {} bytes of 16", stream.answer.len()));
        return 0;
    };
    let [count, wrong] =
        [&answer[..8], &answer[8..]].map(|half| half.iter().fold(0, |n, &byte| n << 8 | u64::from(byte)));
    if count != stream.sent {
        window.errors.add(ErrorKind::Short, format!("the sink got {count} bytes of {}", stream.sent));
    }
    if wrong != 0 {
        window.errors.add(ErrorKind::Mismatch, format!("the sink saw {wrong} wrong bytes of {count}"));
    }
    count
}

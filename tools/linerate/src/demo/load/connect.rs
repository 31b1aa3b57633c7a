//! Opening the connections of a load.

use std::net::SocketAddr;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::sockopt;

use super::super::socket;
use super::GRACE;
use super::outcome::{ErrorKind, Errors};

/// Opens `n` connections at once; what did not open is in `errors`, the rest is returned.
pub fn connect_all(addr: SocketAddr, n: usize, errors: &mut Errors) -> Vec<OwnedFd> {
    let deadline = Instant::now() + GRACE;
    let mut fds = Vec::with_capacity(n);
    for _ in 0..n {
        match socket::connect(addr) {
            Ok(fd) => fds.push(fd),
            Err(errno) => errors.add(ErrorKind::Connect, format!("{addr}: {errno}")),
        }
    }
    fds.retain(|fd| match opened(fd, deadline) {
        Ok(()) => true,
        Err(what) => {
            errors.add(ErrorKind::Connect, format!("{addr}: {what}"));
            false
        }
    });
    fds
}

fn opened(fd: &OwnedFd, deadline: Instant) -> Result<(), String> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    match poll(&mut [PollFd::new(fd, PollFlags::OUT)], Some(&timeout)) {
        Ok(0) => Err("no answer".into()),
        Ok(_) => match sockopt::socket_error(fd) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(errno)) | Err(errno) => Err(errno.to_string()),
        },
        Err(errno) => Err(errno.to_string()),
    }
}

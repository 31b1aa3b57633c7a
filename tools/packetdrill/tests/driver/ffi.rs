//! The table's words as C would call them.

use std::ffi::{CString, c_char, c_int, c_long, c_longlong, c_ulong, c_void};
use std::mem::transmute;
use std::ptr;

use linerate_packetdrill::ffi::{WORDS, packetdrill_interface_init};

/// The error number that a failed call left.
pub type Errno = i32;

/// A table as `packetdrill_interface_init` filled it.
#[derive(Clone, Copy)]
pub struct Table(pub [usize; WORDS]);

fn errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn result(n: isize) -> Result<isize, Errno> {
    if n >= 0 { Ok(n) } else { Err(errno()) }
}

macro_rules! call {
    ($table:expr, $word:literal, ($($ty:ty),*) -> $ret:ty, ($($arg:expr),*)) => {{
        type F = unsafe extern "C" fn(*mut c_void, $($ty),*) -> $ret;
        // SAFETY: the word is a function of this type by the table's definition; the arguments are valid by the caller.
        let f: F = unsafe { transmute::<usize, F>($table.0[$word]) };
        // SAFETY: as above.
        unsafe { f($table.0[0] as *mut c_void, $($arg),*) }
    }};
}

impl Table {
    pub fn init(flags: Option<&str>) -> Self {
        let text = flags.map(|f| CString::new(f).unwrap());
        let mut words = [0; WORDS];
        let p: *const c_char = text.as_ref().map_or(ptr::null(), |t| t.as_ptr());
        // SAFETY: the string ends with a NUL, and `words` has room.
        unsafe { packetdrill_interface_init(p, words.as_mut_ptr()) };
        Self(words)
    }

    pub fn free(&self) {
        call!(self, 1, () -> (), ());
    }

    pub fn socket(&self, domain: i32, ty: i32, protocol: i32) -> Result<i32, Errno> {
        result(call!(self, 2, (c_int, c_int, c_int) -> c_int, (domain, ty, protocol)) as isize)
            .map(|n| n as i32)
    }

    pub fn bind(&self, fd: i32, addr: Option<&[u8]>) -> Result<isize, Errno> {
        let (p, n) = addr.map_or((ptr::null(), 16), |a| (a.as_ptr(), a.len() as u32));
        result(call!(self, 3, (c_int, *const u8, u32) -> c_int, (fd, p, n)) as isize)
    }

    pub fn listen(&self, fd: i32, backlog: i32) -> Result<isize, Errno> {
        result(call!(self, 4, (c_int, c_int) -> c_int, (fd, backlog)) as isize)
    }

    /// The new descriptor and the peer's address.
    pub fn accept(&self, fd: i32) -> Result<(i32, Vec<u8>), Errno> {
        let (mut addr, mut len) = (vec![0u8; 128], 128u32);
        let n = call!(self, 5, (c_int, *mut u8, *mut u32) -> c_int, (fd, addr.as_mut_ptr(), &mut len));
        addr.truncate(len as usize);
        result(n as isize).map(|n| (n as i32, addr))
    }

    pub fn connect(&self, fd: i32, addr: Option<&[u8]>) -> Result<isize, Errno> {
        let (p, n) = addr.map_or((ptr::null(), 16), |a| (a.as_ptr(), a.len() as u32));
        result(call!(self, 6, (c_int, *const u8, u32) -> c_int, (fd, p, n)) as isize)
    }

    pub fn read(&self, fd: i32, n: usize) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![0xee; n];
        let r = call!(self, 7, (c_int, *mut u8, usize) -> isize, (fd, buf.as_mut_ptr(), n));
        result(r).map(|r| buf[..r as usize].to_vec())
    }

    pub fn read_null(&self, fd: i32, n: usize) -> Result<isize, Errno> {
        result(call!(self, 7, (c_int, *mut u8, usize) -> isize, (fd, ptr::null_mut(), n)))
    }

    pub fn readv(&self, fd: i32, lens: &[usize]) -> Result<Vec<u8>, Errno> {
        let mut bufs: Vec<Vec<u8>> = lens.iter().map(|n| vec![0; *n]).collect();
        let iov: Vec<libc::iovec> = bufs
            .iter_mut()
            .map(|b| libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() })
            .collect();
        let r =
            call!(self, 8, (c_int, *const libc::iovec, c_int) -> isize, (fd, iov.as_ptr(), iov.len() as i32));
        result(r).map(|r| bufs.concat()[..r as usize].to_vec())
    }

    pub fn recv(&self, fd: i32, n: usize, flags: i32) -> Result<Vec<u8>, Errno> {
        let mut buf = vec![0; n];
        let r = call!(self, 9, (c_int, *mut u8, usize, c_int) -> isize, (fd, buf.as_mut_ptr(), n, flags));
        result(r).map(|r| buf[..(r as usize).min(n)].to_vec())
    }

    /// Bytes, flags and control bytes.
    pub fn recvmsg(&self, fd: i32, n: usize, flags: i32) -> Result<(Vec<u8>, i32, Vec<u8>), Errno> {
        let (mut buf, mut control) = (vec![0u8; n], vec![0u8; 256]);
        let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: n };
        // SAFETY: msghdr is plain data, for which zeros are a value.
        let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
        (msg.msg_iov, msg.msg_iovlen) = (&mut iov, 1);
        (msg.msg_control, msg.msg_controllen) = (control.as_mut_ptr().cast(), control.len());
        msg.msg_flags = -1;
        let r = call!(self, 11, (c_int, *mut libc::msghdr, c_int) -> isize, (fd, &mut msg, flags));
        control.truncate(msg.msg_controllen);
        result(r).map(|r| (buf[..(r as usize).min(n)].to_vec(), msg.msg_flags, control))
    }

    pub fn write(&self, fd: i32, n: usize) -> Result<isize, Errno> {
        let buf = vec![0u8; n];
        result(call!(self, 12, (c_int, *const u8, usize) -> isize, (fd, buf.as_ptr(), n)))
    }

    pub fn write_null(&self, fd: i32, n: usize) -> Result<isize, Errno> {
        result(call!(self, 12, (c_int, *const u8, usize) -> isize, (fd, ptr::null(), n)))
    }

    pub fn writev(&self, fd: i32, lens: &[usize]) -> Result<isize, Errno> {
        let bufs: Vec<Vec<u8>> = lens.iter().map(|n| vec![0; *n]).collect();
        let iov: Vec<libc::iovec> = bufs
            .iter()
            .map(|b| libc::iovec { iov_base: b.as_ptr().cast_mut().cast(), iov_len: b.len() })
            .collect();
        let n = iov.len() as i32;
        result(call!(self, 13, (c_int, *const libc::iovec, c_int) -> isize, (fd, iov.as_ptr(), n)))
    }

    pub fn send(&self, fd: i32, n: usize, flags: i32) -> Result<isize, Errno> {
        let buf = vec![0u8; n];
        result(call!(self, 14, (c_int, *const u8, usize, c_int) -> isize, (fd, buf.as_ptr(), n, flags)))
    }

    pub fn sendto(&self, fd: i32, n: usize, flags: i32, to: &[u8]) -> Result<isize, Errno> {
        let buf = vec![0u8; n];
        result(call!(self, 15, (c_int, *const u8, usize, c_int, *const u8, u32) -> isize,
            (fd, buf.as_ptr(), n, flags, to.as_ptr(), to.len() as u32)))
    }

    pub fn fcntl(&self, fd: i32, cmd: i32, arg: i64) -> Result<isize, Errno> {
        result(call!(self, 17, (c_int, c_int, c_long) -> c_int, (fd, cmd, arg)) as isize)
    }

    pub fn ioctl(&self, fd: i32, request: u64) -> Result<i32, Errno> {
        let mut n = -1;
        let r = call!(self, 18, (c_int, c_ulong, *mut c_int) -> c_int, (fd, request, &mut n));
        result(r as isize).map(|_| n)
    }

    pub fn close(&self, fd: i32) -> Result<isize, Errno> {
        result(call!(self, 19, (c_int) -> c_int, (fd)) as isize)
    }

    pub fn shutdown(&self, fd: i32, how: i32) -> Result<isize, Errno> {
        result(call!(self, 20, (c_int, c_int) -> c_int, (fd, how)) as isize)
    }

    pub fn getsockopt_bytes(&self, fd: i32, level: i32, opt: i32, n: usize) -> Result<Vec<u8>, Errno> {
        let (mut val, mut len) = (vec![0u8; n], n as u32);
        let r = call!(self, 21, (c_int, c_int, c_int, *mut u8, *mut u32) -> c_int,
            (fd, level, opt, val.as_mut_ptr(), &mut len));
        val.truncate(len as usize);
        result(r as isize).map(|_| val)
    }

    pub fn getsockopt(&self, fd: i32, level: i32, opt: i32) -> Result<i32, Errno> {
        self.getsockopt_bytes(fd, level, opt, 4).map(|b| i32::from_ne_bytes(b.try_into().unwrap()))
    }

    pub fn setsockopt_bytes(
        &self,
        fd: i32,
        level: i32,
        opt: i32,
        val: Option<&[u8]>,
    ) -> Result<isize, Errno> {
        let (p, n) = val.map_or((ptr::null(), 4), |v| (v.as_ptr(), v.len() as u32));
        result(
            call!(self, 22, (c_int, c_int, c_int, *const u8, u32) -> c_int, (fd, level, opt, p, n)) as isize
        )
    }

    pub fn setsockopt(&self, fd: i32, level: i32, opt: i32, val: i32) -> Result<isize, Errno> {
        self.setsockopt_bytes(fd, level, opt, Some(&val.to_ne_bytes()))
    }

    /// What is ready of these.
    pub fn poll(&self, fds: &[(i32, i16)], timeout_ms: i32) -> Result<Vec<i16>, Errno> {
        let mut p: Vec<libc::pollfd> =
            fds.iter().map(|(fd, events)| libc::pollfd { fd: *fd, events: *events, revents: -1 }).collect();
        let r = call!(self, 23, (*mut libc::pollfd, c_ulong, c_int) -> c_int,
            (p.as_mut_ptr(), p.len() as u64, timeout_ms));
        let ready: Vec<i16> = p.iter().map(|p| p.revents).collect();
        if r >= 0 {
            assert_eq!(r as usize, ready.iter().filter(|r| **r != 0).count());
        }
        result(r as isize).map(|_| ready)
    }

    pub fn netdev_send(&self, packet: &[u8]) {
        let r = call!(self, 24, (*const u8, usize) -> c_int, (packet.as_ptr(), packet.len()));
        assert_eq!(r, 0, "-1 ends the script");
    }

    /// The packet and its time; empty if none came.
    pub fn netdev_receive(&self) -> (i64, Vec<u8>) {
        let (mut buf, mut n, mut at) = (vec![0u8; 65_536], 65_536usize, 0 as c_longlong);
        let r = call!(self, 25, (*mut u8, *mut usize, *mut c_longlong) -> c_int,
            (buf.as_mut_ptr(), &mut n, &mut at));
        assert_eq!(r, 0, "-1 makes packetdrill ask for ever");
        buf.truncate(n);
        (at, buf)
    }

    pub fn usleep(&self, usec: u32) {
        assert_eq!(call!(self, 26, (u32) -> c_int, (usec)), 0);
    }

    pub fn gettimeofday(&self) -> i64 {
        let mut tv = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let r = call!(self, 27, (*mut libc::timeval, *mut c_void) -> c_int, (&mut tv, ptr::null_mut()));
        assert_eq!(r, 0);
        tv.tv_sec * 1_000_000 + tv.tv_usec
    }

    pub fn epoll_create(&self, size: i32) -> Result<i32, Errno> {
        result(call!(self, 28, (c_int) -> c_int, (size)) as isize).map(|n| n as i32)
    }

    pub fn epoll_ctl(&self, epfd: i32, op: i32, fd: i32, events: i32) -> Result<isize, Errno> {
        let mut e = libc::epoll_event { events: events as u32, u64: fd as u64 };
        result(
            call!(self, 29, (c_int, c_int, c_int, *mut libc::epoll_event) -> c_int, (epfd, op, fd, &mut e))
                as isize,
        )
    }

    /// The first event, if there is one.
    pub fn epoll_wait(&self, epfd: i32, timeout_ms: i32) -> Result<Option<(u32, u64)>, Errno> {
        let mut e = libc::epoll_event { events: 0x5555, u64: 0x5555 };
        let r = call!(self, 30, (c_int, *mut libc::epoll_event, c_int, c_int) -> c_int, (epfd, &mut e, 1, timeout_ms));
        if r == 0 {
            assert_eq!((e.events, e.u64), (0x5555, 0x5555), "untouched");
        }
        result(r as isize).map(|r| (r > 0).then_some((e.events, e.u64)))
    }

    pub fn pipe(&self) -> Result<[i32; 2], Errno> {
        let mut fds = [-1; 2];
        result(call!(self, 31, (*mut c_int) -> c_int, (fds.as_mut_ptr())) as isize).map(|_| fds)
    }

    pub fn splice(&self, from: i32, to: i32, n: usize) -> Result<isize, Errno> {
        let r = call!(self, 32, (c_int, *mut i64, c_int, *mut i64, usize, u32) -> c_int,
            (from, ptr::null_mut(), to, ptr::null_mut(), n, 0));
        result(r as isize)
    }
}

/// The C library's getsockopt as a program sees it: ours, since it is in the program.
pub fn libc_getsockopt(fd: i32, level: i32, opt: i32, n: usize) -> Result<Vec<u8>, Errno> {
    let (mut val, mut len) = (vec![0u8; n], n as u32);
    // SAFETY: the buffer has room for what `len` says.
    let r = unsafe { libc::getsockopt(fd, level, opt, val.as_mut_ptr().cast(), &mut len) };
    val.truncate(len as usize);
    result(r as isize).map(|_| val)
}

/// Is this descriptor open in the kernel?
pub fn is_open(fd: i32) -> bool {
    // SAFETY: any number may be asked for.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// The C library's close, as packetdrill calls it at the end of a script.
pub fn libc_close(fd: i32) -> bool {
    // SAFETY: the test owns this descriptor.
    unsafe { libc::close(fd) == 0 }
}

/// The calling thread, as /proc names it.
pub fn gettid() -> i32 {
    // SAFETY: takes nothing, never fails.
    unsafe { libc::gettid() }
}

/// The C library's sendfile as a program sees it.
pub fn libc_sendfile(out: i32, from: i32, n: usize) -> Result<isize, Errno> {
    // SAFETY: a null offset is allowed.
    result(unsafe { libc::sendfile(out, from, ptr::null_mut(), n) })
}

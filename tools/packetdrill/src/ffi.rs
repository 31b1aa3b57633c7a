//! The C boundary: packetdrill's table of 33 words, and the two calls that replace the C library's by preloading.
//!
//! Pointers become slices here and nowhere else; what a pointer must be valid for is what the system call of the same
//! name asks of it. No panic leaves: it is reported and the call fails with EIO.

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use libc::{iovec, msghdr, sockaddr, socklen_t};

use crate::call::{Received, Sending};
use crate::errno::{Errno, Res};
use crate::flags::Flags;
use crate::shared::Shared;
use crate::sys;
use crate::tcp_sock::MsgFlags;
use crate::world::World;

/// Words of the table.
pub const WORDS: usize = 33;

/// The kernel moves no more in one call: MAX_RW_COUNT.
const RW_BYTES_MAX: usize = 0x7fff_f000;
/// Elements of an iovec at most: UIO_MAXIOV.
const IOV_MAX: usize = 1024;
/// Control messages are laid out at multiples of this.
const CMSG_ALIGN: usize = size_of::<usize>();

/// The worlds that exist, for calls that come without one.
static WORLDS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Fills packetdrill's table for a script that begins.
///
/// Words that `flags` should not have are said on standard error, and the process aborts.
///
/// # Safety
/// `flags` is null or ends with a NUL; `out` is valid for writes of [`WORDS`] words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(flags: *const c_char, out: *mut usize) {
    let text = if flags.is_null() {
        None
    } else {
        // SAFETY: not null, and the caller promises the NUL.
        Some(unsafe { CStr::from_ptr(flags) }.to_string_lossy())
    };
    let world = catch_unwind(|| match Flags::parse(text.as_deref()) {
        Ok(flags) => World::new(flags),
        Err(why) => {
            eprintln!("linerate-packetdrill: {why}");
            std::process::abort();
        }
    });
    let Ok(world) = world else { std::process::abort() };
    let shared = Arc::new(Shared::new(world));
    {
        let mut worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
        worlds.retain(|w| w.strong_count() > 0);
        worlds.push(Arc::downgrade(&shared));
    }
    let words = table(Arc::into_raw(shared) as usize);
    // SAFETY: the caller promises room for WORDS words.
    unsafe { ptr::copy_nonoverlapping(words.as_ptr(), out, WORDS) };
}

macro_rules! words {
    ($userdata:expr, $($slot:ident)*) => { [$userdata, $($slot as *const () as usize),*] };
}

fn table(userdata: usize) -> [usize; WORDS] {
    words!(userdata,
        free socket bind listen accept connect read readv recv recvfrom recvmsg write writev send sendto sendmsg
        fcntl ioctl close shutdown slot_getsockopt setsockopt poll netdev_send netdev_receive usleep gettimeofday
        epoll_create epoll_ctl epoll_wait pipe splice)
}

/// Runs a call on the world behind `userdata`.
///
/// # Safety
/// `userdata` is word 0 of a table, and its `free` was not called.
unsafe fn on(userdata: *mut c_void, f: impl FnOnce(&Shared) -> Res<isize>) -> isize {
    if userdata.is_null() {
        sys::set_errno(Errno::EINVAL);
        return -1;
    }
    // SAFETY: the pointer came from Arc::into_raw in `init` and is alive until `free`.
    let shared = unsafe { &*userdata.cast_const().cast::<Shared>() };
    run(|| f(shared))
}

fn run(f: impl FnOnce() -> Res<isize>) -> isize {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(n)) => n,
        Ok(Err(e)) => {
            sys::set_errno(e);
            -1
        }
        Err(_) => {
            eprintln!("linerate-packetdrill: a call panicked");
            sys::set_errno(Errno::EIO);
            -1
        }
    }
}

/// `None` for a null pointer.
///
/// # Safety
/// `p` is null or valid for reads of `n` bytes for as long as the result is used.
unsafe fn bytes<'a>(p: *const c_void, n: usize) -> Option<&'a [u8]> {
    // SAFETY: not null, and the caller promises `n` bytes; no slice may be larger than the kernel's own limit.
    (!p.is_null()).then(|| unsafe { std::slice::from_raw_parts(p.cast(), n.min(RW_BYTES_MAX)) })
}

/// Copies to a caller's buffer.
///
/// # Safety
/// `to` is valid for writes of `room` bytes, or null.
unsafe fn give(data: &[u8], to: *mut c_void, room: usize) -> Res<()> {
    let n = data.len().min(room);
    if n == 0 {
        return Ok(());
    }
    if to.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: not null, and the caller promises `room` bytes; the data is our own.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), to.cast(), n) };
    Ok(())
}

/// An address of a call: EINVAL if it is longer than any, `None` if null.
///
/// # Safety
/// `p` is null or valid for reads of `len` bytes.
unsafe fn address<'a>(p: *const sockaddr, len: socklen_t) -> Res<Option<&'a [u8]>> {
    if len as usize > size_of::<libc::sockaddr_storage>() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { bytes(p.cast(), len as usize) })
}

/// Writes an address out: as much of it as fits, and its whole length.
///
/// # Safety
/// `len` is null or valid; `to` is valid for writes of `*len` bytes, or null.
unsafe fn give_address(addr: &[u8], to: *mut sockaddr, len: *mut socklen_t) -> Res<()> {
    if to.is_null() {
        return Ok(());
    }
    if len.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: not null, and the caller promises that it is valid.
    let room = unsafe { *len };
    if room > i32::MAX as u32 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller promises `*len` bytes.
    unsafe { give(addr, to.cast(), room as usize)? };
    // SAFETY: as above.
    unsafe { *len = addr.len() as socklen_t };
    Ok(())
}

/// The elements of an iovec.
///
/// # Safety
/// `iov` is null or valid for reads of `n` elements.
unsafe fn iovecs<'a>(iov: *const iovec, n: usize) -> Res<&'a [iovec]> {
    if n == 0 {
        return Ok(&[]);
    }
    if n > IOV_MAX {
        return Err(Errno::EINVAL);
    }
    if iov.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: not null, and the caller promises `n` elements.
    let all = unsafe { std::slice::from_raw_parts(iov, n) };
    if all.iter().any(|v| v.iov_len > isize::MAX as usize) {
        return Err(Errno::EINVAL);
    }
    Ok(all)
}

/// The bytes of an iovec one after another, and whether one of them is null.
///
/// # Safety
/// Each element is null or valid for reads of its length.
unsafe fn gather(iov: &[iovec]) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    for v in iov.iter().filter(|v| v.iov_len > 0) {
        // SAFETY: the caller's promise for each element.
        match unsafe { bytes(v.iov_base, v.iov_len) } {
            Some(b) => all.extend_from_slice(b),
            None => return (all, true),
        }
    }
    (all, false)
}

/// Room in an iovec, and whether its first element that has some is null.
fn iov_room(iov: &[iovec]) -> (usize, bool) {
    let room = iov.iter().map(|v| v.iov_len).fold(0usize, usize::saturating_add);
    (room.min(RW_BYTES_MAX), iov.iter().find(|v| v.iov_len > 0).is_some_and(|v| v.iov_base.is_null()))
}

/// Spreads bytes over an iovec.
///
/// # Safety
/// Each element is null or valid for writes of its length.
unsafe fn scatter(mut data: &[u8], iov: &[iovec]) -> Res<()> {
    for v in iov {
        let n = data.len().min(v.iov_len);
        // SAFETY: the caller's promise for each element.
        unsafe { give(&data[..n], v.iov_base, v.iov_len)? };
        data = &data[n..];
    }
    Ok(())
}

fn count(n: usize) -> Res<isize> {
    Ok(n as isize)
}

fn done(r: Res<()>) -> Res<isize> {
    r.map(|()| 0)
}

fn received(r: &Received) -> isize {
    (r.data.len() + r.discarded) as isize
}

// Each slot's safety contract is one: `ud` is word 0 of a table in use, and the other pointers are valid as the
// system call of the same name wants them, or null.

unsafe extern "C" fn free(ud: *mut c_void) {
    if ud.is_null() {
        return;
    }
    // SAFETY: the pointer came from Arc::into_raw in `init`; packetdrill frees once, and calls nothing after it.
    let shared = unsafe { Arc::from_raw(ud.cast_const().cast::<Shared>()) };
    let _ = run(|| {
        shared.end();
        Ok(0)
    });
}

unsafe extern "C" fn socket(ud: *mut c_void, domain: c_int, ty: c_int, protocol: c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| s.socket(domain, ty, protocol).map(|fd| fd as isize)) as c_int }
}

unsafe extern "C" fn bind(ud: *mut c_void, fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| done(s.bind(fd, address(addr, len)?))) as c_int }
}

unsafe extern "C" fn listen(ud: *mut c_void, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| done(s.listen(fd, backlog))) as c_int }
}

unsafe extern "C" fn accept(ud: *mut c_void, fd: c_int, addr: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            let (new, peer) = s.accept(fd)?;
            match give_address(&peer, addr, len) {
                Ok(()) => Ok(new as isize),
                Err(e) => {
                    let _ = s.close(new);
                    Err(e)
                }
            }
        }) as c_int
    }
}

unsafe extern "C" fn connect(ud: *mut c_void, fd: c_int, addr: *const sockaddr, len: socklen_t) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| done(s.connect(fd, address(addr, len)?))) as c_int }
}

unsafe extern "C" fn read(ud: *mut c_void, fd: c_int, buf: *mut c_void, n: usize) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            let data = s.read(fd, n.min(RW_BYTES_MAX), buf.is_null())?;
            give(&data, buf, n)?;
            count(data.len())
        })
    }
}

unsafe extern "C" fn readv(ud: *mut c_void, fd: c_int, iov: *const iovec, n: c_int) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.known(fd)?;
            let iov = iovecs(iov, usize::try_from(n).map_err(|_| Errno::EINVAL)?)?;
            let (room, null) = iov_room(iov);
            if room == 0 {
                return Ok(0);
            }
            let data = s.read(fd, room, null)?;
            scatter(&data, iov)?;
            count(data.len())
        })
    }
}

unsafe extern "C" fn recv(ud: *mut c_void, fd: c_int, buf: *mut c_void, n: usize, flags: c_int) -> isize {
    // SAFETY: the slots' contract.
    unsafe { recvfrom(ud, fd, buf, n, flags, ptr::null_mut(), ptr::null_mut()) }
}

unsafe extern "C" fn recvfrom(
    ud: *mut c_void,
    fd: c_int,
    buf: *mut c_void,
    n: usize,
    flags: c_int,
    addr: *mut sockaddr,
    len: *mut socklen_t,
) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            let got = s.recv(fd, n.min(RW_BYTES_MAX), buf.is_null(), MsgFlags(flags))?;
            give(&got.data, buf, n)?;
            give_address(&got.from, addr, len)?;
            Ok(received(&got))
        })
    }
}

unsafe extern "C" fn recvmsg(ud: *mut c_void, fd: c_int, msg: *mut msghdr, flags: c_int) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.known(fd)?;
            // A null message is refused before anything else is looked at.
            let Some(msg) = msg.as_mut() else { return Err(Errno::EFAULT) };
            let iov = iovecs(msg.msg_iov, msg.msg_iovlen)?;
            let (room, null) = iov_room(iov);
            let got = s.recv(fd, room, null, MsgFlags(flags))?;
            scatter(&got.data, iov)?;
            if !msg.msg_name.is_null() {
                give(&got.from, msg.msg_name, msg.msg_namelen as usize)?;
                msg.msg_namelen = got.from.len() as socklen_t;
            }
            msg.msg_flags = got.flags;
            let (control, cut) = control_bytes(&got, msg.msg_control, msg.msg_controllen);
            if cut {
                msg.msg_flags |= libc::MSG_CTRUNC;
            }
            give(&control, msg.msg_control, msg.msg_controllen)?;
            msg.msg_controllen = control.len();
            Ok(received(&got))
        })
    }
}

/// Control messages as they stand in memory, as many as fit, and whether one did not.
fn control_bytes(got: &Received, to: *const c_void, room: usize) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    for (level, ty, data) in &got.control {
        let len = size_of::<libc::cmsghdr>() + data.len();
        if to.is_null() || out.len() + len > room {
            return (out, true);
        }
        out.extend(len.to_ne_bytes());
        out.extend(level.to_ne_bytes());
        out.extend(ty.to_ne_bytes());
        out.extend(data);
        out.resize(out.len().next_multiple_of(CMSG_ALIGN).min(room), 0);
    }
    (out, false)
}

unsafe extern "C" fn write(ud: *mut c_void, fd: c_int, buf: *const c_void, n: usize) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            let data = bytes(buf, n);
            s.write(fd, data.unwrap_or(&[]), data.is_none() && n > 0).and_then(count)
        })
    }
}

unsafe extern "C" fn writev(ud: *mut c_void, fd: c_int, iov: *const iovec, n: c_int) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.known(fd)?;
            let iov = iovecs(iov, usize::try_from(n).map_err(|_| Errno::EINVAL)?)?;
            let (data, null) = gather(iov);
            s.write(fd, &data, null && data.is_empty()).and_then(count)
        })
    }
}

unsafe extern "C" fn send(ud: *mut c_void, fd: c_int, buf: *const c_void, n: usize, flags: c_int) -> isize {
    // SAFETY: the slots' contract.
    unsafe { sendto(ud, fd, buf, n, flags, ptr::null(), 0) }
}

unsafe extern "C" fn sendto(
    ud: *mut c_void,
    fd: c_int,
    buf: *const c_void,
    n: usize,
    flags: c_int,
    addr: *const sockaddr,
    len: socklen_t,
) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.known(fd)?;
            let data = bytes(buf, n);
            let to = address(addr, len)?;
            let null = data.is_none() && n > 0;
            s.send(fd, &Sending { data: data.unwrap_or(&[]), null, flags: MsgFlags(flags), to })
                .and_then(count)
        })
    }
}

unsafe extern "C" fn sendmsg(ud: *mut c_void, fd: c_int, msg: *const msghdr, flags: c_int) -> isize {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.known(fd)?;
            let Some(msg) = msg.as_ref() else { return Err(Errno::EFAULT) };
            let (data, null) = gather(iovecs(msg.msg_iov, msg.msg_iovlen)?);
            let to = address(msg.msg_name.cast(), msg.msg_namelen)?;
            let null = null && data.is_empty();
            s.send(fd, &Sending { data: &data, null, flags: MsgFlags(flags), to }).and_then(count)
        })
    }
}

// C-variadic in the table; with one integer behind the named arguments the two are call-compatible on x86-64 and
// aarch64 Linux. Where the caller passes none, it is garbage, and looked at only for commands that take one.

unsafe extern "C" fn fcntl(ud: *mut c_void, fd: c_int, cmd: c_int, arg: c_long) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| s.fcntl(fd, cmd, arg).map(|n| n as isize)) as c_int }
}

unsafe extern "C" fn ioctl(ud: *mut c_void, fd: c_int, request: c_ulong, arg: *mut c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            let reads = request == libc::FIONBIO as c_ulong;
            if reads && arg.is_null() {
                return Err(Errno::EFAULT);
            }
            let given = if reads { *arg } else { 0 };
            if let Some(n) = s.ioctl(fd, request, given)? {
                give(&n.to_ne_bytes(), arg.cast(), size_of::<c_int>())?;
            }
            Ok(0)
        }) as c_int
    }
}

unsafe extern "C" fn close(ud: *mut c_void, fd: c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| done(s.close(fd))) as c_int }
}

unsafe extern "C" fn shutdown(ud: *mut c_void, fd: c_int, how: c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| done(s.shutdown(fd, how))) as c_int }
}

unsafe extern "C" fn slot_getsockopt(
    ud: *mut c_void,
    fd: c_int,
    level: c_int,
    opt: c_int,
    val: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| done(answer(s, fd, level, opt, val, len))) as c_int }
}

/// getsockopt's answer: as much of the value as there is room for, and how much that is.
///
/// # Safety
/// `len` is null or valid; `val` is null or valid for writes of `*len` bytes.
unsafe fn answer(
    s: &Shared,
    fd: c_int,
    level: c_int,
    opt: c_int,
    val: *mut c_void,
    len: *mut socklen_t,
) -> Res<()> {
    s.known(fd)?;
    // SAFETY: null is told apart; else the caller promises that it is valid.
    let Some(len) = (unsafe { len.as_mut() }) else { return Err(Errno::EFAULT) };
    if *len > i32::MAX as socklen_t {
        return Err(Errno::EINVAL);
    }
    let value = s.getsockopt(fd, level, opt)?;
    // SAFETY: the caller promises `*len` bytes.
    unsafe { give(&value, val, *len as usize)? };
    *len = (*len).min(value.len() as socklen_t);
    Ok(())
}

unsafe extern "C" fn setsockopt(
    ud: *mut c_void,
    fd: c_int,
    level: c_int,
    opt: c_int,
    val: *const c_void,
    len: socklen_t,
) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.known(fd)?;
            if len > i32::MAX as socklen_t {
                return Err(Errno::EINVAL);
            }
            done(s.setsockopt(fd, level, opt, bytes(val, len as usize)))
        }) as c_int
    }
}

unsafe extern "C" fn poll(ud: *mut c_void, fds: *mut libc::pollfd, n: c_ulong, timeout_ms: c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            if n == 0 {
                return s.poll(&[], timeout_ms).map(|_| 0);
            }
            if fds.is_null() {
                return Err(Errno::EFAULT);
            }
            // RLIMIT_NOFILE's usual hard limit: poll(2) refuses more descriptors than can be open.
            if n > 1 << 20 {
                return Err(Errno::EINVAL);
            }
            let asked: Vec<(i32, i16)> =
                std::slice::from_raw_parts(fds, n as usize).iter().map(|p| (p.fd, p.events)).collect();
            // The call may wait: no reference into the caller's memory is held meanwhile.
            let ready = s.poll(&asked, timeout_ms)?;
            let out = std::slice::from_raw_parts_mut(fds, n as usize);
            out.iter_mut().zip(&ready).for_each(|(p, r)| p.revents = *r);
            count(ready.iter().filter(|r| **r != 0).count())
        }) as c_int
    }
}

unsafe extern "C" fn netdev_send(ud: *mut c_void, packet: *const c_void, n: usize) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.netdev_send(bytes(packet, n).ok_or(Errno::EFAULT)?);
            Ok(0)
        }) as c_int
    }
}

unsafe extern "C" fn netdev_receive(
    ud: *mut c_void,
    buf: *mut c_void,
    len: *mut usize,
    time_usec: *mut c_longlong,
) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            if buf.is_null() || len.is_null() || time_usec.is_null() {
                return Err(Errno::EFAULT);
            }
            let (at, packet) = s.netdev_receive().unwrap_or_else(|| (s.micros_now(), Vec::new()));
            give(&packet, buf, *len)?;
            *len = packet.len().min(*len);
            *time_usec = at;
            Ok(0)
        }) as c_int
    }
}

unsafe extern "C" fn usleep(ud: *mut c_void, usec: c_uint) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.usleep(usec);
            Ok(0)
        }) as c_int
    }
}

unsafe extern "C" fn gettimeofday(ud: *mut c_void, tv: *mut libc::timeval, _tz: *mut c_void) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            let micros = s.micros();
            if let Some(tv) = tv.as_mut() {
                tv.tv_sec = micros / 1_000_000;
                tv.tv_usec = micros % 1_000_000;
            }
            Ok(0)
        }) as c_int
    }
}

unsafe extern "C" fn epoll_create(ud: *mut c_void, size: c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe { on(ud, |s| s.epoll_create(size).map(|fd| fd as isize)) as c_int }
}

unsafe extern "C" fn epoll_ctl(
    ud: *mut c_void,
    epfd: c_int,
    op: c_int,
    fd: c_int,
    event: *mut libc::epoll_event,
) -> c_int {
    // SAFETY: the slots' contract; the structure may stand at any address.
    unsafe {
        on(ud, |s| {
            let event = (!event.is_null()).then(|| event.read_unaligned());
            done(s.epoll_ctl(epfd, op, fd, event.map(|e| (e.events, e.u64))))
        }) as c_int
    }
}

unsafe extern "C" fn epoll_wait(
    ud: *mut c_void,
    epfd: c_int,
    out: *mut libc::epoll_event,
    max: c_int,
    timeout_ms: c_int,
) -> c_int {
    // SAFETY: the slots' contract; the structures may stand at any address.
    unsafe {
        on(ud, |s| {
            if out.is_null() {
                return Err(Errno::EFAULT);
            }
            let ready = s.epoll_wait(epfd, max, timeout_ms)?;
            for (i, (events, data)) in ready.iter().enumerate() {
                out.add(i).write_unaligned(libc::epoll_event { events: *events, u64: *data });
            }
            count(ready.len())
        }) as c_int
    }
}

unsafe extern "C" fn pipe(ud: *mut c_void, fds: *mut c_int) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            if fds.is_null() {
                return Err(Errno::EFAULT);
            }
            let ends = s.pipe()?;
            ptr::copy_nonoverlapping(ends.as_ptr(), fds, ends.len());
            Ok(0)
        }) as c_int
    }
}

unsafe extern "C" fn splice(
    ud: *mut c_void,
    from: c_int,
    off_from: *mut libc::loff_t,
    to: c_int,
    off_to: *mut libc::loff_t,
    n: usize,
    flags: c_uint,
) -> c_int {
    // SAFETY: the slots' contract.
    unsafe {
        on(ud, |s| {
            s.known(from)?;
            s.known(to)?;
            // Neither pipes nor sockets have a place to begin at.
            if !off_from.is_null() || !off_to.is_null() {
                return Err(Errno::ESPIPE);
            }
            s.splice(from, to, n.min(RW_BYTES_MAX), flags).and_then(count)
        }) as c_int
    }
}

/// The world that a descriptor belongs to, the youngest first.
fn world_of(fd: c_int) -> Option<Arc<Shared>> {
    let worlds = WORLDS.lock().unwrap_or_else(PoisonError::into_inner);
    worlds.iter().rev().filter_map(Weak::upgrade).find(|s| s.known(fd).is_ok())
}

/// getsockopt(2) for programs that this library is preloaded into: descriptors of ours are answered here, others by
/// the C library. packetdrill reads TCP_INFO with it.
///
/// # Safety
/// As for getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    opt: c_int,
    val: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    match world_of(fd) {
        // SAFETY: the caller's promise.
        Some(s) => run(|| unsafe { done(answer(&s, fd, level, opt, val, len)) }) as c_int,
        // SAFETY: the caller's promise.
        None => unsafe { sys::next_getsockopt(fd, level, opt, val, len) },
    }
}

/// sendfile(2) likewise: from a file of the host into a socket of ours.
///
/// # Safety
/// As for sendfile(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendfile(out: c_int, from: c_int, offset: *mut libc::off_t, n: usize) -> isize {
    let Some(s) = world_of(out) else {
        // SAFETY: the caller's promise.
        return unsafe { sys::next_sendfile(out, from, offset, n) };
    };
    run(|| {
        // SAFETY: null is told apart; else the caller promises that it is valid.
        let offset = unsafe { offset.as_mut() };
        let data = sys::read_file(from, offset.as_deref().copied(), n.min(1 << 24))?;
        if data.is_empty() {
            return Ok(0);
        }
        let sent = s.write(out, &data, false);
        let taken = *sent.as_ref().unwrap_or(&0);
        match offset {
            Some(at) => *at += taken as i64,
            None => sys::seek_by(from, taken as i64 - data.len() as i64),
        }
        sent.and_then(count)
    })
}

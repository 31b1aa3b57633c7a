//! What the adapter needs of the host: descriptors to reserve, `errno`, the `getsockopt` behind ours.

use std::ffi::{CStr, c_int, c_void};

use crate::errno::{Errno, Res};

/// A descriptor that is open in the kernel and stands for one of ours: whoever closes it by the C library's `close`
/// finds it there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reserved {
    pub fd: c_int,
    /// Device and inode: is it still the same file when we want to close it?
    id: (u64, u64),
}

impl Reserved {
    /// Opens one. Each is an empty memory file, so that no two have the same inode.
    pub fn open() -> Res<Self> {
        // SAFETY: the name is a constant with a NUL at its end.
        let mut fd = unsafe { libc::memfd_create(c"linerate".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            // SAFETY: the path is a constant with a NUL at its end.
            fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        }
        if fd < 0 {
            return Err(Errno::EMFILE);
        }
        Ok(Self { fd, id: file_id(fd).unwrap_or_default() })
    }

    /// Closes it, unless somebody else has (and the number may be another file's by now).
    pub fn close(self) {
        if file_id(self.fd) == Some(self.id) {
            // SAFETY: the descriptor is the one that `open` made: its inode is.
            unsafe { libc::close(self.fd) };
        }
    }
}

fn file_id(fd: c_int) -> Option<(u64, u64)> {
    // SAFETY: `stat` is plain data, for which zeros are a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid for writes of its size; any number may be asked for.
    let found = unsafe { libc::fstat(fd, &mut stat) } == 0;
    found.then_some((stat.st_dev, stat.st_ino))
}

/// Sets the calling thread's `errno`.
pub(crate) fn set_errno(e: Errno) {
    // SAFETY: the C library's errno location is valid for the calling thread.
    unsafe { *libc::__errno_location() = e.0 };
}

type Getsockopt = unsafe extern "C" fn(c_int, c_int, c_int, *mut c_void, *mut libc::socklen_t) -> c_int;
type Sendfile = unsafe extern "C" fn(c_int, c_int, *mut libc::off_t, usize) -> isize;

fn next_symbol(name: &CStr) -> *mut c_void {
    // SAFETY: the name ends with a NUL; RTLD_NEXT is a handle that dlsym knows.
    unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) }
}

/// The C library's own `getsockopt`.
///
/// # Safety
/// As for getsockopt(2): `val` is valid for `*len` bytes.
pub(crate) unsafe fn next_getsockopt(
    fd: c_int,
    level: c_int,
    opt: c_int,
    val: *mut c_void,
    len: *mut libc::socklen_t,
) -> c_int {
    let symbol = next_symbol(c"getsockopt");
    if symbol.is_null() {
        set_errno(Errno::ENOSYS);
        return -1;
    }
    // SAFETY: the symbol getsockopt of a C library has this type.
    let next: Getsockopt = unsafe { std::mem::transmute(symbol) };
    // SAFETY: the caller's promise is passed on.
    unsafe { next(fd, level, opt, val, len) }
}

/// The C library's own `sendfile`.
///
/// # Safety
/// As for sendfile(2): `offset` is null or valid.
pub(crate) unsafe fn next_sendfile(out: c_int, from: c_int, offset: *mut libc::off_t, n: usize) -> isize {
    let symbol = next_symbol(c"sendfile");
    if symbol.is_null() {
        set_errno(Errno::ENOSYS);
        return -1;
    }
    // SAFETY: the symbol sendfile of a C library has this type.
    let next: Sendfile = unsafe { std::mem::transmute(symbol) };
    // SAFETY: the caller's promise is passed on.
    unsafe { next(out, from, offset, n) }
}

/// Reads up to `n` bytes of a file of the host at `offset`, or where it stands.
pub(crate) fn read_file(fd: c_int, offset: Option<i64>, n: usize) -> Res<Vec<u8>> {
    let mut bytes = vec![0; n];
    let to = bytes.as_mut_ptr().cast();
    let got = match offset {
        // SAFETY: `bytes` is valid for writes of `n` bytes.
        Some(at) => unsafe { libc::pread(fd, to, n, at) },
        // SAFETY: `bytes` is valid for writes of `n` bytes.
        None => unsafe { libc::read(fd, to, n) },
    };
    if got < 0 {
        return Err(Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)));
    }
    bytes.truncate(got as usize);
    Ok(bytes)
}

/// Moves the offset of a file of the host forward or back.
pub(crate) fn seek_by(fd: c_int, delta: i64) {
    // SAFETY: any descriptor and offset may be asked for; it fails with an error at worst.
    unsafe { libc::lseek(fd, delta, libc::SEEK_CUR) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_descriptor_is_closed_once_and_never_anothers() {
        let a = Reserved::open().unwrap();
        assert!(file_id(a.fd).is_some());
        a.close();
        let b = Reserved::open().unwrap();
        a.close();
        assert_eq!(file_id(b.fd), Some(b.id), "the same number, another file");
        b.close();
        assert_eq!(file_id(b.fd), None);
    }
}

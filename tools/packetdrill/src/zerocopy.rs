//! MSG_ZEROCOPY: each such send has a number, and the error queue says when its bytes are acknowledged. (They are
//! copied all the same, and the messages say so.)

use std::collections::VecDeque;

use crate::call::Received;
use crate::errno::{Errno, Res};
use crate::world::World;

const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;
/// struct sockaddr_in, struct sockaddr_in6: the offender behind struct sock_extended_err, which is nobody here.
const OFFENDER_BYTES: [usize; 2] = [16, 28];

/// What a socket keeps for it.
#[derive(Default)]
pub(crate) struct ZeroCopy {
    /// Payload bytes written so far.
    written: u64,
    next: u32,
    /// Number and end of each send that is not acknowledged.
    pending: VecDeque<(u32, u64)>,
    /// Ranges of numbers that nobody was told of.
    done: VecDeque<(u32, u32)>,
}

impl ZeroCopy {
    /// `n` bytes were written.
    pub fn wrote(&mut self, n: usize, numbered: bool) {
        self.written += n as u64;
        if numbered {
            self.pending.push_back((self.next, self.written));
            self.next = self.next.wrapping_add(1);
        }
    }

    /// All but `unacked` bytes are acknowledged.
    fn acked(&mut self, unacked: u64) {
        while let Some((id, end)) = self.pending.front().copied()
            && end + unacked <= self.written
        {
            self.pending.pop_front();
            match self.done.back_mut() {
                Some((_, hi)) if hi.wrapping_add(1) == id => *hi = id,
                _ => self.done.push_back((id, id)),
            }
        }
    }
}

impl World {
    /// Does the error queue hold anything?
    pub fn has_messages(&mut self, fd: i32) -> bool {
        let Ok(sock) = self.tcp(fd) else { return false };
        let flow = sock.flow();
        let unacked = flow.map_or(0, |id| self.stack.unacked(id)) as u64;
        let Ok(sock) = self.tcp(fd) else { return false };
        sock.zerocopy.acked(unacked);
        !sock.zerocopy.done.is_empty()
    }

    /// recvmsg(2) with MSG_ERRQUEUE.
    pub fn next_message(&mut self, fd: i32) -> Res<Received> {
        self.has_messages(fd);
        let sock = self.tcp(fd)?;
        let (lo, hi) = sock.zerocopy.done.pop_front().ok_or(Errno::EAGAIN)?;
        let (level, ty) = if sock.v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        } else {
            (libc::IPPROTO_IP, libc::IP_RECVERR)
        };
        // struct sock_extended_err: errno, origin, type, code, pad, info, data
        let mut data = 0u32.to_ne_bytes().to_vec();
        data.extend([SO_EE_ORIGIN_ZEROCOPY, 0, SO_EE_CODE_ZEROCOPY_COPIED, 0]);
        data.extend(lo.to_ne_bytes());
        data.extend(hi.to_ne_bytes());
        data.resize(data.len() + OFFENDER_BYTES[usize::from(sock.v6)], 0);
        Ok(Received { flags: libc::MSG_ERRQUEUE, control: vec![(level, ty, data)], ..Received::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_told_when_their_bytes_are_acknowledged() {
        let mut z = ZeroCopy::default();
        z.wrote(1000, true);
        z.wrote(500, false);
        z.wrote(1000, true);
        z.wrote(1000, true);
        z.acked(3500);
        assert!(z.done.is_empty());
        z.acked(2600);
        assert!(z.done.is_empty(), "half of the second");
        z.acked(2000);
        z.acked(1000);
        assert_eq!(z.done, [(0, 1)]);
        z.done.clear();
        z.acked(0);
        assert_eq!(z.done, [(2, 2)]);
    }
}

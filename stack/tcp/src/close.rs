//! Closing: RFC 9293 sections 3.6 and 3.10.4, 3.10.5.

use crate::segment::Segment;
use crate::tcb::{Env, State, Tcb, TcpError};

impl Tcb {
    /// The application lets go. Queued bytes and FIN still go out; the connection ends by itself. With unread bytes
    /// it is aborted instead, so that the peer learns they are lost (RFC 9293 SHLD-3, RFC 2525 section 2.17): the
    /// RST to send is returned.
    //= RFC 9293 section 3.6, MAY-1, SHLD-3
    pub fn close(&mut self, env: &mut Env) -> Option<Segment> {
        if self.detached {
            return None;
        }
        self.detached = true;
        match self.state {
            State::Closed => {
                self.release(env.pool);
                None
            }
            State::SynSent => {
                self.die(env, None);
                None
            }
            _ if self.recv.bytes > 0 || env.cfg.linger_ns == Some(0) => self.abort(env),
            State::FinWait2 => {
                self.wait_at = env.now + env.cfg.fin_wait_2_ns;
                self.lingering = true;
                None
            }
            _ => {
                self.shutdown();
                None
            }
        }
    }

    /// ABORT: everything is dropped; the RST to send, if the peer knows of the connection.
    pub fn abort(&mut self, env: &mut Env) -> Option<Segment> {
        self.detached = true;
        let rst = match self.state {
            // 3.10.5: the peer has everything and has sent its FIN.
            State::Closing | State::LastAck | State::TimeWait => None,
            State::Closed | State::SynSent => None,
            _ => Some(self.rst_segment()),
        };
        self.die(env, Some(TcpError::Aborted));
        if rst.is_some() {
            env.counters.rsts_out += 1;
        }
        rst
    }
}

//! HTTP: requests per second and latency over keep-alive connections.

use super::super::http::{self, Response};
use super::closed_loop::{self, Exchange, Verdict};
use super::outcome::Outcome;
use super::{Job, Wait};

/// The request, written once. A `Host` and nothing that makes the server work more than it must.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: linerate-demo\r\n\r\n";

/// Runs it.
pub fn run(job: &Job, conns: usize, wait: Wait) -> Outcome {
    closed_loop::run(job, conns, wait, Get { right: Vec::new() })
}

struct Get {
    /// The last answer that was parsed and found right: an answer equal to it is right too, by one memcmp.
    right: Vec<u8>,
}

impl Exchange for Get {
    fn request(&self, _seq: u64) -> &[u8] {
        REQUEST
    }

    #[inline]
    fn judge(&mut self, _seq: u64, answer: &[u8]) -> Verdict {
        if answer == self.right && !answer.is_empty() {
            return Verdict::Right;
        }
        match http::check_response(answer) {
            Response::Right(len) if len == answer.len() => {
                self.right = answer.to_vec();
                Verdict::Right
            }
            Response::Right(_) => Verdict::Wrong("bytes after the answer"),
            Response::Partial => Verdict::More,
            Response::Wrong(what) => Verdict::Wrong(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_answer_does_not_let_a_wrong_one_pass() {
        let mut get = Get { right: Vec::new() };
        assert!(matches!(get.judge(0, http::RESPONSE), Verdict::Right));
        assert!(matches!(get.judge(1, http::RESPONSE), Verdict::Right));
        assert!(matches!(get.judge(2, &http::RESPONSE[..70]), Verdict::More));
        assert!(matches!(get.judge(3, b""), Verdict::More));
        let twice = [http::RESPONSE, http::RESPONSE].concat();
        assert!(matches!(get.judge(4, &twice), Verdict::Wrong(_)));
        assert!(matches!(get.judge(5, http::NOT_FOUND), Verdict::Wrong(_)));
    }
}

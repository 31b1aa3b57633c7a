//! The HTTP/1.1 both servers speak: the fixed answer, and one parser for requests, so that a difference
//! between them is never a difference in parsing. No I/O in here.

/// The body of every answer, bytes.
pub const BODY: &[u8; 64] = b"linerate demo: sixty-four bytes of body, checked byte for byte.\n";

/// The whole answer to `GET /`.
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n\
linerate demo: sixty-four bytes of body, checked byte for byte.\n";

/// The whole answer to anything else; the connection closes after it.
pub const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The longest request head that is waited for, bytes.
pub const MAX_HEAD_BYTES: usize = 8192;

const MAX_HEADERS: usize = 32;

/// What stands at the start of the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET /`: its head is this long; `close` if the client wants the connection closed after the answer.
    Get {
        /// Length of the head, bytes.
        len: usize,
        /// `Connection: close`, or HTTP/1.0 without keep-alive.
        close: bool,
    },
    /// The head has not all come yet.
    Partial,
    /// Not HTTP, too long, or not `GET /`: answer [`NOT_FOUND`] and close.
    Refused,
}

/// Reads one request off the start of `bytes`.
pub fn parse_request(bytes: &[u8]) -> Request {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            if head.method != Some("GET") || head.path != Some("/") {
                return Request::Refused;
            }
            let connection =
                head.headers.iter().find(|h| h.name.eq_ignore_ascii_case("connection")).map(|h| h.value);
            let close = match connection {
                Some(value) if value.eq_ignore_ascii_case(b"close") => true,
                Some(value) if value.eq_ignore_ascii_case(b"keep-alive") => false,
                _ => head.version == Some(0),
            };
            Request::Get { len, close }
        }
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => Request::Partial,
        _ => Request::Refused,
    }
}

/// What stands at the start of the bytes a client received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// A 200 with a `Content-Length` and [`BODY`], this many bytes in all.
    Right(usize),
    /// Not all there yet.
    Partial,
    /// Another status, no length, another body.
    Wrong(&'static str),
}

/// Checks one response at the start of `bytes`: status, length, every byte of the body.
pub fn check_response(bytes: &[u8]) -> Response {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Response::Partial,
        Err(_) => return Response::Wrong("not an HTTP response"),
    };
    if head.code != Some(200) {
        return Response::Wrong("status is not 200");
    }
    let length = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    if length.map(|h| h.value) != Some(b"64") {
        return Response::Wrong("content-length is not 64");
    }
    let body = &bytes[head_len..];
    let here = body.len().min(BODY.len());
    if body[..here] != BODY[..here] {
        return Response::Wrong("body differs");
    }
    if here < BODY.len() { Response::Partial } else { Response::Right(head_len + BODY.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn requests() {
        assert_eq!(parse_request(GET), Request::Get { len: GET.len(), close: false });
        assert_eq!(parse_request(&[GET, b"GET"].concat()), Request::Get { len: GET.len(), close: false });
        assert_eq!(parse_request(&GET[..GET.len() - 1]), Request::Partial);
        assert_eq!(parse_request(b""), Request::Partial);
        let close = b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n";
        assert_eq!(parse_request(close), Request::Get { len: close.len(), close: true });
        let old = b"GET / HTTP/1.0\r\n\r\n";
        assert_eq!(parse_request(old), Request::Get { len: old.len(), close: true });
        assert_eq!(parse_request(b"POST / HTTP/1.1\r\n\r\n"), Request::Refused);
        assert_eq!(parse_request(b"GET /other HTTP/1.1\r\n\r\n"), Request::Refused);
        assert_eq!(parse_request(b"\x16\x03\x01\x00"), Request::Refused);
        let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; MAX_HEAD_BYTES]].concat();
        assert_eq!(parse_request(&endless), Request::Refused);
    }

    #[test]
    fn responses() {
        assert!(RESPONSE.ends_with(BODY));
        assert_eq!(check_response(RESPONSE), Response::Right(RESPONSE.len()));
        for end in 0..RESPONSE.len() {
            assert_eq!(check_response(&RESPONSE[..end]), Response::Partial, "cut at {end}");
        }
        let mut wrong = RESPONSE.to_vec();
        *wrong.last_mut().unwrap() = b'!';
        assert_eq!(check_response(&wrong), Response::Wrong("body differs"));
        assert_eq!(check_response(NOT_FOUND), Response::Wrong("status is not 200"));
    }
}

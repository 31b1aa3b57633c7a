//! The five services of the demo and the ports they stand on.
//!
//! | service | port | the server |
//! |---|---|---|
//! | http | 80 | answers `GET /` with 64 bytes, keep-alive |
//! | echo | 7 | returns the bytes as they come; closes after the peer's FIN |
//! | sink | 9 | checks the pattern; at FIN answers `{count u64 BE, mismatches u64 BE}` and closes |
//! | source | 19 | reads a length (u64 BE, `ENDLESS` = until the peer's FIN), sends that much pattern, closes |
//! | conns | 8 | answers the first byte with itself and closes first, so TIME-WAIT is the server's |

use std::net::{IpAddr, SocketAddr};

/// The port of [`Service::Http`].
pub const HTTP_PORT: u16 = 80;
/// The port of [`Service::Echo`] (RFC 862).
pub const ECHO_PORT: u16 = 7;
/// The port of [`Service::Sink`] (RFC 863, with an answer).
pub const SINK_PORT: u16 = 9;
/// The port of [`Service::Source`] (RFC 864, with a length).
pub const SOURCE_PORT: u16 = 19;
/// The port of [`Service::Conns`].
pub const CONNS_PORT: u16 = 8;

/// The length a client asks the source for to be sent pattern until it sends its FIN.
pub const ENDLESS: u64 = u64::MAX;
/// Size of the sink's answer, bytes: two big-endian u64, bytes received and bytes that differed.
pub const SINK_ANSWER_BYTES: usize = 16;

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// HTTP/1.1.
    Http,
    /// Bytes come back.
    Echo,
    /// Bytes are checked and counted.
    Sink,
    /// Pattern is sent.
    Source,
    /// One byte, then close.
    Conns,
}

impl Service {
    /// All of them, in the order of [`Ports`].
    pub const ALL: [Self; 5] = [Self::Http, Self::Echo, Self::Sink, Self::Source, Self::Conns];
}

/// The TCP port of each service. The well-known ones by default; 0 lets the kernel choose (tests).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports([u16; 5]);

impl Default for Ports {
    fn default() -> Self {
        Self([HTTP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT, CONNS_PORT])
    }
}

impl Ports {
    /// Every port left to the kernel.
    #[cfg(test)]
    pub const ANY: Self = Self([0; 5]);

    /// The port of `service`.
    pub fn of(&self, service: Service) -> u16 {
        self.0[service as usize]
    }

    /// Notes where `service` really listens.
    pub fn set(&mut self, service: Service, port: u16) {
        self.0[service as usize] = port;
    }

    /// Where `service` is at `ip`.
    pub fn at(&self, ip: IpAddr, service: Service) -> SocketAddr {
        SocketAddr::new(ip, self.of(service))
    }
}

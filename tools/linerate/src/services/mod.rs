//! The built-in services, run inline on the polling cores: what `serve` serves, and one side of the demo.

mod conns;
mod echo;
mod http;
mod sink;
mod source;

use linerate::net::{SockError, Stack};
use linerate::poll::ServiceSet;

use crate::demo::service::Service;

/// Connections not accepted yet, or half open, at most: as many as the 10,000 that may come at once.
const BACKLOG: usize = 16_384;

/// Adds `service` on `port` to a core's set.
pub fn add(
    set: &mut ServiceSet,
    stack: &mut Stack,
    service: Service,
    port: u16,
) -> Result<(), (u16, SockError)> {
    match service {
        Service::Http => set.add(stack, port, BACKLOG, http::Http),
        Service::Echo => set.add(stack, port, BACKLOG, echo::Echo),
        Service::Sink => set.add(stack, port, BACKLOG, sink::Sink),
        Service::Source => set.add(stack, port, BACKLOG, source::Source),
        Service::Conns => set.add(stack, port, BACKLOG, conns::Conns),
    }
    .map_err(|e| (port, e))
}

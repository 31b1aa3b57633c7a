//! Applications that run on the polling core itself, called by the turn with borrowed bytes.

use linerate_net::{Events, FlowId, Instant, ListenerId, SockError, Stack};

/// One connection, for one call.
pub struct Cx<'a> {
    /// The core's stack.
    pub stack: &'a mut Stack,
    /// The connection.
    pub id: FlowId,
    /// Now.
    pub now: Instant,
}

impl Cx<'_> {
    /// The oldest unread bytes, in the frame they came in.
    pub fn recv(&self) -> &[u8] {
        self.stack.recv(self.id)
    }

    /// The `n` oldest bytes were read.
    pub fn consume(&mut self, n: usize) {
        self.stack.consume(self.id, n);
    }

    /// Copies what fits into frames to send; returns how much.
    pub fn write(&mut self, data: &[u8]) -> usize {
        self.stack.write(self.id, data)
    }

    /// Sends back what was received, in the frames it came in, as far as there is room.
    pub fn echo(&mut self) -> usize {
        self.stack.splice(self.id, self.id)
    }

    /// No more bytes will come.
    pub fn at_eof(&self) -> bool {
        self.stack.at_eof(self.id)
    }

    /// No more will be written.
    pub fn shutdown(&mut self) {
        self.stack.shutdown(self.id);
    }
}

/// What is to become of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Call again at the next event.
    Wait,
    /// The service is done with it: what was written still goes out.
    Close,
    /// Drop it at once, with RST.
    Abort,
}

/// A service of one core. Every core has its own: nothing in it is shared.
pub trait Service {
    /// What is kept of a connection.
    type Conn;

    /// A connection was accepted.
    fn open(&mut self, cx: &mut Cx<'_>) -> Self::Conn;

    /// Bytes came, or room, or the end of the peer's stream. A connection that was reset or timed out is not
    /// reported: its state is dropped.
    fn ready(&mut self, conn: &mut Self::Conn, cx: &mut Cx<'_>, events: Events) -> Next;
}

/// A service with the states of its connections, by [`FlowId::index`].
struct Running<S: Service> {
    service: S,
    conns: Vec<Option<S::Conn>>,
}

trait Erased {
    fn open(&mut self, cx: &mut Cx<'_>);
    fn ready(&mut self, cx: &mut Cx<'_>, events: Events) -> Next;
    fn forget(&mut self, id: FlowId);
}

impl<S: Service> Erased for Running<S> {
    fn open(&mut self, cx: &mut Cx<'_>) {
        let i = cx.id.index();
        if i >= self.conns.len() {
            self.conns.resize_with(i + 1, || None);
        }
        self.conns[i] = Some(self.service.open(cx));
    }

    fn ready(&mut self, cx: &mut Cx<'_>, events: Events) -> Next {
        match self.conns.get_mut(cx.id.index()) {
            Some(Some(conn)) => self.service.ready(conn, cx, events),
            _ => Next::Abort,
        }
    }

    fn forget(&mut self, id: FlowId) {
        if let Some(conn) = self.conns.get_mut(id.index()) {
            *conn = None;
        }
    }
}

struct Listening {
    id: ListenerId,
    service: Box<dyn Erased>,
}

/// The services of one core.
#[derive(Default)]
pub struct ServiceSet {
    all: Vec<Listening>,
    /// Which service a connection belongs to, by [`FlowId::index`].
    of_conn: Vec<u16>,
}

impl ServiceSet {
    /// Listens on `port` of all the stack's addresses.
    ///
    /// # Errors
    /// If somebody listens there.
    pub fn add<S: Service + 'static>(
        &mut self,
        stack: &mut Stack,
        port: u16,
        backlog: usize,
        service: S,
    ) -> Result<(), SockError> {
        let id = stack.listen(None, port, backlog)?;
        self.all.push(Listening { id, service: Box::new(Running { service, conns: Vec::new() }) });
        Ok(())
    }

    /// Accepts what is to be accepted and tells services what happened. Returns how many calls that were.
    pub(crate) fn turn(&mut self, stack: &mut Stack, now: Instant) -> usize {
        let mut calls = 0;
        while let Some(listener) = stack.next_accepting() {
            let Some(which) = self.all.iter().position(|l| l.id == listener) else { continue };
            while let Some(id) = stack.accept(listener) {
                calls += 1;
                if id.index() >= self.of_conn.len() {
                    self.of_conn.resize(id.index() + 1, 0);
                }
                self.of_conn[id.index()] = which as u16;
                self.all[which].service.open(&mut Cx { stack, id, now });
            }
        }
        while let Some((id, events)) = stack.next_ready() {
            calls += 1;
            let Some(which) = self.of_conn.get(id.index()) else { continue };
            let service = &mut self.all[*which as usize].service;
            let failed = events.contains(Events::CLOSED) && stack.error(id).is_some();
            let next = match failed {
                true => Next::Close,
                false => service.ready(&mut Cx { stack, id, now }, events),
            };
            match next {
                Next::Wait => continue,
                Next::Close => stack.close(id, now),
                Next::Abort => stack.abort(id, now),
            }
            service.forget(id);
        }
        calls
    }
}

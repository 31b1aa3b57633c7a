//! The workloads, the same for every contender.

/// Two stacks of one make in one process, client and server, and a wire that loses nothing.
pub trait Contender {
    /// Whose stack.
    fn name(&self) -> &'static str;

    /// Opens connections until `conns` are established.
    fn open(&mut self, conns: usize);

    /// Client to server, `bytes` on the first connection, read as they come.
    fn bulk(&mut self, bytes: u64);

    /// `transactions` of one byte there and one back, `in_flight` at a time, in turn over the first `over` connections.
    fn exchange(&mut self, in_flight: usize, over: usize, transactions: u64);

    /// `n` times, `in_flight` at a time: connect, one byte to the server, close on both sides.
    fn connect_close(&mut self, in_flight: usize, n: u64);
}

/// The wire's MTU: the IP packet.
pub const MTU: usize = 1500;
/// Receive and send buffer of each connection in the bulk workload.
pub const BULK_BUFFER_BYTES: usize = 256 << 10;
/// What a bulk writer offers at a time.
pub const CHUNK_BYTES: usize = 64 << 10;

//! Which connection a packet belongs to.

pub mod listeners;
pub mod lookup;
pub mod owner;
pub mod table;

/// A connection of one stack. Stale ids (the connection is gone) are recognised by the generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A listener of one stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId(pub(crate) u32);

//! Which connection a packet belongs to.

pub mod half_opens;
pub mod listeners;
pub mod lookup;
pub mod owner;
pub(crate) mod slab;
pub mod syn_cookie;
pub mod table;

/// A connection of one stack. Stale ids (the connection is gone) are recognised by the generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl FlowId {
    /// A small number that no two living connections of a stack share: an index for what an application keeps of
    /// each. It is used again after the connection is gone.
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

/// A listener of one stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId {
    pub(crate) slot: u16,
    pub(crate) generation: u16,
}

//! What the stack costs: two stacks in one process and a wire between them ([`Pair`]), the workloads that every contender
//! runs ([`workload`]), the allocator that counts ([`sys`]),
//! what an idle connection weighs ([`idle`]).

pub mod figures;
pub mod idle;
pub mod pair;
pub mod sys;
pub mod workload;

pub use pair::Pair;
pub use workload::Contender;

//! linerate: a packet engine on AF_XDP with its own TCP/IP stack.
//!
//! This crate is the public face of the workspace: [`launch`](poll::launch::launch) starts the engine on an interface
//! with your [`Service`](poll::Service)s running on its polling cores; the sans-IO [`Stack`](net::Stack) can be
//! embedded alone.
#![forbid(unsafe_code)]

pub use linerate_frame as frame;
pub use linerate_load as load;
pub use linerate_net as net;
pub use linerate_nic as nic;
pub use linerate_poll as poll;
pub use linerate_port as port;
pub use linerate_tcp as tcp;
pub use linerate_wire as wire;

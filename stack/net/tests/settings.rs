//! Settings of one listener or connection beside those of the stack.

mod support;

use std::sync::Arc;

use linerate_net::{SockError, TcpConfig};
use support::addr;
use support::peer::*;

#[test]
fn a_listeners_own_settings_are_its_connections() {
    let mut h = Host::new(TcpConfig::default());
    let own = TcpConfig { timestamps: false, rcv_buf_bytes: 20_000, ..TcpConfig::default() };
    h.stack.close_listener(h.listener, h.now);
    h.listener = h.stack.listen_with(None, PORT, 8, Some(Arc::new(own))).unwrap();
    let (_, out) = h.syn(&Opts { ts: true, wscale: Some(3), ..Opts::default() });
    assert_eq!((out[0].options.timestamps, out[0].options.wscale, out[0].wnd), (None, Some(0), 20_000));
}

#[test]
fn a_connection_can_be_opened_from_a_chosen_port_and_configured() {
    let mut h = Host::new(TcpConfig::default());
    let to = (addr(1, false), 4242);
    let id = h.stack.connect_from((Some(addr(0, false)), 555), to, None, h.now).unwrap();
    let again = h.stack.connect_from((None, 555), to, None, h.now);
    assert_eq!(again, Err(SockError::AddrInUse), "two connections between the same ends");
    let foreign = h.stack.connect_from((Some(addr(1, false)), 556), to, None, h.now);
    assert_eq!(foreign, Err(SockError::AddrNotAvailable));
    let out = h.turn();
    assert_eq!((out[0].src_port, out[0].dst_port), (555, 4242));
    h.stack.configure(id, |c| c.snd_buf_bytes = 1234);
    assert_eq!(h.stack.config(id).snd_buf_bytes, 1234);
}

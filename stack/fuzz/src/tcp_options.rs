//! Any bytes as TCP options: what was understood survives being written and read again.

use linerate_wire::tcp_options::{TcpOptions, emit_options, parse_options};

/// No panic, and the same meaning after a round trip.
pub fn run(data: &[u8]) {
    let data = &data[..data.len().min(40)];
    let options = parse_options(data);
    let mut out = [0; 64];
    let written = emit_options(&options, &mut out);
    let again: TcpOptions = parse_options(&out[..written]);
    let room = written < 40 || options.sack.len() == again.sack.len();
    if room {
        assert_eq!((again.mss, again.wscale), (options.mss, options.wscale));
        assert_eq!((again.sack_permitted, again.timestamps), (options.sack_permitted, options.timestamps));
    }
}

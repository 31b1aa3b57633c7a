//! Prints nanoseconds per operation of the hot paths: `cargo run --release -p linerate-wire --example parse_speed`.
//! Best of several rounds on the running machine; nothing is asserted.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Instant;

use linerate_wire::{
    FlowKey, HashKey, MAX_HEADER, Push, Sum, TcpEmit, TcpFlags, TcpOptions, Toeplitz, copy_and_sum, parse,
    parse_options, parse_tcp, protocol, sum, verify_l4,
};

const ROUNDS: usize = 20;
const OPS: u32 = 200_000;

fn time<R>(name: &str, bytes: usize, mut op: impl FnMut() -> R) {
    let mut best_ns = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..OPS {
            // By reference: moving a result of 100 bytes would be timed too.
            black_box(&op());
        }
        best_ns = best_ns.min(start.elapsed().as_nanos() as f64 / f64::from(OPS));
    }
    let rate = if bytes > 0 { format!("  {:6.1} GB/s", bytes as f64 / best_ns) } else { String::new() };
    println!("{name:<44} {best_ns:8.2} ns{rate}");
}

fn push_frame(
    buf: &mut [u8],
    tcp: &TcpEmit<'_>,
    src: IpAddr,
    dst: IpAddr,
    payload_sum: Option<Sum>,
) -> usize {
    let end = buf.len();
    let mut push = Push::new(buf, MAX_HEADER, end);
    let _ = push.tcp(tcp, src, dst, payload_sum);
    let _ = push.ip(src, dst, protocol::TCP, 64, 0, 7, true, 0);
    let _ = push.eth([2; 6], [4; 6], None);
    push.start()
}

fn main() {
    let options = TcpOptions { timestamps: Some((1, 2)), ..TcpOptions::EMPTY };
    let tcp = TcpEmit {
        src_port: 443,
        dst_port: 40_000,
        seq: 1,
        ack: 2,
        flags: TcpFlags::ACK,
        window: 512,
        urgent: 0,
        options: &options,
    };
    let payload: Vec<u8> = (0..65_536).map(|i: u32| (i * 31) as u8).collect();
    let toeplitz = Toeplitz::symmetric();
    let nic_key = Toeplitz::new(&core::array::from_fn(|i| (i * 37 + 1) as u8));
    let key = HashKey([1, 2]);

    for (family, src, dst) in [("IPv4", "10.0.0.1", "10.0.0.2"), ("IPv6", "2001:db8::1", "2001:db8::2")] {
        let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let mut buf = vec![0; MAX_HEADER + 1448];
        let payload_sum = copy_and_sum(&mut buf[MAX_HEADER..], &payload);
        let start = push_frame(&mut buf, &tcp, src, dst, Some(payload_sum));
        let frame = buf[start..].to_vec();
        let parsed = parse(&frame).unwrap();
        let flow: FlowKey = parsed.flow_key(&frame).unwrap();
        time(&format!("parse eth/{family}/tcp"), 0, || parse(black_box(&frame)));
        time(&format!("parse + flow_key + parse_tcp + options {family}"), 0, || {
            let frame = black_box(&frame[..]);
            let parsed = parse(frame).unwrap();
            let l4 = parsed.l4(frame);
            let header = parse_tcp(l4).unwrap();
            let options = parse_options(&l4[20..header.data_off_bytes.into()]);
            (parsed.flow_key(frame), header, options.timestamps)
        });
        time(&format!("push tcp/{family}/eth, payload sum known"), 0, || {
            push_frame(
                black_box(&mut buf),
                black_box(&tcp),
                *black_box(&src),
                *black_box(&dst),
                Some(black_box(payload_sum)),
            )
        });
        time(&format!("push tcp/{family}/eth, payload read"), 0, || {
            push_frame(black_box(&mut buf), black_box(&tcp), *black_box(&src), *black_box(&dst), None)
        });
        let net = parsed.net.unwrap();
        time(&format!("verify_l4 of 1,480 B {family}"), 0, || {
            verify_l4(net.src, net.dst, net.protocol, black_box(parsed.l4(&frame)))
        });
        time(&format!("hash_keyed {family}"), 0, || black_box(&flow).hash_keyed(&key));
        time(&format!("toeplitz symmetric {family}"), 0, || toeplitz.hash(black_box(&flow)));
        time(&format!("toeplitz other key {family}"), 0, || nic_key.hash(black_box(&flow)));
    }
    let mut to = vec![0; 65_536];
    for len in [64, 536, 1448, 8960, 65_536] {
        time(&format!("sum {len} B"), len, || sum(black_box(&payload[..len])));
        time(&format!("copy_and_sum {len} B"), len, || {
            copy_and_sum(black_box(&mut to[..len]), black_box(&payload[..len]))
        });
        time(&format!("  (memcpy {len} B)"), len, || {
            black_box(&mut to[..len]).copy_from_slice(black_box(&payload[..len]))
        });
    }
}

//! A veth pair `va`, `vb` in a network namespace that only the test's thread is in.

pub mod sys;

use std::process::Command;

/// Runs `test` in a thread with a namespace of its own. Not being root fails the test, with the reason.
pub fn in_netns(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = sys::unshare_net() {
            panic!(
                "this test makes a network namespace and needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF): {error}"
            );
        }
        // Neighbour and router discovery by the kernel would count in the steering counters.
        sh(
            "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
        );
        sh("ip link add name va type veth peer name vb && ip link set va up && ip link set vb up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A shell command in this thread's namespace.
pub fn sh(command: &str) -> String {
    let out = Command::new("sh").args(["-c", command]).output().expect("sh runs");
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub const US4: [u8; 4] = [10, 0, 0, 1];
pub const SHARED4: [u8; 4] = [10, 0, 0, 2];
pub const OTHER4: [u8; 4] = [10, 0, 0, 9];

pub fn v6(last: u8) -> [u8; 16] {
    let mut addr = [0; 16];
    (addr[0], addr[1], addr[15]) = (0xfd, 0x01, last);
    addr
}

pub fn eth(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn vlan(vid: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut tagged = vid.to_be_bytes().to_vec();
    tagged.extend(ethertype.to_be_bytes());
    tagged.extend(payload);
    eth(0x8100, &tagged)
}

pub fn arp(spa: [u8; 4], tpa: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2];
    packet.extend(spa);
    packet.extend([0; 6]);
    packet.extend(tpa);
    packet
}

pub struct Ip4 {
    pub src: [u8; 4],
    pub dst: [u8; 4],
    pub proto: u8,
    pub frag_off: u16,
    pub options_words: u8,
}

pub fn ip4(dst: [u8; 4], proto: u8, payload: &[u8]) -> Vec<u8> {
    Ip4 { src: OTHER4, dst, proto, frag_off: 0, options_words: 0 }.packet(payload)
}

impl Ip4 {
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header_bytes = 20 + 4 * self.options_words as usize;
        let mut packet = vec![0x45 + self.options_words, 0];
        packet.extend(((header_bytes + payload.len()) as u16).to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(self.frag_off.to_be_bytes());
        packet.extend([64, self.proto, 0, 0]);
        packet.extend(self.src);
        packet.extend(self.dst);
        packet.resize(header_bytes, 1);
        packet.extend(payload);
        packet
    }
}

pub fn ip6(src: [u8; 16], dst: [u8; 16], nexthdr: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([nexthdr, 255]);
    packet.extend(src);
    packet.extend(dst);
    packet.extend(payload);
    packet
}

/// Source and destination port, then enough bytes for any L4 header.
pub fn ports(source: u16, dest: u16) -> Vec<u8> {
    let mut l4 = source.to_be_bytes().to_vec();
    l4.extend(dest.to_be_bytes());
    l4.extend([0; 20]);
    l4
}

pub fn icmp(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(rest);
    message
}

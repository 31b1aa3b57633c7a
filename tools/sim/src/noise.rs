//! Cross traffic: packets of nobody's connection, at a constant rate, on and off.

use linerate_wire::emit::Push;
use linerate_wire::protocol;

use crate::host;
use crate::scenario::NoisePlan;

/// UDP's discard port; no host listens there.
const DISCARD_PORT: u16 = 9;
/// Not a host of ours: the switch drops what goes there.
const NOBODY: [u8; 6] = [2, 1, 1, 1, 1, 1];
/// RFC 3168's ECT(0).
const ECT0: u8 = 2;

/// A source of noise.
pub struct Noise {
    /// Direction.
    pub way: usize,
    frame: Vec<u8>,
    plan: NoisePlan,
    next_ns: u64,
    left: u64,
}

impl Noise {
    /// Sends first at `start_ns`.
    ///
    /// # Panics
    /// If the plan's frame is not 64 to 1514 bytes.
    pub fn new(plan: &NoisePlan, hosts: usize, start_ns: u64) -> Self {
        assert!((64..=1514).contains(&plan.bytes), "a frame of {} bytes", plan.bytes);
        Self { way: plan.way, frame: frame(plan, hosts), plan: *plan, next_ns: start_ns, left: plan.packets }
    }

    /// When it sends next; `None`: never again.
    pub fn next_ns(&self) -> Option<u64> {
        (self.left > 0).then_some(self.next_ns)
    }

    /// Its frame; the next one is planned.
    pub fn send(&mut self) -> &[u8] {
        let NoisePlan { gap_ns, on_ns, off_ns, .. } = self.plan;
        self.left = self.left.saturating_sub(1);
        self.next_ns += gap_ns.max(1);
        if off_ns > 0 && self.next_ns % (on_ns + off_ns) >= on_ns {
            let period = on_ns + off_ns;
            self.next_ns = (self.next_ns / period + 1) * period;
        }
        &self.frame
    }
}

/// A UDP datagram from a neighbour that does not exist, or to one.
fn frame(plan: &NoisePlan, hosts: usize) -> Vec<u8> {
    let mut buf = vec![0x55; plan.bytes];
    let end = buf.len();
    let (src, src_mac) = (host::addr(200, false), [2, 1, 1, 1, 1, 2]);
    let dst = host::addr(plan.to.unwrap_or(hosts + 1), false);
    let mut push = Push::new(&mut buf, 42, end);
    let tos = if plan.ect { ECT0 } else { 0 };
    push.udp(DISCARD_PORT, DISCARD_PORT, src, dst, None).expect("room for UDP");
    push.ip(src, dst, protocol::UDP, 64, tos, 1, true, 0).expect("room for IP");
    push.eth(src_mac, plan.to.map_or(NOBODY, host::mac), None).expect("room for Ethernet");
    assert_eq!(push.start(), 0);
    buf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_in_bursts_at_its_rate() {
        let plan = NoisePlan {
            way: 0,
            bytes: 100,
            gap_ns: 10,
            on_ns: 30,
            off_ns: 70,
            to: Some(1),
            ect: true,
            packets: 8,
        };
        let mut n = Noise::new(&plan, 2, 0);
        let mut at = Vec::new();
        for _ in 0..7 {
            at.push(n.next_ns().unwrap());
            assert_eq!(n.send().len(), 100);
        }
        assert_eq!(at, [0, 10, 20, 100, 110, 120, 200]);
        let p = linerate_wire::parse(n.send()).unwrap();
        assert_eq!(p.net.unwrap().dst, host::addr(1, false));
        assert_eq!(n.next_ns(), None, "8 packets");
    }
}

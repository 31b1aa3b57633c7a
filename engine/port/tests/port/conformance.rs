//! What every port must do, as functions over a pair of ports of any kind.

use std::time::{Duration, Instant};

use linerate_frame::{BATCH_PKTS, Batch, Burst, Frame, Pool};
use linerate_port::Port;

/// One end: a port and the pool of its core.
pub struct End<P> {
    pub port: P,
    pub pool: Pool,
}

/// Two ends of a link that loses nothing as long as the receiver keeps up.
pub struct Rig<P> {
    pub a: End<P>,
    pub b: End<P>,
    /// What stands still until somebody moves it: virtual time; or nothing.
    pub pass_time: fn(&mut P, &mut P),
    /// Frames that one end takes without the other's help, where there is a bound.
    pub tx_depth: Option<usize>,
}

/// Local experimental EtherType (IEEE 802): the tests' frames among others on the wire.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const FRAME_BYTES_MIN: usize = 60;
const PATIENCE: Duration = Duration::from_secs(20);

/// The whole suite; `rig` makes a fresh pair for each case.
pub fn all<P: Port>(mut rig: impl FnMut() -> Rig<P>) {
    order_content_and_marks(rig());
    bursts_keep_their_bound(rig());
    full_ring_holds_back(rig());
    unsendable_frames_are_refused(rig());
    a_lent_frame_stays_with_its_holder(rig());
    ledger_after_100k(rig());
    close_under_load(rig());
}

impl<P: Port> End<P> {
    /// A frame with its number and a pattern that follows from it.
    fn frame(&mut self, number: u32, len: usize) -> Frame {
        let mut f = self.pool.alloc().expect("a frame to send");
        let at = f.start();
        let bytes = &mut self.pool.writable(&mut f).unwrap()[at..at + len];
        bytes[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        bytes[12..14].copy_from_slice(&ETHERTYPE);
        bytes[14..18].copy_from_slice(&number.to_be_bytes());
        bytes[18..].iter_mut().enumerate().for_each(|(i, b)| *b = pattern(number, i));
        self.pool.set_range(&mut f, at, len);
        f
    }

    fn queue(&mut self, batch: &mut Batch, number: u32, len: usize) {
        let f = self.frame(number, len);
        batch.push(self.pool.send(f));
    }

    fn send(&mut self, batch: &mut Batch) -> usize {
        self.port.reap(&mut self.pool);
        let n = self.port.tx_burst(&mut self.pool, batch);
        self.port.wake().unwrap();
        n
    }

    /// The tests' own frames of one burst: (number, length).
    fn receive(&mut self) -> Vec<(u32, usize)> {
        let mut burst = Burst::default();
        self.port.refill(&mut self.pool);
        self.port.rx_burst(&mut self.pool, &mut burst);
        let frames: Vec<Frame> = burst.drain().collect();
        let mut got = Vec::new();
        for f in frames {
            if let Some(number) = number_of(self.pool.bytes(&f)) {
                assert_eq!(f.csum, self.port.caps().rx_csum);
                got.push((number, f.len()));
            }
            self.pool.free(f);
        }
        self.port.reap(&mut self.pool);
        got
    }

    fn close(mut self) {
        self.port.close(&mut self.pool);
        assert!(self.pool.ledger().is_home(), "{:?}", self.pool.ledger());
        assert_eq!(self.port.rx_burst(&mut self.pool, &mut Burst::default()), 0, "closed");
        self.port.close(&mut self.pool);
    }
}

impl<P: Port> Rig<P> {
    fn start(mut self) -> Self {
        self.a.port.refill(&mut self.a.pool);
        self.b.port.refill(&mut self.b.pool);
        self
    }

    fn pass_time(&mut self) {
        (self.pass_time)(&mut self.a.port, &mut self.b.port);
    }

    /// Receives at b until `n` frames came.
    fn receive(&mut self, n: usize) -> Vec<(u32, usize)> {
        let (until, mut got) = (Instant::now() + PATIENCE, Vec::new());
        while got.len() < n {
            assert!(Instant::now() < until, "{} of {n} frames came: {:?}", got.len(), self.b.port.stats());
            self.pass_time();
            got.extend(self.b.receive());
            self.a.port.wake().unwrap();
        }
        got
    }

    fn close(self) {
        self.a.close();
        self.b.close();
    }
}

fn pattern(number: u32, i: usize) -> u8 {
    (number as usize).wrapping_mul(31).wrapping_add(i) as u8
}

/// The number of a frame of ours, whose every byte is then checked.
fn number_of(bytes: &[u8]) -> Option<u32> {
    if bytes.len() < FRAME_BYTES_MIN || bytes[12..14] != ETHERTYPE {
        return None;
    }
    let number = u32::from_be_bytes(bytes[14..18].try_into().unwrap());
    for (i, b) in bytes[18..].iter().enumerate() {
        assert_eq!(*b, pattern(number, i), "frame {number}, byte {}", i + 18);
    }
    Some(number)
}

fn order_content_and_marks<P: Port>(rig: Rig<P>) {
    let mut rig = rig.start();
    let longest = rig.a.port.caps().mtu as usize + 14;
    let len = |n: u32| FRAME_BYTES_MIN + (n as usize * 97) % (longest - FRAME_BYTES_MIN + 1);
    let (mut sent, mut batch) = (0u32, Batch::default());
    for size in [1, 2, 3, 31, 32, 33, 63, 64, 64, 64] {
        let first = sent;
        for _ in 0..size {
            rig.a.queue(&mut batch, sent, len(sent));
            sent += 1;
        }
        assert_eq!(rig.a.send(&mut batch), size);
        let want: Vec<_> = (first..sent).map(|n| (n, len(n))).collect();
        assert_eq!(rig.receive(size), want);
    }
    rig.a.queue(&mut batch, sent, longest);
    rig.a.send(&mut batch);
    assert_eq!(rig.receive(1), [(sent, longest)]);
    let (a, b) = (rig.a.port.stats(), rig.b.port.stats());
    assert_eq!(a.tx_packets, u64::from(sent) + 1);
    assert!(b.rx_packets >= a.tx_packets && b.rx_bytes >= a.tx_bytes);
    rig.close();
}

fn bursts_keep_their_bound<P: Port>(rig: Rig<P>) {
    let mut rig = rig.start();
    let mut batch = Batch::default();
    for n in 0..16 {
        rig.a.queue(&mut batch, n, 60);
    }
    rig.a.send(&mut batch);
    rig.pass_time();
    // A burst with room for three takes three.
    let (mut burst, until) = (Burst::default(), Instant::now() + PATIENCE);
    while burst.room() > 3 {
        burst.push(rig.b.pool.alloc().unwrap());
    }
    let mut got = 0;
    while got < 3 {
        assert!(Instant::now() < until);
        got += rig.b.port.rx_burst(&mut rig.b.pool, &mut burst);
        rig.pass_time();
    }
    assert_eq!((got, burst.room()), (3, 0));
    assert_eq!(rig.b.port.rx_burst(&mut rig.b.pool, &mut burst), 0, "no room");
    let numbers: Vec<_> = burst.frames()[61..].iter().map(|f| number_of(rig.b.pool.bytes(f))).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    let frames: Vec<_> = burst.drain().collect();
    frames.into_iter().for_each(|f| rig.b.pool.free(f));
    assert_eq!(rig.receive(13)[0].0, 3);
    rig.close();
}

fn full_ring_holds_back<P: Port>(rig: Rig<P>) {
    let mut rig = rig.start();
    let Some(depth) = rig.tx_depth else { return rig.close() };
    assert!(depth + 20 <= BATCH_PKTS, "the test's ring fits a batch");
    let mut batch = Batch::default();
    for n in 0..depth as u32 + 20 {
        rig.a.queue(&mut batch, n, 60);
    }
    let put = rig.a.port.tx_burst(&mut rig.a.pool, &mut batch);
    assert_eq!((put, batch.len()), (depth, 20));
    assert_eq!(rig.a.port.tx_burst(&mut rig.a.pool, &mut batch), 0);
    assert_eq!(rig.a.port.stats().tx_ring_full, 2);
    rig.a.port.wake().unwrap();
    let mut got = rig.receive(depth);
    while !batch.is_empty() {
        rig.a.send(&mut batch);
    }
    got.extend(rig.receive(20));
    assert!(got.iter().map(|g| g.0).eq(0..depth as u32 + 20), "in order, none lost");
    rig.close();
}

fn unsendable_frames_are_refused<P: Port>(rig: Rig<P>) {
    let mut rig = rig.start();
    let most = rig.a.port.caps().frame_bytes_max as usize;
    let mut batch = Batch::default();
    rig.a.queue(&mut batch, 1, 60);
    let mut empty = rig.a.frame(2, 60);
    rig.a.pool.set_range(&mut empty, 128, 0);
    batch.push(rig.a.pool.send(empty));
    rig.a.queue(&mut batch, 3, most + 1);
    rig.a.queue(&mut batch, 4, 60);
    assert_eq!(rig.a.send(&mut batch), 2);
    assert!(batch.is_empty());
    assert_eq!(rig.a.port.stats().tx_refused, 2);
    assert_eq!(rig.receive(2), [(1, 60), (4, 60)]);
    rig.close();
}

fn a_lent_frame_stays_with_its_holder<P: Port>(rig: Rig<P>) {
    let mut rig = rig.start();
    let frame = rig.a.frame(7, 200);
    for _ in 0..3 {
        let mut batch = Batch::default();
        batch.push(rig.a.pool.lend(&frame, frame.start(), frame.len()).expect("the last one completed"));
        rig.a.send(&mut batch);
        assert_eq!(rig.receive(1), [(7, 200)]);
        let until = Instant::now() + PATIENCE;
        while rig.a.pool.is_transmitting(&frame) {
            assert!(Instant::now() < until, "no completion");
            rig.a.port.reap(&mut rig.a.pool);
        }
    }
    assert_eq!(rig.a.pool.ledger().held, 1);
    rig.a.pool.free(frame);
    rig.close();
}

/// 100,000 frames, both ways at once, with the ledgers checked on the way.
fn ledger_after_100k<P: Port>(rig: Rig<P>) {
    const EACH_WAY: u32 = 50_000;
    const WINDOW: u32 = 48;
    let mut rig = rig.start();
    let (mut batch_a, mut batch_b) = (Batch::default(), Batch::default());
    let (mut sent, mut at_a, mut at_b) = (0, 0, 0);
    let until = Instant::now() + 3 * PATIENCE;
    while at_a < EACH_WAY || at_b < EACH_WAY {
        assert!(
            Instant::now() < until,
            "{at_a} and {at_b}: {:?} {:?}",
            rig.a.port.stats(),
            rig.b.port.stats()
        );
        while sent < EACH_WAY && sent < at_a.min(at_b) + WINDOW {
            let len = 60 + (sent % 1400) as usize;
            rig.a.queue(&mut batch_a, sent, len);
            rig.b.queue(&mut batch_b, sent, len);
            sent += 1;
        }
        rig.a.send(&mut batch_a);
        rig.b.send(&mut batch_b);
        rig.pass_time();
        for (end, next) in [(&mut rig.a, &mut at_a), (&mut rig.b, &mut at_b)] {
            for (number, _) in end.receive() {
                assert_eq!(number, *next);
                *next += 1;
            }
        }
        if sent.is_multiple_of(1000) {
            assert!(rig.a.pool.ledger().accounts_for(0) && rig.b.pool.ledger().accounts_for(0));
        }
    }
    for end in [&mut rig.a, &mut rig.b] {
        let s = end.port.stats();
        assert_eq!(s.tx_packets, EACH_WAY.into());
        assert_eq!((s.desc_invalid, s.ring_invalid, s.tx_refused, s.rx_oversize), (0, 0, 0, 0));
        assert_eq!((s.kernel.rx_dropped, s.kernel.rx_invalid_descs, s.kernel.tx_invalid_descs), (0, 0, 0));
    }
    rig.close();
}

/// Frames in every place there is, then the end.
fn close_under_load<P: Port>(rig: Rig<P>) {
    let mut rig = rig.start();
    let mut batch = Batch::default();
    for round in 0..4 {
        for n in 0..40 {
            rig.a.queue(&mut batch, round * 40 + n, 100);
        }
        rig.a.port.tx_burst(&mut rig.a.pool, &mut batch);
        if round < 3 {
            rig.a.port.wake().unwrap();
        }
        while let Some(tx) = batch.pop() {
            assert!(rig.a.pool.complete(tx.into_index()));
        }
    }
    rig.pass_time();
    let kept = rig.b.pool.alloc().unwrap();
    let mut burst = Burst::default();
    rig.b.port.rx_burst(&mut rig.b.pool, &mut burst);
    rig.b.port.close(&mut rig.b.pool);
    assert_eq!(rig.b.pool.ledger().held as usize, burst.len() + 1, "what the stack has it keeps");
    burst.drain().for_each(|f| rig.b.pool.free(f));
    rig.b.pool.free(kept);
    rig.close();
}

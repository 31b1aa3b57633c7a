use super::*;
use alloc::vec;
use core::net::Ipv4Addr;
use linerate_tcp::time::SEC;

fn key(src: u32, id: u32) -> FragKey {
    let dst = Ipv4Addr::new(10, 0, 0, 1).into();
    FragKey { src: Ipv4Addr::from_bits(src).into(), dst, id, protocol: 17 }
}

fn put(r: &mut Reassembly, k: FragKey, offset: u32, more: bool, payload: &[u8]) -> Taken {
    r.insert(k, &Piece { offset, more, payload, header: b"header", ecn: 0 }, Instant(SEC))
}

fn payload(t: Taken) -> Vec<u8> {
    match t {
        Taken::Whole { header, payload, .. } => {
            assert_eq!(*header, *b"header");
            payload
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_order_of_four_pieces() {
    let data: Vec<u8> = (0..60).collect();
    let cuts = [(0, 16), (16, 40), (40, 48), (48, 60)];
    let mut orders = 0;
    for n in 0..256usize {
        let order = [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6];
        if (0..4).any(|i| !order.contains(&i)) {
            continue;
        }
        orders += 1;
        let mut r = Reassembly::new(SEC);
        for i in &order[..3] {
            let (a, b) = cuts[*i];
            assert_eq!(put(&mut r, key(1, 7), a, b != 60, &data[a as usize..b as usize]), Taken::Held);
            assert_eq!(put(&mut r, key(1, 7), a, b != 60, &data[a as usize..b as usize]), Taken::Duplicate);
        }
        let (a, b) = cuts[order[3]];
        assert_eq!(payload(put(&mut r, key(1, 7), a, b != 60, &data[a as usize..b as usize])), data);
        assert_eq!((r.charged(), r.queues(), r.sources.len()), (0, 0, 0));
    }
    assert_eq!(orders, 24);
}

/// Every way to overlap costs the whole datagram, and what follows of it.
//= RFC 5722 section 3
#[test]
fn overlaps_drop_the_whole() {
    for (a, b, more) in [
        (0, 24, true),
        (24, 32, true),
        (8, 24, true),
        (16, 32, true),
        (24, 40, true),
        (0, 64, true),
        (16, 24, false),
        (8, 20, false),
    ] {
        let mut r = Reassembly::new(SEC);
        assert_eq!(put(&mut r, key(1, 7), 16, true, &[1; 16]), Taken::Held);
        let t = put(&mut r, key(1, 7), a, more, &vec![2; (b - a) as usize]);
        assert_eq!(t, Taken::Overlap, "{a}..{b}");
        assert_eq!(put(&mut r, key(1, 7), 0, true, &[1; 16]), Taken::Overlap, "what follows, too");
        assert!(r.charged() <= FRAG_QUEUE_OVERHEAD);
        assert_eq!(put(&mut r, key(1, 8), 0, true, &[1; 16]), Taken::Held, "another datagram is another");
        assert!(r.expire(Instant(3 * SEC)).is_some_and(|e| e.key.id == 8), "no error about the dead one");
        assert!(r.expire(Instant(3 * SEC)).is_none() && r.charged() == 0);
    }
}

#[test]
fn the_same_range_with_other_bytes_is_an_overlap() {
    let mut r = Reassembly::new(SEC);
    put(&mut r, key(1, 7), 0, true, &[1; 16]);
    assert_eq!(put(&mut r, key(1, 7), 0, true, &[1; 16]), Taken::Duplicate);
    assert_eq!(put(&mut r, key(1, 7), 0, true, &[2; 16]), Taken::Overlap);
}

#[test]
fn two_ends_contradict_each_other() {
    for (first, second) in [((8, false), (16, false)), ((16, false), (8, false)), ((8, false), (16, true))] {
        let mut r = Reassembly::new(SEC);
        assert_eq!(put(&mut r, key(1, 7), first.0, first.1, &[1; 8]), Taken::Held);
        assert_eq!(put(&mut r, key(1, 7), second.0, second.1, &[1; 8]), Taken::Overlap);
    }
}

/// One source gets its share; the others still get theirs. The whole stays within its bound, the oldest makes room.
#[test]
fn memory_is_bounded() {
    let mut r = Reassembly::new(SEC);
    let share = FRAG_BYTES_MAX / FRAG_SOURCE_SHARE;
    put(&mut r, key(7, 1), 0, true, &[1; 8]);
    for n in 0..10_000 {
        assert_eq!(put(&mut r, key(1, n), 8, true, &[0; 1400]), Taken::Held);
        assert!(r.charged() <= share + 1000);
    }
    assert!(r.evicted > 5_000);
    // What it lost was its own, and its next datagram comes through.
    put(&mut r, key(1, 70_000), 0, true, &[1; 8]);
    assert_eq!(payload(put(&mut r, key(1, 70_000), 8, false, &[2])).len(), 9);
    assert_eq!(payload(put(&mut r, key(7, 1), 8, false, &[2])).len(), 9);
    // One datagram is never more than 64 KiB, and 256 pieces: it fits the share.
    assert!(65_535 + FRAG_PIECES_MAX * FRAG_PIECE_OVERHEAD + FRAG_QUEUE_OVERHEAD < share);
    for n in 0..100_000u32 {
        put(&mut r, key(2 + n % 5_000, n), 8, true, &[0; 1400]);
        assert!(r.charged() <= FRAG_BYTES_MAX && r.queues() <= FRAG_QUEUES_MAX);
    }
    assert!(r.evicted > 90_000);
    // A datagram whose pieces come together still gets through.
    put(&mut r, key(9, 1), 0, true, &[1; 8]);
    assert_eq!(payload(put(&mut r, key(9, 1), 8, false, &[2])).len(), 9);
    assert_eq!(r.order.len(), r.queues());
    while r.expire(Instant(100 * SEC)).is_some() {}
    assert_eq!((r.charged(), r.queues(), r.sources.len(), r.order.len()), (0, 0, 0, 0));
}

/// Many small pieces of one datagram: a bound on their number.
#[test]
fn small_pieces_are_bounded() {
    let mut r = Reassembly::new(SEC);
    let held = (0..8_000).filter(|n| put(&mut r, key(1, 7), n * 8, true, &[0; 8]) == Taken::Held).count();
    assert_eq!(held, FRAG_PIECES_MAX);
}

//= RFC 3168 section 5.3
#[test]
fn ecn_of_the_whole() {
    let joint = |a: u8, b: u8| joint_ecn(1 << a | 1 << b);
    assert_eq!(joint(2, 2), Some(2));
    assert_eq!((joint(2, 3), joint(1, 3), joint(3, 3)), (Some(3), Some(3), Some(3)));
    assert_eq!(joint(0, 3), None);
    assert_eq!((joint(0, 2), joint(0, 0), joint(1, 1)), (Some(0), Some(0), Some(1)));
}

/// The name of a datagram that became whole is used again before the first's time is over.
#[test]
fn a_name_is_used_again() {
    let mut r = Reassembly::new(SEC);
    let at = |r: &mut Reassembly, offset, more, now| {
        let piece = Piece { offset, more, payload: &[1; 8], header: b"header", ecn: 0 };
        r.insert(key(1, 7), &piece, Instant(now))
    };
    at(&mut r, 0, true, SEC);
    payload(at(&mut r, 8, false, SEC));
    at(&mut r, 0, true, SEC + SEC / 2);
    assert!(r.expire(Instant(2 * SEC)).is_none());
    payload(at(&mut r, 8, false, 2 * SEC));
    assert!(r.expire(Instant(9 * SEC)).is_none());
}

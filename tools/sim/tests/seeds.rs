//! The simulator's own promises, and seeds in numbers.

use linerate_sim::{Scenario, many, random};

fn failures(from: u64, count: u64) {
    many::quiet_panics();
    let sum = many::many(from, count, 2, 10, |seed, failure| {
        eprintln!("seed {seed} failed {failure}\ncargo run --release -p linerate-sim -- run --seed {seed}\n");
    });
    assert!(sum.failures.is_empty(), "{sum}");
    println!("{sum}");
}

#[test]
fn fifty_seeds() {
    failures(0, 50);
}

/// What CI runs; a hundred thousand are run by `ci/sim 100000`.
#[test]
fn slow_two_thousand_seeds() {
    failures(0, 2000);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 100..110 {
        let [a, b] = [0, 1].map(|_| many::run(&random::scenario(seed), None).unwrap());
        assert_eq!((a.digest, a.packets, a.virtual_ns), (b.digest, b.packets, b.virtual_ns), "seed {seed}");
    }
    let digest = |s: &Scenario| many::run(s, None).unwrap().digest;
    let mut s = random::scenario(100);
    let before = digest(&s);
    s.seed += 1;
    assert_ne!(digest(&s), before, "the hosts' secrets follow from the seed");
}

/// A capture changes nothing of the run that it shows.
#[test]
fn captures_watch_only() {
    let s = random::scenario(7);
    let capture = linerate_sim::capture::Capture::new(Box::new(std::io::sink()), "seed 7", s.hosts.len());
    let seen = many::run(&s, Some(capture.unwrap())).unwrap();
    assert_eq!(seen.digest, many::run(&s, None).unwrap().digest);
}

//! `bpf/steer/steer.h` and this crate say the same. The header is read as text: no C compiler needed.

use linerate_abi::*;

const HEADER: &str = include_str!("../../steer/steer.h");
const PROGRAM_SOURCE: &str = include_str!("../../steer/steer.c");

fn define(name: &str) -> u32 {
    let line = HEADER
        .lines()
        .find(|line| line.strip_prefix("#define ").and_then(|l| l.split(' ').next()) == Some(name))
        .unwrap_or_else(|| panic!("steer.h has no #define {name}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn constants_agree() {
    assert_eq!(define("STEER_CLAIM_WHOLE"), ClaimMode::Whole as u32);
    assert_eq!(define("STEER_CLAIM_PORTS"), ClaimMode::Ports as u32);
    assert_eq!(define("STEER_MAX_QUEUES"), MAX_QUEUES);
    assert_eq!(define("STEER_MAX_ADDRS4"), MAX_ADDRS4);
    assert_eq!(define("STEER_MAX_ADDRS6"), MAX_ADDRS6);
    assert_eq!(define("STEER_MAX_PORTS"), MAX_PORTS);
    assert_eq!(define("STEER_MAX_EXT_HEADERS"), MAX_EXT_HEADERS);
    // Nothing in the header is unknown here.
    let defines = HEADER.lines().filter(|line| line.starts_with("#define STEER_")).count();
    assert_eq!(defines, 7);
}

#[test]
fn counters_agree_in_name_and_order() {
    let body = HEADER.split("enum steer_counter {").nth(1).unwrap().split('}').next().unwrap();
    let mut names: Vec<String> = body
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(names.pop().unwrap(), "steer_counters");
    let ours: Vec<&str> = Counter::ALL.iter().map(|counter| counter.name()).collect();
    assert_eq!(names, ours);
    for (index, counter) in Counter::ALL.iter().enumerate() {
        assert_eq!(*counter as usize, index);
    }
}

#[test]
fn claimed_counters_come_first() {
    // steer.c takes every verdict up to this one as ours.
    assert!(PROGRAM_SOURCE.contains("IS_CLAIMED(verdict) ((verdict) <= STEER_CLAIMED_OTHER)"));
    for counter in Counter::ALL {
        let claimed = *counter as u32 <= Counter::ClaimedOther as u32;
        assert_eq!(claimed, counter.name().starts_with("steer_claimed_"), "{}", counter.name());
    }
}

#[test]
fn port_key_layout_agrees() {
    let body = HEADER.split("struct steer_port_key {").nth(1).unwrap().split('}').next().unwrap();
    let fields: Vec<&str> = body.split(';').map(str::trim).filter(|field| !field.is_empty()).collect();
    assert_eq!(fields, ["__u8 proto", "__u8 zero", "__be16 port"]);
    assert_eq!(size_of::<PortKey>(), 4);
    assert_eq!(PortKey::new(6, 443).to_bytes(), [6, 0, 0x01, 0xbb]);
}

#[test]
fn map_and_program_names_agree() {
    for map in [MAP_XSKS, MAP_ADDRS4, MAP_ADDRS6, MAP_PORTS, MAP_COUNTERS] {
        assert!(PROGRAM_SOURCE.contains(&format!("}} {map} SEC(\".maps\");")), "steer.c has no map {map}");
    }
    assert!(PROGRAM_SOURCE.contains(&format!("int {PROGRAM}(struct xdp_md *ctx)")));
}

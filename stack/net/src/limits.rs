//! Every bound of the stack, with its origin.

/// Connections in TIME-WAIT at most; above it the oldest goes early (Linux bounds them too: tcp_max_tw_buckets).
/// 64 bytes each, and 16 in the queue that ends them.
pub const TIME_WAIT_CONNS_MAX: usize = 1 << 17;

pub use linerate_tcp::limits::TTL;

/// Servers whose Fast Open cookies are kept, at most: 100 bytes each.
pub const FAST_OPEN_CACHE_MAX: usize = 1024;
/// The key of our Fast Open cookies changes so often, and the last one is good still: a cookie lives 12 to 24 hours (RFC
/// 7413 section 5.1 leaves it to us).
pub const FAST_OPEN_KEY_NS: u64 = 12 * 3600 * linerate_tcp::time::SEC;
/// No data on SYNs for so long to a server whose path swallowed one: Linux's tcp_fastopen_blackhole_timeout_sec.
pub const FAST_OPEN_BLACK_HOLE_NS: u64 = 3600 * linerate_tcp::time::SEC;

/// Half-open connections of a core at most, all listeners together: 64 bytes each, 4 MiB. Beyond it SYN cookies do.
pub const HALF_OPEN_MAX: usize = 1 << 16;

/// ICMP errors and RSTs to nobody's segments, a second (RFC 4443 2.4 (f), RFC 1812 4.3.2.8): a token bucket.
pub const ICMP_ERRORS_PER_SEC: u64 = 1000;
/// Burst of that bucket.
pub const ICMP_ERRORS_BURST: u64 = 50;

/// Below this share of the region's frames free (1/8), received payload is copied to the heap and its frame given
/// back, before anything is dropped.
pub const SHORT_OF_FRAMES_SHIFT: u32 = 3;

/// Writers leave this share of the region's frames (1/16): the ACKs that will free theirs must find frames to arrive in.
pub const SEND_RESERVE_SHIFT: u32 = 4;

/// First port for outgoing connections; RFC 6056 section 3.2 asks for the whole range 1024 to 65535.
pub const EPHEMERAL_PORT_FIRST: u16 = 1024;

/// A route's MTU is taken as at least this: RFC 791 section 3.2, what every link carries.
pub const MTU_MIN: u16 = 68;

/// What ICMP says of a path's MTU is believed for this long: RFC 1191 section 6.3, RFC 8201 section 5.3.
pub const PMTU_TTL_NS: u64 = 600 * linerate_tcp::time::SEC;
/// An IPv4 path's MTU is never taken as less: below it packets leave without DF instead (Linux's min_pmtu, which is
/// 512 bytes of payload and two headers). One who forges errors gains less by it.
pub const PMTU_MIN_V4: u16 = 552;
/// No IPv6 link carries less: RFC 8200 section 5.
pub const PMTU_MIN_V6: u16 = 1280;
/// Destinations whose MTU is remembered: 4096 entries of some 64 bytes; the oldest goes first.
pub const PMTU_ENTRIES_MAX: usize = 4096;

/// Fragments of IPv4 datagrams wait this long for the rest: Linux's 30 s; RFC 1122 section 3.3.2 says 60 to 120, but at
/// today's rates the 16 bits of identification come round sooner (RFC 4963).
pub const FRAG_TIMEOUT_V4_NS: u64 = 30 * linerate_tcp::time::SEC;
/// The same for IPv6: RFC 8200 section 4.5.
pub const FRAG_TIMEOUT_V6_NS: u64 = 60 * linerate_tcp::time::SEC;
/// Memory that fragments of one family may hold, in bytes, upkeep included: Linux's ipfrag_high_thresh.
pub const FRAG_BYTES_MAX: usize = 4 << 20;
/// One source holds at most this part of it: 512 KiB, eight datagrams of the largest size.
pub const FRAG_SOURCE_SHARE: usize = 8;
/// Datagrams under way at most, of one family.
pub const FRAG_QUEUES_MAX: usize = 8192;
/// Pieces of one datagram at most: 64 KiB in pieces of 256 bytes; no link has an MTU that needs more.
pub const FRAG_PIECES_MAX: usize = 256;
/// What a piece costs beside its bytes: entry and allocation.
pub const FRAG_PIECE_OVERHEAD: usize = 64;
/// What a datagram under way costs beside its pieces: entries in three tables, and the queue.
pub const FRAG_QUEUE_OVERHEAD: usize = 384;
/// Counters for the identification of packets that may be fragmented, by a hash of their addresses (Linux has 2048 to
/// 262,144): 8 KiB a core.
pub const IP_ID_COUNTERS: usize = 2048;

/// Bytes that may wait in a datagram socket, by default: about Linux's rmem_default of 212,992.
pub const DGRAM_RECV_BYTES: usize = 256 << 10;
/// What a waiting datagram costs beside its payload, so that empty ones are not free.
pub const DGRAM_OVERHEAD: usize = 256;
/// ICMP errors that wait in a datagram socket at most.
pub const DGRAM_NOTICES_MAX: usize = 16;
/// Random ports tried before a datagram socket gives up: with half of all ports taken it fails once in 2^64.
pub const DGRAM_PORT_TRIES: u32 = 64;

/// Ethernet, IP and TCP headers without options: what the MTU loses to fixed headers, IPv4 (RFC 9293 MUST-67).
pub const IPV4_TCP_HEADER_BYTES: u16 = 40;
/// The same for IPv6.
pub const IPV6_TCP_HEADER_BYTES: u16 = 60;

/// Free frames that a splice wants: a 64 KiB chunk cut into segments of RFC 9293's default MSS of 536 needs 123.
pub const SPLICE_FREE_FRAMES: usize = 128;

/// Lessons of ARP and ND that wait for the other cores: a turn's worth. What does not fit is asked for again.
pub const LESSONS_MAX: usize = 64;

/// A connection whose queues were deep and that has nothing to do gives their memory back after this: longer than any
/// pause within an exchange, so that busy connections keep theirs.
pub const TRIM_AFTER_NS: u64 = 1_000_000_000;
/// Groups joined at most, in each family (Linux: igmp_max_memberships, 20, a socket).
pub const GROUPS_MAX: usize = 256;
/// Prefixes learned from routers, at most (Linux forms at most 16 addresses of an interface: max_addresses).
pub const PREFIXES_MAX: usize = 16;
/// Default routers at most: RFC 4861 section 6.3.4 asks for two or more.
pub const ROUTERS_MAX: usize = 8;
/// DNS options of an advertisement, and servers of an option, at most: RFC 8106 section 5.3.1 finds three enough.
pub const RDNSS_MAX: usize = 4;
/// Redirected hosts at most (our choice).
pub const REDIRECTS_MAX: usize = 64;
/// Events of autoconfiguration that nobody has fetched; then the oldest is lost.
pub const AUTO_EVENTS_MAX: usize = 64;

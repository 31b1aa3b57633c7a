//! Every bound and constant of TCP, with its origin.

use crate::time::{MS, SEC};

/// Window scale shift at most: RFC 7323 section 2.3.
pub const WSCALE_MAX: u8 = 14;
/// MSS assumed when the peer says none, IPv4: RFC 9293 MUST-15.
//= RFC 9293 section 3.7.1, MUST-15
pub const MSS_DEFAULT_V4: u16 = 536;
/// MSS assumed when the peer says none, IPv6: RFC 9293 MUST-15.
pub const MSS_DEFAULT_V6: u16 = 1220;
/// No segment is made smaller than this, whatever the peer's MSS option says: tiny MSS values are an attack
/// (Linux's `tcp_min_snd_mss` is 48 with options; CVE-2019-11479).
pub const MSS_MIN: u16 = 64;
/// Bytes that the timestamps option takes of each segment: NOP NOP TS, RFC 7323 appendix A.
pub const TS_OPTION_BYTES: u16 = 12;

/// MSS that nearly every path carries: RFC 4821 section 7.7; Linux's TCP_BASE_MSS.
pub const MTU_BASE_MSS: u16 = 1024;
/// The same in IPv6: its minimum MTU of 1280 less the headers.
pub const MTU_BASE_MSS_V6: u16 = 1220;
/// MSS below which the search for what arrives does not go: by default the base. Linux goes down to 48; a host whose
/// peer is simply gone would cut its segments ever smaller.
pub const MTU_FLOOR_MSS: u16 = MTU_BASE_MSS;
/// Timeouts in a row after which large segments are suspected: R1, RFC 9293 SHLD-10.
pub const MTU_PROBE_RETRIES: u8 = 3;
/// The search ends when it has come this close: RFC 4821 section 7.3 leaves it open; Linux's TCP_MTU_PROBE_THRESHOLD.
pub const MTU_PROBE_STEP: u16 = 8;
/// After this time the search begins anew: RFC 4821 section 7.5; Linux's TCP_MTU_PROBE_INTERVAL.
pub const MTU_PROBE_INTERVAL_NS: u64 = 600 * SEC;
/// cwnd in segments below which no probe is sent: its loss would be felt (RFC 4821 section 7.4; Linux has 11).
pub const MTU_PROBE_CWND_SEGS: u32 = 11;
/// Segments that follow a probe at once, so that its loss is noticed: duplicate ACKs and one to spare.
pub const MTU_PROBE_FOLLOW_SEGS: u32 = DUP_THRESH + 1;

/// Initial window in segments: RFC 6928.
pub const IW_SEGS: u32 = 10;
/// Segments of one ACK that slow start takes at once: L of RFC 9406 section 4.3, unpaced.
pub const SLOW_START_L_SEGS: u32 = 8;
/// How long a window that is not in use is kept: the Non-Validated Period of RFC 7661 section 4.4.4.
pub const NVP_NS: u64 = 300 * SEC;
/// pipeACK Sampling Period, at least: RFC 7661 section 4.2.
pub const PIPE_ACK_PERIOD_NS: u64 = SEC;
/// A paced burst: what the rate sends in a millisecond (Linux's autosizing, and BBR's send quantum), ...
pub const PACING_BURST_NS: u64 = MS;
/// ... but no more than this (BBR's send quantum, the largest TSO segment).
pub const PACING_BURST_BYTES: u32 = 64 << 10;
/// Duplicate ACKs that prove a loss: RFC 5681 section 3.2.
pub const DUP_THRESH: u32 = 3;

/// RTO before the first sample: RFC 6298 (2.1).
pub const RTO_INITIAL_NS: u64 = SEC;
/// RTO at least, by default: Linux's 200 ms; RFC 6298 (2.4) says 1 s ([`TcpConfig::rto_min_ns`]).
///
/// [`TcpConfig::rto_min_ns`]: crate::TcpConfig::rto_min_ns
pub const RTO_MIN_NS: u64 = 200 * MS;
/// RTO at most: RFC 6298 (2.5) allows any bound of 60 s or more; Linux has 120 s.
pub const RTO_MAX_NS: u64 = 120 * SEC;
/// The RTO to fall back to when a SYN was retransmitted: RFC 6298 (5.7).
pub const RTO_AFTER_SYN_LOSS_NS: u64 = 3 * SEC;
/// Retransmissions of a data segment before the connection is given up: 15 doublings from 200 ms are 924 s, more
/// than the 100 s of R2 (RFC 9293 SHLD-11); Linux's tcp_retries2.
//= RFC 9293 section 3.8.3, SHLD-11
pub const DATA_RETRIES: u8 = 15;
/// SYN retransmissions: R2 for SYN is at least 3 minutes (MUST-23); 1 + 2 + ... + 64 + 120 s = 247 s.
//= RFC 9293 section 3.8.3, MUST-23
pub const SYN_RETRIES: u8 = 7;
/// SYN-ACK retransmissions (Linux's tcp_synack_retries): the peer repeats its SYN anyway.
pub const SYNACK_RETRIES: u8 = 5;

/// R1: RFC 9293 SHLD-10 says at least 3 retransmissions.
//= RFC 9293 section 3.8.3, SHLD-10
pub const R1_RETRIES: u8 = 3;
/// Default time to live and hop limit: RFC 1700's 64.
pub const TTL: u8 = 64;
/// Least user timeout that a peer's option can bring about: R2's 100 s (RFC 5482 section 3.1's L_LIMIT, RFC 9293
/// SHLD-11).
pub const USER_TIMEOUT_MIN_NS: u64 = 100 * SEC;
/// Longest user timeout that a peer's option can bring about (U_LIMIT, against holding our memory: RFC 5482 section 6).
pub const USER_TIMEOUT_MAX_NS: u64 = 3600 * SEC;

/// Delayed ACK at most: well under the 500 ms of RFC 9293 MUST-40; Linux's TCP_DELACK_MIN.
pub const DELACK_NS: u64 = 40 * MS;
/// Segments of a young connection that are acknowledged at once, so that the peer's slow start is clocked
/// (Linux's TCP_MAX_QUICKACKS).
pub const QUICKACK_SEGS: u8 = 16;

/// Bytes written and not sent, at most: what one turn can send and a little more. A deeper queue would only age: its
/// frames have left the caches when their turn comes (Linux's tcp_notsent_lowat, with its reasons).
pub const NOTSENT_BYTES: u32 = 128 << 10;

/// In-order full segments after which a transfer counts as bulk: well past slow start's first flights.
pub const BULK_SEGS: u8 = 64;
/// In-order full segments in a row from which the receive buffer is tuned: more than an exchange of messages has.
pub const TUNED_SEGS: u8 = 8;
/// Segments an ACK may cover in bulk. SHLD-19 says every second one; every receiver behind GRO or LRO acknowledges
/// once an aggregate (44 segments in 64 KiB), senders count bytes (RFC 3465), and each ACK saved is a packet saved.
pub const STRETCH_ACK_SEGS: u8 = 8;
/// A stretched ACK waits at most this long for the segments it is to cover.
pub const STRETCH_ACK_NS: u64 = MS / 4;

/// TIME-WAIT, 2 MSL: RFC 9293 MUST-13 with the MSL of 30 s that every deployed stack uses.
pub const TIME_WAIT_NS: u64 = 60 * SEC;
/// FIN-WAIT-2 of a connection that the application has closed: nobody reads any more (Linux's tcp_fin_timeout).
pub const FIN_WAIT_2_NS: u64 = 60 * SEC;

/// Age at which TS.Recent is no longer trusted: RFC 7323 section 5.5.
pub const TS_RECENT_AGE_NS: u64 = 24 * 24 * 3600 * SEC;

/// Challenge ACKs: one per this time and connection (RFC 5961 section 7 asks for a limit; per connection, for a
/// global one is a side channel, CVE-2016-5696). Linux's tcp_invalid_ratelimit.
pub const CHALLENGE_ACK_INTERVAL_NS: u64 = 500 * MS;

/// Out-of-order segments that one connection keeps, at least ...
pub const OOO_SEGS: usize = 1024;
/// ... and one more for so many bytes of its receive buffer: a window of full segments behind one hole is not refused.
pub const OOO_SEG_BYTES: usize = 1024;
/// Ranges remembered for SACK blocks: RFC 2018 allows 4, 3 beside timestamps.
pub const SACK_RANGES: usize = 4;

/// Idle time before the first keep-alive probe: RFC 9293 MUST-28, at least two hours.
//= RFC 9293 section 3.8.4, MUST-28
pub const KEEPALIVE_IDLE_NS: u64 = 2 * 3600 * SEC;
/// Between keep-alive probes (Linux's tcp_keepalive_intvl).
pub const KEEPALIVE_INTERVAL_NS: u64 = 75 * SEC;
/// Unanswered keep-alive probes before the connection is given up (Linux's tcp_keepalive_probes).
pub const KEEPALIVE_PROBES: u8 = 9;

/// Recoveries for which RACK keeps a reordering window that D-SACKs have widened: RFC 8985 section 6.2 step 4.
pub const REO_WND_PERSIST: u8 = 16;
/// RACK's floor for the tail-loss probe: RFC 8985 section 7.2 leaves it to the clock; Linux uses 2 jiffies.
pub const TLP_MIN_NS: u64 = 2 * MS;
/// Worst-case delayed ACK of the peer, added to the probe timeout when one segment is in flight: RFC 8985 7.2.
pub const TLP_WC_DELACK_NS: u64 = 200 * MS;

/// Receive buffer at first (Linux's tcp_rmem): nine times the initial window of RFC 6928.
pub const RCV_BUF_BYTES: u32 = 128 << 10;
/// Send buffer at first: what [`NOTSENT_BYTES`] lets wait, and as much in flight.
pub const SND_BUF_BYTES: u32 = 256 << 10;
/// What buffers may grow to: a round trip of 100 ms at 5 Gbit/s.
pub const BUF_MAX_BYTES: u32 = 64 << 20;

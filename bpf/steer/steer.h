/* What steer.c and user space agree on. The same, in Rust: bpf/abi/src/lib.rs. A test of linerate-abi
 * reads this text and compares, so keep to `#define NAME literal` and one counter a line. */
#ifndef LINERATE_STEER_H
#define LINERATE_STEER_H

/* Value of `addrs4` and `addrs6`: how much of the address is ours. */
#define STEER_CLAIM_WHOLE 1
#define STEER_CLAIM_PORTS 2

/* Entries of each map. An XSK's key is the receive queue it is bound to. */
#define STEER_MAX_QUEUES 256
#define STEER_MAX_ADDRS4 1024
#define STEER_MAX_ADDRS6 1024
#define STEER_MAX_PORTS 16384

/* IPv6 extension headers walked before giving up (RFC 8200 names four kinds that a host may see). */
#define STEER_MAX_EXT_HEADERS 4

/* Key of `ports`. The port is in network byte order, as in the packet. */
struct steer_port_key {
	__u8 proto;
	__u8 zero;
	__be16 port;
};

/* Index into `counters`; every packet counts in exactly one. */
enum steer_counter {
	STEER_CLAIMED_TCP,
	STEER_CLAIMED_UDP,
	STEER_CLAIMED_ICMP,
	STEER_CLAIMED_ICMP_ERROR,
	STEER_CLAIMED_ARP,
	STEER_CLAIMED_ND,
	STEER_CLAIMED_FRAGMENT,
	STEER_CLAIMED_OTHER,
	STEER_NO_XSK,
	STEER_PASSED_NOT_IP,
	STEER_PASSED_NOT_OURS,
	STEER_PASSED_MULTICAST,
	STEER_PASSED_ARP,
	STEER_PASSED_PORT,
	STEER_PASSED_ICMP,
	STEER_PASSED_PROTOCOL,
	STEER_PASSED_FRAGMENT,
	STEER_PASSED_EXT_HEADERS,
	STEER_PASSED_MALFORMED,
	STEER_PASSED_VLAN,
	STEER_COUNTERS
};

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
 *
 * steer: decides for each received packet whether it is ours, and if so puts it on the XSK of the queue
 * it came in on. Everything else goes to the kernel untouched.
 *
 *   claimed  -> counted by kind, redirected to xsks[rx_queue_index]
 *   no XSK   -> counted as STEER_NO_XSK, passed
 *   not ours -> counted by reason, passed
 *
 * The program never drops: a wrong decision here would take down the host's own traffic. It checks no
 * checksum and no MAC address either; the stack does, with a DropReason.
 */
#include "kernel.h"
#include "steer.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, STEER_MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_ADDRS4);
	__type(key, struct in4_addr);
	__type(value, __u32);
} addrs4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_ADDRS6);
	__type(key, struct in6_addr);
	__type(value, __u32);
} addrs6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_PORTS);
	__type(key, struct steer_port_key);
	__type(value, __u32);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* A verdict is the counter; those up to the last STEER_CLAIMED_* mean ours. */
#define IS_CLAIMED(verdict) ((verdict) <= STEER_CLAIMED_OTHER)

#define ND_NEIGHBOUR_SOLICIT 135
#define ND_NEIGHBOUR_ADVERT 136
#define ND_HOP_LIMIT 255

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1; /* per CPU, and XDP runs with preemption of its kind off: no atomic needed */
}

static __always_inline __u32 claim4(const struct in4_addr *addr)
{
	struct in4_addr key = *addr;
	__u32 *mode = bpf_map_lookup_elem(&addrs4, &key);

	return mode ? *mode : 0;
}

static __always_inline __u32 claim6(const struct in6_addr *addr)
{
	struct in6_addr key = *addr;
	__u32 *mode = bpf_map_lookup_elem(&addrs6, &key);

	return mode ? *mode : 0;
}

static __always_inline int port_is_ours(__u8 proto, __be16 port)
{
	struct steer_port_key key = { .proto = proto, .zero = 0, .port = port };

	return bpf_map_lookup_elem(&ports, &key) != 0;
}

static __always_inline __u32 claimed_as(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return STEER_CLAIMED_TCP;
	case IPPROTO_UDP:
		return STEER_CLAIMED_UDP;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return STEER_CLAIMED_ICMP;
	default:
		return STEER_CLAIMED_OTHER;
	}
}

static __always_inline __u32 arp(void *pos, void *end)
{
	struct arphdr *arp = pos;
	struct in4_addr addr;

	if ((void *)(arp + 1) > end)
		return STEER_PASSED_MALFORMED;
	if (arp->htype != bpf_htons(1) || arp->ptype != bpf_htons(ETH_P_IP) || arp->hlen != 6 || arp->plen != 4)
		return STEER_PASSED_ARP;
	/* Requests for us and replies to us both carry our address as the target. */
	__builtin_memcpy(&addr, arp->tpa, 4);
	if (claim4(&addr) == STEER_CLAIM_WHOLE)
		return STEER_CLAIMED_ARP;
	/* Somebody else says he is us: the stack has to defend the address (RFC 5227 2.4). */
	__builtin_memcpy(&addr, arp->spa, 4);
	if (claim4(&addr) == STEER_CLAIM_WHOLE)
		return STEER_CLAIMED_ARP;
	return STEER_PASSED_ARP;
}

/* The IPv4 packet quoted by an ICMP error: is it a flow of a port of ours? */
static __always_inline __u32 quoted4(void *pos, void *end, const struct in4_addr *us)
{
	struct iphdr *ip = pos;
	struct l4_ports *l4;
	__u32 ihl_bytes;

	if ((void *)(ip + 1) > end)
		return STEER_PASSED_MALFORMED;
	ihl_bytes = (ip->version_ihl & 0x0f) * 4;
	if (ihl_bytes < sizeof(*ip))
		return STEER_PASSED_MALFORMED;
	/* An error goes to the source of what it quotes; a later fragment quotes no ports. */
	if (*(__u32 *)&ip->saddr != *(__u32 *)us || (ip->frag_off & bpf_htons(0x1fff)))
		return STEER_PASSED_ICMP;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return STEER_PASSED_ICMP;
	l4 = pos + ihl_bytes;
	if ((void *)(l4 + 1) > end)
		return STEER_PASSED_MALFORMED;
	return port_is_ours(ip->protocol, l4->source) ? STEER_CLAIMED_ICMP_ERROR : STEER_PASSED_ICMP;
}

static __always_inline __u32 ipv4(void *pos, void *end)
{
	struct iphdr *ip = pos;
	struct l4_ports *l4;
	struct icmphdr *icmp;
	__u32 ihl_bytes, mode;
	int fragment;

	if ((void *)(ip + 1) > end)
		return STEER_PASSED_MALFORMED;
	ihl_bytes = (ip->version_ihl & 0x0f) * 4;
	if ((ip->version_ihl >> 4) != 4 || ihl_bytes < sizeof(*ip))
		return STEER_PASSED_MALFORMED;

	mode = claim4(&ip->daddr);
	if (!mode)
		return (ip->daddr.b[0] & 0xf0) == 0xe0 ? STEER_PASSED_MULTICAST : STEER_PASSED_NOT_OURS;
	fragment = (ip->frag_off & bpf_htons(0x3fff)) != 0; /* MF or an offset */
	if (mode == STEER_CLAIM_WHOLE)
		return fragment ? STEER_CLAIMED_FRAGMENT : claimed_as(ip->protocol);
	/* Only the first fragment names the port, so the kernel has to get all of them. */
	if (fragment)
		return STEER_PASSED_FRAGMENT;

	switch (ip->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		l4 = pos + ihl_bytes;
		if ((void *)(l4 + 1) > end)
			return STEER_PASSED_MALFORMED;
		if (!port_is_ours(ip->protocol, l4->dest))
			return STEER_PASSED_PORT;
		return ip->protocol == IPPROTO_TCP ? STEER_CLAIMED_TCP : STEER_CLAIMED_UDP;
	case IPPROTO_ICMP:
		icmp = pos + ihl_bytes;
		if ((void *)(icmp + 1) > end)
			return STEER_PASSED_MALFORMED;
		/* Unreachable, time exceeded, parameter problem (RFC 792). */
		if (icmp->type != 3 && icmp->type != 11 && icmp->type != 12)
			return STEER_PASSED_ICMP;
		return quoted4(icmp + 1, end, &ip->daddr);
	default:
		return STEER_PASSED_PROTOCOL;
	}
}

/* Where an IPv6 packet's extension headers end. */
struct upper {
	void *pos;
	__u8 proto;
	__u8 fragment;
};

/* Returns 0, or the verdict that ends the walk. A fragment ends it well, with `fragment` set: what
 * follows a fragment header need not be an upper layer. */
static __always_inline __u32 walk6(void *pos, void *end, __u8 nexthdr, struct upper *up)
{
	up->fragment = 0;
#pragma unroll
	for (int i = 0; i <= STEER_MAX_EXT_HEADERS; i++) {
		struct ipv6_opt_hdr *opt = pos;

		up->pos = pos;
		up->proto = nexthdr;
		if (nexthdr != IPPROTO_HOPOPTS && nexthdr != IPPROTO_ROUTING && nexthdr != IPPROTO_DSTOPTS &&
		    nexthdr != IPPROTO_FRAGMENT)
			return 0;
		if (i == STEER_MAX_EXT_HEADERS)
			break;
		/* Each of the four kinds is at least eight bytes. */
		if ((void *)(opt + 1) > end)
			return STEER_PASSED_MALFORMED;
		if (nexthdr == IPPROTO_FRAGMENT) {
			struct frag_hdr *frag = pos;

			/* Offset zero and no more: an atomic fragment is a whole packet (RFC 6946). */
			if (frag->frag_off & bpf_htons(0xfff9)) {
				up->fragment = 1;
				return 0;
			}
			pos += sizeof(*frag);
		} else {
			pos += (opt->hdrlen_8octets_less_1 + 1) * 8;
		}
		nexthdr = opt->nexthdr;
	}
	return STEER_PASSED_EXT_HEADERS;
}

static __always_inline int same6(const struct in6_addr *a, const struct in6_addr *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

static __always_inline __u32 quoted6(void *pos, void *end, const struct in6_addr *us)
{
	struct ipv6hdr *ip = pos;
	struct l4_ports *l4;
	struct upper up;
	__u32 stop;

	if ((void *)(ip + 1) > end)
		return STEER_PASSED_MALFORMED;
	if (!same6(&ip->saddr, us))
		return STEER_PASSED_ICMP;
	stop = walk6(ip + 1, end, ip->nexthdr, &up);
	if (stop)
		return stop;
	if (up.fragment || (up.proto != IPPROTO_TCP && up.proto != IPPROTO_UDP))
		return STEER_PASSED_ICMP;
	l4 = up.pos;
	if ((void *)(l4 + 1) > end)
		return STEER_PASSED_MALFORMED;
	return port_is_ours(up.proto, l4->source) ? STEER_CLAIMED_ICMP_ERROR : STEER_PASSED_ICMP;
}

/* To a multicast group: ours only if it is ND about a whole address of ours. */
static __always_inline __u32 multicast6(struct ipv6hdr *ip, void *end)
{
	struct nd_msg *nd = (void *)(ip + 1);

	/* RFC 4861 7.1: hop limit 255; ND with extension headers is left to the kernel. */
	if (ip->nexthdr != IPPROTO_ICMPV6 || ip->hop_limit != ND_HOP_LIMIT)
		return STEER_PASSED_MULTICAST;
	if ((void *)(nd + 1) > end)
		return STEER_PASSED_MULTICAST;
	/* A solicitation asks for us, or is another host's DAD for our address; an advertisement to
	 * all nodes with our address as target is the conflict that our own DAD waits for. */
	if (nd->icmph.type != ND_NEIGHBOUR_SOLICIT && nd->icmph.type != ND_NEIGHBOUR_ADVERT)
		return STEER_PASSED_MULTICAST;
	return claim6(&nd->target) == STEER_CLAIM_WHOLE ? STEER_CLAIMED_ND : STEER_PASSED_MULTICAST;
}

static __always_inline __u32 ipv6(void *pos, void *end)
{
	struct ipv6hdr *ip = pos;
	struct icmphdr *icmp;
	struct l4_ports *l4;
	struct upper up;
	__u32 mode, stop;

	if ((void *)(ip + 1) > end || (ip->version_class >> 4) != 6)
		return STEER_PASSED_MALFORMED;
	if (ip->daddr.b[0] == 0xff)
		return multicast6(ip, end);
	mode = claim6(&ip->daddr);
	if (!mode)
		return STEER_PASSED_NOT_OURS;

	stop = walk6(ip + 1, end, ip->nexthdr, &up);
	if (mode == STEER_CLAIM_WHOLE) {
		if (stop)
			return STEER_CLAIMED_OTHER;
		if (up.fragment)
			return STEER_CLAIMED_FRAGMENT;
		if (up.proto == IPPROTO_ICMPV6) {
			icmp = up.pos;
			/* Router and neighbour messages and redirects are 133 to 137. */
			if ((void *)(icmp + 1) <= end && icmp->type >= 133 && icmp->type <= 137)
				return STEER_CLAIMED_ND;
		}
		return claimed_as(up.proto);
	}
	if (stop)
		return stop;
	if (up.fragment)
		return STEER_PASSED_FRAGMENT;

	switch (up.proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		l4 = up.pos;
		if ((void *)(l4 + 1) > end)
			return STEER_PASSED_MALFORMED;
		if (!port_is_ours(up.proto, l4->dest))
			return STEER_PASSED_PORT;
		return up.proto == IPPROTO_TCP ? STEER_CLAIMED_TCP : STEER_CLAIMED_UDP;
	case IPPROTO_ICMPV6:
		icmp = up.pos;
		if ((void *)(icmp + 1) > end)
			return STEER_PASSED_MALFORMED;
		/* Unreachable, too big, time exceeded, parameter problem (RFC 4443). */
		if (icmp->type < 1 || icmp->type > 4)
			return STEER_PASSED_ICMP;
		return quoted6(icmp + 1, end, &ip->daddr);
	default:
		return STEER_PASSED_PROTOCOL;
	}
}

static __always_inline __u32 classify(void *pos, void *end)
{
	struct ethhdr *eth = pos;
	__be16 proto;

	if ((void *)(eth + 1) > end)
		return STEER_PASSED_MALFORMED;
	pos = eth + 1;
	proto = eth->proto;
	if (proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD)) {
		struct vlan_hdr *vlan = pos;

		if ((void *)(vlan + 1) > end)
			return STEER_PASSED_MALFORMED;
		/* VID 0 is a priority tag: still this interface. Any other VLAN is another link (eth1.100), with
		 * addresses of its own (IEEE 802.1Q 6.9).
		 */
		if (vlan->tci & bpf_htons(0x0fff))
			return STEER_PASSED_VLAN;
		pos = vlan + 1;
		proto = vlan->proto;
	}
	if (proto == bpf_htons(ETH_P_IP))
		return ipv4(pos, end);
	if (proto == bpf_htons(ETH_P_IPV6))
		return ipv6(pos, end);
	if (proto == bpf_htons(ETH_P_ARP))
		return arp(pos, end);
	return STEER_PASSED_NOT_IP;
}

#ifdef STEER_FRAGS
SEC("xdp.frags")
#else
SEC("xdp")
#endif
int steer(struct xdp_md *ctx)
{
	__u32 verdict = classify((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	long action = XDP_PASS;

	if (IS_CLAIMED(verdict)) {
		/* Answers XDP_PASS (the flags) where the queue has no XSK. */
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = STEER_NO_XSK;
	}
	count(verdict);
	return action;
}

/* Not `static const`: aya can't load the BTF of a read-only static string. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

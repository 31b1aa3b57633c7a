# shellcheck shell=bash
# What the tests share. Two namespaces of their own, one veth:
#
#     server namespace                        client namespace
#     linerate ── lr0  10.77.0.1 fd77::1 ──── lr1  10.77.0.2 fd77::2 ── curl, wrk, nc, ping, peer.py
#
# 10.77.0.9 and fd77::9 belong to nobody: linerate takes them whole with --address. A test that ends, however it ends, ends
# what it started and deletes its namespaces.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${LINERATE:?run me with ci/veth/run}" "${LINERATE_TEST:?run me with ci/veth/run}"

# shellcheck disable=SC2034 # the tests use them
server4=10.77.0.1 server6=fd77::1 client4=10.77.0.2 client6=fd77::2 own4=10.77.0.9 own6=fd77::9
ns_s=$LINERATE_TEST-s
ns_c=$LINERATE_TEST-c
work=$(mktemp -d)
chmod 755 "$work"
started=() # pids of our background processes
servers=0  # how many linerate servers were started
server=''  # pid of the last one
server_out='' # its standard output; .err beside it
export LINERATE_STATE_DIR=$work/state # its journal: tests don't undo one another's changes

in_s() { ip netns exec "$ns_s" "$@"; }
in_c() { ip netns exec "$ns_c" "$@"; }
note() { echo "note: $*"; }
fail() {
    echo "FAILED at line ${BASH_LINENO[0]}: $*"
    exit 1
}
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }'; }

end() {
    local status=$? pid ns file
    trap - EXIT INT TERM
    set +e
    if [ "$status" != 0 ]; then
        for file in "$work"/serve.*; do
            [ ! -s "$file" ] || { echo "-- ${file##*/}:" && tail -n 30 "$file"; }
        done
    fi
    for pid in "${started[@]}"; do kill -KILL "$pid"; done 2>/dev/null
    for ns in "$ns_s" "$ns_c"; do
        ip netns pids "$ns" 2>/dev/null | while read -r pid; do kill -KILL "$pid"; done 2>/dev/null
        ip netns del "$ns" 2>/dev/null
    done
    rm -rf "$work"
    exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# net_up [QUEUES]: both namespaces, the veth, its addresses. Offloads stay as the kernel sets them.
# shellcheck disable=SC2120 # most want one
net_up() {
    local q=${1:-1}
    ip netns add "$ns_s"
    ip netns add "$ns_c"
    ip -n "$ns_s" link add lr0 numtxqueues "$q" numrxqueues "$q" type veth \
        peer name lr1 numtxqueues "$q" numrxqueues "$q" netns "$ns_c"
    ip -n "$ns_s" addr add "$server4/24" dev lr0
    ip -n "$ns_s" addr add "$server6/64" dev lr0 nodad
    ip -n "$ns_c" addr add "$client4/24" dev lr1
    ip -n "$ns_c" addr add "$client6/64" dev lr1 nodad
    ip -n "$ns_s" link set lo up
    ip -n "$ns_s" link set lr0 up
    ip -n "$ns_c" link set lr1 up
    features_before=$(features)
}

features() { in_s ethtool -k lr0; }

# await_line PID PATTERN SECONDS FILE...: until a line of a file matches, or the process is gone.
await_line() {
    local pid=$1 pattern=$2 seconds=$3
    shift 3
    grep -q -m1 -E -- "$pattern" < <(exec timeout "$seconds" tail -q -n +1 -s 0.1 -f --pid="$pid" "$@" 2>/dev/null)
}

# await_exit PID SECONDS: its exit status, in $exited; `late` if it had to be killed.
await_exit() {
    local late=''
    timeout "$2" tail -s 0.02 -f --pid="$1" /dev/null || late=yes
    [ -z "$late" ] || kill -KILL "$1"
    exited=0
    wait "$1" || exited=$?
    [ -z "$late" ] || exited=late
}

# background OUT COMMAND...: in $! and `started`. SIGINT as for a command at a terminal: bash has it ignored in the background.
background() {
    local out=$1
    shift
    : >"$out"
    : >"$out.err" # here, not in the child: await_line may look before the child has come so far
    env --default-signal=INT "$@" >>"$out" 2>>"$out.err" &
    started+=($!)
}

# serve SERVICE FLAGS...: linerate on lr0, ready when this returns. $server is its pid.
serve() {
    servers=$((servers + 1))
    server_out=$work/serve.$servers
    background "$server_out" ip netns exec "$ns_s" "$LINERATE" serve "$@" --interface lr0 --json
    server=$!
    await_line "$server" '"event": *"ready"' 20 "$server_out" || fail "serve $* did not get ready"
}

# server_says JQ_FILTER: of the object the server printed when it was done.
server_says() { jq -r "select(.event == \"done\") | $1" "$server_out"; }

# stop: Ctrl-C, and what must be true after it: soon gone, status 0, every frame accounted for, nothing left.
stop() {
    kill -INT "$server"
    await_exit "$server" 5
    [ "$exited" = 0 ] || fail "after SIGINT the server ended with status $exited"
    ledger_whole
    nothing_left
}

ledger_whole() {
    local frames accounted
    frames=$(server_says .ledger.frames)
    accounted=$(server_says .ledger.accounted)
    [ -n "$frames" ] || fail "no final report with a ledger on stdout"
    if [ "$frames" = 0 ] || [ "$frames" != "$accounted" ]; then fail "ledger: $frames frames, $accounted accounted for"; fi
}

# No program on the interface, its offloads as before.
nothing_left() {
    ! in_s ip -d link show lr0 | grep -w xdp || fail "an XDP program is still attached to lr0"
    [ "$(features)" = "$features_before" ] || fail "features of lr0 changed: $(diff <(echo "$features_before") <(features))"
}

# impair PERCENT: random loss on the wire, each way. A drop in the egress hook would tell the sender, which then just sends
# again; so what is to be lost on the way out is sent down another veth, which leads nowhere. One packet an skb, so that
# what is lost is a packet and not a burst of forty.
impair() {
    ip -n "$ns_c" link show lost0 >/dev/null 2>&1 || {
        ip -n "$ns_c" link add lost0 type veth peer name lost1
        ip -n "$ns_c" link set lost1 up
        ip -n "$ns_c" link set lost0 up
        ip -n "$ns_c" link set lr1 gso_max_segs 1
    }
    in_c nft -f - <<END
table netdev loss {
    chain in { type filter hook ingress device "lr1" priority 0; policy accept; numgen random mod 100 < $1 counter drop; }
    chain out { type filter hook egress device "lr1" priority 0; policy accept; numgen random mod 100 < $1 counter fwd to "lost0"; }
}
END
}
# How many were lost from and to the server, then no loss any more.
unimpair() {
    in_c nft list table netdev loss | sed -n 's/.*counter packets \([0-9]*\) .*/\1/p' | paste -sd' '
    in_c nft delete table netdev loss
}

# random_bytes N: N bytes of AES-CTR, always the same.
random_bytes() {
    head -c "$1" /dev/zero | openssl enc -aes-128-ctr -K 6c696e6572617465 -iv 00 2>/dev/null
}

# echo_stream ADDRESS PORT BYTES: there and back through nc, half-close included; fails unless the SHA-256 is the same.
echo_stream() {
    local back there hash
    rm -f "$work/there"
    mkfifo "$work/there"
    sha256sum <"$work/there" >"$work/there.sum" &
    hash=$!
    started+=("$hash")
    back=$(random_bytes "$3" | tee "$work/there" | in_c nc -N "$1" "$2" | tee >(wc -c >"$work/back.bytes") | sha256sum)
    wait "$hash"
    there=$(cat "$work/there.sum")
    [ "$there" = "$back" ] || fail "echo of $3 bytes: sent $there, got $back ($(cat "$work/back.bytes") bytes)"
}

# with_loss PERCENT: 100 MiB through echo, over each family, while that many packets are lost.
with_loss() {
    local address began
    net_up 1
    serve echo --port 7
    for address in "$server4" "$server6"; do
        in_c ping -q -c 1 -W 1 "$address" >/dev/null # neighbours are known before packets get lost
        impair "$1"
        began=$EPOCHREALTIME
        echo_stream "$address" 7 104857600
        note "$address: 100 MiB there and back with $1 % loss in $(seconds_since "$began") s"
        lost=$(unimpair)
        for lost in $lost; do
            [ "$lost" -gt 100 ] || fail "only $lost packets were lost: the test does not test"
        done
    done
    stop
}

# in_url ADDRESS
in_url() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }

# kernel_echo PORT: an echo server of the kernel's own sockets on lr0's addresses, ready when this returns.
kernel_echo() {
    background "$work/kernel_echo.$1" ip netns exec "$ns_s" python3 "$here/peer.py" listen "$1"
    await_line $! listening 10 "$work/kernel_echo.$1" || fail "the kernel's echo server did not start"
}
# The kernel's own traffic on lr0, still its own.
kernel_answers() {
    local address answer
    for address in "$server4" "$server6"; do
        in_c ping -q -c 1 -W 1 "$address" >/dev/null || fail "the kernel does not answer ping to $address"
        answer=$(echo hello | in_c timeout 3 nc -N "$address" "$1") || fail "kernel port $1 of $address does not answer"
        [ "$answer" = hello ] || fail "kernel port $1 of $address answered: $answer"
    done
}

# load SECONDS ADDRESS: wrk in the background, going when this returns.
load() {
    background "$work/wrk" ip netns exec "$ns_c" wrk -t1 -c64 -d"$1"s "http://$(in_url "$2")/"
    wrk=$!
    local before now
    before=$(in_c cat /sys/class/net/lr1/statistics/rx_packets)
    until now=$(in_c cat /sys/class/net/lr1/statistics/rx_packets) && [ $((now - before)) -gt 2000 ]; do
        kill -0 "$wrk" 2>/dev/null || fail "wrk ended without traffic: $(cat "$work/wrk" "$work/wrk.err")"
    done
}
end_load() {
    kill -KILL "$wrk" 2>/dev/null || true
    wait "$wrk" 2>/dev/null || true
}

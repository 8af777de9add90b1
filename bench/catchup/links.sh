#!/bin/bash
# links.sh MBIT RANKS BUILD [OPTIONS OF catchup_perf]: every rank on a host of its own (network namespaces on a bridge), each of
# which sends MBIT per second at most (tbf). Needs root, ip and tc. Removes what it made.
set -euo pipefail
mbit=$1 ranks=$2 build=$3
shift 3
ip=$(command -v ip)
name=rgcu$$
end() {
  for ((r = 0; r < ranks; ++r)); do "$ip" netns del "$name-$r" 2>/dev/null || true; done
  "$ip" netns del "$name-hub" 2>/dev/null || true
}
trap end EXIT
"$ip" netns add "$name-hub"
"$ip" -n "$name-hub" link set lo up
"$ip" -n "$name-hub" link add bridge0 type bridge
"$ip" -n "$name-hub" addr add 10.98.0.1/24 dev bridge0
"$ip" -n "$name-hub" link set bridge0 up
for ((r = 0; r < ranks; ++r)); do
  "$ip" netns add "$name-$r"
  "$ip" -n "$name-$r" link add eth0 type veth peer name "rank$r" netns "$name-hub"
  "$ip" -n "$name-$r" addr add "10.98.0.$((r + 2))/24" dev eth0
  "$ip" -n "$name-$r" link set lo up
  "$ip" -n "$name-$r" link set eth0 up
  "$ip" -n "$name-hub" link set "rank$r" master bridge0 up
  "$ip" netns exec "$name-$r" tc qdisc add dev eth0 root tbf rate "${mbit}mbit" burst 256k latency 50ms
done
"$ip" netns exec "$name-hub" "$build/bin/catchup_perf" --ranks "$ranks" --transport tcp --host 10.98.0.1 \
  --rank-in "$ip netns exec $name-%r" "$@"

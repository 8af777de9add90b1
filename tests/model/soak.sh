#!/bin/bash
# soak.sh BUILD_DIR [PART...]: the explorer's long runs, each a part of its own (at most 20 minutes on one core, 14 GiB).
# Without PART, all of them, one after the other; `list` prints their names. Ends at the first that finds something.
set -euo pipefail
build=${1:?usage: soak.sh BUILD_DIR [PART...]}
shift
declare -A parts=(
  [two-changes]="--members 3 --views 2 --failures 1"
  [two-changes-net]="--members 3 --views 2 --failures 1 --plane net"
  [two-failures]="--members 3 --views 1 --failures 2 --faults crash,suspect"
  [two-of-each-crash]="--members 3 --views 2 --failures 2 --faults crash"
  [two-of-each-suspect]="--members 3 --views 2 --failures 2 --faults suspect"
  [window]="--members 3 --views 1 --failures 1 --window 2 --ops 3 --faults crash,suspect"
  [join]="--members 3 --join --views 0 --failures 1 --step 2"
  [leave]="--members 3 --asks leave --views 1 --failures 1"
)
order=(two-changes two-changes-net two-failures two-of-each-crash two-of-each-suspect window join leave)
if [[ ${1:-} == list ]]; then printf '%s\n' "${order[@]}"; exit 0; fi
for part in "${@:-${order[@]}}"; do
  [[ -n ${parts[$part]:-} ]] || { echo "soak.sh: no part '$part'" >&2; exit 2; }
  read -ra args <<<"${parts[$part]}"
  echo "== $part: explore ${parts[$part]}"
  "$build/bin/explore" --quiet --max-seconds 1200 "${args[@]}"
done

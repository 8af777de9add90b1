#!/bin/bash
# bench.sh [PART...]: builds for the GPU of this machine and measures on it; `make gpu-bench [PART=...]`. Parts, in this order (default: all):
#   kernels   the kernels beside the device's own copy, and how much slower a product of 8192 x 8192 matrices gets beside one (cuBLAS, where it is)
#   ranks     all-reduce of 2, 4 and 8 ranks that share the GPU, 256 MiB, as threads and as processes: times, and shares of the traffic bounds;
#             NCCL alone beside them (bench/peers/nccl_coll.cc), where REGROUP_NCCL_LIBRARY or the loader has one of 2.30 or newer
#   recovery  SIGKILL of a process that shares the GPU in mid-op: p50 and p99 to the survivors' next commit; NCCL alone: abort and init
# Each measurement takes at most 8 minutes and is written as it ends, as bench/results/gpu-bench-NAME.json with device, driver and commit.
# bench.sh --simulated BUILD RESULTS [PART...]: the same, small, on the host device with what is built in BUILD, into RESULTS: for tests.
# Exit status: 0 measured; 1 something failed; 2 cannot be run here.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/../.."
source tools/gpu/common.sh
readonly kBoundS=480
results=bench/results bytes=256M on=cuda:0 status=0

# measure NAME PROGRAM WORD...: the last word is the program's flag for a file of JSON.
measure() {
  local name=$1 program=$2 rows=$work/$1.json
  shift 2
  echo "=== $program $*"
  if ! timeout "$kBoundS" "$build/bin/$program" "$@" "$rows"; then
    echo "gpu-bench: error: $name failed" >&2
    status=1
  elif python3 tools/gpu/result.py "$rows" "$results/gpu-bench-$name.json" "$device" "$driver" "$commit" "$program ${*:1:$#-1}"; then
    echo "gpu-bench: written to $results/gpu-bench-$name.json ($device, driver $driver)"
  else
    status=1
  fi
}

kernels() { measure kernels device_perf --device "$on" --bytes "$bytes" "${kernel_flags[@]}" --json; }

# alone NAME WORD...: NCCL by itself, whose program prints its JSON.
alone() {
  local name=$1 rows=$work/$1.json
  shift
  [[ -z $no_nccl ]] || { echo "gpu-bench: $name: not measured: $no_nccl"; return; }
  echo "=== nccl_coll $*"
  if timeout "$kBoundS" "$build/bin/nccl_coll" "$@" | tee "$rows" && python3 tools/gpu/result.py "$rows" "$results/gpu-bench-$name.json" "$device" "$driver" "$commit" "nccl_coll $*"; then
    echo "gpu-bench: written to $results/gpu-bench-$name.json ($device, driver $driver)"
  else
    echo "gpu-bench: $name: not measured: nccl_coll failed"
  fi
}

ranks() {
  local how n
  export REGROUP_DEVICE_CTAS=${REGROUP_DEVICE_CTAS:-132}  # as many as an H100 has processors
  for n in 2 4 8; do
    for how in threads ranks; do
      measure "${how/ranks/processes}-$n" all_reduce_perf "--$how" "$n" --device "$on" -b "$bytes" -n 10 -w 5 --reps 5 -J
    done
    alone "nccl-$n" all_reduce "$n" 256 11
  done
}

recovery() {
  alone nccl-recovery recovery 4 16 10
  measure recovery recovery_perf --ranks 4 --device "$on" -b "${recovery_bytes}" --kills "$kills" --hang 60 --json
}

gpu() {
  kernel_flags=(--gemm 8192) recovery_bytes=16M kills=40
  gpu_build ON device_perf all_reduce_perf recovery_perf regroup nccl_coll
  gpu_names
  if no_nccl=$( (gpu_nccl) 2>&1); then gpu_nccl; fi
}

simulated() {
  build=$1 results=$2 bytes=64K on=host device=host driver=none commit=simulated no_nccl="the device is simulated"
  kernel_flags=(--gemm 48 --ctas 1 --rounds 1 --launches 1) recovery_bytes=64K kills=2
}

if [[ ${1:-} == --simulated ]]; then
  [[ $# -ge 3 ]] || cannot "--simulated BUILD RESULTS"
  simulated "$2" "$3"
  shift 3
  prepare=true
else
  prepare=gpu
fi
for part in "$@"; do
  case $part in
    kernels | ranks | recovery) ;;
    *) cannot "no part '$part': there are kernels, ranks, recovery" ;;
  esac
done
$prepare
mkdir -p "$results"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for part in ${*:-kernels ranks recovery}; do "$part"; done
exit "$status"

#!/bin/bash
# bench.sh: builds for the GPU of this machine and measures on it; `make gpu-bench`. The kernels beside the device's own copy, and how
# much slower a product of 8192 x 8192 matrices gets beside one (cuBLAS, where it is).
# NCCL alone with ranks that share the GPU (bench/peers/nccl_coll.cc), where REGROUP_NCCL_LIBRARY or the loader has one of 2.30 or newer.
# Writes bench/results/gpu-bench-kernels.json. Exit status: 0 measured; 1 failed; 2 cannot be run here.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/../.."
source tools/gpu/common.sh
gpu_build ON device_perf nccl_coll
gpu_names
mkdir -p bench/results
rows=$(mktemp) peers=$(mktemp)
trap 'rm -f "$rows" "$peers"' EXIT
"$build/bin/device_perf" --device cuda:0 --bytes 256M --gemm 8192 --json "$rows"
peer() {  # what went wrong takes the figure's place
  local said
  if said=$(timeout 150 "$build/bin/nccl_coll" "$@" 2>&1); then echo "$said"; else echo "not measured: nccl_coll $*: ${said##*$'\n'}"; fi | tee -a "$peers"
}
if why=$( (gpu_nccl) 2>&1); then
  gpu_nccl
  for ranks in 2 4; do peer all_reduce $ranks 256 11; done
  peer recovery 4 16 10
else
  echo "not measured: $why" | tee "$peers"
fi
python3 - "$rows" bench/results/gpu-bench-kernels.json "$device" "$driver" "$commit" "$peers" <<'PY'
import json
import sys
rows, target, device, driver, commit, peers = sys.argv[1:]
with open(rows, encoding="utf-8") as file:
    measured = json.load(file)
with open(peers, encoding="utf-8") as file:
    lines = [line.strip() for line in file if line.strip()]
measured["nccl_alone"] = [json.loads(line) if line.startswith("{") else line for line in lines]
with open(target, "w", encoding="utf-8") as file:
    json.dump({"device": device, "driver": driver, "commit": commit, "command": "make gpu-bench", **measured}, file, indent=1)
PY
echo "gpu-bench: written to bench/results/gpu-bench-kernels.json ($device, driver $driver)"

#!/bin/bash
# bench.sh: builds for the GPU of this machine and measures on it; `make gpu-bench`. The kernels beside the device's own copy, and how
# much slower a product of 8192 x 8192 matrices gets beside one (cuBLAS, where it is).
# Writes bench/results/gpu-bench-kernels.json. Exit status: 0 measured; 1 failed; 2 cannot be run here.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/../.."
source tools/gpu/common.sh
gpu_build ON device_perf
gpu_names
mkdir -p bench/results
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
"$build/bin/device_perf" --device cuda:0 --bytes 256M --gemm 8192 --json "$rows"
python3 - "$rows" bench/results/gpu-bench-kernels.json "$device" "$driver" "$commit" <<'PY'
import json
import sys
rows, target, device, driver, commit = sys.argv[1:]
with open(rows, encoding="utf-8") as file:
    measured = json.load(file)
with open(target, "w", encoding="utf-8") as file:
    json.dump({"device": device, "driver": driver, "commit": commit, "command": "make gpu-bench", **measured}, file, indent=1)
PY
echo "gpu-bench: written to bench/results/gpu-bench-kernels.json ($device, driver $driver)"

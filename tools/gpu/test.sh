#!/bin/bash
# test.sh PART: builds for the GPU of this machine and runs one part of the tests on it; `make gpu-test PART=...`.
# Parts so far: kernels (every launch on the GPU against the host's bits, also under compute-sanitizer where that is present); plans
# (groups of threads with buffers on the GPU: stream order, deaths, failed ops); kills (memory of a killed process is read on;
# processes that share the GPU, killed, stopped and joined again, every result checked); nccl (the same two over the real NCCL that REGROUP_NCCL_LIBRARY names, or the
# loader knows; several ranks share the GPU, which wants NCCL 2.30); ucx (payloads that UCX takes from the GPU's memory, in threads and in processes
# that are killed; a UCX that knows CUDA is needed, see REGROUP_UCX_ROOT in common.sh).
# Writes bench/results/gpu-PART.json as it ends. Exit status: 0 passed; 1 failed; 2 cannot be run here.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/../.."
source tools/gpu/common.sh
part=${1:-kernels}
case $part in
  kernels) programs=(kernels_test cuda_bodies_test device_test) ;;
  plans) programs=(conformance_device_test) ;;
  kills) programs=(device_lent_kill_test regroup regroup-chaos-worker) ;;
  nccl) programs=(conformance_nccl_device_test regroup regroup-chaos-worker) ;;
  ucx) programs=(conformance_device_lanes_test regroup regroup-chaos-worker) ;;
  *) cannot "no part '$part': there are kernels, plans, kills, nccl, ucx" ;;
esac
nccl=none bound=600
if [[ $part == nccl ]]; then bound=120 && gpu_nccl; fi
if [[ $part == ucx ]]; then bound=200 && gpu_ucx; fi
gpu_build OFF "${programs[@]}"
gpu_names
status=0
run() {
  echo "=== $*"
  "$@" || status=1
}
mkdir -p bench/results
export REGROUP_NEED_GPU=1 REGROUP_TEST_DEVICE=cuda:0  # without one the tests would pass on the host device alone
for program in "${programs[@]}"; do [[ $program == regroup* ]] || run timeout "$bound" "$build/bin/$program"; done
if [[ $part == kills ]]; then
  run "$build/bin/regroup" chaos --members 3 --seconds 150 --seed 1 --arenas shm,tcp --device cuda:0 \
    --faults kill,view_change_kill,stop,coordinator,duplicate,join --hang 60 --json bench/results/gpu-kills-chaos.json
fi
if [[ $part == nccl ]]; then
  run timeout 240 "$build/bin/regroup" chaos --members 3 --seconds 150 --seed 1 --arenas nccl --device cuda:0 \
    --faults kill,view_change_kill,stop,join --hang 60 --json bench/results/gpu-nccl-chaos.json
fi
if [[ $part == ucx ]]; then
  REGROUP_UCX_DEVICE=always REGROUP_PLAN=direct run timeout 240 "$build/bin/regroup" chaos --members 3 --seconds 150 --seed 1 --arenas ucx --device cuda:0 \
    --faults kill,view_change_kill,stop,join --hang 60 --json bench/results/gpu-ucx-chaos.json
fi
sanitizer="not present"
[[ $part == kernels ]] || sanitizer="of the part kernels only"
if [[ $part == kernels ]] && command -v compute-sanitizer >/dev/null; then
  sanitizer=passed
  compute-sanitizer --error-exitcode 9 "$build/bin/device_test" "*on a device*" || { sanitizer=failed status=1; }
fi
python3 - "$part" "$status" "$device" "$driver" "$commit" "$sanitizer" "$nccl" "$ucx" <<'PY'
import json
import sys
part, status, device, driver, commit, sanitizer, nccl, ucx = sys.argv[1:]
with open(f"bench/results/gpu-{part}.json", "w", encoding="utf-8") as file:
    json.dump({"part": part, "passed": status == "0", "device": device, "driver": driver, "commit": commit,
               "compute_sanitizer": sanitizer, "nccl": nccl, "ucx": ucx}, file, indent=1)
PY
echo "gpu-test: $part: $([[ $status == 0 ]] && echo passed || echo FAILED) on $device (driver $driver), compute-sanitizer $sanitizer"
exit "$status"

#!/bin/bash
# test.sh PART: builds for the GPU of this machine and runs one part of the tests on it; `make gpu-test PART=...`.
# Parts so far: kernels (every launch on the GPU against the host's bits, also under compute-sanitizer where that is present).
# Needs nvcc 13, CMake and ninja. What else the build needs is taken from REGROUP_GPU_DEPS (tools/gpu/pack.sh makes it) where
# that is set, else from the machine. Writes bench/results/gpu-PART.json as it ends. Exit status: 0 passed; 1 failed; 2 cannot be run here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
part=${1:-kernels}
build=build-gpu

cannot() {
  echo "gpu-test: error: $1" >&2
  exit 2
}
[[ $part == kernels ]] || cannot "no part '$part': there is kernels"
for tool in nvcc cmake ninja; do
  command -v "$tool" >/dev/null || cannot "no $tool on the PATH"
done

paths=()
if [[ -n ${REGROUP_GPU_DEPS:-} ]]; then
  [[ -f $REGROUP_GPU_DEPS ]] || cannot "REGROUP_GPU_DEPS: no file $REGROUP_GPU_DEPS"
  deps=$PWD/$build/deps
  mkdir -p "$deps"
  tar -C "$deps" -xzf "$REGROUP_GPU_DEPS"
  paths=(-DCMAKE_PREFIX_PATH="$deps/usr" -DCMAKE_BUILD_RPATH="$deps/usr/lib/x86_64-linux-gnu" -DOPENSSL_ROOT_DIR="$deps/usr")
fi
cmake -S . -B "$build" -G Ninja -DREGROUP_CUDA=ON -DREGROUP_UCX=OFF -DREGROUP_NCCL=OFF -DREGROUP_PYTHON=OFF -DREGROUP_BUILD_BENCH=OFF "${paths[@]}"
cmake --build "$build" -j "$(nproc)" --target kernels_test cuda_bodies_test device_test

device=none driver=none
if command -v nvidia-smi >/dev/null; then
  device=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1) || device=none
  driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1) || driver=none
fi
[[ $device != none ]] || cannot "built in $build; no GPU here (nvidia-smi names none), so nothing was run: not measured"
status=0
run() {
  echo "=== $*"
  "$@" || status=1
}
export REGROUP_NEED_GPU=1  # without one the tests would pass on the host device alone
run "$build/bin/kernels_test"
run "$build/bin/cuda_bodies_test"
run "$build/bin/device_test"
sanitizer="not present"
if command -v compute-sanitizer >/dev/null; then
  sanitizer=passed
  compute-sanitizer --error-exitcode 9 "$build/bin/device_test" "*on a device*" || { sanitizer=failed status=1; }
fi
mkdir -p bench/results
python3 - "$part" "$status" "$device" "$driver" "$(git rev-parse --short=10 HEAD 2>/dev/null || echo unknown)" "$sanitizer" <<'PY'
import json
import sys
part, status, device, driver, commit, sanitizer = sys.argv[1:]
with open(f"bench/results/gpu-{part}.json", "w", encoding="utf-8") as file:
    json.dump({"part": part, "passed": status == "0", "device": device, "driver": driver, "commit": commit,
               "compute_sanitizer": sanitizer}, file, indent=1)
PY
echo "gpu-test: $part: $([[ $status == 0 ]] && echo passed || echo FAILED) on $device (driver $driver), compute-sanitizer $sanitizer"
exit "$status"

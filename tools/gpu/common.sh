# For the scripts beside it, which run from the project's root: a build for the GPU of this machine, and what it is called.
# Needs nvcc 13, CMake and ninja. What else the build needs is taken from REGROUP_GPU_DEPS (tools/gpu/pack.sh makes it) where
# that is set, else from the machine.
build=build-gpu
name=gpu-${0##*/}
name=${name%.sh}  # gpu-test, gpu-bench

cannot() {
  echo "$name: error: $1" >&2
  exit 2
}

# gpu_build BENCH TARGET...: BENCH is ON or OFF. With UCX where gpu_ucx found one.
gpu_build() {
  local bench=$1 paths=() deps tool
  shift
  for tool in nvcc cmake ninja; do
    command -v "$tool" >/dev/null || cannot "no $tool on the PATH"
  done
  if [[ -n ${REGROUP_GPU_DEPS:-} ]]; then
    [[ -f $REGROUP_GPU_DEPS ]] || cannot "REGROUP_GPU_DEPS: no file $REGROUP_GPU_DEPS"
    deps=$(gpu_deps)
    paths=(-DCMAKE_PREFIX_PATH="$deps/usr" -DCMAKE_BUILD_RPATH="$deps/usr/lib/x86_64-linux-gnu" -DOPENSSL_ROOT_DIR="$deps/usr")
  fi
  cmake -S . -B "$build" -G Ninja -DREGROUP_CUDA=ON "${ucx_build[@]}" -DREGROUP_NCCL=OFF -DREGROUP_PYTHON=OFF -DREGROUP_BUILD_BENCH="$bench" "${paths[@]}"
  cmake --build "$build" -j "$(nproc)" --target "$@"
}

# Unpacks what REGROUP_GPU_DEPS names, and says where.
gpu_deps() {
  local deps=$PWD/$build/deps
  mkdir -p "$deps"
  tar -C "$deps" -xzf "$REGROUP_GPU_DEPS"
  echo "$deps"
}

# Finds a UCX that may know CUDA, by REGROUP_UCX_ROOT or in REGROUP_GPU_DEPS, to build with and to load; sets ucx, its version.
ucx=none ucx_build=(-DREGROUP_UCX=OFF)
gpu_ucx() {
  local root=${REGROUP_UCX_ROOT:-}
  [[ -n $root || -z ${REGROUP_GPU_DEPS:-} ]] || root=$(gpu_deps)/ucx/libucx
  [[ -f $root/include/ucp/api/ucp.h ]] || cannot "no UCX: REGROUP_UCX_ROOT names no folder with include/ucp/api/ucp.h (the wheel libucx-cu13 has it): not measured"
  export LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} UCX_TLS=${UCX_TLS:-tcp,cuda_copy} UCX_LOG_LEVEL=${UCX_LOG_LEVEL:-fatal}
  ucx=$(python3 -c 'import ctypes; f = ctypes.CDLL("libucp.so.0").ucp_get_version_string; f.restype = ctypes.c_char_p; print(f().decode())') ||
    cannot "UCX of $root cannot be loaded: not measured"
  ucx_build=(-DREGROUP_UCX=ON "-DREGROUP_UCX_DIR=$root/include")
}

# Finds NCCL, new enough for several ranks of one GPU, and says so to it and to us (REGROUP_NCCL_LIBRARY); sets nccl, its version.
gpu_nccl() {
  local library=${REGROUP_NCCL_LIBRARY:-libnccl.so.2}
  nccl=$(python3 - "$library" <<'PY' 2>/dev/null
import ctypes
import sys
version = ctypes.c_int()
ctypes.CDLL(sys.argv[1]).ncclGetVersion(ctypes.byref(version))
print(version.value)
PY
  ) || cannot "no NCCL: $library cannot be loaded (REGROUP_NCCL_LIBRARY names another): not measured"
  ((nccl >= 23000)) || cannot "$library is NCCL $nccl; several ranks of one GPU need 2.30 (23000): not measured"
  export REGROUP_NCCL_LIBRARY=$library NCCL_MULTI_RANK_GPU_ENABLE=1 NCCL_MAX_CTAS=${NCCL_MAX_CTAS:-4}
  export CUDA_MODULE_LOADING=EAGER  # loading a kernel later may wait for streams that wait for it
}

# Sets device, driver and commit.
gpu_names() {
  device=none driver=none
  if command -v nvidia-smi >/dev/null; then
    device=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1) || device=none
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1) || driver=none
  fi
  commit=$(git rev-parse --short=10 HEAD 2>/dev/null || echo unknown)
  [[ $device != none ]] || cannot "built in $build; no GPU here (nvidia-smi names none), so nothing was run: not measured"
}

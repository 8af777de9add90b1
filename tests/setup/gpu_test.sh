#!/bin/bash
# gpu_test.sh FOLDER: what tools/gpu/test.sh and bench.sh say where they cannot run. Nothing is built.
set -u
script=$1/test.sh
refused() {  # what it must say, then how it is called
  local want=$1 said status=0
  shift
  said=$(env "$@" 2>&1) || status=$?
  if [[ $status != 2 || $said != *"$want"* ]]; then
    echo "expected exit status 2 and '$want', got $status: $said"
    exit 1
  fi
}
refused "no part 'nothing'" "$script" nothing
refused "gpu-test: error: no nvcc" PATH=/nonexistent "$(command -v bash)" "$script" kernels
refused "gpu-bench: error: no nvcc" PATH=/nonexistent "$(command -v bash)" "$1/bench.sh"
refused "no part 'nothing'" PATH=/nonexistent "$(command -v bash)" "$1/bench.sh" ranks nothing
refused "REGROUP_GPU_DEPS" REGROUP_GPU_DEPS=/nonexistent/deps.tar.gz bash -c 'nvcc() { :; }; cmake() { :; }; ninja() { :; }; export -f nvcc cmake ninja; "$0" kernels' "$script"
echo "both refuse what they cannot do"

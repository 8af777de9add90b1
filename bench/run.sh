#!/bin/bash
# run.sh [OPTIONS OF suite.py]: what `make bench` runs after the build: gets the peers (Open MPI from apt; torch for gloo
# only where .venv has it, or when REGROUP_TORCH asks: 1, or a pip requirement such as torch==2.4.1), compiles their programs
# into the build folder, runs bench/suite.py, prints the tables of bench/table.py. Some twenty minutes; --help lists
# the options.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
build=${BUILD_DIR:-build}
peers=$build/peers
mkdir -p "$peers"

tools/setup/apt.sh bench/peers/apt-packages.txt
mpicc -O2 bench/peers/mpi_coll.c -o "$peers/mpi_coll"
g++ -O2 -std=c++17 bench/peers/tcp_bound.cc -o "$peers/tcp_bound"
rm -f "$peers/shm_bound"
if grep -qw avx512f /proc/cpuinfo; then
  g++ -O3 -march=native -std=c++17 bench/peers/shm_bound.cc -o "$peers/shm_bound" -pthread
else
  echo "bench: no AVX-512 here: the lower bounds of shared memory are left out"
fi
case ${REGROUP_TORCH:-} in
  '' | none) ;;
  1) REGROUP_TORCH=torch tools/setup/python.sh ;;
  *) tools/setup/python.sh ;;
esac
torch=()
if [[ -x .venv/bin/python ]] && .venv/bin/python -c 'import torch' 2>/dev/null; then
  torch=(--torch-python .venv/bin/python)
else
  echo "bench: no torch in .venv: gloo is left out (REGROUP_TORCH=1 make bench installs it)"
fi
python=/usr/bin/python3  # Debian's own: it has Debian's matplotlib
[[ -x $python ]] || python=python3
"$python" bench/suite.py --build "$build" "${torch[@]}" "$@"

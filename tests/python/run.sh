#!/bin/bash
# run.sh BUILD_DIR [--install-only | PYTEST_ARGS...]: builds the wheel, installs it into .venv (tools/setup/python.sh makes that), and runs
# the tests of this folder with it. 77: skipped, because .venv could not be made (no Python index, no package mirror).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$1
shift
if ! "$root/tools/setup/python.sh"; then
  echo "python_test: SKIPPED: no environment for Python could be made (see above); the C++ tests do not need it"
  exit 77
fi
python=$root/.venv/bin/python
mkdir -p "$build"
# Flags as in the build beside it, so that a compiler cache answers for libregroup. The wheel is installed, not the tree:
# what the tests see is what a user has, but for CUDA: nothing of Python's takes device buffers yet.
rm -f "$build"/*.whl
if ! "$python" -m pip wheel "$root" --no-build-isolation --no-deps -w "$build" -C build-dir="$build/tree" \
    -C cmake.define.REGROUP_WERROR=ON -C cmake.define.REGROUP_CUDA=OFF --disable-pip-version-check >"$build/wheel.log" 2>&1; then
  tail -60 "$build/wheel.log"
  exit 1
fi
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$build"/*.whl
[[ ${1:-} != --install-only ]] || exit 0
cd "$build"  # not the source tree: its `python/regroup` has no compiled parts
exec timeout 600 "$python" -B -m pytest --rootdir "$here" -c "$root/pyproject.toml" "$here" "$@"

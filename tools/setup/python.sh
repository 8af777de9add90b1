#!/bin/bash
# python.sh: the project's own virtual environment, .venv in the project root, with what python-packages.txt lists
# and the torch that REGROUP_TORCH names (a pip requirement; default torch==2.13.0; "none": no torch). `make venv`
# and the test of the Python package call it. A venv that has all of it is left alone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
torch=${REGROUP_TORCH:-torch==2.13.0}

"$here/apt.sh" "$here/apt-python.txt"
stamp=$root/.venv/.regroup-setup
want=$(cat "$here/python-packages.txt"; echo "$torch")
if [[ -x $root/.venv/bin/python && -f $stamp && $(cat "$stamp") == "$want" ]]; then
  echo "setup: .venv is up to date"
  exit 0
fi
python3 -m venv "$root/.venv"
packages=(-r "$here/python-packages.txt")
[[ $torch == none ]] || packages+=("$torch")
if ! "$root/.venv/bin/python" -m pip install --disable-pip-version-check "${packages[@]}"; then
  echo "setup: error: pip could not install ${packages[*]} into .venv (see above)" >&2
  exit 1
fi
printf '%s\n' "$want" >"$stamp"

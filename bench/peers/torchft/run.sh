#!/bin/bash
# run.sh [OPTIONS OF bench.py]: the torchft figures of the README, in a network namespace of its own (root). Makes a virtual
# environment in the build folder at first; TORCH and TORCHFT choose the versions.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
venv=$root/${BUILD_DIR:-build}/torchft-venv
if [[ ! -x $venv/bin/torchft_lighthouse ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install "${TORCH:-torch==2.13.0}" numpy 'opentelemetry-api>=1.39' 'opentelemetry-sdk>=1.39' \
    'opentelemetry-exporter-otlp-proto-http>=1.39'
  "$venv/bin/pip" install --no-deps "${TORCHFT:-torchft==0.2.0}"
fi
exec "$here/netns.sh" "$venv/bin/python" "$here/bench.py" "$@"

#!/bin/bash
# pack.sh ARCHIVE: what the build needs besides nvcc, CMake and ninja, from the Debian packages of this machine (tools/setup/apt-packages.txt), as
# one archive for a machine with a GPU that has neither the packages nor a network. Licences lie in it, below usr/share/doc.
# REGROUP_UCX_ROOT, if set: a UCX that knows CUDA goes with it, as the wheel libucx-cu13 installs it (folder libucx with include and lib, its licence
# beside it in libucx_cu13-*.dist-info).
set -euo pipefail
archive=$1
packages=(libspdlog-dev libspdlog1.10 libfmt-dev libfmt9 libcli11-dev nlohmann-json3-dev libssl-dev libssl3 libxxhash-dev libhwy-dev libhwy1 catch2)
for p in "${packages[@]}"; do
  if ! dpkg -s "$p" >/dev/null 2>&1; then
    echo "pack.sh: error: the package $p is not installed: run \`make setup\` on Debian 12 first" >&2
    exit 1
  fi
done
mkdir -p "$(dirname "$archive")"
dpkg -L "${packages[@]}" | sort -u | while read -r path; do
  case $path in
    */man/* | */share/doc/*/examples/* | */libcrypto.a | */libssl.a | */doc/*/changelog*) ;;
    *) if [[ -f $path || -L $path ]]; then echo "${path#/}"; fi ;;
  esac
done | sed 's#^lib/#usr/lib/#' | tar -C / --ignore-failed-read -cf "${archive%.gz}" -T -
if [[ -n ${REGROUP_UCX_ROOT:-} ]]; then
  [[ -f $REGROUP_UCX_ROOT/include/ucp/api/ucp.h ]] || { echo "pack.sh: error: REGROUP_UCX_ROOT: no $REGROUP_UCX_ROOT/include/ucp/api/ucp.h" >&2 && exit 1; }
  (cd "$(dirname "$REGROUP_UCX_ROOT")" && find "${REGROUP_UCX_ROOT##*/}"/include "${REGROUP_UCX_ROOT##*/}"/lib libucx_cu*.libs libucx_cu*.dist-info -type f \
    \( -name '*.h' -o -name '*.so*' -o -iname '*licen[cs]e*' \) ! -name '*perftest*') |
    tar -C "$(dirname "$REGROUP_UCX_ROOT")" --transform 's#^#ucx/#' -rf "${archive%.gz}" -T -
fi
gzip -f "${archive%.gz}"
size=$(stat -c %s "$archive")
echo "pack.sh: $archive, $((size >> 20)) MiB"
if ((size >= 30 << 20)); then
  echo "pack.sh: error: over 30 MiB" >&2
  exit 1
fi

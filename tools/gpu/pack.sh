#!/bin/bash
# pack.sh ARCHIVE: what the build needs besides nvcc, CMake and ninja, from the Debian packages of this machine (tools/setup/apt-packages.txt), as
# one archive for a machine with a GPU that has neither the packages nor a network. Licences lie in it, below usr/share/doc.
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
done | sed 's#^lib/#usr/lib/#' | tar -C / --ignore-failed-read -czf "$archive" -T -
size=$(stat -c %s "$archive")
echo "pack.sh: $archive, $((size >> 20)) MiB"
if ((size >= 30 << 20)); then
  echo "pack.sh: error: over 30 MiB" >&2
  exit 1
fi

#!/bin/bash
# apt.sh [LIST...]: install the Debian packages of the lists (default: apt-packages.txt beside this file) that are
# missing. Asks dpkg first and calls apt only when something is missing. Needs root or sudo for that; with neither
# it prints the one line to run and stops with status 1. REGROUP_NO_APT=1 skips all of it (other distributions).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ ${REGROUP_NO_APT:-} == 1 ]]; then
  echo "setup: REGROUP_NO_APT=1, no package is checked or installed"
  exit 0
fi
lists=("$@")
[[ ${#lists[@]} -gt 0 ]] || lists=("$here/apt-packages.txt")
mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "${lists[@]}" | sort -u)

if ! command -v dpkg-query >/dev/null; then
  echo "setup: error: this is not Debian (no dpkg-query). Install the equivalents of: ${wanted[*]}" >&2
  echo "setup: then run again with REGROUP_NO_APT=1" >&2
  exit 1
fi

missing=()
for package in "${wanted[@]}"; do
  status=$(dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null || true)
  grep -qx 'install ok installed' <<<"$status" || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "setup: all ${#wanted[@]} Debian packages are installed"
  exit 0
fi

line="apt-get install -y --no-install-recommends ${missing[*]}"
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    why="you are not root and there is no sudo"
  elif [[ -t 0 && -t 1 ]]; then
    as_root=(sudo)  # may ask for a password
    why=""
  elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
    why=""
  else
    why="you are not root, and sudo wants a password but there is no terminal"
  fi
  if [[ -n $why ]]; then
    echo "setup: error: ${#missing[@]} Debian packages are missing, and $why. Run as root, then again:" >&2
    echo "$line" >&2
    exit 1
  fi
fi

echo "setup: installing ${#missing[@]} missing Debian packages: ${missing[*]}"
apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
if ! "${as_root[@]}" "${apt[@]}" update; then
  echo "setup: error: 'apt-get update' failed (see above); is a package mirror reachable?" >&2
  exit 1
fi
if ! "${as_root[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; then
  echo "setup: error: apt could not install them (see above). The line was:" >&2
  echo "$line" >&2
  exit 1
fi

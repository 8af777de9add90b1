#!/bin/bash
# apt_test.sh APT_SH: what the set-up does as root, with sudo, and with neither. Stand-ins on PATH record their calls.
set -uo pipefail
apt_sh=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/bin"
failed=0

stand_in() {  # stand_in NAME BODY
  printf '#!/bin/bash\n%s\n' "$2" >"$dir/bin/$1"
  chmod +x "$dir/bin/$1"
}
for tool in bash dirname sed sort grep env; do ln -s "$(command -v "$tool")" "$dir/bin/$tool"; done
stand_in dpkg-query '[[ " $INSTALLED " == *" ${@: -1} "* ]] && echo "install ok installed" || exit 1'
stand_in apt-get 'echo "apt-get $*" >>"$CALLS"; exit ${APT_STATUS:-0}'
stand_in id 'echo "${USER_ID}"'
printf 'one  # a comment\n\n# two words\ntwo\n' >"$dir/list"

run() {  # run USER_ID INSTALLED: fills $out, $status, $calls
  : >"$dir/calls"
  out=$(PATH="$dir/bin" CALLS="$dir/calls" USER_ID=$1 INSTALLED=$2 bash "$apt_sh" "$dir/list" 2>&1 </dev/null)
  status=$?
  calls=$(cat "$dir/calls")
}
expect() {  # expect WHAT CONDITION...
  local what=$1
  shift
  if "$@"; then echo "ok: $what"; else
    echo "FAILED: $what (status $status, calls '$calls', output '$out')"
    failed=1
  fi
}

run 1000 "one two"
expect "nothing missing: no apt, no root needed" test "$status:$calls" = "0:"

run 0 "one"
expect "root: apt-get update, then only what is missing" test "$status:$calls" = "0:apt-get -o DPkg::Lock::Timeout=300 \
update
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends two"

run 1000 ""
expect "neither root nor sudo: stops" test "$status:$calls" = "1:"
expect "neither root nor sudo: its last line is the apt line" \
  test "$(tail -n 1 <<<"$out")" = "apt-get install -y --no-install-recommends one two"

stand_in sudo 'exit 1'
run 1000 "one"
expect "sudo that wants a password without a terminal: stops with the line" \
  test "$status:$calls:$(tail -n 1 <<<"$out")" = "1::apt-get install -y --no-install-recommends two"

stand_in sudo 'shift; [[ $1 == true ]] && exit 0; echo sudo >>"$CALLS"; exec "$@"'
run 1000 "one"
expect "sudo: apt-get runs through it" test "$status:$(grep -c sudo <<<"$calls"):$(grep -c apt-get <<<"$calls")" = 0:2:2

export APT_STATUS=1
run 0 "one"
expect "a failing apt is an error" test "$status" = 1

exit $failed

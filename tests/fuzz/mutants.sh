#!/bin/bash
# mutants.sh BUILD SECONDS [MUTANT...]: how long the target `core` needs to find each seeded bug of ft/core/mutant.h, at most
# SECONDS a bug, from the corpus that BUILD has. Prints a line each: bug, seconds and executions, what was said. A bug that
# only stops progress (G5) is not this target's to find.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -ge 2 ]] || { echo "usage: mutants.sh BUILD SECONDS [MUTANT...]" >&2; exit 2; }
build=$1 seconds=$2
shift 2
names=("$@")
[[ $# -gt 0 ]] || mapfile -t names < <(sed -n 's/^ *{Mutant::k[A-Za-z]*, "\([a-z-]*\)".*/\1/p' "$here/../../ft/core/mutant.h")
mkdir -p "$build/corpus/core"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in "${names[@]}"; do
  mkdir "$work/new"
  begin=$EPOCHREALTIME
  REGROUP_MUTANT=$name "$build/bin/core_mutants" -max_total_time="$seconds" -timeout=10 -max_len=4096 \
    -artifact_prefix="$work/" -print_final_stats=1 "$work/new" "$build/corpus/core" "$here/corpus/core" >"$work/log" 2>&1
  status=$?
  took=$(awk -v a="$begin" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a }')
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
  said=$(grep -m 1 -E 'CHECK failed|runtime error|timeout after|SUMMARY' "$work/log" | sed -E 's/.*CHECK failed: (.*) at .*core_([a-z]*)\.cc:[0-9]+ ?(.*)/\3 [\1]/')
  if [[ $status -eq 0 ]]; then said="not found"; fi
  printf '%-24s %4s s %9s  %s\n' "$name" "$took" "${runs:-?}" "$said"
  rm -rf "$work/new"
done

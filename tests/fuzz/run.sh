#!/bin/bash
# run.sh BUILD SECONDS [TARGET...]: fuzzes each target (default: all) for so many seconds of CPU time, FUZZ_JOBS at a time,
# in rounds of at most FUZZ_ROUND seconds, so that a break loses little and the targets grow side by side. What a target
# has learned lies in BUILD/corpus/TARGET and is where the next run goes on; its CPU seconds, executions and findings add up
# in BUILD/fuzz-totals/TARGET. SECONDS counts from 0 again with FUZZ_FRESH=1, else what was run before counts too.
# Findings: BUILD/findings/TARGET-*, named with the command that replays each. Exit status 1: there are findings.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -ge 2 ]] || { echo "usage: run.sh BUILD SECONDS [TARGET...]" >&2; exit 2; }
build=$1 seconds=$2
shift 2
[[ $seconds =~ ^[0-9]+$ ]] || { echo "run.sh: '$seconds' is not a number of seconds" >&2; exit 2; }
targets=("$@")
if [[ $# -eq 0 ]]; then
  for program in "$build"/bin/fuzz_*; do targets+=("${program##*/fuzz_}"); done
fi
jobs=${FUZZ_JOBS:-$(nproc)} round=${FUZZ_ROUND:-120}
mkdir -p "$build"/{corpus,findings,fuzz-totals}
# Without llvm-symbolizer the traces of findings are put into words by addr2line.
symbolizer=$(command -v llvm-symbolizer llvm-symbolizer-19 addr2line | head -n 1 || true)
export ASAN_OPTIONS=external_symbolizer_path=$symbolizer UBSAN_OPTIONS=print_stacktrace=1:external_symbolizer_path=$symbolizer
options() { [[ -f $here/$1.dict ]] && echo "-dict=$here/$1.dict"; }

total() {  # total TARGET FIELD: cpu, runs, or cov, ft of the last round
  local value=0
  [[ -f $build/fuzz-totals/$1 ]] && value=$(sed -n "s/^$2=//p" "$build/fuzz-totals/$1")
  echo "${value:-0}"
}
found() { find "$build/findings" -name "$1-*" | wc -l; }

one_round() {  # one_round TARGET LENGTH
  local target=$1 length=$2 log=$build/fuzz-totals/$1.log before runs
  mkdir -p "$build/corpus/$target"
  # shellcheck disable=SC2046
  TIMEFORMAT='%U %S'
  { time "$build/bin/fuzz_$target" -max_total_time="$length" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-" $(options "$target") "$build/corpus/$target" "$here/corpus/$target" \
    >"$log" 2>&1; } 2>"$log.time"
  local status=$? last cpu
  cpu=$(awk 'END { n = $1 + $2; print int(n) + (n > int(n)) }' "$log.time")
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  last=$(grep -E 'cov: [0-9]+' "$log" | tail -n 1)
  {
    echo "cpu=$(($(total "$target" cpu) + cpu))"
    echo "runs=$(($(total "$target" runs) + ${runs:-0}))"
    echo "cov=$(sed -E 's/.*cov: ([0-9]+).*/\1/' <<<"$last")"
    echo "ft=$(sed -E 's/.*ft: ([0-9]+).*/\1/' <<<"$last")"
  } >"$build/fuzz-totals/$target.new"
  mv "$build/fuzz-totals/$target.new" "$build/fuzz-totals/$target"
  if [[ $status -ne 0 ]]; then
    # It did not even start, or left no input behind: that is a finding too, else nobody would see it.
    [[ $(found "$target") -ne 0 ]] || cp "$log" "$build/findings/$target-failed-$status.log"
    echo "fuzz: $target: FOUND (status $status): $(grep -m 1 -E 'CHECK failed|runtime error|SUMMARY' "$log")"
    sed -n "s|.*Test unit written to \(.*\)|fuzz: replay: $build/bin/fuzz_$target \1|p" "$log"
  fi
  echo "fuzz: $(date +%T) $target: $(total "$target" cpu) s, $(total "$target" runs) executions, $(total "$target" cov) edges, $(found "$target") findings"
}

[[ ${FUZZ_FRESH:-} == 1 ]] && rm -rf "$build/fuzz-totals" && mkdir -p "$build/fuzz-totals"
while :; do
  due=()
  for target in "${targets[@]}"; do
    left=$((seconds - $(total "$target" cpu)))
    # A target with a finding stops there: what crashes is to be fixed first.
    if ((left > 0)) && [[ $(found "$target") -eq 0 ]]; then due+=("$target $((left < round ? left : round))"); fi
  done
  [[ ${#due[@]} -gt 0 ]] || break
  for entry in "${due[@]}"; do
    read -r target length <<<"$entry"
    while (($(jobs -rp | wc -l) >= jobs)); do wait -n; done
    one_round "$target" "$length" &
  done
  wait
done

status=0
printf '%-14s %8s %14s %10s %8s %8s\n' target 'CPU s' executions 'exec/s' edges findings
for target in "${targets[@]}"; do
  cpu=$(total "$target" cpu) runs=$(total "$target" runs) findings=$(found "$target")
  printf '%-14s %8d %14d %10d %8d %8d\n' "$target" "$cpu" "$runs" $((runs / (cpu > 0 ? cpu : 1))) "$(total "$target" cov)" "$findings"
  if [[ $findings -ne 0 ]]; then
    status=1
    find "$build/findings" -name "$target-*" -printf "  replay: $build/bin/fuzz_$target %p\n"
  fi
done
exit $status

#!/bin/bash
# mutants.sh EXPLORE_MUTANTS SEEDS: walks with each seeded bug of ft/core/mutant.h until it is found. Prints a row for
# each (the table of docs/TESTING); fails when one is not found within SEEDS, or not by a guarantee that the checks name.
set -euo pipefail
explore=$1 seeds=$2
missed=0
while read -r name what; do
  # A whole world must leave and another come, or one take over from it: the simulator finds these.
  [[ $name == numbers-reused || $name == hand-over-founds ]] && continue
  status=0
  output=$("$explore" --walks "0:$seeds" --mutant "$name") || status=$?
  seed=$(sed -n 's/^seed \([0-9]*\),.*/\1/p' <<<"$output")
  found=$(sed -n 2p <<<"$output")
  if [[ $status != 1 || -z $seed || ! $found =~ ^(G[0-9]|stuck) ]]; then
    echo "| $name | not found within $seeds seeds (exit status $status) | |"
    missed=1
    continue
  fi
  [[ $found == stuck* ]] && found="G5: "
  echo "| \`$name\` | $what | $((seed + 1)) | ${found%%:*} |"
done < <("$explore" --list-mutants)
exit "$missed"

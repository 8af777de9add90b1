#!/bin/bash
# UNTESTED. On every node: torchrun.sh NODE_RANK NODES FIRST_NODE train.py ...
# The coordinator runs on the first node, beside the job, so that it outlives every worker:
#   regroup coordinator --listen 0.0.0.0:29600 --log /var/tmp/job.log --create --idle-exit 600 --detach
set -euo pipefail
node=$1 nodes=$2 first=$3
shift 3
export REGROUP_COORDINATOR=$first:29600
exec torchrun --nnodes "$nodes" --node-rank "$node" --nproc-per-node "${WORKERS:-1}" --rdzv-backend static \
  --master-addr "$first" --master-port 29500 "$@"

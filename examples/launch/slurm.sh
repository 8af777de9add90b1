#!/bin/bash
# UNTESTED. sbatch slurm.sh train.py ...: one task a replica; --no-kill and --kill-on-bad-exit=0 leave the survivors alone.
#SBATCH --ntasks-per-node=4
#SBATCH --no-kill
set -euo pipefail
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=29500
export REGROUP_COORDINATOR=$MASTER_ADDR:29600
regroup coordinator --listen "0.0.0.0:29600" --log "${TMPDIR:-/tmp}/regroup-$SLURM_JOB_ID.log" --create --idle-exit 600 --detach
exec srun --kill-on-bad-exit=0 bash -c 'RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS exec python "$@"' train "$@"

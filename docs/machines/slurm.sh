#!/usr/bin/env bash
# A study on a Slurm cluster: the first node of the job runs Ray's head and tuner, the others work.
#
#   sbatch docs/machines/slurm.sh search_spaces/pose.yaml --trials 200
#
# Change the #SBATCH lines to what your site calls its partitions and GPUs. The environment with
# tuner[ray] must be active when sbatch is called, at the same path on all nodes. The job can end at
# any moment, by its time limit or by a preemption: the same command continues the study.

#SBATCH --job-name=tuner
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120

set -euo pipefail

if [ $# -eq 0 ]; then
    echo "usage: sbatch $0 SPACE [OPTIONS of tuner run]" >&2
    exit 2
fi

gpus=${SLURM_GPUS_ON_NODE:-0}
cpus=${SLURM_CPUS_PER_TASK:-1}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# The address inside the cluster. Two jobs on one node need two ports.
head=$(srun --nodes=1 --ntasks=1 -w "${nodes[0]}" hostname --ip-address | awk '{ print $1 }')
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_USAGE_STATS_ENABLED=0

# Only who has the token may use this cluster: Ray runs code of whoever reaches its ports.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

srun --nodes=1 --ntasks=1 -w "${nodes[0]}" --overlap --export=ALL \
    ray start --head --block --node-ip-address="$head" --port="$port" \
    --num-cpus="$cpus" --num-gpus="$gpus" --include-dashboard=false &

others=$((${#nodes[@]} - 1))
if [ "$others" -gt 0 ]; then
    sleep 15
    srun --nodes="$others" --ntasks="$others" -x "${nodes[0]}" --overlap --export=ALL \
        ray start --block --address="$head:$port" --num-cpus="$cpus" --num-gpus="$gpus" &
fi

for _ in $(seq 60); do
    if ray health-check --address "$head:$port" >/dev/null 2>&1; then
        break
    fi
    sleep 2
done

# In a job the home folder is usually on all nodes: then --shared sends nothing. Leave it out if
# nodes have disks of their own only.
tuner run "$@" --ray "$head:$port" ${TUNER_SHARED:+--shared} &
study=$!
trap 'kill -TERM "$study" 2>/dev/null' TERM
code=0
wait "$study" || code=$?
if [ "$code" -gt 128 ]; then # a signal ended the wait: tuner has 10 seconds to queue its trials
    wait "$study" || code=$?
fi
exit "$code"

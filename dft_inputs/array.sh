#!/bin/sh
# One element of the array job that submit.sh sends: finds its line in the list and runs that job.
set -u
cd "$AGD_BATCH" || exit 21
AGD_STARTED=$(date +%s)
export AGD_STARTED
line=${SLURM_ARRAY_TASK_ID:-${PBS_ARRAY_INDEX:-1}}
job=$(sed -n "${line}p" "$AGD_LIST")
if [ -z "$job" ] || [ ! -f "$job/run.sh" ]; then
    echo "line $line of $AGD_LIST names no job here" >&2
    exit 21
fi
exec sh "$job/run.sh"

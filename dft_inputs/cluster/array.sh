#!/bin/sh
# One element of the array job that submit.sh sends: finds its line in the list and runs that job.
set -u
cd "$AGD_BATCH" || exit 21
AGD_STARTED=$(date +%s)
export AGD_STARTED
taken=${AGD_LIST%.list}.id
if [ -n "${SLURM_ARRAY_JOB_ID:-}" ] && [ ! -e "$taken" ]; then
    # A submit.sh that was killed before it noted the id reads from this that the list was sent.
    echo "$SLURM_ARRAY_JOB_ID" > "$taken.$SLURM_JOB_ID" && mv "$taken.$SLURM_JOB_ID" "$taken"
fi
line=${SLURM_ARRAY_TASK_ID:-${PBS_ARRAY_INDEX:-1}}
job=$(sed -n "${line}p" "$AGD_LIST")
if [ -z "$job" ] || [ ! -f "$job/run.sh" ]; then
    echo "line $line of $AGD_LIST names no job here" >&2
    exit 21
fi
if [ -e "$job/CANCELLED" ]; then
    rm -f "$job/SUBMITTED"  # who takes the marker away can submit it again
    exit 0
fi
exec sh "$job/run.sh"

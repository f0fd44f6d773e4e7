#!/bin/sh
# Runs this job, step by step. Safe to run again: finished steps are skipped, a stopped relaxation
# goes on from its last geometry, and a job that runs elsewhere is left alone.
set -u
job=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 21
batch=$(dirname -- "$job")
set -a
# shellcheck disable=SC1091
. "$batch/cluster.env" || exit 21
set +a
if [ -n "${AGD_SETUP:-}" ]; then eval "$AGD_SETUP"; fi
"${AGD_PYTHON:-python3}" "$batch/runner.py" run "$job" &
runner=$!
# The early signal of the scheduler reaches this shell; the runner decides what to do with it.
trap 'kill -USR1 "$runner" 2>/dev/null' USR1
trap 'kill -TERM "$runner" 2>/dev/null' TERM INT
wait "$runner"
code=$?
while kill -0 "$runner" 2>/dev/null; do
    wait "$runner"
    code=$?
done
if [ "$code" -eq 75 ]; then
    # Stopped at the wall-time limit. SLURM puts it back in the queue; elsewhere submit.sh does.
    if [ -n "${SLURM_JOB_ID:-}" ] && scontrol requeue "$SLURM_JOB_ID"; then
        exit 0
    fi
    rm -f "$job/SUBMITTED"
elif [ "$code" -ne 0 ] && [ "$code" -ne 76 ]; then
    rm -f "$job/SUBMITTED"
fi
exit "$code"

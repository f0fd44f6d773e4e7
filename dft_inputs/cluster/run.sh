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
# SLURM ends with TERM what is cancelled, put back by an administrator or preempted.
told=no
trap 'told=yes; kill -TERM "$runner" 2>/dev/null' TERM INT
wait "$runner"
code=$?
while kill -0 "$runner" 2>/dev/null; do
    wait "$runner"
    code=$?
done
if [ -n "${SLURM_JOB_ID:-}" ]; then
    # Whoever told it to end has decided whether it comes back: the mark of submission stays.
    if [ "$told" = yes ]; then exit "$code"; fi
    # Stopped at the wall-time limit: back into the queue. An array's own id would mean all of it.
    self=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    if [ "$code" -eq 75 ]; then
        if scontrol requeue "${self:-$SLURM_JOB_ID}" || [ "$told" = yes ]; then exit 0; fi
    fi
fi
# Not in a queue any more: the next submit.sh takes it up.
if [ "$code" -ne 0 ] && [ "$code" -ne 76 ]; then rm -f "$job/SUBMITTED"; fi
exit "$code"

#!/bin/sh
# Submits the jobs of this folder that are neither done, failed, cancelled nor submitted.
#
#   sh submit.sh              submit, or run one after another when AGD_SCHEDULER is shell
#   sh submit.sh --dry-run    say what would be submitted
#   sh submit.sh --again      also the jobs that failed; --again --code 210: of these only that code
#   sh submit.sh --lost       also the jobs marked as submitted, after the scheduler lost them
#                             (cancelled, killed; what SLURM still has is left alone)
#
# Killed at any moment, the same command goes on: a list that was written but not sent is sent
# unless the scheduler knows it or one of its jobs has begun.
set -eu
cd "$(dirname -- "$0")"
dry=no again=no code='' lost=no
help() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --again) again=yes ;;
        --lost) lost=yes ;;
        --code) shift; code=${1:?--code needs a number} ;;
        --help) help; exit 0 ;;
        *) printf '%s\n\n' "there is no option $1"; help; exit 2 ;;
    esac
    shift
done
# shellcheck disable=SC1091
. ./approval.sh
# shellcheck disable=SC1091
. ./cluster.env
batch=$(pwd)
place=$(pwd -P)  # as SLURM names it; batches of other campaigns have the same name
name=agd-$(basename "$batch")

say() { printf '%s\n' "$*"; }

at_work() {  # whether a process lives; one that was killed is there until it has been reaped
    for _ in 1 2 3 4 5; do
        kill -0 "$1" 2>/dev/null || return 1
        if grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; then return 1; fi
        sleep 1
    done
}

pending() {  # writes the pending job folders, in order of priority; given one, only that
    queue=''
    if [ "$lost" = yes ] && [ "$AGD_SCHEDULER" = slurm ]; then queue=$(queued) || exit 1; fi
    while IFS=$tab read -r job answer _; do
        [ -z "${1-}" ] || [ "$job" = "$1" ] || continue
        [ -f "$job/ticket.json" ] || { say "$job of jobs.txt is not here: left out" >&2; continue; }
        if [ -e "$job/DONE" ] || cancelled "$job" "$answer"; then continue; fi
        if [ -e "$job/FAILED" ]; then
            [ "$again" = yes ] || continue
            [ -z "$code" ] || grep -q "\"code\": $code[,}]*\$" "$job/STATUS.json" || continue
        fi
        if [ -e "$job/SUBMITTED" ]; then
            [ "$lost" = yes ] || continue
            if say "$queue" | grep -qxF "$job"; then say "$job: in the queue" >&2; continue; fi
        fi
        say "$job"
    done <<END
$answers
END
}

queued() {  # prints the jobs of this folder that wait or run in SLURM
    entries=$(squeue --noheader --array --user="$(id -un)" --format='%K/%j%Z') || return 1
    say "$entries" | while IFS= read -r entry; do
        number=${entry#*/"$name-"}
        number=${number%"$place"}
        [ "$entry" = "${entry%%/*}/$name-$number$place" ] || continue
        [ ! -f "submitted/$number.list" ] || sed -n "${entry%%/*}p" "submitted/$number.list"
    done
}

known() {  # prints the scheduler's id of list $1, if it has it
    case $AGD_SCHEDULER in
        slurm)
            entries=$(squeue --noheader --name="$name-$1" --format='%F %Z') || return 1
            say "$entries" | while read -r id folder; do
                if [ "$folder" = "$place" ]; then say "$id"; break; fi
            done
            ;;
        pbs) qselect -N "$name-$1" | head -n 1 ;;
    esac
}

send() {  # sends list number $1, of $2 jobs, as one array job and prints the scheduler's id
    list=submitted/$1.list
    count=$2
    case $AGD_SCHEDULER in
        slurm)
            set -- --parsable --job-name="$name-$1" --array="1-$count%$AGD_AT_ONCE" \
                --nodes="$AGD_NODES" --ntasks-per-node="$AGD_TASKS_PER_NODE" \
                --time="$AGD_HOURS:00:00" --signal="B:USR1@$AGD_WARNING_S" --requeue \
                --open-mode=append --output="submitted/$1-%a.out" --export=ALL
            [ -z "$AGD_ACCOUNT" ] || set -- "$@" --account="$AGD_ACCOUNT"
            [ -z "$AGD_PARTITION" ] || set -- "$@" --partition="$AGD_PARTITION"
            [ "$dry" = no ] || { say "sbatch $* array.sh"; return; }
            # In the environment: --export would cut a folder's name at its comma.
            AGD_BATCH=$batch AGD_LIST=$list sbatch "$@" array.sh | cut -d ';' -f 1
            ;;
        pbs)
            number=$1
            set -- -N "$name-$number" -l "select=$AGD_NODES:ncpus=$AGD_TASKS_PER_NODE" \
                -l "walltime=$AGD_HOURS:00:00" -j oe -o "submitted/$number.out" \
                -v "AGD_BATCH=$batch,AGD_LIST=$list"
            # PBS refuses arrays of one element.
            [ "$count" -eq 1 ] || set -- "$@" -r y -J "1-$count%$AGD_AT_ONCE"
            [ -z "$AGD_ACCOUNT" ] || set -- "$@" -A "$AGD_ACCOUNT"
            [ -z "$AGD_PARTITION" ] || set -- "$@" -q "$AGD_PARTITION"
            [ "$dry" = no ] || { say "qsub $* array.sh"; return; }
            qsub "$@" array.sh
            ;;
    esac
}

deliver() {  # sends list $1 and sets id to what the scheduler calls it
    # Marked before it is sent: a job that ends at once takes its mark away again.
    while IFS= read -r job; do
        if [ -d "$job" ] && [ ! -e "$job/DONE" ]; then say "$1" > "$job/SUBMITTED"; fi
    done < "submitted/$1.list"
    id=$(send "$1" "$(length "submitted/$1.list")") || id=''
    if [ -z "$id" ]; then
        while IFS= read -r job; do rm -f "$job/SUBMITTED"; done < "submitted/$1.list"
        say "the scheduler took no job and none is marked as submitted; after correcting" \
            "cluster.env run the same command again" >&2
        exit 1
    fi
}

sent() {  # notes that the scheduler has list $1 as $id
    say "$id" > "submitted/.$1.id" && mv "submitted/.$1.id" "submitted/$1.id"
    : > "submitted/$1.sent"
}

reopen() {  # forgets the verdict on job $1, so that the runner takes it up again
    rm -f "$1/FAILED" "$1/SUBMITTED"
}

length() { wc -l < "$1" | tr -d ' '; }

array_limit() {  # prints how many elements an array job may have
    size=''
    if [ "$AGD_SCHEDULER" = slurm ]; then
        size=$(scontrol show config | sed -n 's/^MaxArraySize *= *\([0-9]*\)$/\1/p')
    fi
    say $((${size:-1001} - 1))
}

next() {  # prints the first number no list has yet
    number=1
    while [ -e "submitted/$(printf %04d "$number").list" ]; do number=$((number + 1)); done
    printf %04d "$number"
}

case $AGD_SCHEDULER in
    slurm | pbs | shell) ;;
    *) say "AGD_SCHEDULER in cluster.env must be slurm, pbs or shell" >&2; exit 2 ;;
esac
if [ "$AGD_SCHEDULER" != shell ]; then
    for number in "$AGD_HOURS" "$AGD_WARNING_S" "$AGD_NODES" "$AGD_TASKS_PER_NODE" "$AGD_AT_ONCE"; do
        case $number in
            '' | *[!0-9]*)
                say "'$number' in cluster.env must be a whole number; AGD_HOURS=24 means 24 hours" >&2
                exit 2
                ;;
        esac
    done
fi
check_approval
[ -f jobs.txt ] || { say "jobs.txt is missing; copy the whole folder again" >&2; exit 1; }
[ -s jobs.txt ] || { say "nothing to submit"; exit 0; }
answers=$(read_approval) || {
    say "nothing in approved.csv can be understood; no job was submitted" >&2
    exit 1
}

if [ "$dry" = yes ]; then
    undecided
    jobs=$(pending)
    [ -n "$jobs" ] || { say "nothing to submit"; exit 0; }
    say "$jobs"
    count=$(say "$jobs" | wc -l | tr -d ' ')
    send "$(next)" "$count"
    say "$count jobs would be submitted to $AGD_SCHEDULER; nothing was changed"
    exit 0
fi

mkdir -p submitted
if ! mkdir submitted/lock 2>/dev/null; then
    holder=$(cat submitted/lock/pid 2>/dev/null || say 0)
    if [ "$holder" != 0 ] && at_work "$holder"; then
        say "another submit.sh (process $holder) is at work here" >&2
        exit 1
    fi
fi
say $$ > submitted/lock/pid
trap 'rm -rf submitted/lock' EXIT
trap 'exit 130' INT TERM HUP

mark
undecided

if [ "$AGD_SCHEDULER" = shell ]; then
    pending > submitted/now.list
    failed=0
    while IFS= read -r job <&3; do
        answers=$(read_approval 2>/dev/null) || answers=''  # the jobs before took their time
        mark
        [ -n "$(pending "$job" 2>/dev/null)" ] || { say "$job is not to run any more"; continue; }
        reopen "$job"
        say "running $job"
        ended=0
        sh "$job/run.sh" || ended=$?  # which says the reason
        [ "$ended" -eq 0 ] || { failed=$((failed + 1)); say "$job ended with status $ended"; }
    done 3< submitted/now.list
    say "$failed of $(length submitted/now.list) jobs did not finish"
    [ "$failed" -eq 0 ]
    exit
fi
for list in submitted/[0-9]*.list; do  # what a killed submit.sh left
    [ -f "$list" ] || continue
    number=$(basename "$list" .list)
    [ ! -f "submitted/$number.sent" ] || continue
    id=$(cat "submitted/$number.id" 2>/dev/null || known "$number") || {
        say "the scheduler does not answer; nothing was sent" >&2
        exit 1
    }
    if [ -z "$id" ]; then
        strike "$list"
        [ -s "$list" ] || { rm -f "$list"; continue; }
        deliver "$number"
    fi
    sent "$number"
    say "list $number: job $id"
done

pending > submitted/now.list
count=$(length submitted/now.list)
[ "$count" -gt 0 ] || { say "nothing to submit"; exit 0; }
from=1
most=$(array_limit)
while [ "$from" -le "$count" ]; do
    number=$(next)
    sed -n "$from,$((from + most - 1))p" submitted/now.list > "submitted/.$number.list"
    while IFS= read -r job; do reopen "$job"; done < "submitted/.$number.list"
    mv "submitted/.$number.list" "submitted/$number.list"
    deliver "$number"
    sent "$number"
    say "submitted $(length "submitted/$number.list") jobs as $id"
    from=$((from + most))
done

# Who decides which jobs run: submit.sh reads this file before cluster.env. Needs a POSIX awk.
# shellcheck shell=sh disable=SC2154
#
# A person writes yes or no into approved.csv. What is unclear there waits and is never submitted.
# The rules are those of dft_inputs/batch/answers.py, byte for byte, so that agd collect sees the same.

AGD_APPROVAL=yes AGD_APPROVAL_HOURS=0  # what batches did before cluster.env had these lines

declined='approved.csv declined this job'  # so begins a CANCELLED that follows from the file
tab=$(printf '\t')

check_approval() {  # refuses a cluster.env that does not say what an empty line counts as
    case $AGD_APPROVAL in
        yes | no) ;;
        *) say "AGD_APPROVAL in cluster.env must be yes or no" >&2; exit 2 ;;
    esac
    case $AGD_APPROVAL_HOURS in
        '' | *[!0-9]* | 0?* | ???????*)
            say "AGD_APPROVAL_HOURS in cluster.env must be a whole number" >&2
            exit 2
            ;;
    esac
}

unanswered() {  # prints what an empty line counts as now, a tab, and why
    if [ "$AGD_APPROVAL_HOURS" -gt 0 ] &&
        [ -z "$(find batch.json -mmin +"$((AGD_APPROVAL_HOURS * 60))")" ]; then
        # Not every system has such a date; the words after it say as much.
        end=$(date -r batch.json +%s 2>/dev/null) && end=$((end + AGD_APPROVAL_HOURS * 3600)) &&
            end=$(date -d "@$end" '+until %Y-%m-%d %H:%M:' 2>/dev/null) || end=''
        say "waiting$tab${end:+$end }an empty line counts as $AGD_APPROVAL" \
            "after $AGD_APPROVAL_HOURS hours"
    elif [ "$AGD_APPROVAL" = no ]; then
        within=''
        [ "$AGD_APPROVAL_HOURS" -eq 0 ] || within=" within $AGD_APPROVAL_HOURS hours"
        say "no${tab}nobody approved it$within"
    else
        say "yes$tab"
    fi
}

read_approval() {  # prints for each job: folder, yes, no, waiting or unasked, sentence; 1: all is unclear
    if [ ! -e approved.csv ] && [ ! -h approved.csv ]; then
        sed "s/\$/${tab}unasked$tab/" jobs.txt
        return
    fi
    if [ ! -f approved.csv ] || [ ! -r approved.csv ] ||
        [ "$(wc -c < approved.csv)" -gt 10000000 ] ||
        [ "$(LC_ALL=C tr -d '\000' < approved.csv | wc -c)" -ne "$(wc -c < approved.csv)" ]; then
        say "approved.csv cannot be read; save it as plain CSV" >&2
        [ ! -s jobs.txt ]
        return
    fi
    LC_ALL=C awk -v empty="$(unanswered)" "$sheet" jobs.txt approved.csv
}

begun() { [ -e "$1/DONE" ] || [ -e "$1/FAILED" ] || grep -qs '^ "state": "RUNNING"' "$1/STATUS.json"; }

ours() {  # tells whether job $1 is cancelled by what approved.csv says, not by a person's touch
    [ -f "$1/CANCELLED" ] || return 1
    IFS= read -r first < "$1/CANCELLED" || :
    case $first in "$declined"*) ;; *) return 1 ;; esac
}

mark() (  # makes the markers follow $answers; waiting, running and ended jobs stay as they are
    while IFS=$tab read -r job answer sentence; do
        [ -f "$job/ticket.json" ] || continue
        case $answer in
            yes) if ours "$job"; then rm -f "$job/CANCELLED"; fi ;;
            no)
                if [ -e "$job/CANCELLED" ] && ! ours "$job"; then continue; fi
                if begun "$job"; then continue; fi
                text=$declined${sentence:+: $sentence}
                if [ "$(cat "$job/CANCELLED" 2>/dev/null)" = "$text" ]; then continue; fi
                say "$text" > "$job/.CANCELLED.$$" && mv -f "$job/.CANCELLED.$$" "$job/CANCELLED"
                ;;
        esac
    done <<END
$answers
END
)

cancelled() {  # tells whether job $1 with answer $2 is not to be submitted
    case $2 in
        unasked) [ -e "$1/CANCELLED" ] ;;
        yes) [ -e "$1/CANCELLED" ] && ! ours "$1" ;;
        *) true ;;
    esac
}

strike() (  # takes what is not to be submitted any more off list $1, which the scheduler has not
    while IFS=$tab read -r job answer _; do
        if cancelled "$job" "$answer"; then continue; fi
        say "$job"
    done > "$1.cleared" <<END
$answers
END
    while IFS= read -r job; do
        if grep -qxF -e "$job" "$1.cleared"; then say "$job"; else rm -f "$job/SUBMITTED"; fi
    done < "$1" > "$1.kept"
    rm -f "$1.cleared"
    mv "$1.kept" "$1"
)

undecided() (  # says which jobs wait or were declined: each one with --dry-run, else how many
    no=0 waiting=0
    while IFS=$tab read -r job answer sentence; do
        [ -f "$job/ticket.json" ] || continue
        if [ -e "$job/DONE" ] || [ -e "$job/FAILED" ]; then continue; fi
        case $answer in
            no)
                if begun "$job"; then
                    say "$job was declined when it was already running; it goes on" >&2
                    continue
                fi
                no=$((no + 1))
                [ "$dry" = no ] || say "declined  $job${sentence:+: $sentence}"
                ;;
            waiting)
                if [ -e "$job/SUBMITTED" ] || [ -e "$job/CANCELLED" ]; then continue; fi
                waiting=$((waiting + 1))
                [ "$dry" = no ] || say "waits     $job: $sentence"
                ;;
        esac
    done <<END
$answers
END
    [ "$no" -eq 0 ] || say "$no jobs are declined in approved.csv"
    [ "$waiting" -eq 0 ] || say "$waiting jobs wait for an answer in approved.csv"
)

# shellcheck disable=SC2016
sheet='
function trim(s) { sub(/^[ \t\r\n]+/, "", s); sub(/[ \t\r\n]+$/, "", s); return s }
function flat(s) { gsub(/[\t\r\n]+/, " ", s); return trim(s) }
function note(text) { print "approved.csv" text | "cat >&2" }
function unclear(text) { said = "approved.csv line " began ": " text; print said | "cat >&2" }
function value(i) { return i && i <= count ? cells[i] : "" }
function keep() { cells[++count] = trim(cell); cell = "" }

# Reads one more line of a row. A cell is quoted when it begins with a quote.
function scan(line,   i, c, size, closed) {
    size = length(line)
    for (i = 1; i <= size; i++) {
        c = substr(line, i, 1)
        if (inside) {
            if (c != "\"") cell = cell c
            else if (substr(line, i + 1, 1) == "\"") { cell = cell c; i++ }
            else { inside = 0; closed = 1 }
        } else if (c == separator) { keep(); closed = 0 }
        else if (closed) { if (trim(c) != "") broken = 1 }
        else if (c == "\"" && trim(cell) == "") { cell = ""; inside = 1 }
        else {
            cell = cell c
            if (c == "," || c == ";") strays = strays c
        }
    }
    if (inside) cell = cell "\n"; else keep()
}

function head(   i, name) {
    for (i = 1; i <= count; i++) {
        name = tolower(cells[i])
        if (name == "") continue
        width = i
        named[name]++
        if (!(name in at)) at[name] = i
    }
    if (!width) width = 1
    if (broken) unclear("a quote is not closed, or text follows it")
    else if (strays != "") unclear("columns are separated by both , and ;")
    else if (!("folder" in at) || !("approved" in at))
        unclear("the columns folder and approved are not named here")
    else if (named["folder"] > 1 || named["approved"] > 1 || named["reason"] > 1)
        unclear("a column is named twice")
    else return
    useless = 1
}

function row(   i, job, word, reason) {
    if (broken) {
        unclear("a quote is not closed, or text follows it")
        reason = said
        for (i = 1; i <= jobs; i++) if (index(text, job_of[i])) settle(job_of[i], "waiting", reason)
        return
    }
    for (i = 1; i <= count; i++) if (cells[i] != "") break
    if (i > count) return
    job = value(at["folder"])
    if (!(job in is)) { unclear("\"" flat(job) "\" is no job of this batch"); return }
    word = tolower(value(at["approved"]))
    reason = flat(value(at["reason"]))
    for (i = width + 1; i <= count; i++) if (cells[i] != "") break
    if (i <= count)
        unclear("more columns than the first line; put a text that holds a , or ; into quotes")
    else if (word in meaning) { settle(job, meaning[word], meaning[word] == "no" ? reason : ""); return }
    else if (word != "") unclear("\"" flat(word) "\" is neither yes nor no")
    else if (reason != "") unclear("a reason, but neither yes nor no")
    else if (index(strays, ";")) unclear("columns are separated by both , and ;")
    else { settle(job, "empty", ""); return }
    settle(job, "waiting", said)
}

# Keeps the answer of a row; of rows that contradict each other, none counts.
function settle(job, answer, why) {
    if (!(job in found)) { found[job] = answer; because[job] = why; return }
    if (found[job] == answer) return
    unclear(job " is named again, with another answer")
    found[job] = "waiting"
    because[job] = said
}

BEGIN {
    split("yes y true 1", words, " ")
    for (i in words) meaning[words[i]] = "yes"
    split("no n false 0", words, " ")
    for (i in words) meaning[words[i]] = "no"
}
FILENAME == "jobs.txt" { if ($0 != "") { job_of[++jobs] = $0; is[$0] = 1 } next }
useless { next }
{ line = $0 }
FNR == 1 && substr(line, 1, 3) == "\357\273\277" { line = substr(line, 4) }
!inside && line ~ /^[,; \t\r]*$/ { next }
separator == "" { separator = match(line, /[,;\t]/) ? substr(line, RSTART, 1) : "," }
!inside { began = FNR; lines = 0; count = 0; broken = 0; text = ""; strays = ""; cell = "" }
{
    text = text line "\n"
    scan(line)
    if (inside && ++lines < 20) next
    if (inside) { broken = 1; inside = 0 }
    if (width) row(); else head()
}
END {
    if (inside) { broken = 1; if (width) row(); else head() }
    if (!width) note(" is empty")
    clear = !jobs
    for (i = 1; i <= jobs && width && !useless; i++) {
        job = job_of[i]
        if (!(job in found)) {
            note(" has no line for " job)
            found[job] = "waiting"
            because[job] = "approved.csv has no line for " job
        }
        if (found[job] != "waiting") clear = 1
        print job "\t" (found[job] == "empty" ? empty : found[job] "\t" because[job])
    }
    close("cat >&2")
    exit !clear
}'

#!/bin/sh
# The rules that a compiler does not know, then clang-format and clang-tidy.
set -u
: "${LINT_FLAGS:?the compiler flags: run this as make lint}"
cd "$(dirname "$0")/.."
bad=0
complain() { bad=1; printf '%s\n' "lint: $1"; printf '%s\n' "$2" | sed 's/^/    /'; }

# README's tables list the rooms from the top down: rooms '' the folders, rooms worker/ the rooms of worker/.
rooms() { sed -nE "s;^\| \[\`($1[a-z]+)/\`\].*;\1;p" README.md; }

# Includes point down.  In the tree's folders:
may_include() {
    case $1 in
    base) echo base ;;
    kernels) echo 'base kernels' ;;
    ops) echo 'base kernels ops' ;;
    model) echo 'base kernels ops model' ;;
    scheduler) echo 'base scheduler' ;;
    worker) echo 'base model scheduler worker darkroom' ;; # darkroom/v1: generated from proto/
    esac
}
above=
for room in $(rooms ''); do
    above="$above $room"
    allowed=$(may_include "$room")
    [ -n "$allowed" ] || continue
    found=$(git grep -nE '^#include "' -- "$room/*.[ch]" "$room/*.cu" | grep -vE "#include \"($(echo "$allowed" | tr ' ' '|'))/")
    [ -z "$found" ] || complain "$room/ may include only: $allowed" "$found"
    for below in $allowed; do
        case " $above " in *" $below "*) [ "$below" = "$room" ] || complain 'README lists a room above one that includes it' "$room/ $below/" ;; esac
    done
done
for room in base kernels ops model scheduler worker; do
    case " $above " in *" $room "*) ;; *) complain "README's table of rooms lacks" "$room/" ;; esac
done

# In worker/: a room may include itself and the rooms below it.
below=none
for room in $(rooms worker/ | tac); do
    below="$below|$room"
    found=$(git grep -nE '^#include "worker/' -- "$room/*.[ch]" | grep -vE "#include \"($below)/[a-z_]+\.h")
    [ -z "$found" ] || complain "$room/ may include only itself and the rooms below it in README's table" "$found"
    [ -n "$(git ls-files "$room")" ] || complain 'README lists a room that is not there' "$room/"
done
found=$(git ls-files 'worker/*' | grep -vE "^($below)/")
[ -z "$found" ] || complain "in no room of worker/ that README's table lists" "$found"

# worker/settings knows no room that draws or delivers: worker/program hands them their options.
found=$(git grep -nE '^#include "worker/' -- 'worker/settings/*.[ch]' | grep -vE '#include "worker/(settings|kafka|support)/')
[ -z "$found" ] || complain 'worker/settings/ may include only settings, kafka and support' "$found"

# In worker/delivery an offset goes one way (worker/delivery/books.h): the consumer and the publisher stand on the books.
for way in 'cut_note carried ledger partitions lease inbox books consumer' \
           'cut_note carried ledger partitions lease inbox books record dead_letter parcel outbox publisher'; do
    below=none
    for stage in $way; do
        below="$below|$stage"
        found=$(git grep -nE '^#include "worker/delivery/' -- "worker/delivery/$stage.[ch]" "worker/delivery/${stage}_*.[ch]" |
                grep -vE "#include \"worker/delivery/($below)(_[a-z]+)*\.h")
        [ -z "$found" ] || complain "an offset goes one way: $way" "$found"
    done
done

# The public headers are installed without the others.
found=$(git grep -nE '^#include' -- 'include/' | grep -vE '#include <(darkroom/[a-z]+|stdbool|stddef|stdint)\.h>')
[ -z "$found" ] || complain 'a public header includes a private header' "$found"

found=$(git grep -nE '^#[[:space:]]*(if|ifdef|ifndef|elif)' -- 'model/*.[ch]' 'ops/*.[ch]' | grep -vE '#ifndef DR_[A-Z0-9_]+_H$')
[ -z "$found" ] || complain 'conditional compilation in model/ or ops/' "$found"

found=$(git grep -nE '\b(exit|abort|printf|fprintf|puts|perror)[[:space:]]*\(' -- 'model/*.c' 'ops/*.c' 'kernels/*' 'scheduler/*.c' 'base/*.c' | grep -v '^base/error.c')
[ -z "$found" ] || complain 'a library prints or ends the process' "$found"

found=$(git grep -nwE 'extern' -- '*.c')
[ -z "$found" ] || complain 'a hand-written prototype: include its header' "$found"

sources=$(git ls-files '*.c' '*.h' '*.cu')

# Plain English, and contracts.
# shellcheck disable=SC2086 # a list of files
found=$(awk -f tools/comments.awk $sources)
[ -z "$found" ] || complain 'a contract is missing, or a comment is too wide' "$found"
found=$(git grep -niwE 'likewise|whence' -- '*.c' '*.h' '*.cu' '*.md' '*.proto' '*.sh' '*.awk' '*.mk' '*.py' Makefile ':!tools/lint.sh')
[ -z "$found" ] || complain 'a word that few readers know' "$found"

# tests/lint_test.sh tries the rules above.
[ -z "${LINT_RULES_ONLY:-}" ] || exit "$bad"

# shellcheck disable=SC2086 # a list of files
found=$(clang-format --dry-run $sources 2>&1 | grep 'warning:' | head -20)
[ -z "$found" ] || complain 'clang-format would change these (make format)' "$found"

# clang sees every file with every instruction set.  clang 14 does not know gcc's names in isa.c, and has no omp.h.
if ! found=$(git ls-files '*.c' | grep -vE '^(tests/|kernels/isa\.c|bench/ops_bench\.c)' |
             LINT_FLAGS="$LINT_FLAGS -march=sapphirerapids -DDR_ISA=avx512 -Wno-everything" xargs -P "$(nproc)" -n 4 sh -c '
                 clang-tidy --quiet --warnings-as-errors="*" "$@" -- $LINT_FLAGS 2>&1' tidy); then
    complain 'clang-tidy, with the checks of .clang-tidy' "$(printf '%s\n' "$found" | grep -E '(warning|error):' | sort -u)"
fi

[ "$bad" = 0 ] && echo 'lint: nothing to say'
exit "$bad"

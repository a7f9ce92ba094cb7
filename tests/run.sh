#!/bin/sh
# Run test programs: all of them, also after a failure.  Fails if any failed.
#
#     tests/run.sh build/release/tests/ops/conv_test ...
#
#     ok     3 of 71  build/release/tests/ops/conv_test (36 cases, 6.6 s; generic, avx2 with 1, 2, 8 threads; ...)
#     skip   4 of 71  tests/kafka/run.sh: no java ...
#     FAIL   5 of 71  ... then all output of the program, and the command that runs it again
#
# A program that leaves with code 77 could not run here; its last line says why.  JOBS programs run at the same time: by default
# one for each core, but at most 4, because many tests start threads themselves.  The last line counts the programs:
# "N passed, M failed, K skipped".
set -u

# Runs one program, writes its line at once, and notes its time and fate for the end.
one() {
    test=$1
    began=$(date +%s%N)
    timeout --foreground "$TEST_SECONDS_MAX" "$test" > "$scratch/$$.out" 2>&1
    code=$?
    tenths=$((($(date +%s%N) - began) / 100000000))
    took="$((tenths / 10)).$((tenths % 10)) s"
    cases=$(grep -c '^\[       OK \]' "$scratch/$$.out")
    machines=$(sed -n 's/^machines: /; /p' "$scratch/$$.out") # tests/support/machines.h
    (
        flock 9
        n=$(($(wc -l < "$scratch/fates") + 1))
        at=$(printf '%3d of %d' "$n" "$total")
        case $code in
        0) fate=passed && echo "ok   $at  $test ($cases cases, $took$machines)" ;;
        77) fate=skipped && echo "skip $at  $test: $(tail -n 1 "$scratch/$$.out")" ;;
        *)
            fate=failed && echo "FAIL $at  $test (code $code, $took)"
            cat "$scratch/$$.out"
            [ $code != 124 ] || echo "not done after $TEST_SECONDS_MAX s"
            echo "again:$again $root/run.sh $test"
            ;;
        esac
        echo "$fate $tenths $test" >> "$scratch/fates"
    ) 9> "$scratch/lock"
    rm -f "$scratch/$$.out"
}

if [ "$1" = --one ]; then
    one "$2"
    exit 0
fi

export root="$(dirname "$0")"
# The user's settings of darkroom must not reach the tests.
# shellcheck disable=SC2046 # names
unset NONE $(env | sed -n 's/^\(DARKROOM_[A-Za-z0-9_]*\)=.*/\1/p')
# ThreadSanitizer can't see the locks of libraries that were not compiled for it.
export TSAN_OPTIONS="ignore_noninstrumented_modules=1:suppressions=$root/tsan.supp${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
# Pango and fontconfig never free their caches.
export LSAN_OPTIONS="suppressions=$root/lsan.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
export TEST_SECONDS_MAX="${TEST_SECONDS_MAX:-1200}" # ends a test that hangs; the slowest test takes a minute
cores=$(nproc)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
: > "$scratch/fates"
# Variables that the test scripts need.  mk/tests.mk sets them.
again=
for name in BUILD GPU_BENCH FAKE_GPU_BENCH LD_LIBRARY_PATH PARITY_STEPS_MAX; do
    eval "value=\${$name:-}"
    [ -z "$value" ] || again="$again $name='$value'"
done
total=$#
export scratch total again

printf '%s\n' "$@" | xargs -n 1 -P "${JOBS:-$((cores < 4 ? cores : 4))}" "$0" --one

count() { grep -c "^$1 " "$scratch/fates"; }
echo "the slowest:"
sort -k 2,2nr "$scratch/fates" | head -n 5 | while read -r fate tenths test; do
    printf '%8d.%d s  %s\n' $((tenths / 10)) $((tenths % 10)) "$test"
done
failed=$(sed -n 's/^failed [0-9]* //p' "$scratch/fates" | tr '\n' ' ')
[ -z "$failed" ] || echo "failed: $failed"
[ "$(wc -l < "$scratch/fates")" = "$total" ] || { echo "$total programs, but only $(wc -l < "$scratch/fates") ended"; exit 1; }
echo "$(count passed) passed, $(count failed) failed, $(count skipped) skipped"
[ -z "$failed" ] && [ "$(count passed)" -gt 0 ]

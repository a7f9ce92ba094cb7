#!/bin/sh
# Run test programs one after the other; stop at none, fail if any failed.
# One that leaves with 77 could not be run here and says why on its last line.
# The last line counts programs: "N passed, M failed".
set -u
# ThreadSanitizer does not see the locks of libraries that were not compiled for it.
export TSAN_OPTIONS="ignore_noninstrumented_modules=1:suppressions=$(dirname "$0")/tsan.supp${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
# Pango and fontconfig keep their caches.
export LSAN_OPTIONS="suppressions=$(dirname "$0")/lsan.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
passed=0 failed=0 skipped=0 names=
for test in "$@"; do
    output=$("$test" 2>&1)
    code=$?
    if [ $code = 0 ]; then
        passed=$((passed + 1))
        machines=$(echo "$output" | sed -n 's/^machines: /; /p') # tests/machines.h
        echo "ok    $test ($(echo "$output" | grep -c '^\[       OK \]') cases$machines)"
    elif [ $code = 77 ]; then
        skipped=$((skipped + 1))
        echo "skip  $test: $(echo "$output" | tail -n 1)"
    else
        failed=$((failed + 1)) names="$names $test"
        echo "FAIL  $test"
        echo "$output"
    fi
done
[ -z "$names" ] || echo "failed:$names"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

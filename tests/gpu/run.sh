#!/bin/sh
# Runs the CUDA backend's tests on a real GPU, one after the other.  Then it runs them again, shorter, under compute-sanitizer if
# that is installed.  It finds accesses out of bounds, reads of unwritten memory, leaks, and races within a block.
# Fails if there is no GPU, or if a test failed.
set -u
[ $# -gt 0 ] || { echo "no tests for a GPU: built without CUDA (make cuda-toolkit)"; exit 1; }
failed=0

# run NAME COMMAND...
run() {
    name=$1
    shift
    output=$("$@" 2>&1)
    code=$?
    if [ $code = 77 ]; then
        echo "$output" | tail -n 1
        exit 1
    elif [ $code = 0 ]; then
        echo "ok    $name ($(echo "$output" | grep -c '^\[       OK \]') cases)"
    else
        failed=$((failed + 1))
        echo "FAIL  $name"
        echo "$output"
    fi
}

for test in "$@"; do
    run "$test" "$test"
done

sanitizer=$(command -v compute-sanitizer || ls "$CUDA_HOME"/bin/compute-sanitizer "$CUDA_HOME"/compute-sanitizer/compute-sanitizer 2>/dev/null | head -n 1)
if [ -n "$sanitizer" ]; then
    export GPU_TESTS_SHORT=1
    for test in "$@"; do
        run "memcheck $test" "$sanitizer" --tool memcheck --leak-check full --error-exitcode 1 "$test"
        run "racecheck $test" "$sanitizer" --tool racecheck --error-exitcode 1 "$test"
    done
else
    echo "compute-sanitizer is not installed: the tests did not run under it"
fi
echo "$failed failed"
[ "$failed" = 0 ]

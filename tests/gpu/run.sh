#!/bin/sh
# The CUDA backend's tests on a real GPU, one after the other; then, short, under compute-sanitizer where it is there:
# access out of bounds, use of what nobody wrote, leaks; and races within a block.
# The first line that is not a test's says which device it was.  Fails where there is none, or where one failed.
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
    echo "not run under compute-sanitizer, which is not there"
fi
echo "$failed failed"
[ "$failed" = 0 ]

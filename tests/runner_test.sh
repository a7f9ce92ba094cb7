#!/bin/sh
# Tests the runner (tests/run.sh) with made-up programs.  Each program gets its line, a failure comes with all its output and the
# command that runs it again, and the last line counts.
set -eu
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
passed() { echo "[       OK ] $1"; }
failed() { echo "[  FAILED  ] $1"; cat "$home/said"; exit 1; }
says() { grep -qE "^$1\$" "$home/said" || failed "no line '$1'"; }
program() { printf '#!/bin/sh\n%s\n' "$2" > "$home/$1"; chmod +x "$home/$1"; }
run() {
    expected=$1
    shift
    code=0
    (cd "$home" && BUILD=some/build JOBS=2 TEST_SECONDS_MAX=5 "$runner" "$@") > "$home/said" 2>&1 || code=$?
    [ "$code" = "$expected" ] || failed "code $code, not $expected"
}
runner=$(pwd)/tests/run.sh
time='[0-9]+\.[0-9] s'

program good 'echo "[       OK ] one"; echo "[       OK ] two"; echo "machines: this, that"'
program other 'exit 0'
program bad 'echo what went wrong; exit 3'
program absent 'echo first; echo no such thing here; exit 77'
program hangs 'exec sleep 100'

run 0 ./good ./other
says "ok    +[12] of 2  \./good \(2 cases, $time; this, that\)"
says "ok    +[12] of 2  \./other \(0 cases, $time\)"
[ "$(tail -n 1 "$home/said")" = '2 passed, 0 failed, 0 skipped' ] || failed 'the last line'
passed good_programs_have_a_line_each

run 1 ./good ./bad ./absent ./hangs ./other
says "FAIL  +[1-5] of 5  \./bad \(code 3, $time\)"
says 'what went wrong'
says "again: BUILD='some/build' .*tests/run.sh ./bad"
says 'skip  +[1-5] of 5  \./absent: no such thing here'
says 'not done after 5 s'
says 'failed: .*\./bad.*'
[ "$(tail -n 1 "$home/said")" = '2 passed, 2 failed, 1 skipped' ] || failed 'the last line'
sed -n '/^the slowest:$/,$p' "$home/said" | sed -n 2p | grep -q 'hangs$' || failed 'the slowest'
passed a_failure_is_told_and_the_rest_is_run

program settings '[ -z "${DARKROOM_THREADS:-}" ]'
DARKROOM_THREADS=3 run 0 ./settings
passed settings_of_the_program_do_not_reach_the_tests

run 1 ./absent
[ "$(tail -n 1 "$home/said")" = '0 passed, 0 failed, 1 skipped' ] || failed 'the last line'
run 1 ./good ./not_there
[ "$(tail -n 1 "$home/said")" = '1 passed, 1 failed, 0 skipped' ] || failed 'the last line'
passed none_that_passed_is_a_failure

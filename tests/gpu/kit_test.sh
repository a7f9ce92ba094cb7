#!/bin/sh
# Tests the kit's script (tests/gpu/kit.sh) with a made-up program in place of the GPU's tests.  What does it leave when there is no GPU,
# when a test fails, and when the time runs out in the middle of a step?
set -eu
cd "$(dirname "$0")/../.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
cases=0
failed() { echo "[  FAILED  ] $1"; cat "$home"/out/summary.txt; exit 1; }
passed() { cases=$((cases + 1)); echo "[       OK ] $1"; rm -rf "$home/out"; }
says() { grep -qx "$1" "$home/out/summary.txt" || failed "the summary has no line '$1'"; }
lacks() { ! grep -q "$1" "$home/out/summary.txt" || failed "the summary has a line '$1'"; }
kit() { code=0; PATH="$home/bin:$PATH" PYTHON="$home/bin/no-python" "$home/run.sh" "$home/out" "$1" > /dev/null 2>&1 || code=$?; }

mkdir -p "$home/bin" "$home/wheels"
cp tests/gpu/kit.sh "$home/run.sh"
echo abc1234 > "$home/commit.txt"
ln -s /bin/false "$home/bin/no-python"
ln -s /bin/false "$home/bin/compute-sanitizer"
# It does what the file `plan` says for its part's name.  The bench writes its JSON first.
cat > "$home/bin/gpu_kit" << 'END'
#!/bin/sh
while [ $# -gt 0 ]; do
    [ "$1" != --json ] || echo '{"columns": []}' > "$2"
    name=${name:-$1}
    shift
done
echo "$name spoke"
case $(grep "^$name " plan | cut -d' ' -f2) in
absent) exit 77 ;;
fails) exit 1 ;;
hangs) exec sleep 100 ;;
esac
END
chmod +x "$home/bin/gpu_kit"

echo 'gpu_bench absent' > "$home/plan"
kit 100
[ $code = 77 ] || failed "no GPU: code $code"
lacks values_test
passed no_gpu

echo 'products_test fails' > "$home/plan"
kit 100
[ $code = 1 ] || failed "a test fails: code $code"
says 'FAILED     products_test : code 1 after [0-9]* s, see tests.txt'
says 'ok         statistics_test : [0-9]* s'
says 'ok         gpu_bench .* --as f16 --only sd15_512 .*'
[ "$(grep -c columns "$home/out/bench.json")" -ge 8 ] || failed 'a JSON document for each call of the bench'
[ ! -e "$home/out/bench.now.json" ] || failed 'bench.now.json is left'
[ "$(find "$home/out" | wc -l)" -le 9 ] || failed 'more than eight files'
passed a_failure_is_told_and_the_rest_is_run

echo 'values_test hangs' > "$home/plan"
kit 10
[ $code = 1 ] || [ $code = 0 ] || failed "time runs out: code $code"
says 'cut off    values_test : after [0-9]* s'
says 'not begun  products_test : no time is left'
grep -q 'values_test spoke' "$home/out/tests.txt" || failed 'what a step said before it was cut off'
passed a_run_that_is_cut_off_leaves_what_it_had
echo "$cases cases"

#!/bin/sh
# run.sh [FOLDER [SECONDS]] - test and measure the CUDA engine on this machine's GPU, the most valuable steps first.
#
# Writes at most eight files into FOLDER (out): summary.txt, a line for each step; tests.txt, which begins with the machine;
# bench.txt and bench.json (a document for each call of the bench; bench.now.json while one runs); peers.txt and
# peers.eager.json, peers.compile.json.  Files are written as the run goes on, so a run that is cut off leaves what it had.
# It ends by itself after SECONDS (530).  Needs a driver, cuBLASLt and cuDNN of CUDA 13, and for the peers' rows PyTorch and transformers.
# Ends with code 0 if each step that began has passed, and with 77 if there is no GPU.
set -u
begin=$(date +%s)
out=${1:-out} budget=${2:-530}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")"
export PYTHONUNBUFFERED=1
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { echo "$*" | tee -a "$out/summary.txt"; }
left() { echo $((budget - $(date +%s) + begin)); }

# step FILE MOST NAME COMMAND...: runs the command for at most MOST seconds, and not longer than the run may last.  Its output goes
# to FILE.
step() {
    file=$out/$1 most=$2 name=$3
    shift 3
    [ "$(left)" -ge "$most" ] || most=$(left)
    if [ "$most" -lt 5 ]; then
        say "not begun  $name: no time is left"
        return 1
    fi
    echo "--- $name" >> "$file"
    start=$(date +%s)
    timeout -k 5 "$most" stdbuf -oL "$@" >> "$file" 2>&1
    rc=$?
    took="$(($(date +%s) - start)) s"
    case $rc in
    0) say "ok         $name: $took" ;;
    124 | 137) say "cut off    $name: after $took" ;;
    77) say "no GPU     $name" ;;
    *) failed=1; say "FAILED     $name: code $rc after $took, see ${file##*/}" ;;
    esac
    return $rc
}

kit() { name=$1 file=$2 most=$3; shift 3; step "$file" "$most" "$name $*" bin/gpu_kit "$name" "$@"; }
# bench MOST COLUMN ONLY
bench() {
    kit gpu_bench bench.txt "$1" --seconds 1.5 --as "$2" --only "$3" --json "$out/bench.now.json"
    [ -f "$out/bench.now.json" ] || return
    cat "$out/bench.now.json" >> "$out/bench.json"
    mv "$out/bench.now.json" "$work/$2.$3.json"
}
# peers MOST MODE: to be called after `bench MOST f16 sd15_512`; it compares with the rows of that call.
peers() {
    step peers.txt "$1" "peers $2" "$python" bench/peers/gpu_peers.py --ours "$work/f16.sd15_512.json" --storages f16 --modes "$2" \
        --shapes sd15 --json "$out/peers.$2.json"
}

# The folders in which PyTorch has cuBLASLt, cuDNN and NVRTC.
python=${PYTHON:-python3}
libs=$("$python" - 2> /dev/null << 'END'
import glob, os, site, sys
roots = site.getsitepackages() + [site.getusersitepackages()]
print(":".join(d for root in roots for d in sorted(glob.glob(os.path.join(root, "nvidia", "*", "lib")))))
END
)
export LD_LIBRARY_PATH="${libs:+$libs:}/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

machine() {
    cat commit.txt; date -u; uname -a; head -n 4 /etc/os-release; nproc; grep -m 1 'model name' /proc/cpuinfo
    nvidia-smi; nvidia-smi -q -d CLOCK,POWER,MEMORY,ECC
    echo "$LD_LIBRARY_PATH"
    "$python" -c 'import torch, transformers; print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version(), transformers.__version__)'
    return 0
}
machine > "$out/tests.txt" 2>&1

say "kit $(cat commit.txt), $budget s"
kit gpu_bench tests.txt 60 --describe
[ $? != 77 ] || { tail -n 1 "$out/tests.txt" | tee -a "$out/summary.txt"; exit 77; }
kit gpu_bench tests.txt 60 --check --as f16,bf16,f16+sm_80,f16+cudnn,f16+fp8

for test in values_test products_test pictures_test statistics_test eight_bits_test; do
    kit $test tests.txt 60
done

# The most valuable rows of our table, then the same rows by the peer.
bench 110 f16 sd15_512
"$python" -m pip install -q --no-index --no-deps --no-compile --target "$work/site" wheels/*.whl > "$out/peers.txt" 2>&1
export PYTHONPATH="$work/site${PYTHONPATH:+:$PYTHONPATH}"
peers 90 eager
bench 60 f16 sd21_768_pictures_4
bench 40 f16 small_128
# The other ways to open the device, with one row each.
for column in f16+sm_80 f16+cudnn f16+fp8_conv f16+fast f16+fp8 bf16; do
    bench 30 $column sd15_512_pictures_8
done
peers 120 compile
for test in values_test products_test; do
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2> /dev/null | head -n 1)
    [ -n "$sanitizer" ] || { say "not run    compute-sanitizer is not there"; break; }
    GPU_TESTS_SHORT=1 step tests.txt 60 "memcheck $test" "$sanitizer" --tool memcheck --error-exitcode 1 bin/gpu_kit $test
done

say "done after $(($(date +%s) - begin)) s"
grep -h '^|' "$out/bench.txt" "$out/peers.txt" 2> /dev/null
exit "$failed"

#!/bin/sh
# Runs the benchmarks on their smallest cases, so that they keep working: the engine's, and the GPU's over the made-up CUDA
# runtime if CUDA was built.
set -eu
"$BUILD/bench/engine_bench" --quick
[ -n "$FAKE_GPU_BENCH" ] || { echo "built without CUDA: no benchmark of a GPU"; exit 0; }

json=$(mktemp)
trap 'rm -f "$json"' EXIT
fail() { echo "$1"; exit 1; }

# Every kind of row (pictures, memory, networks and their operators, the host's share), and several columns.
"$FAKE_GPU_BENCH" --quick --as bf16 --only sd15_512_memory_8 --json "$json"
grep -q '"name": "sd15_512_idle_8"' "$json" || fail "no idle row in the JSON"
"$FAKE_GPU_BENCH" --quick --as f16+fast,f16+cudnn,f16+cudnn_conv,f16+cudnn_attention --only sd15_512_vae_decode
"$FAKE_GPU_BENCH" --quick --as f16 --only small_128 --json "$json"
for name in small_128_pictures_64 small_128_unet_128 small_128_host_share; do
    grep -q "\"name\": \"$name\"" "$json" || fail "no $name in the JSON"
done
grep -q '"kind": "attention d' "$json" || fail "no operators in the JSON"

code=0
"$FAKE_GPU_BENCH" --nonsense 2>/dev/null || code=$?
[ $code = 2 ] || fail "an unknown option: code $code"
code=0
said=$("$GPU_BENCH" --describe) || code=$?
case $code-$said in
0-cuda:0:* | 77-'no GPU: '*) ;;
*) fail "on the real machine: code $code, $said" ;;
esac

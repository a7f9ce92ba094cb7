#!/bin/sh
# Puts the CUDA toolkit that tools/cuda_toolkit.txt names into a folder: cuda_toolkit.sh FOLDER
#
# pip fetches its wheels (1.0 GB).  They are unpacked to 1.5 GB in the layout of an installed toolkit: bin, include, lib, nvvm.
# If the folder is complete, the script does nothing.  After an interruption it continues with the wheels that it has.
set -eu
to=$1
list=$(dirname "$0")/cuda_toolkit.txt
part=$to.part # holds the wheels and the unpacked files until all are there

! cmp -s "$list" "$to/wheels.txt" || exit 0
say() { echo "cuda-toolkit: $*"; }
fail() { say "$*" >&2; exit 1; }

[ "$(uname -sm)" = 'Linux x86_64' ] || fail "the wheels are for Linux on x86-64, not $(uname -sm)"
"$(dirname "$0")/setup.sh" g++
python3 -m pip --version >/dev/null 2>&1 || "$(dirname "$0")/setup.sh" python3-pip
for python in python3 /usr/bin/python3 ''; do
    [ -n "$python" ] || fail "no python3 that has pip"
    "$python" -m pip --version >/dev/null 2>&1 && break
done
pip() { PIP_ROOT_USER_ACTION=ignore TMPDIR=$part/tmp "$python" -m pip --disable-pip-version-check "$@"; }

mkdir -p "$part/wheels" "$part/tmp"
say "fetching 1.0 GB of wheels into $part, for 1.5 GB in $to"
# One at a time.  pip only checks a wheel that is there already.
grep '^nvidia-' "$list" | while read -r wheel; do
    say "${wheel%% *}"
    echo "$wheel" > "$part/wheel.txt"
    pip download -q --no-cache-dir --no-deps --only-binary :all: --require-hashes -d "$part/wheels" -r "$part/wheel.txt" ||
        fail "pip could not fetch ${wheel%% *}; run this again to go on, or build with CUDA=0 to do without"
done

rm -rf "$part/unpacked"
pip install -q --no-index --no-deps --no-compile --require-hashes --find-links "$part/wheels" --target "$part/unpacked" -r "$list" ||
    fail "the wheels can't be unpacked: is there room for 3 GB at $part?"
cd "$part/unpacked"
mv nvidia/cu13 toolkit
mv nvidia/cudnn/include/* toolkit/include/
mv nvidia/cudnn/lib/* toolkit/lib/
mkdir toolkit/licenses
for folder in *.dist-info; do mv "$folder/licenses" "toolkit/licenses/${folder%.dist-info}"; done
cd - >/dev/null
cp "$list" "$part/unpacked/toolkit/wheels.txt" # last: this file says that the folder is complete
rm -rf "$to"
mv "$part/unpacked/toolkit" "$to"
rm -rf "$part"
say "done: $("$to/bin/nvcc" --version | grep -o 'release.*')"

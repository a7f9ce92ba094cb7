#!/bin/sh
# In no room do two files call each other, directly or through others: the files can be read from the bottom up.
# scheduler/ is missing because it is one file, and tests/ and bench/ because they are not rooms of the program.
# A call through a table of functions is none: the file below does not know who is above it.
set -eu
: "${BUILD:?the folder of the build}"
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
passed() { echo "[       OK ] $1"; }
failed() { echo "[  FAILED  ] $1"; cat "$home/said"; exit 1; }

# "caller callee" for each pair of files, by the names that their objects define and use.
calls() {
    for source in "$@"; do
        object="$BUILD/${source%.c}.o"
        [ ! -f "$object" ] || nm -A -g "$object" # without the CUDA toolkit ops/cuda is not compiled
    done | sed "s|^$BUILD/||; s|\\.o:[0-9a-f]*||" | awk '
        $2 == "U" { users[$3] = users[$3] " " $1; next }
        { file[$3] = $1 }
        END {
            for (name in file) {
                count = split(users[name], user)
                for (i = 1; i <= count; i++) print user[i], file[name]
            }
        }' | sort -u
}

# A made-up pair first: what finds nothing may not be able to.
printf 'a b\nb c\nc a\n' | tsort > "$home/said" 2>&1 && failed a_circle_is_found
passed a_circle_is_found
for room in base kernels ops model worker/*; do
    calls $(git ls-files -co --exclude-standard "$room/*.c") > "$home/calls"
    [ -s "$home/calls" ] || failed "no file of $room calls another: is it built?"
    tsort "$home/calls" > "$home/order" 2> "$home/said" || failed "files of $room call each other in a circle"
    passed "no_circle_in_$room"
done

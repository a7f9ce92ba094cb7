#!/bin/sh
# Tests what `make install` installs: the example needs nothing else to compile, and draws a picture.
set -eu
: "${BUILD:?the folder of the build}"
cd "$(dirname "$0")/.."
root=$(pwd)
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
cases=0
passed() { cases=$((cases + 1)); echo "[       OK ] $1"; }
failed() { echo "[  FAILED  ] $1"; exit 1; }

make --no-print-directory -s install PREFIX="$home" DESTDIR= || failed 'make install'
export PKG_CONFIG_PATH="$home/lib/pkgconfig"
cflags=$(pkg-config --cflags darkroom) libs=$(pkg-config --libs darkroom)
cp docs/embed/draw.c "$home" && cd "$home"

# Each header compiles alone, as strict C11 and as C++.
for header in include/darkroom/*.h; do
    name=${header#include/}
    printf '#include <%s>\n#include <%s>\ntypedef int not_empty;\n' "$name" "$name" > header.c
    # shellcheck disable=SC2086 # flags
    cc -std=c11 -pedantic-errors -Wall -Wextra -Werror $cflags -fsyntax-only header.c || failed "$name in C11"
    # shellcheck disable=SC2086
    c++ -std=c++17 -pedantic-errors -Wall -Wextra -Werror $cflags -fsyntax-only -x c++ header.c || failed "$name in C++17"
done
passed a_header_stands_alone

# The library defines all names that the headers declare, and shows no other name.
nm -g --defined-only lib/libdarkroom.a | awk 'NF == 3 { print $3 }' | sort > defined
sed -nE 's/.*[ *](dr_[a-z0-9_]+)\(.*\);.*/\1/p; s/.*[ *](dr_[a-z0-9_]+)\([^)]*$/\1/p' include/darkroom/*.h |
    sort -u > declared
grep -vE '^dr_' defined && failed 'a name without the prefix dr_ can be seen'
diff declared defined || failed 'declared (<) and defined (>) names differ'
passed what_can_be_seen_is_what_is_declared

# shellcheck disable=SC2086
cc -std=c11 -pedantic-errors -Wall -Wextra -Werror draw.c -o draw $cflags $libs || failed 'the example compiles'
printf '#include <darkroom/darkroom.h>\nint main() { return dr_version() != std::string(DR_VERSION); }\n' |
    sed '1i #include <string>' > version.cc
# shellcheck disable=SC2086
c++ -std=c++17 -Wall -Wextra -Werror version.cc -o version $cflags $libs && ./version || failed 'a C++ program links'
passed an_example_compiles

./draw "$root/models/tiny" 'a fox on a green background' one.ppm 2> progress || failed "the example draws: $(cat progress)"
./draw "$root/models/tiny" 'a fox on a green background' two.ppm 2> /dev/null
cmp one.ppm two.ppm || failed 'the same job, the same picture'
[ "$(head -c 15 one.ppm | tr '\n' ' ')" = 'P6 128 128 255 ' ] || failed 'a picture of 128 by 128'
colours=$(tail -c +16 one.ppm | od -An -v -tu1 -w3 | sort -u | wc -l)
[ "$colours" -gt 1000 ] || failed "a picture of $colours colours"
passed an_example_draws

if ./draw "$home" 'a fox' none.ppm 2> why; then failed 'a folder without a model'; fi
grep -q 'not_found: .*model_index.json' why || failed "a folder without a model: $(cat why)"
passed an_example_says_why_not

(cd "$root" && make --no-print-directory -s uninstall PREFIX="$home" DESTDIR=)
[ -z "$(find bin lib include -type f)" ] || failed 'make uninstall leaves files'
passed uninstall_leaves_nothing
echo "$cases cases"

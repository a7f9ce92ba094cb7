#!/bin/sh
# What make says: a line for each thing that it makes, whole commands with V=1, and of Debian packages how much is fetched.
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL V # of the make that runs the tests
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
passed() { echo "[       OK ] $1"; }
failed() { echo "[  FAILED  ] $1"; cat "$home/said"; exit 1; }

compile() {
    make --no-print-directory CUDA=0 BUILD="$home" "$@" "$home/base/error.o" > "$home/said" 2>&1 || failed "make $*"
    rm "$home/base/error.o"
}
compile
[ "$(cat "$home/said")" = 'CC     base/error.c' ] || failed a_compiled_file_is_a_line
passed a_compiled_file_is_a_line
compile V=1
grep -q -- '-Wall.* -c base/error.c -o' "$home/said" || failed the_whole_command_with_V
passed the_whole_command_with_V

# Commands of Debian's in place of the real ones: one package is missing.
mkdir "$home/bin"
cat > "$home/bin/dpkg-query" <<'END'
#!/bin/sh
[ "$3" != libnone-dev ] && echo 'install ok installed'
END
cat > "$home/bin/apt-get" <<'END'
#!/bin/sh
case "$*" in
*--print-uris*)
    echo "'http://localhost/a_1_all.deb' a_1_all.deb 12000000 MD5Sum:0"
    echo "'http://localhost/b_1_all.deb' b_1_all.deb 345678 MD5Sum:0"
    ;;
esac
END
printf '#!/bin/sh\necho 0\n' > "$home/bin/id"
chmod +x "$home/bin"/*
PATH="$home/bin:$PATH" tools/setup.sh libc6 libnone-dev > "$home/said" 2>&1 || failed it_is_said_what_is_fetched
for text in 'packages to install: libnone-dev' '12.3 MB to fetch'; do
    grep -q "$text" "$home/said" || failed it_is_said_what_is_fetched
done
passed it_is_said_what_is_fetched

make --no-print-directory -n CUDA=0 demo > "$home/said" 2>&1 || failed the_demo_says_first_how_long_it_takes
grep -q '^demo: .*minute' "$home/said" || failed the_demo_says_first_how_long_it_takes
passed the_demo_says_first_how_long_it_takes

#!/bin/sh
# What make says: a line for each file that it makes, whole commands with V=1, how much it fetches, and its help.
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL V # set by the make that runs the tests
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

# These replace Debian's commands: one package is missing.
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

make --no-print-directory help > "$home/said" || failed help_has_a_line_for_each_target
for group in 'First use' Tests Benchmarks 'For packagers' 'For developers'; do
    [ "$(grep -cx "$group" "$home/said")" = 1 ] || failed "help_has_the_group_$group"
done
[ -z "$(awk 'length > 100' "$home/said")" ] || failed help_has_lines_of_100_columns_at_most
targets=$(cat Makefile mk/*.mk | sed -e ':a' -e '/\\$/N; s/\\\n//; ta' | sed -n 's/^\.PHONY: //p')
for target in $targets; do
    case $target in FORCE | test-short) continue ;; esac
    grep -qE "^  ([a-z-]+ )*$target " "$home/said" || failed "help_has_a_line_for_$target"
done
passed help_has_a_line_for_each_target

# Packages are installed when their list changes: the rule that installs them depends on the file that holds the list.
holder=$(grep -l '^PACKAGES' Makefile mk/*.mk)
make --no-print-directory -pn CUDA=0 build 2> /dev/null | grep '^build/flags.mk:' > "$home/said" || failed a_new_package_is_installed
grep -qw "$holder" "$home/said" || failed a_new_package_is_installed
passed a_new_package_is_installed

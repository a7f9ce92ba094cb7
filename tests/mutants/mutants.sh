#!/bin/sh
# Plants small faults, one at a time.  Each must turn red the tests that its entry in tests/mutants/list names.
#
#     mutants.sh               check that each entry is well-formed, and that its text stands in its file exactly once; no build
#     mutants.sh all           plant each fault, build its tests, and run them
#     mutants.sh WORD...       the same for faults with one of the words in their name
#
# Faults are planted in a copy of the tree in build/mutants, never in the tree.  The tests must pass there first: then only the
# fault can turn them red.  Variables of make (CC, CONFIG) come with MAKEFLAGS.
# Leaves with 1 if an entry is wrong, or if a fault survives.
set -u
cd "$(dirname "$0")/../.."
list=tests/mutants/list
copy=build/mutants
seconds_max=${MUTANT_SECONDS:-300} # for one test: a fault may make it wait for ever

# --- the list ---------------------------------------------------------------------------
# Entries as lines of six fields: number, name, file, old, new, tests.  Blank lines part them.
tab=$(printf '\t')
entries() {
    awk '
        function tell() { if (n++) print n - 1 "\t" f["name"] "\t" f["file"] "\t" f["old"] "\t" f["new"] "\t" f["tests"]; split("", f) }
        /^#/ || /^$/ { next }
        { key = $0; sub(/: .*/, "", key); value = $0; sub(/^[a-z]+: /, "", value) }
        key == "name" { tell() }
        key !~ /^(name|file|old|new|tests)$/ || value == $0 || (key in f) || value ~ /\t/ {
            print FILENAME ":" FNR ": not a field of an entry: " $0 > "/dev/stderr"; bad = 1; exit }
        { f[key] = value }
        END { if (!bad) tell(); exit bad }' "$list"
}

# How often a text stands in a file.
count() {
    TEXT=$1 awk '{ line = $0; while ((at = index(line, ENVIRON["TEXT"])) > 0) { n++; line = substr(line, at + 1) } }
        END { print n + 0 }' "$2"
}

wrong() {
    echo "$list: $name: $1"
    bad=$((bad + 1))
}

check() {
    bad=0
    entries=$(entries) || return 1
    while IFS=$tab read -r number name file old new tests; do
        if [ -z "$name" ] || [ -z "$file" ] || [ -z "$old" ] || [ -z "$new" ] || [ -z "$tests" ]; then
            wrong "an entry has a name, file, old, new and tests"
            continue
        fi
        [ "$old" != "$new" ] || wrong "old and new are the same"
        if [ ! -f "$file" ]; then
            wrong "there is no $file"
        else
            found=$(count "$old" "$file")
            [ "$found" = 1 ] || wrong "its old text stands $found times in $file: $old"
        fi
        for test in $tests; do
            [ -f "tests/$test.c" ] || wrong "there is no tests/$test.c"
        done
    done <<END
$entries
END
    twice=$(printf '%s\n' "$entries" | cut -f 2 | sort | uniq -d)
    [ -z "$twice" ] || { echo "$list: two entries have one name: $twice"; bad=$((bad + 1)); }
    [ "$bad" = 0 ] && echo "[       OK ] each of $(printf '%s\n' "$entries" | wc -l) faults can be planted"
}

# --- the copy ---------------------------------------------------------------------------
build=build/${CONFIG:-release}

# Copies all but build/.  Files in which an interrupted run left a fault must look changed to make.
make_copy() {
    mkdir -p $copy/build
    find $copy -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    find . -mindepth 1 -maxdepth 1 ! -name build ! -name .git -exec cp -a {} $copy/ \;
    printf '%s\n' "$entries" | cut -f 3 | sort -u | (cd $copy && xargs touch)
}

programs() { # of tests
    for test in $1; do
        echo "$build/tests/$test"
    done
}

build_tests() {
    # shellcheck disable=SC2046 # one argument each
    ${MAKE:-make} -C $copy --no-print-directory CUDA=0 $build/darkroom $(programs "$1") > $copy/build/log 2>&1
}

run_test() {
    (cd $copy && timeout -k 5 "$seconds_max" "$build/tests/$1") > $copy/build/log 2>&1
}

plant() { # old, new, from, to
    OLD=$1 NEW=$2 awk '{ at = index($0, ENVIRON["OLD"])
            if (at) $0 = substr($0, 1, at - 1) ENVIRON["NEW"] substr($0, at + length(ENVIRON["OLD"]))
            print }' "$3" > "$4"
}

# Says what became of one.
try_one() {
    plant "$old" "$new" "$file" "$copy/$file"
    if ! build_tests "$tests"; then
        outcome="does not build: $(grep -m 1 -E 'error: |Error ' $copy/build/log)"
    else
        outcome=caught
        for test in $tests; do
            run_test "$test"
            case $? in
            0) outcome="SURVIVED $test" && break ;;
            124 | 137) outcome="caught, $test did not end within $seconds_max s" ;;
            esac
        done
    fi
    cp "$file" "$copy/$file"
}

is_wanted() { # name, words
    name=$1 && shift
    for word in "$@"; do
        case $word in all) return 0 ;; esac
        case $name in *"$word"*) return 0 ;; esac
    done
    return 1
}

try_all() {
    wanted=$(printf '%s\n' "$entries" | while IFS=$tab read -r number name rest; do
        if is_wanted "$name" "$@"; then printf '%s\t%s\t%s\n' "$number" "$name" "$rest"; fi
    done)
    [ -n "$wanted" ] || { echo "no fault has such a word in its name"; return 1; }
    make_copy
    all=$(printf '%s\n' "$wanted" | cut -f 6 | tr ' ' '\n' | sort -u)
    echo "building $(echo "$all" | wc -l) test programs in $copy"
    build_tests "$all" || { tail -n 20 $copy/build/log; return 1; }
    for test in $all; do
        run_test "$test" && continue
        cat $copy/build/log
        echo "tests/$test fails with nothing planted"
        return 1
    done
    caught=0 not=0
    while IFS=$tab read -r number name file old new tests; do
        try_one
        case $outcome in
        caught*) caught=$((caught + 1)) ;;
        *) not=$((not + 1)) ;;
        esac
        echo "$outcome: $name ($file)"
    done <<END
$wanted
END
    echo "$caught caught, $not not"
    [ "$not" = 0 ]
}

check || exit 1
# make -n says what it would do.
flags=${MAKEFLAGS:-}
case ${flags%% *} in *n*) exit 0 ;; esac
[ $# = 0 ] || try_all "$@"

#!/bin/sh
# The pages say what is there: links, files, names of the code, commands, flags, settings, metrics, messages and make's targets in
# them exist, and README names every room and page.  Needs the program, and no network.  (docs/reference.md is made from the
# program's tables.)
set -eu
cd "$(dirname "$0")/.."
program=${BUILD:-build/release}/darkroom
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
passed() { echo "[       OK ] $1"; }
# What was found in $home/bad is wrong.
none_bad() {
    if [ -s "$home/bad" ]; then
        echo "[  FAILED  ] $1"
        cat "$home/bad"
        exit 1
    fi
    passed "$1"
}

pages=$(find . -name '*.md' -not -path './build/*' -not -path './.git/*' | sed 's|^\./||' | sort)
folders=$(find . -mindepth 1 -maxdepth 1 -type d -not -name '.*' -not -name build | sed 's|^\./||' | sort)
one_of() { echo "$1" | tr '\n' '|' | sed 's/|$//'; }

# each PATTERN FILE...: every match of an extended regular expression, as file:line:match.
each() { pattern=$1 && shift && grep -noHE -- "$pattern" "$@" || true; }

# --- links: [text](file#heading)

# A heading's anchor, as GitHub makes it.
anchors() {
    sed -nE '/^```/,/^```/d; s/^#+ +//p' "$1" | tr 'A-Z' 'a-z' | sed -E 's/\[([^]]*)\]\([^)]*\)/\1/g; s/[^a-z0-9_ -]//g; s/ /-/g'
}
for page in $pages; do
    each '\]\([^)]+\)' "$page" | sed -E 's/^([^:]*:[0-9]*):\]\(([^ )]*).*/\1 \2/' | while read -r at link; do
        case $link in http://* | https://*) continue ;; esac
        file=${link%%#*}
        target=$page
        [ -z "$file" ] || target=$(dirname "$page")/$file
        if [ ! -e "$target" ]; then
            echo "$at: no file $file"
        elif [ "$link" != "$file" ] && ! anchors "$target" | grep -qxF -- "${link#*#}"; then
            echo "$at: no heading for $link"
        fi
    done
done > "$home/bad"
none_bad links_lead_somewhere

# --- files and folders in `code`; NAME, <id> and ... stand for anything, * for several
for page in $pages; do
    each "\`($(one_of "$folders"))/[A-Za-z0-9_./*{},-]*\`" "$page" | sed -E 's/^([^:]*:[0-9]*):`(.*)`/\1 \2/' | while read -r at name; do
        case $name in *NAME* | *...* | *[{}]* | scheduler/scheduler_config.json) continue ;; esac # the last one is in a model
        # shellcheck disable=SC2086 # a pattern of the shell
        for file in $name; do
            [ -e "$file" ] || [ -e "$(dirname "$page")/$file" ] || echo "$at: no $name"
        done
    done
done > "$home/bad"
none_bad files_that_pages_name_are_there

# --- rows of tables that name files, and functions that stand in one of them: | ... | `a/b.c`: `f()` |
for page in $pages; do
    each '^\|.*`[a-z_/]+\.(c|h|cu)`.*`[a-z_]+\(\)`.*' "$page" | while IFS= read -r row; do
        files=$(echo "$row" | grep -oE '`[a-z0-9_/]+\.(c|h|cu)`' | tr -d '`')
        for name in $(echo "$row" | grep -oE '`[a-z0-9_]+\(\)`' | tr -d '`()'); do
            # shellcheck disable=SC2086 # several files
            grep -qw -- "$name" $files || echo "$(echo "$row" | cut -d : -f 1,2): no $name() in" $files
        done
    done
done > "$home/bad"
none_bad functions_stand_in_the_files_of_their_rows

# --- names of the code: dr_NAME
for page in $pages; do
    each '\bdr_[a-z0-9_]+' "$page"
done | sort -t: -k3,3 -u | while IFS=: read -r page line name; do
    grep -rqw --include='*.[ch]' -- "$name" base kernels ops model scheduler worker include || echo "$page:$line: no $name in the code"
done > "$home/bad"
none_bad names_that_pages_use_are_in_the_code

# --- README links every page of docs/
for page in docs/*.md; do
    grep -qF "($page)" README.md || echo "README.md: no link to $page"
done > "$home/bad"
none_bad README_links_every_page

# --- README names every folder, and every room of worker/
for room in $folders $(find worker -mindepth 1 -maxdepth 1 -type d | sort); do
    grep -qE "^\|.*\[\`$room/\`\]\($room/" README.md || [ "$room" = models ] || echo "README.md: no row for $room/"
done > "$home/bad"
grep -q '`models/`' README.md || echo 'README.md: no row for models/' >> "$home/bad"
none_bad README_names_every_room

# --- commands: `darkroom NAME` in code, and at the start of a line of a block of code
"$program" --help > "$home/help"
commands=$(sed -nE 's/^  ([a-z]+)   *[A-Za-z].*/\1/p' "$home/help")
[ "$(echo "$commands" | wc -l)" -ge 5 ] || echo "darkroom --help: its commands are not understood" > "$home/bad"
for command in $commands; do
    grep -qE "^- \`darkroom $command\`" docs/reference.md || echo "docs/reference.md: no command $command"
    "$program" "$command" --help | grep -oE -- '(^|[ ,])(--[a-z][a-z0-9-]*|-[A-Za-z])\b' | sed 's/^[ ,]//' > "$home/flags-$command"
done >> "$home/bad"
# shellcheck disable=SC2086 # names of files
each '(^|`|build/release/)darkroom +[a-z]+' $pages | while IFS=: read -r page line match; do
    echo "$commands" | grep -qx -- "${match##* }" || echo "$page:$line: no command ${match##* }"
done | grep -vE '^docs/roadmap.md:' >> "$home/bad" || true
none_bad commands_that_pages_name_are_there

# --- flags: of `darkroom COMMAND --flag ...` in blocks of code, of that command; in `--flag`, of any
# shellcheck disable=SC2086
each '(^|build/release/)darkroom +[a-z]+ .*' $pages | while IFS=: read -r page line match; do
    command=$(echo "$match" | sed -E 's|^(build/release/)?darkroom +([a-z]+) .*|\2|')
    [ -e "$home/flags-$command" ] || continue
    for flag in $(echo "$match" | sed 's/"[^"]*"//g' | grep -oE -- ' --[a-z][a-z0-9-]*'); do
        grep -qx -- "$flag" "$home/flags-$command" || [ "$flag" = --help ] || echo "$page:$line: darkroom $command has no $flag"
    done
done > "$home/bad"
cat "$home"/flags-* | sort -u > "$home/flags"
each '`--[a-z][a-z0-9-]*' README.md docs/operations.md docs/kafka.md docs/render.md docs/gpu.md | while IFS=: read -r page line match; do
    grep -qx -- "${match#?}" "$home/flags" || case $match in *--help | *--version | *--as | *--only | *--json) ;; *) echo "$page:$line: no flag $match" ;; esac
done >> "$home/bad"
none_bad flags_that_pages_name_are_there

# --- settings: DARKROOM_NAME, `name = value`, and the first column of a table of settings
sed -n '/^## Settings/,$s/^| `\([a-z0-9_]*\)`.*/\1/p' docs/reference.md > "$home/settings"
[ "$(wc -l < "$home/settings")" -ge 20 ] || echo 'docs/reference.md: its settings are not understood' > "$home/bad"
# shellcheck disable=SC2086
{
    each 'DARKROOM_[A-Z0-9_]+' $pages | sed 's/:DARKROOM_/:/' | tr 'A-Z' 'a-z'
    each '`[a-z0-9_]+ = [^`]+`' README.md docs/operations.md docs/kafka.md docs/render.md docs/gpu.md docs/design.md | sed -E 's/:`([a-z0-9_]+) = .*/:\1/'
    awk -F'|' '/^\| setting \|/ { on = 1 } !/^\|/ { on = 0 }
               on && /`/ { n = split($2, part, "`"); for (i = 2; i <= n; i += 2) print FILENAME ":" FNR ":" part[i] }' README.md docs/operations.md docs/gpu.md
} | while IFS=: read -r page line name; do
    grep -qx -- "$name" "$home/settings" || case $name in config | key | kafka_key | kafka) ;; *) echo "$page:$line: no setting $name" ;; esac
done >> "$home/bad"
none_bad settings_that_pages_name_are_there

# --- metrics: those that the source names, all of them in docs/operations.md
grep -rhoE '"darkroom_[a-z_]+"' worker | tr -d '"' | sort -u > "$home/metrics"
[ "$(wc -l < "$home/metrics")" -ge 20 ] || echo 'the metrics in the source are not understood' > "$home/bad"
# shellcheck disable=SC2086
each 'darkroom_[a-z_]+' $pages | while IFS=: read -r page line name; do
    grep -qx -- "$name" "$home/metrics" || echo "$page:$line: no metric $name"
done >> "$home/bad"
while read -r name; do
    grep -q "\`$name[\`{]" docs/operations.md || echo "docs/operations.md: no row for $name"
done < "$home/metrics" >> "$home/bad"
none_bad metrics_that_pages_name_are_there

# --- messages: the fixed parts of those that docs/gpu.md explains stand in the source
sed -n '/^## What the program says/,/^## What is known/s/^| `\([^`]*\)`.*/\1/p' docs/gpu.md > "$home/messages"
[ "$(wc -l < "$home/messages")" -ge 10 ] || echo 'docs/gpu.md: its messages are not understood' > "$home/bad"
sed -E "s/cuda:[0-9]+|[0-9]+(\.[0-9]+)*|\.\.\.|NAME|LAYER|\b[NM]\b|models\/|sm_[0-9a]+|'|own, cudnn|lib[a-z]+\.so|: /\n/g" "$home/messages" |
    sed -E 's/^[ :;,()]+//; s/[ :;,(.]+$//' | grep -E '.{8,}' | while read -r part; do
    grep -rqF --include='*.[ch]' -- "$part" base model ops worker || echo "docs/gpu.md: no message with: $part"
done >> "$home/bad"
none_bad messages_that_pages_explain_are_there

# --- targets: `make NAME`
sed -nE 's/^\.PHONY: //p' Makefile mk/*.mk | tr ' ' '\n' | sort -u > "$home/targets"
# shellcheck disable=SC2086
each '(^|`)make( [a-z][a-z-]*)+' $pages | while IFS=: read -r page line match; do
    for target in ${match#*make}; do
        grep -qx -- "$target" "$home/targets" || echo "$page:$line: make has no target $target"
    done
done > "$home/bad"
none_bad targets_that_pages_name_are_there

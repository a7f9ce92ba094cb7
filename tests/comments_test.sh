#!/bin/sh
# The check of comments (tools/comments.awk) on made-up headers: it must find what it is for, and only that.
set -eu
cd "$(dirname "$0")/.."
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
passed() { echo "[       OK ] $1"; }
failed() { echo "[  FAILED  ] $1"; cat "$home/said"; exit 1; }

# check CODE NAME: the check leaves with CODE for the file on standard input.
check() {
    code=0
    cat > "$home/$2"
    awk -f tools/comments.awk "$home/$2" > "$home/said" || code=$?
    [ "$code" = "$1" ] || failed "code $code, not $1, for $2"
}

check 1 bare.h <<'END'
/* Opens the thing. */
int thing_open(void);

int thing_close(void);
END
grep -q 'bare.h:4: .*thing_close' "$home/said" || failed a_bare_prototype_is_found
[ "$(wc -l < "$home/said")" = 1 ] || failed a_bare_prototype_is_found
passed a_bare_prototype_is_found

check 1 lines.h <<'END'
const char *thing_name(int number,
                       int length);
END
grep -q 'lines.h:1: ' "$home/said" || failed a_bare_prototype_of_two_lines_is_found
passed a_bare_prototype_of_two_lines_is_found

check 0 good.h <<'END'
/* These two open and close it. */
int thing_open(void);
void thing_close(void);

int thing_count(void); /* 0 where there is none */

typedef int (*thing_call)(void);
static inline int thing_twice(int n)
{
    return 2 * n;
}
END
passed a_prototype_with_its_contract_is_none

wide=$(printf '%0120d' 0)
printf '/* %s */\n' "$wide" | check 1 wide.c
printf '/*\n * %s\n */\n' "$wide" | check 1 wide.c
printf 'int x; // %s\n' "$wide" | check 1 wide.cu
passed a_wide_line_of_a_comment_is_found

printf '/* %s */\n' "$(printf '%0104d' 0)" | check 0 fits.c
printf 'const char *wide = "%s";\n' "$wide" | check 0 code.c
passed a_line_that_fits_and_wide_code_are_none

printf 'int thing_open(void);\n' | check 0 source.c
passed prototypes_are_looked_for_in_headers_alone

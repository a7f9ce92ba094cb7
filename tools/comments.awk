# The house's rules for comments, over C, C++ and CUDA sources:
#
#     awk -f tools/comments.awk FILE...
#
# Each prototype in a header has its contract.  That is a comment right above the prototype, or at the end of its line, or above
# the group of prototypes (without a blank line between them) in which it stands.  No comment line is wider than code may be.
# Prints each place that breaks a rule, and leaves with 1 if there is any.
function complain(text) { printf "%s:%d: %s\n", FILENAME, FNR, text; bad = 1 }

BEGIN { columns_max = 110 } # ColumnLimit in .clang-format

FNR == 1 { in_comment = explained = in_prototype = 0; header = FILENAME ~ /\.h$/ }

{
    has_comment = in_comment || /\/\*/ || /(^|[^:"])\/\// # not an address
    if (has_comment && length($0) > columns_max)
        complain("a comment line of " length($0) " columns; at most " columns_max)
    code = $0
    while (match(code, /\/\*[^*]*\*+([^\/*][^*]*\*+)*\//))
        code = substr(code, 1, RSTART - 1) substr(code, RSTART + RLENGTH)
}

in_comment { if (/\*\//) { in_comment = 0; explained = 1 }; next }
code ~ /\/\*/ { in_comment = 1; sub(/\/\*.*/, "", code); if (code !~ /[^ ]/) next }
!header { next }
code !~ /[^ \t]/ { explained = has_comment; next } # a blank line ends a group; a comment alone begins one

!in_prototype && code ~ /^[A-Za-z_][A-Za-z0-9_ *]*[ *][A-Za-z_0-9]+\(/ && code !~ /^(typedef|static|struct|enum|union|return|_Static_assert|extern "C")/ {
    in_prototype = 1
    at = FNR
    commented = 0
}
in_prototype {
    commented = commented || has_comment
    if (code ~ /[{]/) in_prototype = 0 # a definition
    else if (code ~ /;[ \t]*$/) {
        if (!explained && !commented) { printf "%s:%d: a prototype without its contract: %s\n", FILENAME, at, code; bad = 1 }
        in_prototype = 0
    }
}
END { exit bad }

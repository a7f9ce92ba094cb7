# The list that `make help` shows, from the makefiles:
#
#     awk -f tools/make_help.awk Makefile mk/*.mk
#
# Each target that is for people has its text on its own line: `target: what it needs ## GROUP: text`.
BEGIN {
    split("first test bench package develop", groups)
    title["first"] = "First use"
    title["test"] = "Tests"
    title["bench"] = "Benchmarks"
    title["package"] = "For packagers"
    title["develop"] = "For developers"
}

/^[a-z][a-z -]*:.* ## [a-z]+: / {
    at = index($0, " ## ")
    names = substr($0, 1, index($0, ":") - 1)
    text = substr($0, at + 4)
    group = substr(text, 1, index(text, ":") - 1)
    if (!(group in title)) { printf "%s:%d: no group %s\n", FILENAME, FNR, group; bad = 1; exit }
    list[group] = list[group] sprintf("  %-22s  %s\n", names, substr(text, length(group) + 3))
}

END {
    for (i = 1; !bad && groups[i]; i++)
        printf "%s%s\n%s", (i > 1 ? "\n" : ""), title[groups[i]], list[groups[i]]
    exit bad
}

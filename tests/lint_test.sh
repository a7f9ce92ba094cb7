#!/bin/sh
# The rules of tools/lint.sh, on a copy of the sources: it has nothing to say, and says the right thing about each planted fault.
set -eu
cd "$(dirname "$0")/.."
command -v git > /dev/null || { echo 'no git, which lists the files'; exit 77; }
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
passed() { echo "[       OK ] $1"; }
failed() { echo "[  FAILED  ] $1"; cat "$home/said"; exit 1; }

mkdir "$home/tree"
cp -r README.md tools include base kernels ops model scheduler worker "$home/tree"
cd "$home/tree"
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
git init -q . && git add -A

lint() { LINT_RULES_ONLY=1 LINT_FLAGS=none tools/lint.sh > "$home/said" 2>&1; }
lint || failed the_tree_keeps_the_rules
passed the_tree_keeps_the_rules

# plant TEXT FILE LINE: with the line at the end of the file, lint complains with the text.
plant() {
    printf '%s\n' "$3" >> "$2"
    if lint || ! grep -q "^lint: .*$1" "$home/said"; then failed "lint finds '$3' in $2"; fi
    git checkout -q -- "$2"
}
plant 'ops/ may include only' ops/ops.h '#include "model/run.h"'
plant 'worker/support/ may include only' worker/support/text.h '#include "worker/jobs/job.h"'
plant 'worker/settings/ may include only' worker/settings/settings.h '#include "worker/delivery/outbox.h"'
plant 'an offset goes one way' worker/delivery/ledger.h '#include "worker/delivery/books.h"'
plant 'an offset goes one way' worker/delivery/books_commit.c '#include "worker/delivery/consumer.h"'
plant 'an offset goes one way' worker/delivery/consumer_life.c '#include "worker/delivery/publisher.h"'
plant 'an offset goes one way' worker/delivery/publisher_send.c '#include "worker/delivery/consumer_parts.h"'
plant 'an offset goes one way' worker/delivery/outbox.h '#include "worker/delivery/publisher.h"'
plant 'a public header includes' include/darkroom/task.h '#include "base/error.h"'
plant 'conditional compilation' model/run.c '#ifdef __linux__'
plant 'a library prints' base/half.c 'static void say(void) { puts("x"); }'
plant 'a hand-written prototype' worker/support/text.c 'extern int x;'
plant 'a contract is missing' base/half.h 'void dr_no_contract(void);'
plant 'a word that few readers' README.md "like""wise"
plant 'a room that is not there' README.md '| [`worker/attic/`](worker/attic/) | nothing |'
passed each_planted_fault_is_found

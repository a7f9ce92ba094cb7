#!/usr/bin/env python3
"""Reads Hopper's machine code: does any instruction touch the registers of a warpgroup's product while the product runs?

    nvcc -std=c++17 -O3 -fmad=false -I. -Iinclude -arch=sm_90a -cubin -o k.cubin kernels/attention_wgmma.cu
    nvdisasm -c k.cubin > k.sass
    tools/wgmma_hazards.py k.sass ...

ptxas before CUDA 13.3 may give a register of A to something else while a product reads it (triton-lang/triton#9433), and
only the machine code shows that.  nvdisasm is in NVIDIA's wheel nvidia-cuda-nvdisasm; its version may differ from the compiler's.

The script follows every path from the kernel's entry and notes the products.  The registers of a product are in use until a
WARPGROUP.DEPBAR that leaves no more groups than came after the product's group; `gsb0` ends a group.  Until then only
products may name D, and no instruction may write A."""
import re
import sys

PREDICATE = re.compile(r"^@!?U?P\w+\s+")
PRODUCT = re.compile(r"[HQ]GMMA\.64x(\d+)x\d+\S* R(\d+), (?:R(\d+)|gdesc\[UR\d+\])")
WAIT = re.compile(r"WARPGROUP\.DEPBAR\.LE gsb0, 0x(\w+)")
BRANCH = re.compile(r"BRA(?:\.\S+)? (.*)`\((\.L_\S+)\)")
# What has no register for its result where others have it: stores, copies, barriers, branches, and tests.
NO_RESULT = re.compile(r"(ST|BAR|B?SYNC|BSSY|BRA|BREAK|CALL|RET|EXIT|LDGSTS|LDGDEPBAR|DEPBAR|WARP|FENCE|MEMBAR|NOP|[IFP]SETP|R2UR|R2P|PLOP|RED)")


def functions(path):
    """name -> [("label", name) or ("code", text)]"""
    found, now = {}, None
    for line in open(path):
        if match := re.match(r"\.text\.(\S+):", line):
            now = found.setdefault(match.group(1), [])
        elif now is not None and (match := re.match(r"(\.L_\S+):", line)):
            now.append(("label", match.group(1)))
        elif now is not None and (match := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line)):
            now.append(("code", match.group(1).strip()))
    return found


def written(code):
    operation, _, rest = code.partition(" ")
    if NO_RESULT.match(operation):
        return set()
    width = 4 if ".128" in operation else 2 if ".64" in operation or ".WIDE" in operation else 1
    for operand in rest.split(",")[:2]:
        if match := re.match(r"\s*R(\d+)\s*$", operand):
            return set(range(int(match.group(1)), int(match.group(1)) + width))
        if not re.match(r"\s*P[T\d]\s*$", operand):
            break
    return set()


class Group:
    """Products on their way, and whether more may join them: a value, so that states can be compared."""

    def __init__(self, is_open, a, d):
        self.key = (is_open, frozenset(a), frozenset(d))
        self.is_open, self.a, self.d = self.key

    def __eq__(self, other):
        return self.key == other.key

    def __hash__(self):
        return hash(self.key)


def start(match, code, groups, complain):
    n, d = int(match.group(1)), int(match.group(2))
    sums = set(range(d, d + n // 2))
    a = set(range(int(match.group(3)), int(match.group(3)) + 4)) if match.group(3) else set()
    for group in groups:
        if a & group.d:
            complain("reads as A the sums of a product on its way")
        if sums & group.a:
            complain("writes over the A of a product on its way")
    last = groups[-1] if groups and groups[-1].is_open else Group(True, (), ())
    before = groups[:-1] if groups and groups[-1].is_open else groups
    return before + (Group("gsb0" not in code, last.a | a, last.d | sums),)


def check(code):
    """Complaints of one kernel, {(index, what): instruction}."""
    labels = {text: i for i, (kind, text) in enumerate(code) if kind == "label"}
    todo, seen, complaints = [(0, ())], set(), {}
    while todo:
        at, groups = todo.pop()
        while at < len(code) and (at, groups) not in seen:
            seen.add((at, groups))
            kind, text = code[at]
            at += 1
            if kind == "label":
                continue
            bare = PREDICATE.sub("", text)

            def complain(what):
                complaints[(at - 1, what)] = text

            if match := PRODUCT.match(bare):
                groups = start(match, bare, groups, complain)
                continue
            if match := WAIT.match(bare):
                left = int(match.group(1), 16)
                groups = groups[len(groups) - left:] if 0 < left < len(groups) else groups if left else ()
                continue
            results = written(bare)
            named = {int(r) for r in re.findall(r"\bR(\d+)\b", text)} | results
            for group in groups:
                if named & group.d:
                    complain("names the sums of a product on its way")
                if results & group.a:
                    complain("writes the A of a product on its way")
            if match := BRANCH.match(bare):
                todo.append((labels[match.group(2)], groups))
                if bare is text and not re.search(r"U?P\d", match.group(1)):
                    break
            elif bare.startswith("EXIT") and bare is text:
                break
    return complaints


def main():
    kernels = failed = 0
    for path in sys.argv[1:]:
        for name, code in functions(path).items():
            products = sum(bool(PRODUCT.search(text)) for _, text in code)
            if not products:
                continue
            kernels += 1
            complaints = check(code)
            failed += bool(complaints)
            print(f"{name}: {products} products, {len(complaints)} complaints")
            for (at, what), text in complaints.items():
                print(f"    {at}: {text}: {what}")
    if not kernels:
        sys.exit("no kernel with products of a warpgroup")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

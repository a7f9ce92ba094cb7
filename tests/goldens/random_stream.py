"""Draws from torch's CPU generator: what a seed gives, and in which order."""

import torch
from safetensors.torch import save_file

import vocab

SEEDS = [0, 1, 42, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1]
# 8, 9, 17 and 31: the rule for a tail; 572 and 2288: a 104x88 picture's latents.
ONE_DRAW = [1, 2, 3, 8, 15, 16, 17, 24, 31, 32, 33, 572, 1024, 2288]
# Draws one after the other from one generator.  Fewer than 16 leave every
# second number in the generator's cache; longer draws neither use nor clear it.
SEQUENCES = [
    [1, 1, 1, 1],
    [3, 16, 1, 1],
    [15, 15],
    [1, 17, 2, 31, 1],
    [16, 16, 1, 256, 3, 1],
    [60, 60, 60],
    [256, 256, 256, 256],
    [5, 100, 5, 1, 20, 4],
]


def make(root):
    tensors, cases = {}, []

    def add(seed, counts):
        generator = torch.Generator("cpu").manual_seed(seed)
        name = f"case_{len(cases):03d}"
        tensors[name] = torch.cat([torch.randn(n, generator=generator) for n in counts])
        # A string: 2^53 + 1 must not pass through a double on its way.
        cases.append({"tensor": name, "seed": str(seed), "counts": counts})

    for seed in SEEDS:
        for count in ONE_DRAW if seed == 42 else [1, 15, 17, 256]:
            add(seed, [count])
    for counts in SEQUENCES:
        add(7, counts)
    add(2**53 + 1, [3, 17, 2])
    save_file(tensors, root / "data" / "randn.safetensors")
    vocab.write_json(root / "data" / "randn.json", {"cases": cases}, indent=1)
    print(f"  {len(cases)} cases, {sum(t.numel() for t in tensors.values())} numbers")

#!/usr/bin/env python3
"""Make the reference data of the parity tests.  See README.md beside this file.

    python make_goldens.py                     everything
    python make_goldens.py models token_ids    only these
    python make_goldens.py vocab --clip-wheel open_clip_torch-3.3.0-py3-none-any.whl
"""

import argparse
import importlib
import os
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["DIFFUSERS_VERBOSITY"] = "error"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
ROOT = Path(__file__).resolve().parent
STAGES = ["configs", "models", "token_ids", "tokenizer_folders", "random_stream", "stages", "schedules", "runs", "tiny", "saved"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="*", help=f"vocab, {', '.join(STAGES)} (default: all but vocab)")
    parser.add_argument("--clip-wheel", help="where the stage `vocab` takes CLIP's merges from")
    args = parser.parse_args()

    import torch

    warnings.filterwarnings("ignore", category=FutureWarning)  # about the age of the published configs
    # One thread: a sum must not be split differently on another machine.
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    (ROOT / "data").mkdir(exist_ok=True)
    for stage in args.stage or STAGES:
        print(stage, flush=True)
        module = importlib.import_module(stage)
        if stage == "vocab":
            module.make(ROOT, args.clip_wheel)
        else:
            module.make(ROOT)


if __name__ == "__main__":
    main()

"""The sheet of 64 samples that the model card shows, drawn by our own engine.

    sheet.py jobs --model tiny --jobs sheet.jsonl
    darkroom render --models models --jobs sheet.jsonl --out pictures
    sheet.py picture --pictures pictures --out sheet.png
"""

import argparse
from pathlib import Path

import torch

from data import Data, write_sheet
from jobs import job, read_picture, write_jobs
from train_unet import sheet_prompts

SAMPLES, COLUMNS = 64, 8


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("what", choices=("jobs", "picture"))
    p.add_argument("--data", type=Path, default=Path("build/tiny/data.npz"))
    p.add_argument("--names", type=Path, help="the file of names that the model was trained on; default: all")
    p.add_argument("--model", default="tiny")
    p.add_argument("--jobs", type=Path, default=Path("build/tiny/sheet.jsonl"))
    p.add_argument("--pictures", type=Path, default=Path("build/tiny/sheet"))
    p.add_argument("--out", type=Path, default=Path("build/tiny/sheet.png"))
    a = p.parse_args()

    names = [f"sheet-{i:02d}" for i in range(SAMPLES)]
    if a.what == "jobs":
        prompts = sheet_prompts(Data(a.data, "cpu", a.names and a.names.read_text().splitlines()), SAMPLES)
        write_jobs(a.jobs, [job(n, a.model, text, seed) for seed, (n, text) in enumerate(zip(names, prompts))])
    else:
        pictures = torch.stack([torch.from_numpy(read_picture(a.pictures, n).copy()) for n in names])
        write_sheet(a.out, pictures.permute(0, 3, 1, 2).float() / 127.5 - 1, COLUMNS)


if __name__ == "__main__":
    main()

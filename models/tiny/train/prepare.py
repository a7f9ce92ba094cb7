"""Draw the emoji and pack them, with their names, into one file that training reads.

    prepare.py [--packages build/tiny/packages] [--out build/tiny/data.npz]

Reads what fetch.sh fetched. An emoji goes in if both Noto and Twemoji have drawn it, except flags,
skin tones and, among people, the joined sequences: those are the same person again as man,
as woman, facing right, or in families, and differ by a few pixels.

data.npz holds, for n emoji:

    pictures   uint8[bytes]   all pictures as WebP, 128x128 RGBA, one after the other
    offsets    int64[2n + 1]  where each begins: Noto's of emoji i is 2i, Twemoji's 2i + 1
    emoji      JSON, n times {"name", "aliases", "category", "kind"}
    tokenizer  JSON {"vocab": {token: id}, "merges": [...]}, CLIP's, trained on the captions

About 20 MB, so that it can be carried to a machine without network.
"""

import argparse
import io
import json
import random
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from bpe import train_bpe
from captions import caption, draw_scene

SIDE = 128  # pixels
STYLES = ("noto", "twemoji")  # in the order of captions.STYLES
VOCABULARY = 3000  # tokens; the text encoder's embedding is 160 floats each
CORPUS = 120_000  # captions that the tokenizer is trained on


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def drawing_names(packages, style):
    """The names in one package, by code points: '1f34e' -> 'red-apple'."""
    return read_json(packages / style / "chars.json")


def find(names, unified):
    code = unified.lower()
    return names.get(code) or names.get(code.replace("-fe0f", ""))


def is_wanted(entry):
    if entry["category"] in ("Flags", "Component"):
        return False
    return not (entry["category"] == "People & Body" and "200D" in entry["unified"])


def words(name):
    return " ".join(name.replace("-", " ").replace("_", " ").lower().split())


def describe(entry, name):
    """What captions call an emoji: its CLDR name first, then Unicode's and the short ones."""
    others = [words(entry["name"])] + [words(s) for s in entry["short_names"]]
    aliases = [a for a in dict.fromkeys(others) if a != name and any(c.isalpha() for c in a)]
    kind = words(entry["subcategory"].split("-", 1)[-1])
    return {"name": name, "aliases": aliases, "category": entry["category"], "kind": kind}


class Drawings:
    """One style's pictures as SVG."""

    def __init__(self, packages, style):
        self.names = drawing_names(packages, style)
        icons = read_json(packages / style / "icons.json")
        self.bodies = {k: v["body"] for k, v in icons["icons"].items()}
        for alias, target in icons.get("aliases", {}).items():
            self.bodies.setdefault(alias, self.bodies.get(target["parent"]))
        self.box = icons["width"], icons["height"]

    def webp(self, name):
        svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d">%s</svg>' % (
            *self.box,
            self.bodies[name],
        )
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE))
        out = io.BytesIO()
        Image.open(io.BytesIO(png)).convert("RGBA").save(out, "WEBP", quality=92, method=4)
        return out.getvalue()


def gather(packages):
    """All wanted emoji with their two pictures."""
    drawings = [Drawings(packages, style) for style in STYLES]
    emoji, pictures, seen = [], [], set()
    for entry in sorted(read_json(packages / "names" / "emoji.json"), key=lambda e: e["sort_order"]):
        found = [find(d.names, entry["unified"]) for d in drawings]
        if not is_wanted(entry) or not all(found) or found[0] in seen:
            continue
        seen.add(found[0])
        emoji.append(describe(entry, words(found[0])))
        pictures += [d.webp(name) for d, name in zip(drawings, found)]
    return emoji, pictures


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--packages", type=Path, default=Path("build/tiny/packages"))
    p.add_argument("--out", type=Path, default=Path("build/tiny/data.npz"))
    a = p.parse_args()

    emoji, pictures = gather(a.packages)
    rng = random.Random(0)
    corpus = [caption(draw_scene(rng, rng.randrange(len(emoji))), emoji, rng) for _ in range(CORPUS)]
    corpus += [n for e in emoji for n in [e["name"], *e["aliases"]] * 4]
    vocab, merges = train_bpe(corpus, VOCABULARY)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        a.out,
        pictures=np.frombuffer(b"".join(pictures), np.uint8),
        offsets=np.cumsum([0] + [len(x) for x in pictures]),
        emoji=json.dumps(emoji),
        tokenizer=json.dumps({"vocab": vocab, "merges": merges}),
    )
    print(f"{a.out}: {len(emoji)} emoji in {len(STYLES)} styles, {a.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

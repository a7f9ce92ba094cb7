"""The subjects as tensors, and scenes composed of them on the device that trains."""

import io
import json
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPTokenizer

from bpe import POSITIONS, write_tokenizer
from captions import COLOURS, OFFSETS, PLACES, SIZES, STYLES, caption, draw_scene
from nets import SIDE

COLOUR_JITTER = 6.0  # of 255, either way
SMALL_SCALE = 0.6  # below it the half-size copy is sampled, or thin lines would break up


class Data:
    """data.npz, opened. `emoji` are the entries, `subjects` uint8 [2n, 4, 128, 128] with
    premultiplied alpha: picture 2i + style is emoji i in that style."""

    def __init__(self, path, device, names=None):
        with np.load(path) as z:
            emoji, offsets, blob = json.loads(str(z["emoji"])), z["offsets"], z["pictures"].tobytes()
        keep = [i for i, e in enumerate(emoji) if not names or e["name"] in names]
        if names and len(keep) != len(names):
            raise SystemExit(f"not in {path}: {', '.join(set(names) - {e['name'] for e in emoji})}")
        rows = [2 * i + s for i in keep for s in range(len(STYLES))]
        self.emoji = [emoji[i] for i in keep]
        self.subjects = torch.stack([decode(blob[offsets[r] : offsets[r + 1]]) for r in rows]).to(device)
        self.halves = F.avg_pool2d(self.subjects.float(), 2).round().to(torch.uint8)
        self.device = device
        files = load_tokenizer_files(path)
        self.tokenizer = make_tokenizer(files)
        self.vocab_size = len(files["vocab"])

    def draw(self, rng, n):
        return [draw_scene(rng, rng.randrange(len(self.emoji))) for _ in range(n)]

    def captions(self, scenes, rng):
        return [caption(s, self.emoji, rng) for s in scenes]

    def token_ids(self, texts):
        ids = self.tokenizer(texts, padding="max_length", max_length=POSITIONS, truncation=True)
        return torch.tensor(ids["input_ids"])

    def compose(self, scenes, rng, jitter=True):
        """Pictures of the scenes, [n, 3, 128, 128] from -1 to 1."""
        j = 1.0 if jitter else 0.0
        scales, shifts, colours = [], [], []
        for s in scenes:
            low, high = SIZES[s.size]
            scale = rng.uniform(low, high) if jitter else (low + high) / 2
            x, y = (2 * p * OFFSETS.get(s.size, 0) for p in PLACES[s.place])
            scales.append(scale)
            shifts.append((x, y))
            colours.append([c + j * rng.uniform(-COLOUR_JITTER, COLOUR_JITTER) for c in COLOURS[s.colour]])
        rows = torch.tensor([2 * s.emoji + s.style for s in scenes])
        return self.place(rows, torch.tensor(scales), torch.tensor(shifts), torch.tensor(colours))

    def place(self, rows, scales, shifts, colours):
        # Output position p shows the subject's (p - shift) / scale; both from -1 to 1.
        theta = torch.zeros(len(rows), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1 / scales
        theta[:, :, 2] = -shifts / scales[:, None]
        grid = F.affine_grid(theta.to(self.device), [len(rows), 4, SIDE, SIDE], align_corners=False)
        rgba = torch.empty(len(rows), 4, SIDE, SIDE, device=self.device)
        small = scales < SMALL_SCALE
        for mask, source in ((small, self.halves), (~small, self.subjects)):
            at = mask.nonzero()[:, 0]
            if len(at) == 0:
                continue
            picked = source[rows[at].to(self.device)].float()
            at = at.to(self.device)
            rgba[at] = F.grid_sample(picked, grid[at], mode="bilinear", align_corners=False)
        background = colours.clamp(0, 255).to(self.device)[:, :, None, None]
        rgb = rgba[:, :3] + background * (1 - rgba[:, 3:] / 255)
        return rgb / 127.5 - 1


def decode(webp):
    rgba = np.asarray(Image.open(io.BytesIO(webp)).convert("RGBA")).astype(np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    return torch.from_numpy(rgba.round().astype(np.uint8)).permute(2, 0, 1)


def load_tokenizer_files(path):
    """{"vocab", "merges"} of data.npz."""
    with np.load(path) as z:
        return json.loads(str(z["tokenizer"]))


def make_tokenizer(files):
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(folder, files["vocab"], files["merges"])
        return CLIPTokenizer.from_pretrained(folder)


def to_image(x):
    """One picture, [3, h, w] from -1 to 1, for PIL."""
    x = ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(x.permute(1, 2, 0).cpu().numpy())


def write_sheet(path, pictures, columns):
    """All pictures, [n, 3, h, w], in one PNG."""
    n, _, h, w = pictures.shape
    gap = 4
    rows = -(-n // columns)
    sheet = Image.new("RGB", (columns * (w + gap) + gap, rows * (h + gap) + gap), (255, 255, 255))
    for i, p in enumerate(pictures):
        sheet.paste(to_image(p), (gap + i % columns * (w + gap), gap + i // columns * (h + gap)))
    sheet.save(path)

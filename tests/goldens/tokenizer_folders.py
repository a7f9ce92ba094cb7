"""Tokenizer folders as other programs save them, and the ids that the reference makes of prompts with each.

Every case is a small folder with some files changed: `base` is `files` (vocab.json, merges.txt and the settings, as
models/sd1/tokenizer) or `json` (what transformers 5 saves of it: vocab/tiny_json/tokenizer); `changes` has a file's
new content, or null if the file is removed.  A list of ids ends where only its last id would be repeated."""

import copy
import json
import shutil
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

PROMPTS = [
    "",
    "the thing in an inn",
    "The THING!",
    "wow!! a!b",
    "<|startoftext|> in <|endoftext|> the",
    "<|STARTOFTEXT|> in <|EndOfText|> the",
    "in<|endoftext|>the<|startoftext|>in",
    "a <cat-toy> on the thing",
    "A <CAT-TOY> on<cat-toy>the <Cat-Toy>!",
    "  <cat-toy>  <|endoftext|>  the",
    "new1 new2 xnew1y new12 NEW1",
    "<cat-toy><cat-toy>the<cat-toy",
    "t\u00e9tu t\u00c9TU te\u0301tu",
    "<image> <a> the",
]
ID_ORDER_PROBE = "new1 new2 new3 <cat-toy>"


def added(content, **flags):
    token = dict(content=content, lstrip=False, normalized=True, rstrip=False, single_word=False, special=False)
    return {**token, **flags}


def tagged(content, **flags):
    return {"__type": "AddedToken", **{k: v for k, v in added(content, **flags).items() if k != "special"}}


START, END = "<|startoftext|>", "<|endoftext|>"


def cases(config, tokenizer_json):
    """name, base, changes.  config is the base's tokenizer_config.json, tokenizer_json what transformers 5 saves."""

    def with_added(*tokens, **more):
        changed = copy.deepcopy(tokenizer_json)
        changed["added_tokens"] += [dict(token, id=id_) for id_, token in tokens]
        changed.update(more)
        return changed

    old = copy.deepcopy(tokenizer_json)
    old["model"]["merges"] = [" ".join(pair) for pair in old["model"]["merges"]]
    flags = copy.deepcopy(tokenizer_json)
    for token in flags["added_tokens"]:
        token["normalized"] = not token["normalized"]
    none = dict(tokenizer_json, added_tokens=[])
    fewer = {"!": 256}
    yield "json", "json", {}
    yield "json with merges as strings", "json", {"tokenizer.json": old}
    yield "json with other flags", "json", {"tokenizer.json": flags}
    yield "json without added tokens", "json", {"tokenizer.json": none}
    yield "json without settings", "json", {"tokenizer_config.json": {"model_max_length": 77}}
    yield "json pads with !", "json", {"tokenizer_config.json": dict(config, pad_token="!")}
    yield "json has a new token", "json", {"tokenizer.json": with_added((814, added("<cat-toy>")))}
    yield "json has a new special token", "json", {
        "tokenizer.json": with_added((814, added("<cat-toy>", normalized=False, special=True)))
    }
    yield "json has new tokens, ids not in order", "json", {
        "tokenizer.json": with_added((900, added("new2")), (817, added("new1")), (1000, added("new3")))
    }
    yield "both, json has a token more", "json", {
        "tokenizer.json": with_added((814, added("<cat-toy>"))),
        "vocab.json": fewer,
        "merges.txt": "#version: 0.2\n",
    }
    yield "both, and a list", "json", {
        "tokenizer.json": with_added((814, added("<cat-toy>"))),
        "tokenizer_config.json": dict(
            config,
            added_tokens_decoder={
                "812": added(START, normalized=False, special=True),
                "813": added(END, special=True),
            },
        ),
    }
    yield "json and a map", "json", {
        "special_tokens_map.json": {"pad_token": "!", "bos_token": added(START, normalized=False)},
    }
    yield "json and added tokens", "json", {"added_tokens.json": {"<cat-toy>": 814}}
    yield "added_tokens.json is empty", "files", {"added_tokens.json": {}}
    yield "added_tokens.json repeats", "files", {"added_tokens.json": {START: 812, END: 813}}
    yield "added_tokens.json repeats, no map", "files", {
        "added_tokens.json": {END: 813, START: 812},
        "special_tokens_map.json": None,
    }
    yield "added_tokens.json repeats, nothing named", "files", {
        "added_tokens.json": {START: 812, END: 813},
        "special_tokens_map.json": None,
        "tokenizer_config.json": {"model_max_length": 77},
    }
    yield "a new token", "files", {"added_tokens.json": {"<cat-toy>": 814}}
    yield "a new token, no map", "files", {"added_tokens.json": {"<cat-toy>": 814}, "special_tokens_map.json": None}
    yield "new tokens", "files", {"added_tokens.json": {"new2": 815, "new1": 814, "<cat-toy>": 816}}
    yield "new tokens far away", "files", {"added_tokens.json": {"new2": 2000, "new1": 1999, "<cat-toy>": 900}}
    yield "a new token that is special", "files", {
        "added_tokens.json": {"<cat-toy>": 814},
        "tokenizer_config.json": dict(config, additional_special_tokens=["<cat-toy>"]),
    }
    yield "a token with an accent", "files", {"added_tokens.json": {"T\u00c9tu": 814}}
    yield "additional start and end", "files", {
        "tokenizer_config.json": dict(config, additional_special_tokens=[START, END])
    }
    yield "additional in the map", "files", {
        "special_tokens_map.json": {"additional_special_tokens": ["<cat-toy>", START]}
    }
    yield "additional, tagged", "files", {
        "tokenizer_config.json": dict(config, additional_special_tokens=[tagged("<cat-toy>", lstrip=True)])
    }
    yield "additional and extra", "files", {
        "tokenizer_config.json": dict(
            config, additional_special_tokens=["new1"], extra_special_tokens=["<cat-toy>", "the</w>"]
        )
    }
    yield "extra as an object", "files", {
        "tokenizer_config.json": dict(config, extra_special_tokens={"image_token": "<image>", "a_token": "<a>"})
    }
    yield "a token of its own", "files", {"tokenizer_config.json": dict(config, image_token="<image>")}
    yield "more roles", "files", {"tokenizer_config.json": dict(config, mask_token="<a>", sep_token="new1")}
    yield "lstrip and rstrip", "files", {
        "tokenizer_config.json": dict(
            config,
            added_tokens_decoder={
                "812": added(START, lstrip=True, special=True),
                "813": added(END, rstrip=True, normalized=False, special=True),
                "814": added("<cat-toy>", lstrip=True, rstrip=True),
            },
        )
    }
    yield "lstrip in the map", "files", {
        "special_tokens_map.json": {"pad_token": added("!", lstrip=True), "eos_token": added(END, lstrip=True)}
    }
    yield "a list whose ids are not the vocabulary's", "files", {
        "tokenizer_config.json": dict(
            config,
            added_tokens_decoder={"5": added("!", special=True), "3": added("new2"), "4": added("new1")},
        )
    }
    yield "a list and added_tokens.json", "files", {
        "added_tokens.json": {"<cat-toy>": 814},
        "tokenizer_config.json": dict(config, added_tokens_decoder={"814": added("new1")}),
    }
    yield "a new padding token", "files", {
        "tokenizer_config.json": dict(config, pad_token="<a>"),
        "special_tokens_map.json": None,
    }


    # What random folders have found.
    bare = {"__type": "AddedToken", "content": "<cat-toy>", "lstrip": False, "rstrip": False}
    yield "a role that does not say normalized", "json", {"tokenizer_config.json": dict(config, mask_token=bare)}
    yield "additional ones beside extra as an object", "files", {
        "tokenizer_config.json": dict(
            config, additional_special_tokens=["<cat-toy>"], extra_special_tokens={"q_token": "<a>"}
        )
    }
    yield "objects in the map's extra ones", "files", {
        "special_tokens_map.json": {"extra_special_tokens": [{"content": "<cat-toy>", "lstrip": True}, "new1"]}
    }
    yield "a role of its own in the map", "files", {
        "special_tokens_map.json": {
            "mask_token": END,
            "image_token": {"content": END, "normalized": True, "lstrip": False, "rstrip": False},
        }
    }
    yield "a number twice", "json", {
        "added_tokens.json": {"the": 813, "<cat-toy>": 814},
        "tokenizer_config.json": dict(config, sep_token={**bare, "content": "the"}),
    }


def shortened(ids):
    while len(ids) > 1 and ids[-1] == ids[-2]:
        ids = ids[:-1]
    return ids


def make_folder(base, changes, path):
    shutil.copytree(base, path)
    for name, content in changes.items():
        (path / name).unlink(missing_ok=True)
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (path / name).write_text(text, encoding="utf-8")


def in_short(changes, tokenizer_json):
    """The changes that the test has to make in tokenizer.json, because the whole file is large."""
    found = dict(changes)
    new = found.get("tokenizer.json")
    if new:
        merges_as_strings = new["model"]["merges"] != tokenizer_json["model"]["merges"]
        found["tokenizer.json"] = {"added_tokens": new["added_tokens"], "merges_as_strings": merges_as_strings}
    return found


def make(root):
    files = root / "models/sd1/tokenizer"
    saved = root / "vocab/tiny_json/tokenizer"
    shutil.rmtree(saved, ignore_errors=True)
    CLIPTokenizer.from_pretrained(files).save_pretrained(saved)
    tokenizer_json = json.loads((saved / "tokenizer.json").read_text(encoding="utf-8"))
    (saved / "tokenizer.json").write_text(json.dumps(tokenizer_json, ensure_ascii=False, separators=(",", ":")) + "\n")
    config = json.loads((files / "tokenizer_config.json").read_text(encoding="utf-8"))
    found = []
    for name, base, changes in cases(config, tokenizer_json):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer"
            make_folder(saved if base == "json" else files, changes, path)
            tokenizer = CLIPTokenizer.from_pretrained(path)
        rows = tokenizer(PROMPTS + [ID_ORDER_PROBE], padding="max_length", max_length=77, truncation=True).input_ids
        ids = [shortened(row) for row in rows]
        found.append({"name": name, "base": base, "changes": in_short(changes, tokenizer_json), "ids": ids})
    with open(root / "data/tokenizer_folders.json", "w", encoding="utf-8") as f:
        json.dump({"prompts": PROMPTS + [ID_ORDER_PROBE], "cases": found}, f, separators=(",", ":"))
        f.write("\n")

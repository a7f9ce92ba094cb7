"""Prompts and their 77 token ids, for each tokenizer folder."""

import json
import random
import unicodedata

from transformers import CLIPTokenizer

FOLDERS = {
    "sd1": "vocab/sd1/tokenizer",
    "sd2": "vocab/sd2/tokenizer",
    "objects": "vocab/objects/tokenizer",
    "tiny_sd1": "models/sd1/tokenizer",
    "tiny_sd2": "models/sd2/tokenizer",
}
RANDOM_PROMPTS = 150
SEED = 20150

PLAIN = [
    "",
    " ",
    "a photo of an astronaut riding a horse on mars",
    "A Photo Of An ASTRONAUT, Riding A HORSE!",
    "masterpiece, best quality, (detailed:1.2), [cat|dog], 8k, f/1.8 -- by greg rutkowski",
    "low quality, blurry, jpeg artifacts, watermark, text, signature",
    "  leading and trailing \t\n spaces  ",
    "one_two__three-four--five",
    "https://example.org/a?b=c&d=%20#e",
    "C++ && C# || (x*y)^2 <= 3/4 ~ `q` \\ {} $5 @home",
    "an \"over\" 'quoted' `prompt`",
    "zero-width and tabs\tand\r\nlines",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "qzxjk vbnmqw zzzzqqqq xkcdxkcd",
    "the the the THE The tHe",
    "&amp; &lt;b&gt; &quot;html&quot; &#39;entities&#39; <br/>",
]

CONTRACTIONS = [
    "it's you're they've i'm we'll he'd don't can't",
    "IT'S YOU'RE THEY'VE I'M WE'LL HE'D DON'T",
    "it'sx I'mx we'llama they'vex he'dx you'rex don'tx",
    "'s 't 're 've 'm 'll 'd",
    "''s !!'s --'ll ...'ve",
    "it' s it 's it'' s",
    "rock'n'roll o'clock 'tis 'twas y'all'd've",
    "it\u2019s don\u2019t \u2018quoted\u2019",
    "'S 'T 'RE 'LL",
    "'ss 'tt 'lll 'r 'l 'v",
    "'\u017f it'\u017f",
]

SPECIAL = [
    "!",
    "!!",
    "!!!",
    "!!!!!!!!",
    "a!b!c",
    "wow! wow!! wow!!!",
    "hello!world",
    " ! ",
    "!a",
    "a !",
    "?! !? !'s",
    "\uff01 fullwidth",
    "<|startoftext|>",
    "<|endoftext|>",
    "<|STARTOFTEXT|>",
    "<|ENDOFTEXT|>",
    "<|StartOfText|> a <|EndOfText|>",
    "a<|startoftext|>b<|endoftext|>c",
    "a <|startoftext|> b <|endoftext|> c",
    "<|startoftext|><|startoftext|><|endoftext|><|endoftext|>",
    "it<|endoftext|>'s",
    "<|endoftext|>'s!<|startoftext|>'s",
    "<|endoftext",
    "|endoftext|>",
    "<|endoftext|",
    "<<|endoftext|>>",
    "< |endoftext| >",
    "<|end oftext|>",
    "<|endoftext|><|ENDOFTEXT|><|endoftext|>",
    "cut<|endoftext|>here !<|endoftext|>!",
    "<|start\u200boftext|>",
    "<|\u017ftartoftext|>",
    "<|endo\uff46text|>",
    "<|startofte\u0308xt|> <|startoftext|>\u0308",
    "<|startof\u212aext|> \u212a \u212b \u2126",
    "<|padding|> <|pad|> <pad> <unk> <s> </s> [PAD] </w>",
    "cat</w> dog</w>",
]

SPACES = [
    "a" + c + "b"
    for c in "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u180e\u2000\u2003\u2007\u2009\u200a"
    "\u200b\u200c\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
] + ["\u3000\u2003 a \u00a0\u2028 b\u2009", "\ufeffbom first", "a\u00a0!\u00a0b", "\x85\x85", "\n\n\n"]

CASES = [
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3 \u03a3\u03a3 \u03b1\u03a3 \u03a3\u03b1",  # final sigma
    "\u0130stanbul I\u0307stanbul \u0131 \u0130\u0130",
    "\u1e9e STRASSE stra\u00dfe \ufb01sh \ufb00",
    "\u01c4 \u01c5 \u01c6 \u01c7 \u01c8 \u01f1 \u01f2",
    "\u017f \u017fun MI\u017f\u017f \ufb05",
    "\u1c90\u1c91\u1c92 \u10d0\u10d1 \u10a0\u10a1 \u2d00",  # Georgian: Mtavruli, Mkhedruli, Asomtavruli
    "\u13a0\u13a1 \uab70 \u13f8",  # Cherokee
    "\U00010400\U00010428 \U0001e900\U0001e922 \U000104b0",  # Deseret, Adlam, Osage
    "\u1f88 \u1f80 \u1fbc \u1f08\u0399",
    "\u212a\u212b\u2126 \u0345 \u1fbe \u00b5 \u03bc",
    "\u2160\u2163 \u24b6\u24d0 \uff21\uff41",
    "\u0401\u0416\u0418\u041a \u0451\u0436\u0438\u043a \u04c0 \u04cf \u0526",
    "\u023a \u2c65 \u1e9b \u0390 \u03b0",
    "\ua7ae \ua7c5 \ua7dc \u019b \ua7cb",
    "\u1c89 \u1c8a \ua7da \U00010d50",  # recent Unicode versions
]

NORMAL_FORMS = [
    "caf\u00e9 cafe\u0301",
    "e\u0301\u0323 e\u0323\u0301 \u1eb9\u0301",
    "\u0041\u030a \u00c5 \u212b",
    "\u1100\u1161\u11a8 \uac01 \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "\u0958 \u0915\u093c \u0929",
    "\u0344 \u0308\u0301 \u0340 \u0341 \u0343 \u0374 \u037e \u0387",
    "\ufb1f \ufb2a \u2adc",
    "\uf900 \ufa0c \ufb01 \U0002f800",
    "\u0f43 \u0f73 \u0f75 \u0f81",
    "a\u0315\u0300\u05ae\u0300b q\u0307\u0323",
    "\u1e0b\u0323 d\u0323\u0307 d\u0307\u0323",
    "\U0001d15e \U0001d1bb \U000110ab",
    "I\u0307 i\u0307 \u012f\u0307",
    "x\u0338= =\u0338 \u2260 <\u0338 \u226e",
    "\u30ab\u3099 \u30ac \uff76\uff9e",
    "o" + "\u0301" * 40,
]

DIGITS = [
    "0123456789",
    "4k 8K 1girl 2023 3.14159 1,000,000 1e-5 0x1F",
    "\u00bd \u00b2\u00b3\u00b9 \u2167 \uff11\uff12 \u2460 \u2179",
    "\u0660\u0661 \u0967\u0968 \u0e51 \u17e1 \u0f20",
    "\u3007\u3021 \u4e00\u4e8c \U0001d7ce\U0001d7d8 \u0bf0 \U00010107",
    "a1b2c3 1a2b 12ab34",
    "x\u00b2+y\u00b2 CO\u2082 5\u20ac \u00bc\u00be 1st 2nd 3rd 4'4",
    "\u09f4 \u0f33 \u1369 \u2cfd \ua830 \U0001f100 \u2189",
]

MARKS_AND_SYMBOLS = [
    "\U0001f600\U0001f680 \u2764\ufe0f \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
    "1\ufe0f\u20e3 #\ufe0f\u20e3 \u2122 \u00a9 \u00ae",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627",
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u1000\u103b \u0bb5\u0ba3",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u3053\u3093\u306b\u3061\u306f \u30a2\u30cb\u30e1",
    "\u00ab\u201equotes\u201c\u00bb \u2014 \u2026 \u2022 \u00b7 \u2192 \u221e \u2211",
    "_a_ __ _1_ a_b \u203f \u2040",
    "\u02b0\u02c8 \u02bc \u00aa \u00ba \u02ec \u2071 \u207f",
    "\u0488\u20dd a\u20dd \u0300alone \u093e",
    "\ud7b0 \u115f\u1160 \u3164 \uffa0 \u2800",
    "\u061c\u200e\u200f\u202a\u202e rtl \u2066\u2069 \u00ad soft\u00adhyphen",
    "\ufff9\ufffa\ufffb \ufffc \ufffd \ufffe\uffff \U0010ffff \ue000 \U000f0000",
    "\U00020000\U0002a6d6 \U0001f9ff \U0001fae8 \U0001fadf \U000e0041",
    "\u2f00 \u3400 \u9fff \ua000 \u16a0 \U00012000 \U00013000",
]

CONTROLS = [
    "\x00",
    "nul\x00inside",
    "\x00\x00 a\x00",
    "".join(map(chr, range(1, 32))),
    "".join(map(chr, range(0x7F, 0xA1))),
    "\x1b[31mred\x1b[0m \x07bell \x08back",
    "a\x00!b\x00<|endoftext|>\x00",
]

LONG = [
    "cat " * 74,
    "cat " * 75,
    "cat " * 76,
    "cat " * 200,
    "x" * 300,
    "!" * 75,
    "!" * 80,
    "1" * 77,
    "<|endoftext|>" * 80,
    "<|startoftext|>" * 74 + " tail",
    "supercalifragilistic " * 30,
    "\U0001f600" * 50,
    "\u00e9" * 100,
    "word, " * 36 + "last word",
    "a" * 74 + " b c",
    "antidisestablishmentarianism" * 20,
    "the quick brown fox jumps over the lazy dog " * 9,
]

# What random prompts are put together from: whole ranges, so that classes mix.
ALPHABETS = [
    [chr(c) for c in range(0x20, 0x7F)],
    list("abcdefghijklmnopqrstuvwxyz '!0123456789"),
    [chr(c) for c in range(0x00, 0x100)],
    [chr(c) for c in range(0x100, 0x250)],
    [chr(c) for c in range(0x300, 0x370)],
    [chr(c) for c in range(0x370, 0x530)],
    [chr(c) for c in range(0x590, 0x700)],
    [chr(c) for c in range(0x900, 0xA00)],
    [chr(c) for c in range(0x10A0, 0x1200)],
    [chr(c) for c in range(0x1E00, 0x2000)],
    [chr(c) for c in range(0x2000, 0x2200)],
    [chr(c) for c in range(0x3000, 0x3100)],
    [chr(c) for c in range(0x4E00, 0x4F00)],
    [chr(c) for c in range(0xAC00, 0xAD00)],
    [chr(c) for c in range(0x1F300, 0x1F650)],
    ["<|startoftext|>", "<|endoftext|>", "<|EndOfText|>", "'s", "'LL", "!", " ", "\u00a0", "\u0301"],
    [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000],
]


def random_prompts():
    rng = random.Random(SEED)
    prompts = []
    for _ in range(RANDOM_PROMPTS):
        alphabets = rng.sample(ALPHABETS, rng.randint(1, 3))
        prompts.append("".join(rng.choice(rng.choice(alphabets)) for _ in range(rng.randint(1, 40))))
    return prompts


def prompts():
    groups = (PLAIN, CONTRACTIONS, SPECIAL, SPACES, CASES, NORMAL_FORMS, DIGITS, MARKS_AND_SYMBOLS, CONTROLS, LONG)
    found = [p for group in groups for p in group] + random_prompts()
    assert not any(unicodedata.category(c) == "Cs" for p in found for c in p)
    return list(dict.fromkeys(found))


def make(root):
    tokenizers = {name: CLIPTokenizer.from_pretrained(root / folder) for name, folder in FOLDERS.items()}
    cases = []
    for prompt in prompts():
        ids = {}
        for name, tokenizer in tokenizers.items():
            row = tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
            assert len(row) == 77
            ids[name] = row
        cases.append({"prompt": prompt, "ids": ids})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    folders = json.dumps(FOLDERS)
    text = f'{{"tokenizers": {folders},\n"cases": [\n{lines}\n]}}\n'
    (root / "data" / "tokens.json").write_text(text, encoding="ascii")
    print(f"  {len(cases)} prompts, {len(text)} bytes")

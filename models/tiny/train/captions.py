"""Scenes - an emoji of some size, somewhere on a plain background - and the captions of them.

What a caption says is true, but it seldom says everything: each part is left out now and then, so
that the model can be asked for any of them alone.
"""

from dataclasses import dataclass

# Far apart, so that a picture's background can be told; measure.py tells it by the nearest one.
COLOURS = {
    "red": (214, 44, 44),
    "orange": (245, 138, 31),
    "yellow": (250, 214, 64),
    "green": (60, 158, 74),
    "teal": (22, 150, 150),
    "blue": (44, 96, 216),
    "purple": (128, 66, 178),
    "pink": (246, 156, 196),
    "brown": (122, 80, 52),
    "black": (18, 18, 20),
    "gray": (142, 144, 148),
    "white": (250, 250, 250),
}
COLOUR_NAMES = tuple(COLOURS)
STYLES = ("shaded", "flat")  # Noto, Twemoji
# Of the picture's side. The range is narrow: a subject is learned sooner when its edges stay where they are.
SIZES = {"small": (0.43, 0.45), "": (0.71, 0.73), "large": (0.93, 0.95)}
PLACES = {
    "": (0, 0),
    "on the left": (-1, 0),
    "on the right": (1, 0),
    "at the top": (0, -1),
    "at the bottom": (0, 1),
}
# How far a moved subject is from the middle, of the picture's side: whole latents, 32 and 16 pixels of 128,
# so that the latents of a moved subject are the others, moved.
OFFSETS = {"small": 0.25, "": 0.125}

ONLY_BACKGROUND = 0.04  # share of captions that say nothing else


@dataclass
class Scene:
    emoji: int  # index into the data's emoji
    style: int  # index into STYLES
    colour: str
    size: str
    place: str


def draw_scene(rng, emoji):
    size = rng.choices(("small", "", "large"), (0.12, 0.76, 0.12))[0]
    moved = size in OFFSETS and rng.random() < 0.2
    place = rng.choice(tuple(PLACES)[1:]) if moved else ""
    return Scene(emoji, rng.randrange(len(STYLES)), rng.choice(COLOUR_NAMES), size, place)


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def subject(entry, rng):
    """What the caption calls the emoji: mostly its name, at times an alias or its kind."""
    if entry["aliases"] and rng.random() < 0.08:
        return rng.choice(entry["aliases"])
    return entry["kind"] if rng.random() < 0.02 else entry["name"]


def prompt(name, colour="", style="", size="", place=""):
    """The caption that says all of this, in its usual form."""
    text = article(f"{size} {name}".strip())
    text += f" {place}" if place else ""
    text += f" on {article(colour)} background" if colour else ""
    return text + (f", {style} style" if style else "")


def caption(scene, emoji, rng):
    if rng.random() < ONLY_BACKGROUND:
        return f"{scene.colour} background"
    name = subject(emoji[scene.emoji], rng)
    colour = scene.colour if rng.random() < 0.85 else ""
    style = STYLES[scene.style] if rng.random() < 0.75 else ""
    size = scene.size if rng.random() < 0.9 else ""
    place = scene.place if rng.random() < 0.9 else ""
    if rng.random() < 0.12:  # as people type who have typed many prompts
        parts = (f"{size} {name}".strip(), place, colour and f"{colour} background", style and f"{style} style")
        return ", ".join(p for p in parts if p)
    return prompt(name, colour, style, size, place)

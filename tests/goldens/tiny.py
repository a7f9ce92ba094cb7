"""Complete pictures of the small model that ships (models/tiny), through the reference's own pipeline."""

import runs


def jobs():
    plain = {
        "model": "tiny",
        "prompt": "a strawberry on a teal background, flat style",
        "negative_prompt": "",
        "width": 128,
        "height": 128,
        "steps": 20,
        "guidance_scale": 5.0,
        "seed": 7,
        "sampler": "",
    }
    changes = {
        "own": {},
        "measured": {"steps": 30, "sampler": "dpmpp_2m", "prompt": "a penguin on an orange background, shaded style"},
        "unguided": {"guidance_scale": 1.0, "prompt": "a lemon on a purple background"},
        "negative": {"negative_prompt": "blue background", "guidance_scale": 7.5, "prompt": "a fox"},
        "placed": {"prompt": "a small red heart at the top on a gray background", "sampler": "euler"},
        "ancestral": {"sampler": "euler_a", "prompt": "a tulip on a brown background"},
        "short": {"width": 64, "height": 64, "steps": 4, "prompt": "a leaf on a pink background"},
        "wide": {"width": 160, "height": 96, "steps": 12, "prompt": "a butterfly on a pink background"},
        "tall": {"width": 96, "height": 160, "steps": 12, "sampler": "unipc", "prompt": "a cactus on an orange background"},
    }
    for name, change in changes.items():
        yield {"id": f"tiny-{name}", **plain, **change}


def make(root):
    folder = root.parent.parent / "models" / "tiny"
    # Plain backgrounds in strong colours have channels at 0 or 255.
    runs.record(root, "runs_tiny.json", jobs(), lambda _: runs.load_folder(folder), clipped_max=0.3)

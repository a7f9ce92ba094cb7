"""Complete text-to-image runs through the reference's own pipeline."""

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from models import VARIANTS
from samplers import SAMPLERS, build_sampler
from schedules import write_cases

PROMPT = "a photo of the astronaut riding a horse on mars!"
SIZES = [(64, 64), (72, 64), (64, 88), (64, 64), (80, 64)]  # width, height; taken in turn
LARGE = (104, 88)  # 572 latents: no multiple of 16
# A committed run must not depend on the last bits of its sums: a disturbance of every UNet output
# by this much of its size may cost no more than what is left of the picture below.
DISTURBANCE = 1e-6
STABLE_DB = 65.0


def load(root, name):
    return load_folder(root / ("variants" if name in VARIANTS else "models") / name)


def load_folder(folder):
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def jobs_of(model, grid):
    """grid: (sampler, steps, guidance scale) of the plain runs."""
    for i, (sampler, steps, guidance) in enumerate(grid):
        large = steps == 20 and guidance == 7.5 and sampler in ("", "euler_a")
        width, height = LARGE if large else SIZES[i % len(SIZES)]
        yield {
            "id": f"{model}-{sampler or 'own'}-{steps}-{guidance:g}",
            "model": model,
            "prompt": PROMPT,
            "negative_prompt": "",
            "width": width,
            "height": height,
            "steps": steps,
            "guidance_scale": guidance,
            "seed": 1000 + i,
            "sampler": sampler,
        }


def special_jobs(model):
    """Runs that the grid does not have: other words, seeds beyond 32 and 53 bits, and the
    size where the tail of the random stream counts."""
    plain = {
        "model": model,
        "prompt": PROMPT,
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "steps": 20,
        "guidance_scale": 7.5,
        "seed": 42,
        "sampler": "",
    }
    changes = {
        "negative": {"negative_prompt": "blurry, low quality, text"},
        "negative-unused": {"negative_prompt": "blurry, low quality, text", "guidance_scale": 1.0},
        "empty": {"prompt": ""},
        "long": {"prompt": "the cat and the dog, " * 20},
        "markers": {"prompt": "the !cat! <|endoftext|> and <|STARTOFTEXT|> the Dog", "negative_prompt": "!"},
        "two-first": {"seed": 77},
        "two-second": {"seed": 78},
        "seed-2^53+1": {"seed": 2**53 + 1, "sampler": "euler_a"},
        "seed-2^63-1": {"seed": 2**63 - 1, "sampler": "dpmpp_sde"},
        "narrow": {"width": 104, "height": 64, "sampler": "ddpm", "steps": 7},
        "one-step": {"steps": 1, "sampler": "ddim"},
        "guidance-1.5": {"guidance_scale": 1.5, "sampler": "unipc"},
    }
    for name, change in changes.items():
        yield {"id": f"{model}-{name}", **plain, **change}


def jobs():
    every = [(s, n, g) for s in SAMPLERS for n in (4, 20, 50) for g in (1.0, 7.5, 15.0)]
    yield from jobs_of("sd1", [("", 20, 7.5), ("", 4, 15.0), ("", 50, 1.0), *every])
    yield from special_jobs("sd1")
    names = ["", *SAMPLERS]
    some = [(s, 20, 7.5) for s in names] + [(s, 4, 15.0) for s in names]
    some += [(s, 50, 1.0) for s in ("", "euler", "dpmpp_2m", "pndm", "lcm")]
    # Guided LCM at many steps is chaotic in sd1: every step starts from new noise.
    some += [("lcm", 20, 15.0), ("lcm", 50, 7.5), ("lcm", 50, 15.0)]
    yield from jobs_of("sd2", some)
    yield from special_jobs("sd2")
    yield from jobs_of("sd1_prk", [("", n, g) for n in (4, 20, 50) for g in (1.0, 7.5)])


def disturbed(unet, generator):
    """A forward() whose output is off by DISTURBANCE of its own size."""

    def forward(*args, **kwargs):
        out = type(unet).forward(unet, *args, **kwargs)[0]
        return (out + DISTURBANCE * out.std() * torch.randn(out.shape, generator=generator),)

    return forward


def draw(pipe, shipped, job):
    """uint8 [height, width, 3]."""
    if job["sampler"]:
        pipe.scheduler = build_sampler(job["sampler"], shipped.config)
    else:
        pipe.scheduler = type(shipped).from_config(shipped.config)
    picture = pipe(
        prompt=job["prompt"],
        negative_prompt=job["negative_prompt"],
        width=job["width"],
        height=job["height"],
        num_inference_steps=job["steps"],
        guidance_scale=job["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(job["seed"]),
        output_type="pt",
    ).images[0]
    return (picture * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def psnr(a, b):
    error = (a.double() - b.double()).square().mean()
    return float("inf") if error == 0 else float(10 * torch.log10(255**2 / error))


def record(root, manifest, jobs, load, clipped_max=0.04):
    """Draw the jobs with load(model)'s pipeline and keep those that test the engine, not rounding. `clipped_max` is
    the share of values at 0 and 255 that a picture may have: errors do not show there."""
    pipes, pictures, cases = {}, {}, []
    rejected = 0
    for job in jobs:
        model = job["model"]
        if model not in pipes:
            pipe = load(model)
            pipes[model] = (pipe, pipe.scheduler)
            pictures[model] = {}
        pipe, shipped = pipes[model]
        picture = draw(pipe, shipped, job)
        pipe.unet.forward = disturbed(pipe.unet, torch.Generator("cpu").manual_seed(99))
        stable = psnr(picture, draw(pipe, shipped, job))
        del pipe.unet.forward

        clipped = ((picture == 0) | (picture == 255)).double().mean().item()
        if stable < STABLE_DB or picture.double().std() < 20 or clipped > clipped_max:
            rejected += 1
            print(f"  left out: {job['id']}: stable to {stable:.1f} dB, {clipped:.1%} clipped", flush=True)
            continue
        pictures[model][job["id"]] = picture
        cases.append({**job, "tensor": job["id"], "stable_db": round(min(stable, 99.0), 1)})
    for model, tensors in pictures.items():
        save_file(tensors, root / "data" / f"runs_{model}.safetensors")
    files = ", ".join(f'"{model}": "runs_{model}.safetensors"' for model in pictures)
    write_cases(root / "data" / manifest, f'"files": {{{files}}},\n', cases)
    print(f"  {len(cases)} runs, {rejected} left out; least stable {min(c['stable_db'] for c in cases)} dB")


def make(root):
    record(root, "runs.json", jobs(), lambda name: load(root, name))

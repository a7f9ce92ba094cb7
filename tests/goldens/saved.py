"""A model folder as other programs save it: variants/sd1_saved is models/sd1 with tokenizer.json alone, flags that are
null, a pair as default size, and a scheduler class with which only jobs that name a sampler can be drawn.  Makes its
pictures with the reference."""

import json
import shutil

import runs

FLAGS = ("flip_sin_to_cos", "use_linear_projection", "upcast_attention", "center_input_sample")
SCHEDULER = {
    "_class_name": "DEISMultistepScheduler",
    "algorithm_type": "deis",
    "solver_type": "logrho",
    "euler_at_final": True,
    "steps_offset": None,
    "set_alpha_to_one": None,
}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def make_folder(root):
    folder, source = root / "variants/sd1_saved", root / "models/sd1"
    shutil.rmtree(folder, ignore_errors=True)
    index = read(source / "model_index.json")
    index["scheduler"] = ["diffusers", SCHEDULER["_class_name"]]
    write(folder / "model_index.json", index)
    unet = read(source / "unet/config.json")
    write(folder / "unet/config.json", {**unet, **dict.fromkeys(FLAGS), "sample_size": [8, 12]})
    write(folder / "scheduler/scheduler_config.json", {**read(source / "scheduler/scheduler_config.json"), **SCHEDULER})
    for part in ("text_encoder", "vae"):
        (folder / part).symlink_to(f"../../models/sd1/{part}")
    (folder / "tokenizer").symlink_to("../../vocab/tiny_json/tokenizer")
    weights = "diffusion_pytorch_model.safetensors"
    (folder / "unet" / weights).symlink_to(f"../../../models/sd1/unet/{weights}")
    return folder


def jobs():
    for i, (sampler, guidance) in enumerate([("euler", 7.5), ("ddim", 7.5), ("pndm", 1.0), ("unipc", 7.5), ("lms", 1.0)]):
        yield {
            "id": f"sd1_saved-{sampler}",
            "model": "sd1_saved",
            "prompt": "the thing in an inn!",
            "negative_prompt": "",
            "width": 96,
            "height": 64,
            "steps": 4,
            "guidance_scale": guidance,
            "seed": 5 + i,
            "sampler": sampler,
        }


def make(root):
    folder = make_folder(root)
    runs.record(root, "runs_saved.json", jobs(), lambda _: runs.load_folder(folder))

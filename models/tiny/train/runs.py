"""What both trainings share: the clock, stopping and pausing, checkpoints, averaged weights, several
processes. Started by torchrun, each process draws batches of its own and all average their gradients;
the first one keeps the clock, prints and saves. On a CPU a process a core beats a thread a core."""

import os
import signal
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

CHECKPOINT_S = 240.0
PROGRESS_S = 15.0


def add_arguments(p, minutes):
    p.add_argument("--data", type=Path, default=Path("build/tiny/data.npz"))
    p.add_argument("--out", type=Path, default=Path("build/tiny/run"), help="checkpoints and sheets")
    p.add_argument("--minutes", type=float, default=minutes, help="how long to train in this call")
    p.add_argument("--batch", type=int)
    p.add_argument("--lr", type=float)
    p.add_argument(
        "--cooldown", type=float, default=0.0, help="share of this call's minutes in which lr falls to zero"
    )
    p.add_argument("--float32", action="store_true", help="for CPUs without AMX, where bfloat16 is slower")
    p.add_argument("--threads", type=int, default=0, help="CPU threads, 0: torch's choice")
    p.add_argument("--pause", type=Path, help="wait while this file exists")
    p.add_argument("--seed", type=int, default=0)


def start(a):
    """The device, ready for training."""
    if a.threads:
        torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo", timeout=timedelta(days=2))  # a pause is not a failure
    torch.manual_seed(a.seed)  # the same first weights in all processes
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        torch.backends.cudnn.benchmark = True
    return device


def bf16(device, on=True):
    return torch.autocast(device.type, torch.bfloat16) if on else nullcontext()


def layout(x):
    """Channels last on a GPU. On a CPU torch's group norm is eight times slower backward that way."""
    return x.contiguous(memory_format=torch.channels_last) if x.is_cuda else x.contiguous()


def on_device(net, device):
    """The net there, in the layout of its inputs."""
    return net.to(device, memory_format=torch.channels_last) if device.type == "cuda" else net.to(device)


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def processes():
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first():
    return rank() == 0


def say(*what):
    if is_first():
        print(*what, flush=True)


def seed(a, step):
    """Another stream for each process and each call."""
    return a.seed + step + 1_000_003 * rank()


def average_gradients(parameters):
    if not dist.is_initialized():
        return
    flat = torch.cat([p.grad.flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= processes()
    for p, mean in zip(parameters, flat.split([p.numel() for p in parameters])):
        p.grad.copy_(mean.view_as(p.grad))


class Clock:
    """Minutes of training in this call, pauses not counted. Ends early, at a checkpoint, on SIGTERM or SIGINT.
    All processes see the time of the first one, as it was at the last tick()."""

    def __init__(self, minutes, cooldown, pause):
        self.seconds, self.cooldown, self.pause = 60 * minutes, cooldown, pause
        self.begun, self.paused, self.stopped = time.monotonic(), 0.0, False
        self.now, self.last = 0.0, {}
        for s in (signal.SIGTERM, signal.SIGINT):
            signal.signal(s, self.stop)

    def stop(self, *_):
        self.stopped = True

    def tick(self):
        """Begin a step; false when it is over."""
        seen = torch.tensor([time.monotonic() - self.begun - self.paused, self.stopped], dtype=torch.float64)
        if dist.is_initialized():
            dist.broadcast(seen, 0)
        self.now = float(seen[0])
        return not seen[1] and self.now < self.seconds

    def is_paused(self):
        return bool(self.pause) and self.pause.exists() and not self.stopped

    def wait(self):
        """Until the pause is over. The other processes wait for the first one in their next tick()."""
        began = time.monotonic()
        while self.is_paused():
            time.sleep(2)
        self.paused += time.monotonic() - began

    def is_due(self, what, seconds):
        """True once every so many seconds, the first time after that long."""
        if self.now - self.last.setdefault(what, 0.0) < seconds:
            return False
        self.last[what] = self.now
        return True

    def lr_factor(self):
        if not self.cooldown:
            return 1.0
        left = 1 - self.now / self.seconds
        return max(0.0, min(1.0, left / self.cooldown))


class Averaged:
    """Exponential moving average of the nets' weights, quicker while it is young."""

    def __init__(self, nets, decay):
        self.decay = decay
        self.nets = nets
        self.live = [p for n in nets for p in n.state_dict().values() if p.is_floating_point()]
        self.mean = [p.detach().clone() for p in self.live]

    def state(self):
        """One state dict a net."""
        self.swap()
        states = [{k: v.detach().clone() for k, v in n.state_dict().items()} for n in self.nets]
        self.swap()
        return states

    @torch.no_grad()
    def load(self, states):
        values = [p for s in states for p in s.values() if p.is_floating_point()]
        for m, p in zip(self.mean, values, strict=True):
            m.copy_(p)

    @torch.no_grad()
    def update(self, step):
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, self.live, 1 - decay)

    @torch.no_grad()
    def swap(self):
        """Exchange the averaged weights with the live ones; a second call changes back."""
        for m, p in zip(self.mean, self.live):
            t = p.clone()
            p.copy_(m)
            m.copy_(t)


def save(path, state):
    """Whole or not at all: a killed run never leaves half a checkpoint."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def load(path):
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def set_lr(optimisers, lr, step, warmup, factor):
    for g in (g for o in optimisers for g in o.param_groups):
        g["lr"] = lr * min(1.0, (step + 1) / warmup) * factor

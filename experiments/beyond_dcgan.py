"""What in DCGAN is still right? One change after another, in equal seconds, on avatars.

    python -m experiments.beyond_dcgan --cost
    python -m experiments.beyond_dcgan --seeds 0 1 2

The first measures how long a step of each network takes, all taking turns in one process;
from this follows how many steps each has in the time of STEPS steps of DCGAN. The second
adds the runs that are missing: each is scored POINTS times on its way. Progressive
growing has its smaller images for SHARES of the time.
"""

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from experiments.bench import take_turns
from experiments.common import (
    begin,
    distance,
    over_seeds,
    parser,
    read_images,
    score_generator,
    write_images,
    write_result,
)
from ganlib import accelerate
from ganlib.config import Config, pick_device, replace
from ganlib.data import load
from ganlib.data.transforms import normalize
from ganlib.models import (
    DCGANDiscriminator,
    DCGANGenerator,
    ResidualDiscriminator,
    ResidualGenerator,
    ResizeConvDiscriminator,
    ResizeConvGenerator,
    init_weights,
)
from ganlib.progressive import ProgressiveDiscriminator, ProgressiveGenerator, grow
from ganlib.recipes import recipe
from ganlib.sampling import sample_pixels
from ganlib.training import Sampler, TrainState, new_state, train_step
from ganlib.transfer import batches_of_passes

NAME = "beyond_dcgan"
STEPS = 4_000  # of DCGAN, in each run's time
POINTS = 8  # scores on the way
CURVE = 5_000  # images behind each of them
SHOWN = 16
PROGRESSIVE = "progressive growing"
SHARES = 0.1, 0.15, 0.25, 0.5  # of the time, for 8x8, 16x16, 32x32 and 64x64
# Radford's Adam, no penalty; the config's own networks are replaced below.
BASE = recipe(
    "avatars",
    epochs=POINTS,
    base_channels=16,
    learning_rate_g=2e-4,
    learning_rate_d=2e-4,
    beta1=0.5,
    beta2=0.999,
    r1_weight=0.0,
    bfloat16=False,
)
ADAM = {
    "learning_rate_g": 3e-4,
    "learning_rate_d": 3e-4,
    "beta1": 0.0,
    "beta2": 0.99,
}
R1 = {"r1_weight": 0.5}
PAIRS = {"loss": "relativistic", "r1_weight": 0.5, "r2_weight": 0.5}
no_stddev = partial(ResizeConvDiscriminator, minibatch_stddev=False)
# Each rung is the one before with one change, but for the last, which grows the fourth.
RUNGS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "DCGAN": (DCGANGenerator, DCGANDiscriminator, {}),
    "D without BatchNorm, R1": (DCGANGenerator, no_stddev, R1),
    "Adam (0, 0.99)": (DCGANGenerator, no_stddev, {**R1, **ADAM}),
    "resize convolution": (ResizeConvGenerator, no_stddev, {**R1, **ADAM}),
    "residual blocks": (
        ResidualGenerator,
        partial(ResidualDiscriminator, minibatch_stddev=False),
        {**R1, **ADAM},
    ),
    "pairs, R1 + R2": (
        ResidualGenerator,
        partial(ResidualDiscriminator, minibatch_stddev=False),
        {**PAIRS, **ADAM},
    ),
    "minibatch deviation": (
        ResidualGenerator,
        ResidualDiscriminator,
        {**PAIRS, **ADAM},
    ),
    PROGRESSIVE: (
        ProgressiveGenerator,
        partial(ProgressiveDiscriminator, minibatch_stddev=False),
        {**R1, **ADAM},
    ),
}
STAGES = len(SHARES)


def networks(rung: str, config: Config) -> tuple[nn.Module, nn.Module]:
    """G and D of a rung."""
    generator, discriminator, _ = RUNGS[rung]
    G = generator(config.latent_dim, config.base_channels, config.image_shape)
    D = discriminator(config.base_channels, config.image_shape)
    for network in (G, D):
        if isinstance(network, DCGANGenerator | DCGANDiscriminator):
            init_weights(network)
    return G, D


def state_of(rung: str, seed: int, device: torch.device) -> TrainState:
    """A run of a rung before its first step."""
    config = replace(BASE, seed=seed, **RUNGS[rung][2])
    return new_state(config, device, networks=partial(networks, rung))


def smaller(pixels: Tensor, stage: int) -> Tensor:
    """Bytes (N, C, 64, 64) -> their means over squares, (N, C, S, S), 8x8 at stage 1."""
    factor = 2 ** (STAGES - stage)
    return avg_pool2d(pixels.float(), factor).round().to(torch.uint8)


def grow_all(state: TrainState, stage: int, fade: float) -> None:
    """Let G, its average and D grow to a stage."""
    for network in (state.G, state.D, state.G_ema):
        grow(network, stage, fade)  # type: ignore[arg-type]


def growing_turn(first: int, steps: int) -> Callable[[TrainState, Tensor], Tensor]:
    """`train_step` that fades the newest size in during half of `steps`, from `first` on."""

    def turn(state: TrainState, real: Tensor) -> Tensor:
        stage = state.G.stage
        fade = 1.0 if stage == 1 else min(1.0, 2 * (state.step - first) / steps)
        grow_all(state, stage, fade)
        return train_step(state, real)

    return turn


def parts(rung: str, seconds: float, cost: dict[str, float]) -> list[tuple[int, int]]:
    """(stage, steps) of the POINTS parts of a run that takes `seconds`.

    Parts have equal seconds, not steps; a part belongs to the stage of its middle.
    """
    made = []
    for part in range(POINTS):
        stage = STAGES
        if rung == PROGRESSIVE:
            ends = itertools.accumulate(SHARES)
            stage = 1 + sum(end <= (part + 0.5) / POINTS for end in list(ends)[:-1])
        made.append((stage, round(seconds / POINTS / cost[cost_key(rung, stage)])))
    return made


def cost_key(rung: str, stage: int) -> str:
    return f"{rung}, {8 << (stage - 1)}" if rung == PROGRESSIVE else rung


def costs(pixels: Tensor, device: torch.device) -> dict[str, float]:
    """Seconds of a step of each rung, and of each size that progressive growing has."""
    loops = {}
    for rung in RUNGS:
        for stage in range(1 if rung == PROGRESSIVE else STAGES, STAGES + 1):
            loops[cost_key(rung, stage)] = loop(rung, stage, pixels, device)
    rates = take_turns(loops)
    batch = BASE.batch_size
    return {name: batch / sorted(got)[len(got) // 2] for name, got in rates.items()}


def loop(
    rung: str, stage: int, pixels: Tensor, device: torch.device
) -> Callable[[], float]:
    """A function that takes eight more steps and gives images/s."""
    state = state_of(rung, 0, device)
    if rung == PROGRESSIVE:
        grow_all(state, stage, 1.0)
    small = smaller(pixels[: 8 * BASE.batch_size], stage)
    state.config = replace(state.config, image_size=small.shape[-1], epochs=100_000)
    epochs = accelerate.fit(state, small)

    def rate() -> float:
        started = time.perf_counter()
        next(epochs)
        return len(small) / (time.perf_counter() - started)

    return rate


class Enlarged(nn.Module):
    """A generator whose images are enlarged to 64x64 by repeated pixels."""

    def __init__(self, G: nn.Module) -> None:
        super().__init__()
        self.G = G

    def forward(self, z: Tensor) -> Tensor:
        return interpolate(self.G(z), size=BASE.image_size)


def alternating_power(pixels: Tensor) -> float:
    """Power of the pixel-alternating frequency over the mean of its 80 neighbours.

    Of bytes (N, C, H, W); 1 where there is no checkerboard.
    """
    images = normalize(pixels)
    centred = images - images.mean(dim=(2, 3), keepdim=True)
    power = torch.fft.fft2(centred).abs().square().mean(dim=(0, 1))
    row, column = (side // 2 for side in power.shape)
    around = power[row - 4 : row + 5, column - 4 : column + 5]
    own = power[row, column]
    return (80 * own / (around.sum() - own)).item()


def run(
    rung: str,
    seed: int,
    *,
    pixels: Tensor,
    cost: dict[str, float],
    device: torch.device,
    images: dict[str, Tensor],
) -> dict[str, Any]:
    """One run -> its curve and its scores; pictures of seed 0 go into `images`."""
    state = state_of(rung, seed, device)
    seconds = STEPS * cost["DCGAN"]
    planned = parts(rung, seconds, cost)
    curve = []
    for part, (stage, steps) in enumerate(planned, start=1):
        small = pixels if stage == STAGES else smaller(pixels, stage)
        state.config = replace(state.config, image_size=small.shape[-1], epochs=part)
        turn = train_step
        if rung == PROGRESSIVE:
            grow_all(state, stage, 1.0)
            of_stage = [place for place, one in enumerate(planned) if one[0] == stage]
            total = steps * len(of_stage)
            begun = state.step - steps * (part - 1 - of_stage[0])
            turn = growing_turn(begun, total)
        for _ in accelerate.fit(state, small, turn=turn, sampler=sampler_of(steps)):
            pass
        G = Enlarged(state.sampling_generator)
        point = {"seconds": seconds * part / POINTS, "steps": state.step}
        curve.append({**point, "frechet": distance(G, BASE, count=CURVE)})
    samples = sample_pixels(G, BASE.latent_dim, count=2_000, seed=1)
    if seed == 0:
        images[rung] = samples[:SHOWN]
    return {
        "curve": curve,
        "alternating_power": alternating_power(samples),
        "scores": score_generator(G, BASE),
    }


def sampler_of(steps: int) -> Sampler:
    """Batches for so many steps, over as many random orders as they take."""
    return lambda *about: batches_of_passes(*about, steps)[:steps]


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("--cost", action="store_true", help="measure the time of a step")
    made.add_argument("--rungs", nargs="*", default=list(RUNGS), choices=list(RUNGS))
    made.add_argument("--device", help="default: the best that there is")
    options = made.parse_args()
    torch.set_num_threads(1)
    device = pick_device(options.device)
    pixels = load("avatars").pixels
    changes = {name: rung[2] for name, rung in RUNGS.items()}
    facts = {"config": vars(BASE), "changes": changes, "budget": STEPS}
    facts["device"] = device.type
    result = begin(NAME, facts, out=options.out, fresh=options.fresh or options.cost)
    if options.cost:
        result["cost"] = costs(pixels, device)
        write_result(NAME, result, options.out)
        return
    images = read_images(NAME, options.out)
    for rung in options.rungs:
        one = partial(
            run, rung, pixels=pixels, cost=result["cost"], device=device, images=images
        )
        over_seeds(NAME, result, options.seeds, one, out=options.out, rung=rung)
        write_images(NAME, images, options.out)
        print(rung, result["runs"][-1], flush=True)


if __name__ == "__main__":
    main()

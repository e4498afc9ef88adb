"""What in DCGAN is still right? One change after another, in equal seconds, on avatars.

    python -m experiments.beyond_dcgan --cost
    python -m experiments.beyond_dcgan --seeds 0 1 2

The first measures, in turns and on one thread, what a step of each network takes in
seconds of the processor, and how real images compare with real ones. From the cost
follows how many steps each rung has in its SECONDS. The second adds the runs that are
missing: each is measured POINTS times on its way. Seven rungs have images of 32x32, the
means over squares of 2x2; progressive growing and its rival have those of 64x64.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from experiments.bench import take_turns
from experiments.common import (
    COUNT,
    begin,
    over_seeds,
    parser,
    read_images,
    reduced,
    references,
    write_images,
    write_result,
)
from experiments.diffusion import seconds_of
from ganlib import accelerate
from ganlib.config import Config, replace
from ganlib.data import load
from ganlib.data.transforms import normalize
from ganlib.metrics import (
    extract_features,
    frechet_distance,
    precision_recall_density_coverage,
)
from ganlib.models import (
    DCGANDiscriminator,
    DCGANGenerator,
    ResidualBlock,
    ResidualDiscriminator,
    ResidualGenerator,
    ResizeConvDiscriminator,
    ResizeConvGenerator,
    init_weights,
)
from ganlib.progressive import ProgressiveDiscriminator, ProgressiveGenerator, grow
from ganlib.recipes import recipe
from ganlib.sampling import pixels_of, sample_noise, sample_pixels
from ganlib.training import R1_INTERVAL, Sampler, TrainState, new_state, train_step
from ganlib.transfer import batches_of_passes

NAME = "beyond_dcgan"
WIDTHS = {32: 16, 64: 8}  # base_channels by image size
SECONDS = {32: 60, 64: 90}  # of one thread, by image size
POINTS = 6  # measurements of a run, after equal seconds
CURVE = 2_000  # images behind each but the last, which has COUNT
NEIGHBOURS = 5_000  # images on either side of precision, recall and coverage
SHOWN = 8
PROGRESSIVE = "progressive growing"
GROWTH = 8, 16, 32, 64, 64, 64  # its image size in each part of a run
FADES = 0.0, 0.25, 0.5, 0.75, 1.0  # in the picture of fading in
# Radford's betas, no penalty; the config's own networks are replaced below. Of the rates
# tried, on seed 0, this one suits DCGAN too: after 384 steps 198, and 616 with 2e-4.
BASE = recipe(
    "avatars",
    epochs=POINTS,
    learning_rate_g=1e-3,
    learning_rate_d=1e-3,
    beta1=0.5,
    beta2=0.999,
    r1_weight=0.0,
    bfloat16=False,
)
R1 = {"r1_weight": 0.5}
ADAM = {**R1, "beta1": 0.0, "beta2": 0.99}
PAIRS = {**ADAM, "loss": "relativistic", "r2_weight": 0.5}
plain_d = partial(ResizeConvDiscriminator, minibatch_stddev=False)
residual_d = partial(ResidualDiscriminator, minibatch_stddev=False)
growing_d = partial(ProgressiveDiscriminator, minibatch_stddev=False)
# Image size, G, D, and changes of BASE; of 32x32 each is the one before and one change.
RUNGS: dict[str, tuple[int, Any, Any, dict[str, Any]]] = {
    "DCGAN": (32, DCGANGenerator, DCGANDiscriminator, {}),
    "D without BatchNorm, R1": (32, DCGANGenerator, plain_d, R1),
    "Adam (0, 0.99)": (32, DCGANGenerator, plain_d, ADAM),
    "resize convolution": (32, ResizeConvGenerator, plain_d, ADAM),
    "residual blocks": (32, ResidualGenerator, residual_d, ADAM),
    "pairs, R1 + R2": (32, ResidualGenerator, residual_d, PAIRS),
    "minibatch deviation": (32, ResidualGenerator, ResidualDiscriminator, PAIRS),
    "direct training": (64, ResizeConvGenerator, plain_d, ADAM),
    PROGRESSIVE: (64, ProgressiveGenerator, growing_d, ADAM),
}


def state_of(rung: str, seed: int) -> TrainState:
    """A run of a rung before its first step."""
    size, _, _, changes = RUNGS[rung]
    about = {"seed": seed, "image_size": size, "base_channels": WIDTHS[size]}
    config = replace(BASE, **about, **changes)
    return new_state(config, networks=partial(networks, rung))


def networks(rung: str, config: Config) -> tuple[nn.Module, nn.Module]:
    """G and D of a rung."""
    _, generator, discriminator, _ = RUNGS[rung]
    G = generator(config.latent_dim, config.base_channels, config.image_shape)
    D = discriminator(config.base_channels, config.image_shape)
    for network in (G, D):
        if isinstance(network, DCGANGenerator | DCGANDiscriminator):
            init_weights(network)
        for layer in network.modules():  # from zero they need more steps than there are
            if isinstance(layer, ResidualBlock):
                layer.added[-1].reset_parameters()  # type: ignore[operator]
    return G, D


def grow_all(state: TrainState, side: int, fade: float) -> None:
    """Let G, its average and D grow to images of a side of 8, 16, 32 or 64."""
    for network in (state.G, state.D, state.G_ema):
        grow(network, side.bit_length() - 3, fade)  # type: ignore[arg-type]


def growing_turn(side: int, steps: int) -> Callable[[TrainState, Tensor], Tensor]:
    """`train_step` that fades a size in during the first half of its `steps`."""

    def turn(state: TrainState, real: Tensor) -> Tensor:
        fade = min(1.0, 2 * state.step / steps)
        grow_all(state, side, 1.0 if side == GROWTH[0] else fade)
        return train_step(state, real)

    return turn


def sampler_of(steps: int) -> Sampler:
    """Batches for so many steps, over as many random orders as they take."""
    return lambda *about: batches_of_passes(*about, steps)[:steps]


# Cost


def sides_of(rung: str) -> tuple[int, ...]:
    """The side of the images in each of the POINTS parts of a run."""
    return GROWTH if rung == PROGRESSIVE else (RUNGS[rung][0],) * POINTS


def steps_of(rung: str, cost: dict[str, float]) -> list[int]:
    """The steps of each part of a run, all parts of equal seconds."""
    seconds = SECONDS[RUNGS[rung][0]] / POINTS
    return [round(seconds / cost[f"{rung}, {side}"]) for side in sides_of(rung)]


def costs(pixels: Tensor) -> dict[str, float]:
    """Seconds of a step of each rung at each of its sizes; a new size is half faded in."""
    loops = {}
    for rung in RUNGS:
        for side in sorted(set(sides_of(rung))):
            state = state_of(rung, seed=0)
            if rung == PROGRESSIVE:
                grow_all(state, side, 1.0 if side == GROWTH[0] else 0.5)
            state.config = replace(state.config, image_size=side, epochs=100)
            small = reduced(pixels[: R1_INTERVAL * BASE.batch_size], side)
            epochs = accelerate.fit(state, small)
            loops[f"{rung}, {side}"] = seconds_of(partial(next, epochs), R1_INTERVAL)
    turns = take_turns(loops)
    return {name: sorted(turn)[len(turn) // 2] for name, turn in turns.items()}


# Scores


def features_of(pixels: Tensor) -> Tensor:
    """Features (N, F) of images that are enlarged to 64x64 by repeated pixels."""
    feature_extractor, _ = references("avatars", BASE.image_size)
    return extract_features(feature_extractor, interpolate(pixels, BASE.image_size))


@cache
def real_features(size: int) -> Tensor:
    """Features (N, F) of the test images, reduced to a size and enlarged again."""
    _, real = references("avatars", BASE.image_size)
    return features_of(reduced(real, size))


def scores_of(pixels: Tensor, size: int) -> dict[str, Any]:
    """What is measured of images, bytes (COUNT, C, S, S), against the test images.

    Those of `ganlib.metrics.score` that the page shows, and the alternating power.
    """
    feature_extractor, _ = references("avatars", BASE.image_size)
    real, fake = real_features(size), features_of(pixels)
    covered, _ = feature_extractor.class_coverage(real, fake)
    return {
        "frechet": frechet_distance(real, fake),
        **precision_recall_density_coverage(real[:NEIGHBOURS], fake[:NEIGHBOURS]),
        "covered": covered,
        "alternating_power": alternating_power(pixels),
    }


def alternating_power(pixels: Tensor) -> float:
    """Power of the pixel-alternating frequency over the mean of its 80 neighbours.

    Of bytes (N, C, H, W); about 1 or less where there is no checkerboard.
    """
    images = normalize(pixels[:CURVE])
    centred = images - images.mean(dim=(2, 3), keepdim=True)
    power = torch.fft.fft2(centred).abs().square().mean(dim=(0, 1))
    row, column = (side // 2 for side in power.shape)
    around = power[row - 4 : row + 5, column - 4 : column + 5]
    own = power[row, column]
    return (80 * own / (around.sum() - own)).item()


# Runs


def run(
    rung: str,
    seed: int,
    *,
    pixels: Tensor,
    cost: dict[str, float],
    images: dict[str, Tensor],
) -> dict[str, Any]:
    """One run -> its curve and its scores; pictures of seed 0 go into `images`."""
    size = RUNGS[rung][0]
    state = state_of(rung, seed)
    sides, steps = sides_of(rung), steps_of(rung, cost)
    curve, used = [], 0.0
    for part, side in enumerate(sides):
        state.config = replace(state.config, image_size=side, epochs=part + 1)
        turn: Any = train_step
        if rung == PROGRESSIVE:
            first, count = sides.index(side), sides.count(side)
            turn = growing_turn(side, sum(steps[first : first + count]))
            # The average is to forget the first weights of new layers.
            if part == first:
                state.step, state.measured_at = 0, -1
        small, sampler = reduced(pixels, side), sampler_of(steps[part])
        started = time.process_time()
        for _ in accelerate.fit(state, small, turn=turn, sampler=sampler):
            pass
        used += time.process_time() - started
        last = part == POINTS - 1
        samples = sample_pixels(
            state.sampling_generator, BASE.latent_dim, count=COUNT if last else CURVE
        )
        distance = frechet_distance(real_features(size), features_of(samples))
        seconds = SECONDS[size] * (part + 1) / POINTS
        point = {"seconds": seconds, "steps": sum(steps[: part + 1])}
        point["frechet"] = distance
        curve.append({**point, "side": side, "images": state.history[-1].images_seen})
        if seed == 0 and rung == PROGRESSIVE and 0 < state.G.fade < 1:
            images["fading in"] = fading_in(state)
        if seed == 0:
            images[f"{rung}, {part}" if side < size else rung] = samples[:SHOWN]
    scores = scores_of(samples, size)
    changes = RUNGS[rung][3]
    return {"changes": changes, "curve": curve, "cpu_seconds": used, "scores": scores}


def fading_in(state: TrainState) -> Tensor:
    """The same faces with the newest size at each of FADES, bytes (5, 4, C, S, S)."""
    G, z = state.sampling_generator, sample_noise(4, BASE.latent_dim, seed=0)
    made = []
    for fade in FADES:
        grow(G, G.stage, fade)  # type: ignore[arg-type]
        made.append(pixels_of(G, z))
    grow(G, G.stage, state.G.fade)  # type: ignore[arg-type]
    return torch.stack(made)


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("--cost", action="store_true", help="measure the time of a step")
    made.add_argument("--rungs", nargs="*", default=list(RUNGS), choices=list(RUNGS))
    options = made.parse_args()
    torch.set_num_threads(1)
    pixels = load("avatars").pixels
    facts = {"config": vars(BASE), "budget": SECONDS, "widths": WIDTHS}
    result = begin(NAME, facts, out=options.out, fresh=options.fresh or options.cost)
    if options.cost:
        result["cost"] = costs(pixels)
        result["floor"] = {
            size: scores_of(reduced(pixels[:COUNT], size), size) for size in SECONDS
        }
        write_result(NAME, result, options.out)
        return
    images = read_images(NAME, options.out)
    about = {"pixels": pixels, "cost": result["cost"], "images": images}
    for seed in options.seeds:
        for rung in options.rungs:
            one = partial(run, rung, **about)
            over_seeds(NAME, result, [seed], one, out=options.out, rung=rung)
            write_images(NAME, images, options.out)
            print(rung, result["runs"][-1], flush=True)


if __name__ == "__main__":
    main()

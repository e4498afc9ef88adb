"""Runs in which one thing is wrong, beside healthy ones and mended ones.

    python -m experiments.failures --seeds 0 1 2 3 4 --healthy 32
    python -m experiments.failures --judge

Recipe mnist for 600 steps, written down every 100, on batches from all of MNIST. For each
run: its history, the scores of its images against the test images, what the doctor
measures on them (`ganlib.metrics.doctor`), and of seed 0 SHOWN pictures beside the result.
Two faults are made in sampling, from the healthy run of the same seed.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from experiments.common import (
    begin,
    parser,
    read_images,
    references,
    write_images,
    write_result,
)
from ganlib.config import replace
from ganlib.data import load
from ganlib.data.transforms import normalize
from ganlib.losses import discriminator_loss, generator_loss
from ganlib.metrics import extract_features, nearest_neighbour, score, subsample
from ganlib.metrics.doctor import (
    confusion,
    judgement,
    judging,
    sample_measures,
    statistics_shift,
)
from ganlib.recipes import recipe
from ganlib.results import load_result
from ganlib.sampling import pixels_of, sample_noise
from ganlib.training import (
    TrainState,
    Turn,
    discriminator_step,
    fit,
    frozen,
    generator_step,
    new_state,
    train_step,
)

NAME = "failures"
RECORDS = 6
STEPS = 100  # in a record
LONG_RECORDS = 18  # until images are known by heart
HEALTHY = recipe("mnist", epochs=RECORDS)
COUNT = 2_000  # images behind each score
HEAD_START = 600  # steps
KNOWN = 100  # images that are to be learned by heart
SHOWN = 16


def summed_up(losses: list[Tensor], logits: list[Tensor]) -> Tensor:
    """The five numbers of `train_step`."""
    return torch.stack([*losses, *(one.detach().sigmoid().mean() for one in logits)])


def noise_for(state: TrainState, real: Tensor) -> Tensor:
    return torch.randn(len(real), state.config.latent_dim)


def unscaled_turn(state: TrainState, real: Tensor) -> Tensor:
    """Real images in 0..1, while G draws in -1..1."""
    return train_step(state, (real + 1) / 2)


def swapped_loss(fake_logits: Tensor) -> Tensor:
    """G asks D to call its images generated."""
    return binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def swapped_turn(state: TrainState, real: Tensor) -> Tensor:
    """Labels swapped in G's turn."""
    G, D = state.G, state.D
    loss = partial(discriminator_loss, real_label=state.config.real_label)
    d_loss, real_logits, before = discriminator_step(
        G, D, state.optimizer_d, real, noise_for(state, real), loss=loss
    )
    z = noise_for(state, real)
    g_loss, after = generator_step(G, D, state.optimizer_g, z, loss=swapped_loss)
    return summed_up([d_loss, g_loss], [real_logits, before, after])


def careless_turn(state: TrainState, real: Tensor) -> Tensor:
    """No detach in D's turn, D not frozen in G's, and no zero_grad anywhere."""
    G, D, real_label = state.G, state.D, state.config.real_label
    real_logits, before = D(real), D(G(noise_for(state, real)))
    d_loss = discriminator_loss(real_logits, before, real_label=real_label)
    d_loss.backward()
    state.optimizer_d.step()
    after = D(G(noise_for(state, real)))
    g_loss = generator_loss(after)
    g_loss.backward()
    state.optimizer_g.step()
    losses = [d_loss.detach(), g_loss.detach()]
    return summed_up(losses, [real_logits, before, after])


def mixed_turn(state: TrainState, real: Tensor) -> Tensor:
    """Real and generated images in one batch of D, as BatchNorm should not see them.

    G's turn has none but generated images in its batch.
    """
    G, D, real_label = state.G, state.D, state.config.real_label
    with torch.no_grad():
        fake = G(noise_for(state, real))
    real_logits, before = D(torch.cat([real, fake])).chunk(2)
    d_loss = discriminator_loss(real_logits, before, real_label=real_label)
    state.optimizer_d.zero_grad()
    d_loss.backward()
    state.optimizer_d.step()
    with frozen(D):
        after = D(G(noise_for(state, real)))
        g_loss = generator_loss(after)
        state.optimizer_g.zero_grad()
        g_loss.backward()
    state.optimizer_g.step()
    losses = [d_loss.detach(), g_loss.detach()]
    return summed_up(losses, [real_logits, before, after])


class BatchNormDiscriminator(nn.Sequential):
    """Images (N, 1, 28, 28) in -1..1 -> logits (N,); BatchNorm after each layer."""

    def __init__(self, hidden_dim: int = 256) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(784, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_dim, 1),
            nn.Flatten(0),
        )


def with_sigmoid(state: TrainState) -> None:
    """D ends in a sigmoid, and the loss takes another."""
    state.D = nn.Sequential(state.D, nn.Sigmoid())


def with_batchnorm(state: TrainState) -> None:
    """D has BatchNorm."""
    config = state.config
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        state.D = BatchNormDiscriminator(config.hidden_dim)
    betas = (config.beta1, config.beta2)
    state.optimizer_d = torch.optim.Adam(
        state.D.parameters(), lr=config.learning_rate_d, betas=betas, fused=True
    )


def head_start(state: TrainState) -> None:
    """D learns alone for HEAD_START steps, against an untrained G."""
    config = state.config
    loss = partial(discriminator_loss, real_label=config.real_label)
    pixels = load("mnist", fallback=False).pixels
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        for _ in range(HEAD_START):
            batch = torch.randint(len(pixels), (config.batch_size,))
            real = normalize(pixels[batch])
            z = noise_for(state, real)
            discriminator_step(state.G, state.D, state.optimizer_d, real, z, loss=loss)


class Case(NamedTuple):
    """What differs from the healthy run."""

    changes: Mapping[str, Any] = MappingProxyType({})
    turn: Turn = train_step
    rebuild: Callable[[TrainState], None] | None = None
    images: int | None = None  # of MNIST; None: all


UNHELD = {"r1_weight": 0.0, "real_label": 1.0}  # nothing holds D back
CASES = {
    "healthy": Case(),
    "D wins": Case({"learning_rate_g": HEALTHY.learning_rate_g / 100}),
    "D's rate too high": Case({**UNHELD, "learning_rate_d": 2e-2}),
    "D too slow": Case({"learning_rate_d": HEALTHY.learning_rate_d / 20}),
    "saturating loss": Case({**UNHELD, "loss": "saturating"}, rebuild=head_start),
    "beta1 0.9": Case({"beta1": 0.9}),
    "data in 0..1": Case(turn=unscaled_turn),
    "labels swapped": Case(turn=swapped_turn),
    "sigmoid twice": Case(rebuild=with_sigmoid),
    "no detach, no zero_grad": Case({"r1_weight": 0.0}, careless_turn),
    "noise of one number": Case({"latent_dim": 1}),
    "BatchNorm over a mixed batch": Case(
        {"r1_weight": 0.0}, mixed_turn, with_batchnorm
    ),
    "100 images": Case({"epochs": LONG_RECORDS}, images=KNOWN),
}
SAMPLING_FAULTS = "noise from rand", "foreign BatchNorm statistics"
# Where the mend is not the whole healthy recipe.
MENDED = {
    "saturating loss": Case(UNHELD, rebuild=head_start),
    "100 images": Case({"epochs": LONG_RECORDS}),
    "BatchNorm over a mixed batch": Case({"r1_weight": 0.0}, rebuild=with_batchnorm),
}

# Faults at other strengths, one run each, on which nothing of the doctor was set.
DOSE_SEED = 5
DOSES = {
    "D wins": Case({"learning_rate_g": HEALTHY.learning_rate_g / 50}),
    "D's rate too high": Case({**UNHELD, "learning_rate_d": 1e-2}),
    "D too slow": Case({"learning_rate_d": HEALTHY.learning_rate_d / 10}),
    "beta1 0.9": Case({"beta1": 0.8}),
    "noise of one number": Case({"latent_dim": 2}),
}


def short_epoch(count: int, batch_size: int, device: torch.device) -> list[Tensor]:
    """STEPS batches, each of other images; all of them again where they are few."""
    if count <= batch_size:
        return [torch.randperm(count)] * STEPS
    return list(torch.randperm(count)[: STEPS * batch_size].split(batch_size))


@torch.no_grad()
def known_by_heart(pixels: Tensor, known: Tensor) -> float:
    """Median distance to the nearest of `known`, over that to as many unseen images.

    Bytes (N, 1, 28, 28) and (M, 1, 28, 28); in features: 1 where nothing is known by
    heart, near 0 for copies.
    """
    extractor, real = references("mnist", 28)
    fake = extract_features(extractor, pixels)
    medians = [
        nearest_neighbour(fake, extract_features(extractor, images))[0].median().item()
        for images in (known, subsample(real, len(known)))
    ]
    return medians[0] / medians[1]


def measured(pixels: Tensor, G: nn.Module, latent_dim: int) -> dict[str, Any]:
    """Scores of images, bytes (COUNT, 1, 28, 28), and what the doctor sees in them."""
    extractor, real = references("mnist", 28)
    names = ("frechet", "precision", "recall", "coverage", "classes", "kl")
    scores = score(extractor, subsample(real, COUNT), pixels)._asdict()
    return {
        "scores": {name: scores[name] for name in names},
        "samples": {
            **sample_measures(pixels),
            "statistics_shift": statistics_shift(G, latent_dim),
        },
    }


def make(kind: str, name: str, seed: int) -> Iterator[dict[str, Any]]:
    """One run -> what is stored of it, and its pictures (SHOWN, 1, 28, 28) as bytes.

    After a healthy run of the first seeds the faults of sampling follow.
    """
    case = {"mended": MENDED, "dose": DOSES}.get(kind, CASES)[name]
    state = new_state(replace(HEALTHY, seed=seed, **case.changes))
    if case.rebuild is not None:
        case.rebuild(state)
    training = load("mnist", fallback=False).pixels
    for record in fit(
        state, training[: case.images], turn=case.turn, sampler=short_epoch
    ):
        last = record
    G, latent_dim = state.sampling_generator, state.config.latent_dim
    z = sample_noise(COUNT, latent_dim, seed=seed)
    about = {"kind": kind, "seed": seed, "history": state.history}
    pixels = pixels_of(G, z)
    one = {"case": name, **about, **measured(pixels, G, latent_dim)}
    if name == "100 images" or (name == "healthy" and seed < 5):
        one["known_by_heart"] = known_by_heart(pixels, training[:KNOWN])
    print(kind, name, seed, [round(value, 2) for value in last[:6]], one, flush=True)
    yield {**one, "images": pixels[:SHOWN]}
    if name != "healthy" or seed >= 5:
        return
    uniform = torch.rand(COUNT, latent_dim, generator=torch.Generator().manual_seed(1))
    foreign = deepcopy(G)
    foreign.load_state_dict(
        {**dict(state.G.named_buffers()), **dict(G.named_parameters())}
    )
    about["kind"] = "fault"
    for fault, network, noise in (
        (SAMPLING_FAULTS[0], G, uniform),
        (SAMPLING_FAULTS[1], foreign, z),
    ):
        pixels = pixels_of(network, noise)
        one = {"case": fault, **about, **measured(pixels, network, latent_dim)}
        print(fault, seed, one["scores"], one["samples"], flush=True)
        yield {**one, "images": pixels[:SHOWN]}


def work(job: tuple[str, str, int]) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    return list(make(*job))


def judge(runs: list[dict[str, Any]]) -> None:
    """Print what the doctor says of the runs on which it was not set."""
    doses = [run for run in runs if run["kind"] == "dose"]
    for name, some in (("new seeds", judging(runs)), ("other strengths", doses)):
        for with_samples in (True, False):
            pairs = confusion(some, with_samples=with_samples)
            print(name, "with samples" if with_samples else "history alone")
            for (truth, said), count in sorted(pairs.items()):
                print(f"{count:4}  {truth:28}  {said}")
            print(judgement(pairs), flush=True)


def main() -> None:
    made = parser(__doc__, seeds=5, resumes=True)
    made.add_argument("--healthy", type=int, default=32, metavar="N")
    made.add_argument(
        "--only", nargs="+", metavar="CASE", help="with --fresh: forget these alone"
    )
    made.add_argument("--workers", type=int, default=2)
    made.add_argument(
        "--judge", action="store_true", help="hold the doctor against the stored runs"
    )
    options = made.parse_args()
    if options.judge:
        judge(load_result(NAME)["runs"])
        return
    torch.set_num_threads(1)
    facts = {"config": vars(HEALTHY), "steps": STEPS, "count": COUNT}
    all_anew = options.fresh and not options.only
    result = begin(NAME, facts, out=options.out, fresh=all_anew)
    if options.fresh and options.only:
        result["runs"] = [
            run for run in result["runs"] if run["case"] not in options.only
        ]
    images = read_images(NAME, options.out)
    _, real = references("mnist", 28)
    result["real"] = sample_measures(subsample(real, COUNT))
    have = {(one["kind"], one["case"], one["seed"]) for one in result["runs"]}
    jobs = [
        (kind, name, seed)
        for seed in options.seeds
        for kind, cases in (("fault", CASES), ("mended", MENDED))
        for name in cases
        if name != "healthy"
    ]
    jobs += [("dose", name, DOSE_SEED) for name in DOSES]
    jobs += [("healthy", "healthy", seed) for seed in range(options.healthy)]
    jobs = [job for job in jobs if job not in have]
    if options.only:
        jobs = [job for job in jobs if job[1] in options.only]
    with ProcessPoolExecutor(options.workers) as pool:
        for runs in pool.map(work, jobs):
            for run in runs:
                pictures = run.pop("images")
                if run["seed"] == 0:
                    images[f"{run['kind']} {run['case']}"] = pictures
                result["runs"].append(run)
            write_images(NAME, images, options.out)
            write_result(NAME, result, options.out)


if __name__ == "__main__":
    main()

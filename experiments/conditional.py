"""Asked for a class, does G draw it? Two ways for D to take labels, and none.

    python -m experiments.conditional mnist concatenation --seeds 1 2 3 4 5
    python -m experiments.conditional fashion-mnist concatenation --seeds 1 2 3
    python -m experiments.conditional mnist projection --seeds 1 2 3
    python -m experiments.conditional mnist withheld --seeds 1 2 3 --epochs 5
    python -m experiments.conditional mnist --seeds 1 2 3 --epochs 3 --short
    python -m experiments.conditional mnist --cost

"withheld" is concatenation with a D that is told nothing. The result holds for each run
the share of requests that the classifier confirms, by epoch and by class, and scores of
all images and of each class. With --short all three kinds learn from a third of the
images, and only the share by epoch is measured. --cost measures how long a step takes,
without labels and with D taking them in either way, in turns and in seconds of the
processor.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from experiments.bench import take_turns
from experiments.common import (
    begin,
    over_seeds,
    parser,
    references,
    write_result,
)
from ganlib.config import Config, replace
from ganlib.data import Images, load
from ganlib.metrics import (
    class_accuracy,
    extract_features,
    frechet_distance,
    load_classifier,
    precision_recall_density_coverage,
    score,
)
from ganlib.recipes import recipe
from ganlib.sampling import conditions_of, labels_in_turn, pixels_of, sample_inputs
from ganlib.training import TrainState, fit, new_state

COUNT = 10_000  # images behind each score, as many of each class
SHORT = 20_000  # images to learn from in a short run
SOME = 1_000  # behind the share that is confirmed after an epoch
NAME = "conditional"


class Withheld(nn.Module):
    """A conditional D that is told nothing: each condition becomes zeros."""

    def __init__(self, D: nn.Module) -> None:
        super().__init__()
        self.D = D

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        return self.D(images, torch.zeros_like(condition))


def start(config: Config, kind: str) -> TrainState:
    """A run before its first step, with the D of that kind."""
    if kind != "withheld":
        return new_state(replace(config, label_input=kind))
    state = new_state(config)
    state.D = Withheld(state.D)
    return state


def draw(state: TrainState, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of all classes in turn, bytes (count, 1, 28, 28), and their labels."""
    config = state.config
    z = sample_inputs(count, config.latent_dim, seed=seed, classes=config.classes)
    pixels = pixels_of(state.sampling_generator, z)
    return pixels, labels_in_turn(count, config.classes)


def within_classes(
    dataset: str, generated: Tensor, labels: Tensor
) -> list[dict[str, float]]:
    """Fréchet distance, precision and recall within each class, against test images."""
    classifier = load_classifier(dataset)
    real = load(dataset, train=False, fallback=False)
    features = extract_features(classifier, real.pixels)
    fake_features = extract_features(classifier, generated)
    rows = []
    for label in range(len(real.classes)):
        pair = features[real.labels == label], fake_features[labels == label]
        shares = precision_recall_density_coverage(*pair)
        row = {"frechet": frechet_distance(*pair)}
        rows.append(row | {name: shares[name] for name in ("precision", "recall")})
    return rows


def judge(dataset: str, generated: Tensor, labels: Tensor) -> dict:
    """All that is measured of images and of the labels that they were asked for by."""
    feature_extractor, real = references(dataset, 28)
    accuracy = class_accuracy(load_classifier(dataset), generated, labels)
    return {
        "confirmed": accuracy.tolist(),
        "scores": score(feature_extractor, real, generated)._asdict(),
        "within": within_classes(dataset, generated, labels),
    }


def real_images(dataset: str) -> dict:
    """The same of real images in the place of generated ones, for comparison.

    "accuracy" is the classifier's on the test images; the rest compares these with as
    many training images of each class as are generated.
    """
    test = load(dataset, train=False, fallback=False)
    accuracy = class_accuracy(load_classifier(dataset), test.pixels, test.labels)
    train = load(dataset, fallback=False)
    chosen = torch.cat(
        [
            (train.labels == label).nonzero().flatten()[: COUNT // 10]
            for label in range(10)
        ]
    )
    judged = judge(dataset, train.pixels[chosen], train.labels[chosen])
    return {"accuracy": accuracy.tolist(), **judged}


def run(config: Config, kind: str, images: Images, *, short: bool = False) -> dict:
    """Train one run of that kind -> what is measured of it, of a short one little."""
    state, spent, confirmed = start(config, kind), 0.0, []
    classifier = load_classifier(config.dataset)
    count = SHORT if short else len(images.pixels)
    conditions = conditions_of(images.labels[:count], config.classes)
    started = time.process_time()
    for record in fit(state, images.pixels[:count], conditions):
        spent += time.process_time() - started
        shares = class_accuracy(classifier, *draw(state, SOME, seed=1))
        confirmed.append(shares.mean().item())
        where = config.dataset, kind, config.seed, record.epoch
        print(*where, f"{confirmed[-1]:.3f} confirmed", flush=True)
        started = time.process_time()
    facts = {"cpu_seconds": round(spent, 1), "history": state.history}
    facts["confirmed_by_epoch"] = confirmed
    if short:
        return facts
    measured = judge(config.dataset, *draw(state, COUNT, seed=0))
    print(measured["scores"], flush=True)
    return facts | measured


def loop(config: Config, images: Images, steps: int = 50) -> Callable[[], float]:
    """A function that runs so many more steps and gives steps per processor second."""
    count = steps * config.batch_size
    conditions = None
    if config.classes:
        conditions = conditions_of(images.labels[:count], config.classes)
    state = new_state(replace(config, epochs=100_000))
    epochs = fit(state, images.pixels[:count], conditions)

    def rate() -> float:
        started = time.process_time()
        next(epochs)
        return steps / (time.process_time() - started)

    return rate


def costs(dataset: str, images: Images) -> dict[str, float]:
    """Seconds of a step as a multiple of those of a step without labels."""
    asked = recipe(f"{dataset}-conditional")
    loops = {
        "no labels": loop(recipe(dataset), images),
        "concatenation": loop(asked, images),
        "projection": loop(replace(asked, label_input="projection"), images),
    }
    rates = {name: statistics.median(each) for name, each in take_turns(loops).items()}
    return {name: rates["no labels"] / rate for name, rate in rates.items()}


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("dataset", choices=["mnist", "fashion-mnist"])
    kinds = ["concatenation", "projection", "withheld"]
    made.add_argument("kind", choices=kinds, nargs="?", default=kinds[0])
    made.add_argument("--epochs", type=int, default=17)
    made.add_argument(
        "--short", action="store_true", help="a third of the images, all three kinds"
    )
    made.add_argument("--cost", action="store_true", help="measure the time of a step")
    options = made.parse_args()
    torch.set_num_threads(1)
    dataset = options.dataset
    config = recipe(f"{dataset}-conditional", epochs=options.epochs)
    facts = {"base": vars(recipe("mnist-conditional"))}
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    if dataset not in result.setdefault("real", {}):
        result["real"][dataset] = real_images(dataset)
    images = load(dataset, fallback=False)
    if options.cost:
        result["cost"] = costs(dataset, images)
        write_result(NAME, result, options.out)
        return

    def one_run(seed: int, kind: str) -> dict:
        return run(replace(config, seed=seed), kind, images, short=options.short)

    for kind in kinds if options.short else [options.kind]:
        about = f"short {kind}" if options.short else kind
        key = {"dataset": dataset, "kind": about, "epochs": options.epochs}
        of_kind = partial(one_run, kind=kind)
        over_seeds(NAME, result, options.seeds, of_kind, out=options.out, **key)


if __name__ == "__main__":
    main()

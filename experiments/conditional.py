"""Asked for a class, does G draw it? Two ways for D to take labels, and none.

    python -m experiments.conditional mnist concatenation --seeds 1 2 3 4 5
    python -m experiments.conditional fashion-mnist concatenation --seeds 1 2 3
    python -m experiments.conditional mnist projection --seeds 1 2 3
    python -m experiments.conditional mnist withheld --seeds 1 2 3 --epochs 5

"withheld" is concatenation with a D that is told nothing. The result holds for each run
the share of requests that the classifier confirms, by epoch and by class, and scores of
all images and of each class.
"""

import time

import torch
from torch import Tensor, nn

from experiments.common import (
    begin,
    over_seeds,
    parser,
    references,
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


def run(config: Config, kind: str, images: Images) -> dict:
    """Train one run of that kind -> what is measured of it."""
    state, spent, confirmed = start(config, kind), 0.0, []
    classifier = load_classifier(config.dataset)
    conditions = conditions_of(images.labels, config.classes)
    started = time.process_time()
    for record in fit(state, images.pixels, conditions):
        spent += time.process_time() - started
        shares = class_accuracy(classifier, *draw(state, SOME, seed=1))
        confirmed.append(shares.mean().item())
        where = config.dataset, kind, config.seed, record.epoch
        print(*where, f"{confirmed[-1]:.3f} confirmed", flush=True)
        started = time.process_time()
    measured = judge(config.dataset, *draw(state, COUNT, seed=0))
    print(measured["scores"], flush=True)
    facts = {"cpu_seconds": round(spent, 1), "history": state.history}
    return facts | {"confirmed_by_epoch": confirmed, **measured}


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("dataset", choices=["mnist", "fashion-mnist"])
    made.add_argument("kind", choices=["concatenation", "projection", "withheld"])
    made.add_argument("--epochs", type=int, default=17)
    options = made.parse_args()
    torch.set_num_threads(1)
    dataset, kind = options.dataset, options.kind
    config = recipe(f"{dataset}-conditional", epochs=options.epochs)
    facts = {"base": vars(recipe("mnist-conditional"))}
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    if dataset not in result.setdefault("real", {}):
        result["real"][dataset] = real_images(dataset)
    images = load(dataset, fallback=False)

    def one_run(seed: int) -> dict:
        return run(replace(config, seed=seed), kind, images)

    key = {"dataset": dataset, "kind": kind, "epochs": options.epochs}
    over_seeds(NAME, result, options.seeds, one_run, out=options.out, **key)


if __name__ == "__main__":
    main()

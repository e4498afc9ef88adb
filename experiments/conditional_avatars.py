"""Asked for a face by its seven attributes, does G draw it? Avatars of 32x32 pixels.

    python -m experiments.conditional_avatars concatenation --seeds 1 2 3
    python -m experiments.conditional_avatars projection --seeds 1 2 3
    python -m experiments.conditional_avatars unconditional --seeds 1 2 3

A condition is seven one-hot vectors side by side. No face of training has red hair and
round glasses, so that the runs also say whether G can put together what it never saw
together. Generated faces are enlarged to 64x64 and read by the classifier of avatars.
"""

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.optim.swa_utils import update_bn

from experiments.common import begin, over_seeds, parser, read_images, write_images
from ganlib.config import Config, replace
from ganlib.data.avatars import VALUE_COUNTS, decode_labels, draw
from ganlib.data.avatars.faces import ATTRIBUTES
from ganlib.metrics import load_classifier, read_attributes, score
from ganlib.metrics.classifiers import attribute_accuracy
from ganlib.recipes import recipe
from ganlib.sampling import conditions_of, pixels_of, sample_noise, with_condition
from ganlib.training import TrainState, fit, new_state

NAME = "conditional_avatars"
FACES = 20_000
COUNT = 5_000  # requests, and images behind each score
SOME = 500  # requests behind what is confirmed after an epoch
CHANGED = 1_000  # requests of which each attribute is changed
SHOWN = 8  # faces of the first run of a kind that are stored as pictures
WITHHELD = {"hair colour": "red", "glasses": "round"}  # a pair that is never together
BASE = recipe(
    "mnist-conv",
    dataset="avatars",
    channels=3,
    image_size=32,
    classes=sum(VALUE_COUNTS),
    hidden_dim=128,
    epochs=12,
)
KINDS: dict[str, dict[str, Any]] = {
    "concatenation": {},
    "projection": {"label_input": "projection"},
    "unconditional": {"classes": 0},
}


def has_pair(values: Tensor) -> Tensor:
    """Which of the faces, values (N, 7), have the pair that is withheld: bool (N,)."""
    has = torch.ones(len(values), dtype=torch.bool)
    for attribute, value in WITHHELD.items():
        column = list(ATTRIBUTES).index(attribute)
        has &= values[:, column] == list(ATTRIBUTES[attribute]).index(value)
    return has


def requests_of(values: Tensor) -> Tensor:
    """Values of the attributes (N, 7) -> conditions (N, 20)."""
    columns = zip(values.unbind(dim=1), VALUE_COUNTS, strict=True)
    return torch.cat([conditions_of(column, count) for column, count in columns], dim=1)


def reduced(pixels: Tensor) -> Tensor:
    """Bytes (N, 3, 64, 64) -> (N, 3, 32, 32)."""
    parts = [avg_pool2d(part.float(), 2) for part in pixels.split(1000)]
    return torch.cat(parts).round().byte()


def enlarged(pixels: Tensor) -> Tensor:
    """Bytes (N, 3, 32, 32) -> (N, 3, 64, 64), as the classifier takes them."""
    parts = [
        interpolate(part.float(), scale_factor=2, mode="bilinear")
        for part in pixels.split(1000)
    ]
    return torch.cat(parts).round().byte()


def sampling_generator(state: TrainState, values: Tensor) -> nn.Module:
    """The average of G, its BatchNorm measured on requests for faces (N, 7).

    state.sampling_generator would ask for one value of one attribute at a time.
    """
    G, config = state.G_ema, state.config
    assert G is not None
    z = sample_noise(2_000, config.latent_dim, seed=0)
    if config.classes:
        z = with_condition(z, requests_of(values[:2_000]))
    update_bn(z.split(config.batch_size), G)
    state.measured_at = state.step
    return G


def drawn(state: TrainState, values: Tensor, seed: int) -> Tensor:
    """A face for each request (N, 7), bytes (N, 3, 64, 64)."""
    return enlarged(drawn_small(state, values, seed))


def drawn_small(state: TrainState, values: Tensor, seed: int) -> Tensor:
    """The same as G draws it, bytes (N, 3, 32, 32)."""
    z = sample_noise(len(values), state.config.latent_dim, seed=seed)
    if state.config.classes:
        z = with_condition(z, requests_of(values))
    assert state.G_ema is not None
    return pixels_of(state.G_ema, z)


def changed(values: Tensor, column: int) -> Tensor:
    """Requests (N, 7) with the next value of one attribute, after the last the first."""
    asked = values.clone()
    asked[:, column] = (asked[:, column] + 1) % VALUE_COUNTS[column]
    return asked


def changes(state: TrainState, values: Tensor) -> dict[str, dict[str, float]]:
    """What becomes of a face when one attribute of its request is changed.

    For each attribute: "follows", the share of faces in which it is read as the new
    value, and "kept", the share of the six others that are read as before. The noise
    stays.
    """
    before = read_attributes(drawn(state, values, seed=2))
    found = {}
    for column, attribute in enumerate(ATTRIBUTES):
        asked = changed(values, column)
        after = read_attributes(drawn(state, asked, seed=2))
        same = (after == before).double()
        same[:, column] = 0
        found[attribute] = {
            "follows": (after[:, column] == asked[:, column]).double().mean().item(),
            "kept": same.sum(dim=1).mean().item() / (len(VALUE_COUNTS) - 1),
        }
    return found


def pair_drawn(state: TrainState, values: Tensor) -> dict[str, float]:
    """Share of requests for each colour of hair with round glasses that have both."""
    hair, glasses = (list(ATTRIBUTES).index(name) for name in WITHHELD)
    asked = values.clone()
    asked[:, glasses] = list(ATTRIBUTES["glasses"]).index("round")
    shares = {}
    for value, colour in enumerate(ATTRIBUTES["hair colour"]):
        asked[:, hair] = value
        read = read_attributes(drawn(state, asked, seed=3))
        both = (read == asked)[:, [hair, glasses]].all(dim=1)
        shares[colour] = both.double().mean().item()
    return shares


def pictures(state: TrainState, values: Tensor) -> Tensor:
    """Faces as asked for, bytes (8, N, 3, 32, 32), and with each attribute changed."""
    asked = [values, *(changed(values, column) for column in range(len(VALUE_COUNTS)))]
    return torch.stack([drawn_small(state, one, seed=2) for one in asked])


def judge(images: Tensor, values: Tensor, real: Tensor) -> dict:
    """All that is measured of faces (N, 3, 64, 64) that were asked for by values."""
    accuracy = attribute_accuracy(read_attributes(images), values)
    scores = score(load_classifier("avatars"), real, images)._asdict()
    return {"confirmed": accuracy, "scores": scores}


def run(
    config: Config,
    faces: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    shown: dict[str, Tensor],
) -> dict:
    """Train one run -> what is measured of it.

    Args:
        faces: to learn from, bytes (N, 3, 32, 32), and their values (N, 7).
        test: real faces (M, 3, 64, 64), and other values that are asked for.
        shown: pictures of the first run of each kind are added to it.
    """
    (pixels, values), (real, asked) = faces, test
    state, spent = new_state(config), 0.0
    conditions = requests_of(values) if config.classes else None
    by_epoch = []
    started = time.process_time()
    for record in fit(state, pixels, conditions):
        spent += time.process_time() - started
        sampling_generator(state, values)
        read = read_attributes(drawn(state, asked[:SOME], seed=1))
        by_epoch.append(attribute_accuracy(read, asked[:SOME]))
        print(config.seed, record.epoch, f"{spent:.0f} s", by_epoch[-1], flush=True)
        started = time.process_time()
    measured = judge(drawn(state, asked, seed=1), asked, real)
    if config.classes:
        measured["changes"] = changes(state, asked[:CHANGED])
        measured["pair"] = pair_drawn(state, asked[:CHANGED])
        shown.setdefault(config.label_input, pictures(state, asked[:SHOWN]))
    print(measured, flush=True)
    facts = {"cpu_seconds": round(spent, 1), "history": state.history}
    return facts | {"confirmed_by_epoch": by_epoch, **measured}


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("kind", choices=KINDS)
    made.add_argument("--epochs", type=int, default=BASE.epochs)
    options = made.parse_args()
    torch.set_num_threads(1)
    facts = {"base": vars(BASE), "withheld": WITHHELD}
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    pixels, labels = draw(FACES, seed=0)
    values = decode_labels(labels)
    seen = ~has_pair(values)
    pixels, values = reduced(pixels)[seen], values[seen]
    # Of the test faces some are asked for again, and the others are compared with.
    faces, labels = draw(2 * COUNT, seed=1)
    faces, wanted = enlarged(reduced(faces)), decode_labels(labels)
    test = faces[COUNT:], wanted[:COUNT]
    if "real" not in result:
        result["real"] = judge(faces[:COUNT], wanted[:COUNT], faces[COUNT:])
        print(result["real"], flush=True)
    shown = {} if options.fresh else read_images(NAME, options.out)
    config = replace(BASE, epochs=options.epochs, **KINDS[options.kind])

    def one_run(seed: int) -> dict:
        measured = run(replace(config, seed=seed), (pixels, values), test, shown)
        write_images(NAME, shown, options.out)
        return measured

    key = {"kind": options.kind, "epochs": options.epochs}
    over_seeds(NAME, result, options.seeds, one_run, out=options.out, **key)


if __name__ == "__main__":
    main()

"""Into G and back: inversion, directions of attributes, truncation, two kinds of walk.

    python -m experiments.inversion recover --networks mnist avatars-dcgan
    python -m experiments.inversion invert --networks mnist avatars-dcgan
    python -m experiments.inversion edit --networks avatars-dcgan
    python -m experiments.inversion truncate --networks mnist avatars-dcgan
    python -m experiments.inversion walk --networks mnist avatars-dcgan

A seed stands for noise and for the choice of test images; the networks are those that
ship. `invert` was tuned on training digits and seed 0: see TRIED.
"""

import itertools
import statistics
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize as to_unit

from experiments.common import begin, over_seeds, parser, rounded
from ganlib.checkpoint import load_generator
from ganlib.config import Config
from ganlib.data import load
from ganlib.data.avatars import ATTRIBUTES, VALUE_COUNTS
from ganlib.data.transforms import denormalize, normalize
from ganlib.latent import (
    Inversion,
    attribute_direction,
    invert,
    principal_directions,
    project_out,
    slerp,
)
from ganlib.metrics import (
    count_in_balls,
    extract_features,
    knn_radii,
    load_classifier,
    nearest_neighbour,
    precision_recall_density_coverage,
    subsample,
)
from ganlib.metrics.classifiers import attributes_of
from ganlib.sampling import pixels_of, sample_images, sample_noise

NAME = "inversion"
PRIOR = 3e-3  # of those TRIED, the one whose z has the length of noise
TRIED = (0, 1e-3, 3e-3, 1e-2, 3e-2)
BUDGETS = {  # pictures of each set, starts and steps for each
    "mnist": (20, 8, 400),
    "avatars-dcgan": (8, 6, 150),
}
RECOVERED = {"mnist": (20, 4, 1200), "avatars-dcgan": (4, 4, 400)}  # of `recover`
NEIGHBOURS = 2_000  # samples of G among which the nearest is looked for
FIND, FRESH = 6_000, 300  # noise that directions come from, and that tests them
LENGTHS = (1.0, 2.0, 3.0, 4.0)  # of a step along a direction
RANDOM = 12  # random directions behind the control
TRUNCATIONS = (0.3, 0.5, 0.7, 0.85, 1.0, 1.2)
SLIDERS = {  # in the page
    "glasses": ("glasses", "round"),
    "laughing": ("mouth", "laughing"),
    "long hair": ("hair", "long"),
    "curly hair": ("hair", "curly"),
    "blond hair": ("hair colour", "blond"),
    "dark skin": ("skin", "dark"),
    "pink background": ("background", "pink"),
}
SAMPLES = 2_000  # behind precision and recall
PAIRS = 1_000  # walks
PLACES = (0.0, 0.25, 0.5)  # on a walk; the rest is its mirror image


@cache
def network(name: str) -> tuple[nn.Module, Config]:
    return load_generator(name)


@cache
def test_pixels(dataset: str) -> Tensor:
    return load(dataset, train=False, fallback=False).pixels


def chosen(images: Tensor, count: int, seed: int) -> Tensor:
    """`count` of the images (N, ...), others for another seed."""
    source = torch.Generator().manual_seed(seed)
    return images[torch.randperm(len(images), generator=source)[:count]]


# Inversion


def picture_sets(name: str, count: int, seed: int) -> dict[str, Tensor]:
    """Pictures to invert, in -1..1: those that G knows less and less."""
    G, config = network(name)
    unseen = normalize(chosen(test_pixels(config.dataset), count, seed))
    sets = {
        "own": sample_images(G, own_noise(name, count, seed)),
        "unseen": unseen,
        "upside down": unseen.flip(2, 3),
    }
    if config.dataset == "mnist":
        fashion = chosen(test_pixels("fashion-mnist"), count, seed)
        sets["garments"] = normalize(fashion)
        source = torch.Generator().manual_seed(seed)
        sets["noise"] = torch.rand(unseen.shape, generator=source) * 2 - 1
    return sets


def own_noise(name: str, count: int, seed: int) -> Tensor:
    """The noise behind the set "own": other than that of the starts."""
    return sample_noise(count, network(name)[1].latent_dim, seed=1000 + seed)


def read(dataset: str, images: Tensor) -> Tensor:
    """What the classifier sees: a digit (N, 1), or seven attributes (N, 7)."""
    classifier = load_classifier(dataset)
    features = extract_features(classifier, denormalize(images))
    if dataset == "mnist":
        return classifier.head(features).argmax(dim=1, keepdim=True)
    return attributes_of(classifier.head(features).detach())[0]


def in_grey_levels(first: Tensor, second: Tensor) -> list[float]:
    """Root mean square difference of each pair of images, 0..255."""
    squares = (first - second).square().flatten(1).mean(dim=1)
    return (127.5 * squares.sqrt()).tolist()


def error_by_starts(G: nn.Module, found: Inversion, images: Tensor) -> dict[str, float]:
    """{starts: mean error of the best of so many}, each start in its turn the first."""
    count = found.losses.shape[1]
    drawn = [sample_images(G, z) for z in found.z_by_start.unbind(dim=1)]
    errors = torch.tensor([in_grey_levels(one, images) for one in drawn]).T
    means = {}
    for starts in (1, 2, 4, 6, 8):
        if starts > count:
            break
        best = []
        for first in range(count):
            some = [(first + place) % count for place in range(starts)]
            place = found.losses[:, some].argmin(dim=1)
            best.append(errors[:, some].gather(1, place[:, None]).mean().item())
        means[str(starts)] = statistics.mean(best)
    return means


def judge(name: str, images: Tensor, found: Inversion) -> dict:
    """How near the images found are, how likely their noise, and what they show."""
    G, config = network(name)
    samples = sample_images(G, sample_noise(NEIGHBOURS, config.latent_dim, seed=77))
    nearest = nearest_neighbour(images.flatten(1), samples.flatten(1))[1]
    kept = read(config.dataset, images) == read(config.dataset, found.images)
    return {
        "errors": in_grey_levels(images, found.images),
        "by_starts": error_by_starts(G, found, images),
        "nearest": statistics.mean(in_grey_levels(images, samples[nearest])),
        "lengths": found.z.norm(dim=1).tolist(),
        "kept": shares(kept),
    }


def run_recover(name: str, seed: int) -> dict:
    """Is the noise found from which G made a picture? By the directions at that noise.

    They are sorted by how far the picture moves along them ("stretch", the mean over
    the pictures). "both", "known" and "found" are sums over the pictures: of the
    products of the places of both along a direction, and of their squares.
    """
    G, config = network(name)
    count, starts, steps = RECOVERED[name]
    known = own_noise(name, count, seed)
    images = sample_images(G, known)
    found = invert(
        G,
        images,
        config.latent_dim,
        starts=starts,
        steps=steps,
        prior=PRIOR,
        seed=seed,
    )
    here = [principal_directions(G, z[None]) for z in known]
    pairs = zip(known, found.z, here, strict=True)
    places = torch.stack([torch.stack([at @ z, at @ w]) for z, w, (at, _) in pairs])
    a, b = places.unbind(dim=1)
    stretches = torch.stack([stretch for _, stretch in here])
    error = statistics.mean(in_grey_levels(images, found.images))
    print(name, seed, "recovered", f"{error:.1f} grey levels", flush=True)
    return {
        "count": count,
        "starts": starts,
        "steps": steps,
        "error": error,
        "distance": (known - found.z).norm(dim=1).mean().item(),
        "stretch": rounded(stretches.mean(dim=0).tolist()),
        "both": rounded((a * b).sum(dim=0).tolist()),
        "known": rounded(a.square().sum(dim=0).tolist()),
        "found": rounded(b.square().sum(dim=0).tolist()),
    }


def run_invert(name: str, seed: int) -> dict:
    G, config = network(name)
    count, starts, steps = BUDGETS[name]
    measured = {}
    sets = picture_sets(name, count, seed)
    searches = [(kind, PRIOR) for kind in sets]
    if config.dataset == "mnist":
        searches.append(("unseen", 0.0))
    for kind, prior in searches:
        found = invert(
            G,
            sets[kind],
            config.latent_dim,
            starts=starts,
            steps=steps,
            prior=prior,
            seed=seed,
        )
        key = kind if prior else f"{kind}, no prior"
        measured[key] = judge(name, sets[kind], found)
        if config.dataset == "avatars" and kind == "unseen":
            measured[key]["edited"] = edit_drawings(name, sets[kind], found, seed)
        error = statistics.mean(measured[key]["errors"])
        print(name, seed, key, f"{error:.1f} grey levels", flush=True)
    return {"starts": starts, "steps": steps, "sets": measured}


# Directions


@cache
def found_directions(name: str, seed: int) -> dict[tuple[int, int], Tensor]:
    """{(attribute, value): direction} from noise of the seed."""
    G, config = network(name)
    z = sample_noise(FIND, config.latent_dim, seed=2000 + seed)
    values = read(config.dataset, sample_images_in_parts(G, z))
    return {
        (column, value): attribute_direction(z, values[:, column] == value)
        for column, count in enumerate(VALUE_COUNTS)
        for value in range(count)
    }


def sample_images_in_parts(G: nn.Module, z: Tensor) -> Tensor:
    """Images in -1..1, rounded as bytes are."""
    return normalize(pixels_of(G, z))


def slider_directions(name: str, seed: int) -> dict[str, list[float]]:
    """{what it changes: direction} for the sliders in the page."""
    directions, sliders = found_directions(name, seed), {}
    for what, (attribute, value) in SLIDERS.items():
        column = list(ATTRIBUTES).index(attribute)
        direction = directions[column, list(ATTRIBUTES[attribute]).index(value)]
        if attribute == "mouth":  # which brings too much along
            others = [one for key, one in directions.items() if key[0] != column]
            direction = project_out(direction, torch.stack(others))
        sliders[what] = [round(number, 4) for number in direction.tolist()]
    return sliders


def step_along(name: str, z: Tensor, direction: Tensor, length: float) -> Tensor:
    """Attributes (N, 7) of the images a step along a direction away."""
    G, config = network(name)
    return read(config.dataset, sample_images_in_parts(G, z + length * direction))


def run_edit(name: str, seed: int, lengths: Sequence[float] = LENGTHS) -> dict:
    """Every value of every attribute: wanted and reached, and what else changed.

    Rows hold the share with the wanted value among fresh faces without it, and the
    share changed of each of the seven attributes.
    """
    G, config = network(name)
    directions = found_directions(name, seed)
    fresh = sample_noise(FRESH, config.latent_dim, seed=3000 + seed)
    before = read(config.dataset, sample_images_in_parts(G, fresh))
    rows = []
    for (column, value), direction in directions.items():
        lacks = before[:, column] != value
        others = [one for key, one in directions.items() if key[0] != column]
        alone = project_out(direction, torch.stack(others))
        for kind, way in (("mean difference", direction), ("others removed", alone)):
            for length in lengths:
                after = step_along(name, fresh[lacks], way, length)
                row = {
                    "attribute": column,
                    "value": value,
                    "kind": kind,
                    "length": length,
                    "count": int(lacks.sum()),
                    "success": share(after[:, column] == value),
                    "changed": shares(after != before[lacks]),
                }
                rows.append(row)
    print(name, seed, "edited", flush=True)
    return {"random": random_steps(name, seed, fresh, before, lengths), "rows": rows}


def random_steps(
    name: str, seed: int, fresh: Tensor, before: Tensor, lengths: Sequence[float]
) -> dict[str, list[float]]:
    """{length: share changed of each attribute by steps in random directions}."""
    noise = sample_noise(RANDOM, fresh.shape[1], seed=4000 + seed)
    changed = {}
    for length in lengths:
        after = torch.stack(
            [step_along(name, fresh, way, length) for way in to_unit(noise, dim=1)]
        )
        changed[str(length)] = shares((after != before).flatten(0, 1))
    return changed


def share(true: Tensor) -> float:
    """Of bools (N,): how many are true, 0..1."""
    return round(true.double().mean().item(), 4)


def shares(true: Tensor) -> list[float]:
    """The same of each column of (N, columns)."""
    return [share(column) for column in true.unbind(dim=1)]


def edit_drawings(name: str, drawings: Tensor, found: Inversion, seed: int) -> dict:
    """Glasses on drawings without, and off those with: counted after inversion."""
    column = list(ATTRIBUTES).index("glasses")
    before = read("avatars", drawings)
    wanted = 1 - before[:, column]
    directions = found_directions(name, seed)
    way = torch.stack([directions[column, int(value)] for value in wanted])
    G, _ = network(name)
    after = read("avatars", sample_images(G, found.z + 3 * way))
    others = [place for place in range(len(ATTRIBUTES)) if place != column]
    return {
        "success": share(after[:, column] == wanted),
        "others changed": share((after != before)[:, others].flatten()),
    }


# Truncation and walks


@cache
def reference(dataset: str, count: int) -> tuple[Tensor, Tensor]:
    """Features of so many test images, and the radii of their balls for precision."""
    pixels = subsample(test_pixels(dataset), count)
    features = extract_features(load_classifier(dataset), pixels)
    return features, knn_radii(features, 3)


def sureness(dataset: str, features: Tensor) -> float:
    """Share of images whose class, or all of whose attributes, have probability 0.9."""
    logits = load_classifier(dataset).head(features).detach()
    if dataset == "mnist":
        probabilities = logits.softmax(dim=1).amax(dim=1)
    else:
        probabilities = attributes_of(logits)[1]
    return (probabilities >= 0.9).float().mean().item()


def run_truncate(name: str, seed: int) -> dict:
    """Precision and recall of samples whose noise is multiplied by a factor."""
    G, config = network(name)
    classifier = load_classifier(config.dataset)
    real, _ = reference(config.dataset, SAMPLES)
    z = sample_noise(SAMPLES, config.latent_dim, seed=5000 + seed)
    rows = []
    for factor in TRUNCATIONS:
        features = extract_features(classifier, pixels_of(G, factor * z))
        scores = precision_recall_density_coverage(real, features)
        row = {"factor": factor, **scores, "sure": sureness(config.dataset, features)}
        rows.append(row)
    print(name, seed, "truncated", flush=True)
    return {"rows": rows}


def run_walk(name: str, seed: int) -> dict:
    """Length of z, precision and sureness at places of straight and of round walks."""
    G, config = network(name)
    classifier = load_classifier(config.dataset)
    real, radii = reference(config.dataset, SAMPLES)
    noise = sample_noise(2 * PAIRS, config.latent_dim, seed=6000 + seed)
    start, end = noise.split(PAIRS)
    rows = []
    for kind, t in itertools.product(("straight", "round"), PLACES):
        z = torch.lerp(start, end, t) if kind == "straight" else slerp(start, end, t)
        features = extract_features(classifier, pixels_of(G, z))
        near = count_in_balls(features, real, radii) > 0
        rows.append(
            {
                "kind": kind,
                "t": t,
                "length": z.norm(dim=1).mean().item(),
                "precision": near.float().mean().item(),
                "sure": sureness(config.dataset, features),
            }
        )
    print(name, seed, "walked", flush=True)
    return {"rows": rows}


PARTS = {
    "recover": run_recover,
    "invert": run_invert,
    "edit": run_edit,
    "truncate": run_truncate,
    "walk": run_walk,
}


def main() -> None:
    made = parser(__doc__, seeds=3, resumes=True)
    made.add_argument("part", choices=PARTS)
    made.add_argument("--networks", nargs="+", default=list(BUDGETS))
    made.add_argument(
        "--lengths", type=float, nargs="+", default=LENGTHS, help="of edit's steps"
    )
    options = made.parse_args()
    torch.set_num_threads(1)
    facts = {
        "prior": PRIOR,
        "find": FIND,
        "fresh": FRESH,
        "samples": SAMPLES,
        "pairs": PAIRS,
    }
    result = begin(NAME, facts, out=options.out, fresh=options.fresh)
    seeds = [seed + 1 for seed in options.seeds]
    if options.part == "edit":
        result["directions"] = slider_directions("avatars-dcgan", 1)
    for name in options.networks:

        def one_run(seed: int, name: str = name) -> dict:
            if options.part == "edit":
                return run_edit(name, seed, options.lengths)
            return PARTS[options.part](name, seed)

        key = {"part": options.part, "network": name}
        over_seeds(NAME, result, seeds, one_run, out=options.out, **key)


if __name__ == "__main__":
    main()

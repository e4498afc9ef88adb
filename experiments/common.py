"""What the experiments share: scoring, seeds, and where a number comes from."""

import argparse
import ast
import hashlib
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable
from datetime import date
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ganlib import accelerate
from ganlib.checkpoint import load_generator, read_metadata, save_generator
from ganlib.config import Config
from ganlib.data import load
from ganlib.errors import GanlibError
from ganlib.files import write_atomic
from ganlib.metrics import (
    Classifier,
    extract_features,
    frechet_distance,
    load_feature_extractor,
    nearest_neighbour,
    precision_recall_density_coverage,
    score,
    subsample,
)
from ganlib.results import RESULTS
from ganlib.sampling import (
    conditions_of,
    labels_in_turn,
    sample_images,
    sample_inputs,
    sample_pixels,
)
from ganlib.training import TrainState, new_state

ROOT = Path(__file__).parents[1]
COUNT = 10_000  # images behind each score

# Files and folders of ganlib/ that a number may depend on.
NETWORKS = {"config.py", "data/transforms.py", "ema.py", "models.py", "sampling.py"}
TRAINING = NETWORKS | {"augment.py", "losses.py", "training.py"}
SPEED = {"accelerate"}  # accelerate.fit in the place of training.fit
SCORES = {"metrics", "assets/classifiers"}
PROBED = TRAINING | SPEED | SCORES  # what `behaviour` would show a change of,
UNPROBED = (
    "bfloat16",
    "compile_step",
    "augment_color",
    "augment_cutout",
)  # but for these
AVATARS = {"data/avatars"}
PICTURES = {"data/image_folder.py"}

DEPENDS_ON = {  # the first pattern that fits the name of a result counts
    "accidents": TRAINING,
    "average": TRAINING | SCORES,
    "batchnorm_statistics": NETWORKS | SCORES | AVATARS | PICTURES,
    "beta1": TRAINING | SCORES,
    "beyond_dcgan": TRAINING
    | SPEED
    | SCORES
    | AVATARS
    | {"progressive.py", "transfer.py"},
    "conditional": TRAINING | SCORES,
    "conditional_avatars": TRAINING | SCORES | AVATARS,
    "diffusion": TRAINING | SCORES | {"flow.py"},
    "failures": TRAINING | SCORES,
    "feature_extractors": NETWORKS | SCORES | AVATARS | PICTURES,
    "generalization": TRAINING | SCORES,
    "imagenet_features": NETWORKS | SCORES | PICTURES,
    "inversion": NETWORKS | SCORES | AVATARS | {"latent.py"},
    "ladder": TRAINING | SPEED | SCORES,
    "losses": TRAINING | SCORES,
    "mode_collapse": TRAINING | SCORES,
    "own": TRAINING | SPEED | SCORES | AVATARS | {"stopping.py", "transfer.py"},
    "real_images": SCORES,
    "scaling": TRAINING | SPEED,
    "start *": TRAINING | SPEED | PICTURES,
    "stopping": TRAINING | SPEED | SCORES,
    "scoreboard/*": TRAINING | SPEED | SCORES,
    "time_to_quality": TRAINING | SPEED | SCORES,
    "translation_*": {"translation.py", "training.py", "losses.py"} | SCORES | AVATARS,
    "RESULTS.md": TRAINING | SPEED,
    "network *avatars*": TRAINING | SPEED | AVATARS,
    "network *faces*": TRAINING | SPEED | PICTURES,
    "network *": TRAINING | SPEED,
    "scores of *avatars*": NETWORKS | SCORES | AVATARS,
    "scores of *faces*": NETWORKS | SCORES | PICTURES,
    "scores of *": NETWORKS | SCORES,
}


# Where a number comes from


def machine() -> dict[str, str]:
    """The processor, the threads that torch uses of it, and the version of torch."""
    threads = torch.get_num_threads()
    processor = f"{platform.machine()} CPU"
    if hasattr(torch.backends.cpu, "get_cpu_capability"):
        processor += f" with {torch.backends.cpu.get_cpu_capability()}"
    words = f"{threads} thread{'' if threads == 1 else 's'} of a {os.cpu_count()}-core"
    return {"machine": f"{words} {processor}", "torch": str(torch.__version__)}


def git(*arguments: str) -> str | None:
    """What git says of this repository, or None where it cannot."""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit() -> str:
    """The last commit that changed ganlib's code, and "+changes" if files differ."""
    code = "ganlib", ":(exclude)ganlib/assets"
    last = git("log", "-1", "--format=%h", "--abbrev=7", "--", *code)
    if not last:
        return "unknown"
    return last + ("+changes" if git("status", "--porcelain", "--", *code) else "")


def depends_on(name: str) -> list[str]:
    """Files and folders of ganlib/ that the result called `name` depends on."""
    for pattern, modules in DEPENDS_ON.items():
        if fnmatch(name, pattern):
            return sorted(modules)
    raise GanlibError(
        f"Nothing is known of a result {name!r}; say in DEPENDS_ON of "
        "experiments/common.py which modules it depends on."
    )


@cache
def code_digests(name: str) -> dict[str, str]:
    """{file or folder of ganlib/: digest} of what the result called `name` depends on.

    Asked for when an experiment begins: files may change while it runs.
    """
    digests = {}
    for module in depends_on(name):
        path = ROOT / "ganlib" / module
        paths = [path] if path.is_file() else sorted(path.rglob("*"))
        contents = [
            file_digest(one) for one in paths if one.suffix in (".py", ".safetensors")
        ]
        digests[module] = hashlib.sha256("".join(contents).encode()).hexdigest()[:12]
    return digests


def file_digest(path: Path) -> str:
    """The sha256 of a file; of Python code without comments, layout and docstrings."""
    content = path.read_bytes()
    if path.suffix == ".py":
        tree = ast.parse(content)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_text(body[0]):
                del body[0]
        content = repr(_plain(tree)).encode()
    return hashlib.sha256(content).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is nothing but a string, as a docstring is."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _plain(node: Any) -> Any:
    """A syntax tree as tuples; versions of Python differ in what they leave empty."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, _plain(value)) for name, value in ast.iter_fields(node)]
    full = [
        (name, value) for name, value in fields if value is not None and value != []
    ]
    return type(node).__name__, full


# Short runs, and scores of made-up images, that show whether code still does the same.
PROBES: dict[str, dict[str, Any]] = {
    "mlp": {"architecture": "mlp", "dropout": 0.1, "real_label": 0.9},
    "batchnorm-mlp": {"architecture": "batchnorm-mlp", "r1_weight": 0.3},
    "dcgan": {"architecture": "dcgan", "base_channels": 8, "channels_last": True},
    "resize-conv": {
        "architecture": "resize-conv",
        "base_channels": 8,
        "r1_weight": 0.5,
        "augment_shift": 2,
        "random_flip": True,
    },
    "pixel-shuffle": {"architecture": "pixel-shuffle", "base_channels": 8},
    "concatenation": {"architecture": "batchnorm-mlp", "classes": 3, "r1_weight": 0.3},
    "projection": {"architecture": "mlp", "classes": 3, "label_input": "projection"},
    "hinge": {"architecture": "mlp", "loss": "hinge", "r2_weight": 0.3},
    "controller": {
        "architecture": "mlp",
        "augment_shift": 2,
        "augment_target": 0.6,
        "augment_ramp": 100,
    },
}
TOLERANCE = 1e-3  # relative: processors round differently


@cache
def behaviour() -> dict[str, list[float]]:
    """{probe: numbers that change where the code trains or scores differently}."""
    return {
        **{name: training_behaviour(changes) for name, changes in PROBES.items()},
        **{f"scores of {name}": scoring_behaviour(name) for name in SCORED},
    }


def training_behaviour(changes: dict[str, Any]) -> list[float]:
    """Losses, weights and samples of a run of a few steps on made-up images."""
    config = Config(
        epochs=2,
        batch_size=8,
        image_size=32,
        learning_rate_g=1e-3,
        learning_rate_d=1e-3,
        ema_decay=0.9,
        **changes,
    )
    source = torch.Generator().manual_seed(0)
    shape = (40, *config.image_shape)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=source)
    state = new_state(config)
    conditions = None
    if config.classes:
        labels = labels_in_turn(len(pixels), config.classes)
        conditions = conditions_of(labels, config.classes)
    records = list(accelerate.fit(state, pixels, conditions))
    numbers = [value for record in records for value in record[1:6]]
    for network in (state.G, state.D):
        numbers += [weight.norm().item() for weight in network.parameters()]
    z = sample_inputs(8, config.latent_dim, seed=1, classes=config.classes)
    samples = sample_images(state.sampling_generator, z)
    return rounded([*numbers, samples.mean().item(), samples.std().item()])


SCORED = "mnist", "fashion-mnist", "avatars", "celeba"


def scoring_behaviour(dataset: str) -> list[float]:
    """Scores of noise against noise that is a little darker."""
    feature_extractor = load_feature_extractor(dataset)
    source = torch.Generator().manual_seed(0)
    shape = (2, 1_000, *feature_extractor.image_shape)
    real, other = torch.randint(256, shape, dtype=torch.uint8, generator=source)
    darker = other - other // 8
    return rounded(
        [value for value in score(feature_extractor, real, darker) if value is not None]
    )


def rounded(numbers: list[float]) -> list[float]:
    """The numbers with six digits."""
    return [float(f"{number:.6g}") for number in numbers]


def same_config(stored: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two configs ask for the same; fields that one lacks have their default."""
    defaults = vars(Config())
    names = stored.keys() & defaults.keys() | now.keys()
    return all(
        stored.get(name, defaults[name]) == now.get(name, defaults[name])
        for name in names
    )


def _same_fact(stored: Any, now: Any) -> bool:
    """Whether two facts are the same; of two configs, whether they ask for the same."""
    if isinstance(stored, dict) and isinstance(now, dict) and "recipe" in now:
        return same_config(stored, now)
    return stored == now


def behaves_alike(stored: dict[str, list[float]]) -> bool:
    """Whether the code gives what it gave for all probes that there were then."""
    now = behaviour()
    return all(
        len(numbers) == len(now[name])
        and all(
            math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
            for one, other in zip(numbers, now[name], strict=True)
        )
        for name, numbers in stored.items()
        if name in now
    )


def provenance(name: str) -> dict[str, Any]:
    """The date, the commit, digests of the code behind a result, and what it does."""
    return {
        "date": str(date.today()),
        "commit": commit(),
        "modules": code_digests(name),
        "behaviour": behaviour(),
    }


# Stored results


def set_facts(path: Path, facts: dict[str, Any]) -> None:
    """Put facts beside the network in a file, over those of the same names.

    Its weights and its other facts stay.
    """
    G, config = load_generator(path)
    facts = read_metadata(path) | facts
    del facts["config"]
    save_generator(G, config, path, **facts)


def write_result(name: str, data: dict[str, Any], out: Path = RESULTS) -> None:
    """Store a result as json, with the machine and where it comes from; see `load_result`."""
    write_json(name, {**machine(), **data, **provenance(name)}, out)


def write_json(name: str, content: dict[str, Any], out: Path = RESULTS) -> None:
    """Write a result as it is; each of its keys gets a line."""
    rows = [f"{json.dumps(key)}: {json.dumps(content[key])}" for key in content]
    write_atomic(out / f"{name}.json", ("{\n" + ",\n".join(rows) + "\n}\n").encode())


def write_images(name: str, images: dict[str, Tensor], out: Path = RESULTS) -> None:
    """Store pictures, {key: bytes}, beside the result called `name`."""
    path = out / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{key: value.numpy() for key, value in images.items()})


def reduced(pixels: Tensor, side: int) -> Tensor:
    """Bytes (N, C, S, S) -> their means over squares, bytes (N, C, side, side)."""
    factor = pixels.shape[-1] // side
    parts = pixels.split(1_000)
    return torch.cat([avg_pool2d(one.float(), factor).round().byte() for one in parts])


def read_images(name: str, out: Path = RESULTS) -> dict[str, Tensor]:
    """The pictures stored beside the result called `name`; none if there are none."""
    path = out / f"{name}.npz"
    if not path.is_file():
        return {}
    with np.load(path) as file:
        return {key: torch.from_numpy(file[key]) for key in file}


def begin(
    name: str, facts: dict[str, Any], *, out: Path = RESULTS, fresh: bool = False
) -> dict[str, Any]:
    """The result called `name` to add runs to: what is stored, or `facts` and no runs.

    Raises GanlibError if what is stored was made by other code or from other facts:
    runs of two kinds would stand in one table.
    """
    digests = code_digests(name)
    path = out / f"{name}.json"
    if fresh or not path.is_file():
        return {**facts, "runs": []}
    stored = json.loads(path.read_text(encoding="utf-8"))
    facts = json.loads(json.dumps(facts))
    differs = [
        key for key, value in facts.items() if not _same_fact(stored.get(key), value)
    ]
    alike = "behaviour" in stored and behaves_alike(stored["behaviour"])
    if stored.get("modules") != digests and not alike:
        differs.append("code")
    if differs:
        raise GanlibError(
            f"{path} holds runs of another {' and '.join(differs)}; give --fresh to "
            "begin anew."
        )
    return stored


def over_seeds(
    name: str,
    result: dict[str, Any],
    seeds: Iterable[int],
    run: Callable[[int], dict[str, Any]],
    *,
    out: Path = RESULTS,
    **key: Any,
) -> None:
    """Add to result["runs"] what `run` gives for each seed, and store it every time.

    A seed that is there already, with the same `key`, is not run again.
    """
    for seed in seeds:
        about = {**key, "seed": seed}
        if any(about.items() <= one.items() for one in result["runs"]):
            continue
        result["runs"].append({**about, **run(seed)})
        write_result(name, result, out)


# Scores


@cache
def references(dataset: str, size: int) -> tuple[Classifier, Tensor]:
    """The feature extractor of a data set, and its test images as bytes.

    CelebA is not divided: there all images serve.
    """
    real = load(dataset, train=False, fallback=False, size=size).pixels
    return load_feature_extractor(dataset), real


@cache
def real_features(dataset: str, size: int, count: int) -> Tensor:
    """Features (count, F) of the test images of a data set."""
    feature_extractor, real = references(dataset, size)
    return extract_features(feature_extractor, subsample(real, count))


def _generator_of(
    source: TrainState | nn.Module, config: Config | None
) -> tuple[nn.Module, Config]:
    if isinstance(source, TrainState):
        return source.sampling_generator, source.config
    assert config is not None
    return source, config


def score_generator(
    source: TrainState | nn.Module,
    config: Config | None = None,
    *,
    count: int = COUNT,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of images of a generator, as bytes, against the test images.

    Every score of the book comes from here.

    Args:
        source: a run, of which the generator to sample from counts, or a generator.
        config: that of the generator; a run has its own.
        count: images that are generated, and real ones at most.
        seed: of the noise.
    """
    G, config = _generator_of(source, config)
    feature_extractor, real = references(config.dataset, config.image_size)
    generated = sample_pixels(
        G, config.latent_dim, count=count, seed=seed, classes=config.classes
    )
    return score(feature_extractor, subsample(real, count), generated)._asdict()


def distance(
    source: TrainState | nn.Module, config: Config | None = None, *, count: int = COUNT
) -> float:
    """The Fréchet distance of `score_generator` alone, in a fraction of its time."""
    G, config = _generator_of(source, config)
    feature_extractor, _ = references(config.dataset, config.image_size)
    generated = sample_pixels(G, config.latent_dim, count=count, classes=config.classes)
    return frechet_distance(
        real_features(config.dataset, config.image_size, count),
        extract_features(feature_extractor, generated),
    )


def spread_over_noise(
    G: nn.Module,
    config: Config,
    *,
    seeds: Iterable[int] = range(1, 6),
    count: int = COUNT,
) -> dict[str, float]:
    """Standard deviation of each score of a generator over other noise.

    What is left of the spread when there is one run; other runs differ by more.
    """
    scores = [score_generator(G, config, count=count, seed=seed) for seed in seeds]
    return {
        name: statistics.stdev(one[name] for one in scores)
        for name, value in scores[0].items()
        if isinstance(value, float)
        and name != "kid_error"
        and all(math.isfinite(one[name]) for one in scores)
    }


def bootstrap_spread(
    G: nn.Module, config: Config, *, count: int = COUNT, resamples: int = 20
) -> dict[str, float]:
    """Standard deviation of each score over bootstrap samples (Efron 1979).

    The generated images are drawn again from themselves, with replacement: in place of
    other noise where generating so many images takes minutes. An image that is drawn
    twice shows nothing new, so recall, coverage and classes are lower over these
    samples; their deviation is about that over other noise. The kernel distance has an
    error of its own.
    """
    feature_extractor, _ = references(config.dataset, config.image_size)
    real = real_features(config.dataset, config.image_size, count)
    generated = sample_pixels(G, config.latent_dim, count=count, classes=config.classes)
    features = extract_features(feature_extractor, generated)
    source = torch.Generator().manual_seed(0)
    scores = []
    for _ in range(resamples):
        drawn = torch.randint(len(features), (len(features),), generator=source)
        fake = features[drawn]
        classes, kl = feature_extractor.class_coverage(real, fake)
        scores.append(
            {
                "frechet": frechet_distance(real, fake),
                **precision_recall_density_coverage(real, fake),
                "classes": classes,
                "kl": kl,
            }
        )
    return {
        name: statistics.stdev(one[name] for one in scores)
        for name, value in scores[0].items()
        if value is not None and all(math.isfinite(one[name]) for one in scores)
    }


def nearest_distances(
    G: nn.Module, config: Config, *, count: int = 2_000, others: int = 4_000
) -> dict[str, float | None]:
    """Does G repeat what it learned from? Distances to the nearest, in feature space.

    {"training", "unseen": medians over generated images of the distance to the nearest
    of `others` training images, and of as many that G has not seen; "ratio": of the
    two, 1 where nothing is known by heart, 0 for copies; "real": median over training
    images of the distance to the nearest other one}. Where a data set is not divided
    there is nothing unseen: None.
    """
    size = config.image_size
    feature_extractor, unseen = references(config.dataset, size)
    training = load(config.dataset, fallback=False, size=size).pixels
    divided = config.dataset != "celeba"
    generated = sample_pixels(G, config.latent_dim, count=count, classes=config.classes)
    fake, known = (
        extract_features(feature_extractor, images)
        for images in (generated, subsample(training, others))
    )
    to_known = nearest_neighbour(fake, known)[0].median().item()
    between = nearest_neighbour(known[:count], known[count:])[0].median().item()
    to_unseen = None
    if divided:
        features = extract_features(feature_extractor, subsample(unseen, others))
        to_unseen = nearest_neighbour(fake, features)[0].median().item()
    ratio = to_known / to_unseen if to_unseen else None
    return {
        "training": to_known,
        "unseen": to_unseen,
        "ratio": ratio,
        "real": between,
    }


# The command line


def parser(
    description: str | None, *, seeds: int = 0, resumes: bool = False
) -> argparse.ArgumentParser:
    """A parser with --out, and what the experiment can use of --seeds and --fresh.

    Args:
        seeds: how many seeds are run if none are given; 0: there are no seeds.
        resumes: whether stored runs are kept, unless --fresh is given.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="folder for the result (default: ganlib/assets/experiments)",
    )
    if seeds:
        made.add_argument(
            "--seeds",
            type=int,
            nargs="+",
            default=list(range(seeds)),
            help=f"seeds to run (default: 0 to {seeds - 1})",
        )
    if resumes:
        made.add_argument(
            "--fresh",
            action="store_true",
            help="forget the stored runs; else only seeds that are missing are run",
        )
    return made

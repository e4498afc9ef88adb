"""The command line: ganlib train, ganlib sample, ganlib score."""

import argparse
import io
import json
import sys
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ganlib.accelerate import distributed, fit
from ganlib.checkpoint import (
    load_generator,
    new_run,
    resume_run,
    sample_grid,
    save_run,
    shipped,
)
from ganlib.config import parse_field
from ganlib.data import NAMES, load
from ganlib.errors import GanlibError
from ganlib.files import write_atomic
from ganlib.metrics import MIN_IMAGES, load_feature_extractor, score, subsample
from ganlib.recipes import RECIPES, recipe
from ganlib.sampling import sample_pixels
from ganlib.tensorboard import log_epoch, open_tensorboard
from ganlib.training import Sampler, TrainState, check_images

MAX_BYTES = 2**30  # of the images in one .npz file
MAX_THREADS = 8  # more are slower: the matrices are small


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; `arguments` are those of the process by default.

    What the user can mend is one sentence on stderr, and exit status 2.
    """
    torch.set_num_threads(min(MAX_THREADS, torch.get_num_threads()))
    parser = _parser()
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        try:
            options.command(options)
        except GanlibError as error:
            distributed.print_error(error)
            parser.exit(2)
        except KeyboardInterrupt:
            distributed.print_error(
                "Stopped; a run keeps its last whole epoch, and train --resume goes on "
                "from there."
            )
            parser.exit(130)


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """In the place of warnings.showwarning: without file and line."""
    if distributed.is_main():
        print(f"ganlib: {message}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        distributed.print_error(f"{message}; {self.prog} --help shows how.")
        self.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ganlib", description="Train a GAN of the book, sample from it, score it."
    )
    commands = parser.add_subparsers(required=True, metavar="train | sample | score")
    _add_train(commands.add_parser("train", help="train a recipe in a folder"))
    _add_sample(commands.add_parser("sample", help="draw images into an .npz file"))
    _add_score(commands.add_parser("score", help="compare images with real ones"))
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.set_defaults(command=_train)
    add("recipe", help=", ".join(RECIPES))
    add("--dataset", help=f"instead of the recipe's: {', '.join(NAMES)}")
    add("--epochs", type=int, help="passes over the data, counted from the first")
    add("--batch-size", type=int, help="images per step")
    add("--seed", type=int, help="the same seed gives the same run")
    add(
        "--set",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="any other field of the config, several times if need be",
    )
    add("--data", metavar="ROOT", help="torchvision data root (default: GANLIB_DATA)")
    add("--out", metavar="DIR", type=Path, help="default: runs/RECIPE")
    add("--device", help="cuda, mps or cpu (default: the first of these that is here)")
    add(
        "--models-every",
        metavar="K",
        type=int,
        default=0,
        help="keep the generator of each K-th epoch too",
    )
    add("--tensorboard", action="store_true", help="log to DIR/tensorboard")
    add("--resume", action="store_true", help="go on with the run in --out")
    add("--force", action="store_true", help="resume with a changed config")


def _add_sample(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.set_defaults(command=_sample)
    add("generator", help=f"file, folder of a run, or one of: {', '.join(shipped())}")
    add("--count", type=int, default=64, help="images (default: 64)")
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    add("--out", metavar="FILE.npz", type=Path, required=True)


def _add_score(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.set_defaults(command=_score)
    add("source", metavar="GENERATOR|FILE.npz", help="as for sample, or what it wrote")
    add(
        "--against",
        metavar="DATASET",
        default="mnist",
        help="its test images, or all of an undivided set (default: mnist)",
    )
    add("--count", type=int, default=10_000, help="at most, of each (default: 10000)")
    add("--data", metavar="ROOT", help="torchvision data root (default: GANLIB_DATA)")


def _check_range(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise GanlibError(
            f"{option} is {value}; it must be a whole number from {low} to {high}."
        )


def _train(options: argparse.Namespace) -> None:
    _check_range("--models-every", options.models_every, 0, 100_000)
    changes = dict(parse_field(text) for text in options.set)
    for name in ("dataset", "epochs", "batch_size", "seed"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    config = recipe(options.recipe, **changes)
    out = options.out or Path("runs") / config.recipe
    with distributed.process_group(options.device) as device:
        if options.resume or distributed.restarted():
            state = resume_run(config, changes, out, device, force=options.force)
        else:
            state = new_run(config, out, device)
        with distributed.main_first():
            pixels = _load_for(state, options.data)
        distributed.check_same(
            **vars(state.config), epoch=len(state.history), images=len(pixels)
        )
        sampler = distributed.distribute(state, pixels)
        _train_and_save(state, pixels, sampler, out, options)


def _load_for(state: TrainState, root: str | None) -> Tensor:
    """Bytes (N, C, H, W) that `state` can be trained on."""
    config = state.config
    images = load(config.dataset, root=root, fallback=False, size=config.image_size)
    check_images(config, images.pixels)
    return images.pixels


def _train_and_save(
    state: TrainState,
    pixels: Tensor,
    sampler: Sampler,
    out: Path,
    options: argparse.Namespace,
) -> None:
    """Train to the end; the first process saves each epoch in the folder `out`."""
    config, done = state.config, len(state.history)
    is_main = distributed.is_main()
    if is_main:  # at a resume too: it mends what a kill left out of date
        save_run(state, out)
    tensorboard: Any = nullcontext()
    if options.tensorboard and is_main:
        tensorboard = open_tensorboard(out / "tensorboard", epoch=done)
    with (
        tensorboard as writer,
        tqdm(
            fit(state, pixels, sampler=sampler),
            total=config.epochs,
            initial=done,
            unit="epoch",
            disable=not is_main,
        ) as progress,
    ):
        for record in progress:
            if writer:  # first: open_tensorboard mends what a kill leaves between
                log_epoch(writer, record, sample_grid(state))
            if is_main:
                save_run(state, out, models_every=options.models_every)
            losses = {"Loss_D": record.d_loss, "Loss_G": record.g_loss}
            progress.set_postfix(losses)
    if is_main:
        epochs = len(state.history)
        print(f"{epochs} epochs of {config.recipe} on {config.dataset} are in {out}")


def _sample(options: argparse.Namespace) -> None:
    if options.out.suffix != ".npz":
        raise GanlibError(f"--out is {options.out}; its name must end in .npz.")
    pixels = _generate(options.generator, options.count, options.seed).numpy()
    packed = io.BytesIO()
    np.savez_compressed(packed, images=pixels)
    write_atomic(options.out, packed.getvalue())
    print(f"{len(pixels)} images {pixels.shape[1:]} are in {options.out}")


def _generate(source: str, count: int, seed: int) -> Tensor:
    """Images of a generator as bytes (count, C, H, W)."""
    _check_range("--count", count, 1, 1_000_000)
    _check_range("--seed", seed, 0, 2**31 - 1)
    G, config = load_generator(source)
    return sample_pixels(G, config.latent_dim, count=count, seed=seed)


def _score(options: argparse.Namespace) -> None:
    source, against = options.source, options.against
    _check_range("--count", options.count, MIN_IMAGES, 1_000_000)
    feature_extractor = load_feature_extractor(against)
    images = load(against, root=options.data, train=False, fallback=False)
    real = subsample(images.pixels, options.count)
    if source.endswith(".npz"):
        generated = _read_npz(source)[: options.count]
    else:
        generated = _generate(source, options.count, seed=0)
    scores = score(feature_extractor, real, generated)._asdict()
    split = "all" if against == "celeba" or against.startswith("folder:") else "test"
    print(f"{source} against {split} images of {against}")
    for name, value in scores.items():
        print(f"{name:10} {_as_text(value):>10}")
    print(json.dumps({"source": source, "against": against, "split": split, **scores}))


def _as_text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _read_npz(path: str) -> Tensor:
    """The array `images` of an .npz file, bytes (N, C, H, W), of at most MAX_BYTES."""
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(entry.file_size for entry in packed.infolist())
            if unpacked > MAX_BYTES or packed.testzip() is not None:
                raise ValueError
            with packed.open("images.npy") as file:
                pixels = np.lib.format.read_array(file, allow_pickle=False)
    except Exception:  # a dozen kinds: it depends on where the file is broken
        raise GanlibError(
            f"{path} holds no `images` of at most {MAX_BYTES:,} bytes; ganlib sample "
            "writes them."
        ) from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise GanlibError(
            f"{path} holds {pixels.dtype} {pixels.shape}; it must hold uint8 "
            "(N, C, H, W)."
        )
    return torch.from_numpy(pixels)

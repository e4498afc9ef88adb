"""The corridor: python -m ganlib train | sample | score."""

import argparse
import io
import json
import warnings
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ganlib.checkpoint import load_generator, shipped
from ganlib.recipes import RECIPES, recipe
from ganlib.errors import GanlibError
from ganlib.config import parse_field, replace
from ganlib.data import NAMES, load
from ganlib.files import write_atomic
from ganlib.accelerate.distributed import agree, joined, one_first, restarted, say
from ganlib.tensorboard import open_tensorboard, post
from ganlib.metrics import FEWEST, subsample, score
from ganlib.sampling import sample_pixels
from ganlib.accelerate.distributed import check_batch_size
from ganlib.metrics.classifiers import load_feature_extractor
from ganlib.runs import sample_grid, new_run, resume_run, save_run
from ganlib.training import fit

MOST_BYTES = 2**30  # of images in one .npz file


def main(arguments=None):
    """Run one command; a GanlibError becomes one sentence on stderr and exit status 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.command(options)
    except GanlibError as error:
        say(error)
        parser.exit(2)
    except KeyboardInterrupt:
        say("stopped; a run keeps its last whole epoch, and --resume goes on from there.")
        parser.exit(130)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """A bad command line is one sentence on stderr too."""
        say(f"{message}; {self.prog} --help shows how.")
        self.exit(2)


def _parser():
    parser = _Parser(prog="python -m ganlib", description="Train a GAN of the book, draw from one, or score one.")
    commands = parser.add_subparsers(required=True, metavar="train | sample | score")
    train = commands.add_parser("train", help="train a recipe and write networks, history and samples to a folder")
    train.set_defaults(command=_train)
    train.add_argument("recipe", help=", ".join(RECIPES))
    train.add_argument("--dataset", help=f"other data than the recipe's: {', '.join(NAMES)}")
    train.add_argument("--epochs", type=int, help="passes over the data, counted from the very first")
    train.add_argument("--batch-size", type=int, help="images per step")
    train.add_argument("--seed", type=int, help="which run: the same seed gives the same run")
    train.add_argument(
        "--set", metavar="FIELD=VALUE", action="append", default=[], help="any other field of the config"
    )
    train.add_argument("--data", metavar="ROOT", help="torchvision data root (default: GANLIB_DATA, then the cache)")
    train.add_argument("--out", metavar="DIR", type=Path, help="where to write (default: runs/RECIPE)")
    train.add_argument("--device", help="cuda, mps or cpu (default: the first of them that is here)")
    train.add_argument("--models-every", metavar="K", type=int, default=0, help="keep each K-th epoch's generator too")
    train.add_argument("--tensorboard", action="store_true", help="log to DIR/tensorboard")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    train.add_argument("--force", action="store_true", help="with --resume: go on although the config has changed")
    _add_sample_and_score(commands)
    return parser


def _add_sample_and_score(commands):
    draw = commands.add_parser("sample", help="draw images from a generator into an .npz file")
    draw.set_defaults(command=_sample)
    draw.add_argument("weights", help=f"a generator.pt, or a shipped network: {', '.join(shipped()) or 'none'}")
    draw.add_argument("--count", type=int, default=64, help="how many images (default 64)")
    draw.add_argument("--seed", type=int, default=0, help="which noise (default 0)")
    draw.add_argument("--out", metavar="FILE.npz", type=Path, required=True)
    judge = commands.add_parser("score", help="compare generated images with the real ones of a data set")
    judge.set_defaults(command=_score)
    judge.add_argument("source", metavar="WEIGHTS|FILE.npz", help="a generator, or images as `sample` writes them")
    whose = "whose test images, or all of an undivided set (default mnist)"
    judge.add_argument("--against", metavar="DATASET", default="mnist", help=whose)
    judge.add_argument("--count", type=int, default=10_000, help="at most so many of each (default 10000)")
    judge.add_argument("--data", metavar="ROOT", help="torchvision data root, as for train")


def _train(options):
    if options.models_every < 0:
        raise GanlibError(f"--models-every is {options.models_every}; it must be a whole number, 0 or more.")
    names = "dataset", "epochs", "batch_size", "seed"
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    changes |= dict(parse_field(text) for text in options.set)
    config = recipe(options.recipe, **changes)
    out = options.out or Path("runs") / config.recipe
    with joined(options.device) as device:
        if options.resume or restarted():
            state = resume_run(config, changes, out, device, force=options.force)
        else:
            state = new_run(config, out, device)
        with one_first():
            pixels = _pixels_for(state, options.data)
        agree(**vars(state.config), epoch=len(state.history), images=len(pixels))
        _train_on(state, pixels, out, options)


def _train_on(state, pixels, out, options):
    """Train a TrainState to its end, saving each epoch in the folder `out`; of several ranks the first alone shows it."""
    config, first, done = state.config, state.ranks.rank == 0, len(state.history)
    if not done:
        save_run(state, out)
    with open_tensorboard(out / "tensorboard", epoch=done) if options.tensorboard and first else nullcontext() as board:
        progress = tqdm(fit(state, pixels), total=config.epochs, initial=done, unit="epoch", disable=not first)
        for record in progress:
            if board:  # before the checkpoint: a kill in between is mended by the next open_tensorboard
                post(board, record, sample_grid(state))
            save_run(state, out, models_every=options.models_every)
            progress.set_postfix(Loss_D=f"{record.d_loss:.2f}", Loss_G=f"{record.g_loss:.2f}")
    if first:
        print(f"{len(state.history)} epochs of {config.recipe} on {config.dataset} are in {out}")


def _pixels_for(state, root):
    """Bytes (N, C, H, W) to train on. GanlibError if they do not fit the TrainState, before a run writes anything."""
    config = state.config
    pixels = load(config.dataset, root=root, fallback=False, size=config.image_size).pixels
    if tuple(pixels.shape[1:]) != config.image_shape:
        shapes = f"{tuple(pixels.shape[1:])}; the recipe {config.recipe} takes {config.image_shape}"
        raise GanlibError(f"The images of {config.dataset} are {shapes}.")
    check_batch_size(config, len(pixels), state.ranks)
    return pixels


def _sample(options):
    pixels = _draw(options.weights, options.count, options.seed)
    packed = io.BytesIO()
    np.savez_compressed(packed, images=pixels)
    write_atomic(options.out, packed.getvalue())
    print(f"{len(pixels)} images {pixels.shape[1:]} are in {options.out}")


def _check_count(count, least):
    if not least <= count <= 1_000_000:
        raise GanlibError(f"--count is {count}; it must be a whole number from {least} to 1000000.")


def _draw(weights, count, seed):
    """Weights file or shipped name -> bytes (count, C, H, W), a numpy array."""
    _check_count(count, 1)
    G, config = load_generator(weights)
    config = replace(config, seed=seed)
    return sample_pixels(G, config.latent_dim, count=count, seed=config.seed).numpy()


def _score(options):
    against = options.against
    _check_count(options.count, FEWEST)
    judge = load_feature_extractor(against)
    real = subsample(load(against, root=options.data, train=False, fallback=False).pixels, options.count)
    from_file = options.source.endswith(".npz")
    pixels = _read_images(options.source) if from_file else _draw(options.source, options.count, 0)
    if pixels.shape[1:] != real.shape[1:]:
        raise GanlibError(f"{options.source} gives images {pixels.shape[1:]}; {against} has {tuple(real.shape[1:])}.")
    scores = score(judge, real, torch.from_numpy(pixels[: options.count]))._asdict()
    whole = against == "celeba" or against.startswith("folder:")
    print(f"{options.source} against {'all' if whole else 'test'} images of {against}" + ", undivided" * whole)
    for name, value in scores.items():
        print(f"{name:10} {'-' if value is None else f'{value:,}' if isinstance(value, int) else f'{value:.3f}':>10}")
    print(json.dumps({"source": options.source, "against": against, "split": "all" if whole else "test", **scores}))


def _read_images(path):
    """.npz file -> its array `images`, bytes (N, C, H, W), of at most MOST_BYTES."""
    try:
        with zipfile.ZipFile(path) as packed:
            if sum(entry.file_size for entry in packed.infolist()) > MOST_BYTES or packed.testzip():
                raise ValueError
            pixels = np.lib.format.read_array(packed.open("images.npy"), allow_pickle=False)
    except Exception:  # a dozen class_coverage: it depends on where the file is broken
        raise GanlibError(f"{path} holds no `images` of at most {MOST_BYTES:,} bytes; `sample` writes them.") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise GanlibError(f"{path} holds {pixels.dtype} {pixels.shape}; it must hold uint8 (N, C, H, W).")
    return pixels


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_: f"ganlib: {message}\n"
    # One thread per core pays for the small matrices here only up to a few cores.
    torch.set_num_threads(min(8, torch.get_num_threads()))
    main()

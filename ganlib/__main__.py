"""The corridor: python -m ganlib train | sample."""

import argparse
import csv
import io
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ganlib.checkpoint import load_checkpoint, load_generator, save_checkpoint, save_generator, shipped
from ganlib.config import RECIPES, GanlibError, pick_device, recipe, replace
from ganlib.data import CLASSES, load
from ganlib.files import write_whole
from ganlib.models import draw_noise, sample
from ganlib.pixels import denormalize
from ganlib.show import save_tile
from ganlib.train import Record, fit, new_state

GRID = 64  # images in each samples/epoch-0001.png


def main(arguments=None):
    """Run one command; a GanlibError becomes one sentence on stderr and exit status 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.command(options)
    except GanlibError as error:
        parser.exit(2, f"ganlib: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "ganlib: stopped; a run keeps its last whole epoch, and --resume goes on from there.\n")


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """A bad command line is one sentence on stderr too."""
        self.exit(2, f"ganlib: {message}; {self.prog} --help shows how.\n")


def _parser():
    parser = _Parser(prog="python -m ganlib", description="Train a GAN of the book, or draw from one.")
    commands = parser.add_subparsers(required=True, metavar="train | sample")
    train = commands.add_parser("train", help="train a recipe and write networks, history and samples to a folder")
    train.set_defaults(command=_train)
    train.add_argument("recipe", help=", ".join(RECIPES))
    train.add_argument("--dataset", help=f"other data than the recipe's: {', '.join(CLASSES)}")
    train.add_argument("--epochs", type=int, help="passes over the data, counted from the very first")
    train.add_argument("--batch-size", type=int, help="images per step")
    train.add_argument("--seed", type=int, help="which run: the same seed gives the same run")
    train.add_argument("--data", metavar="ROOT", help="torchvision data root (default: GANLIB_DATA, then the cache)")
    train.add_argument("--out", metavar="DIR", type=Path, help="where to write (default: runs/RECIPE)")
    train.add_argument("--device", help="cuda, mps or cpu (default: the first of them that is here)")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    draw = commands.add_parser("sample", help="draw images from a generator into an .npz file")
    draw.set_defaults(command=_sample)
    draw.add_argument("weights", help=f"a generator.pt, or a shipped network: {', '.join(shipped()) or 'none'}")
    draw.add_argument("--count", type=int, default=64, help="how many images (default 64)")
    draw.add_argument("--seed", type=int, default=0, help="which noise (default 0)")
    draw.add_argument("--out", metavar="FILE.npz", type=Path, required=True)
    return parser


def _train(options):
    names = "dataset", "epochs", "batch_size", "seed"
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    config = recipe(options.recipe, **changes)
    out = options.out or Path("runs") / config.recipe
    device = pick_device(options.device)
    state = _resume_run(config, changes, out, device) if options.resume else _new_run(config, out, device)
    config = state.config
    images = load(config.dataset, root=options.data, fallback=False)
    if config.batch_size > len(images.pixels):
        raise GanlibError(f"batch_size is {config.batch_size}; {config.dataset} has {len(images.pixels)} images.")
    z = draw_noise(GRID, config.latent_dim, seed=config.seed)
    if not state.history:
        _save_run(state, z, out)
    progress = tqdm(fit(state, images.pixels), total=config.epochs, initial=len(state.history), unit="epoch")
    for record in progress:
        _save_run(state, z, out)
        progress.set_postfix(Loss_D=f"{record.d_loss:.2f}", Loss_G=f"{record.g_loss:.2f}")
    print(f"{len(state.history)} epochs of {config.recipe} on {config.dataset} are in {out}")


def _new_run(config, out, device):
    """Config -> a State at epoch 0; an old run in `out` is never written over."""
    if any((out / name).exists() for name in ("checkpoint.pt", "generator.pt", "history.csv")):
        raise GanlibError(f"{out} holds a run already; go on with --resume, or choose another --out.")
    return new_state(config, device)


def _resume_run(config, changes, out, device):
    """The State saved in `out`, with its own config; what the command line says must agree, but for the epochs."""
    epochs = {name: changes[name] for name in ("epochs",) if name in changes}
    state = load_checkpoint(out / "checkpoint.pt", device, **epochs)
    said = ["recipe", *changes]
    changed = [name for name in said if getattr(config, name) != getattr(state.config, name)]
    if changed:
        raise GanlibError(f"{out} was trained with another {', '.join(changed)}; use the same, or another --out.")
    return state


def _save_run(state, z, out):
    """Networks, history and a picture of fixed noise -> files in `out`, each whole."""
    epoch = len(state.history)
    save_tile(sample(state.best_g, z), out / "samples" / f"epoch-{epoch:04d}.png")
    save_generator(state.best_g, state.config, out / "generator.pt", epoch=epoch)
    write_whole(out / "history.csv", _csv(state.history))
    save_checkpoint(state, out / "checkpoint.pt")


def _csv(history):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([Record._fields, *history])
    return text.getvalue().encode()


def _sample(options):
    if not 1 <= options.count <= 1_000_000:
        raise GanlibError(f"--count is {options.count}; it must be a whole number from 1 to 1000000.")
    G, config = load_generator(options.weights)
    config = replace(config, seed=options.seed)
    noise = draw_noise(options.count, config.latent_dim, seed=config.seed).split(1000)
    pixels = np.concatenate([denormalize(sample(G, z)).numpy() for z in noise])
    packed = io.BytesIO()
    np.savez_compressed(packed, images=pixels)
    write_whole(options.out, packed.getvalue())
    print(f"{len(pixels)} images {pixels.shape[1:]} are in {options.out}")


if __name__ == "__main__":
    # One thread per core pays for the small matrices here only up to a few cores.
    torch.set_num_threads(min(8, torch.get_num_threads()))
    main()

"""The command line: ganlib train, sample, score, doctor, export and list."""

import argparse
import io
import json
import math
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ganlib import __version__, accelerate
from ganlib.accelerate import distributed, fit
from ganlib.checkpoint import (
    load_generator,
    new_run,
    resume_run,
    sample_grid,
    save_run,
    shipped,
)
from ganlib.config import Config, parse_field, replace
from ganlib.data import ABOUT, CLASSES, NAMES, Images, load
from ganlib.errors import GanlibError
from ganlib.export import export_onnx
from ganlib.files import write_atomic
from ganlib.metrics import (
    MIN_IMAGES,
    doctor,
    load_feature_extractor,
    score,
    subsample,
)
from ganlib.own import Keeper, own_batches, plan_for
from ganlib.plotting import save_image_grid
from ganlib.recipes import RECIPES, recipe
from ganlib.results import distance_text, network_summary, summary
from ganlib.sampling import (
    conditions_of,
    labels_in_turn,
    noise_circle,
    pixels_of,
    sample_noise,
    with_condition,
)
from ganlib.tensorboard import log_epoch, open_tensorboard
from ganlib.training import Sampler, TrainState, check_images
from ganlib.transfer import start_from

MAX_BYTES = 2**30  # of the images that are drawn at once, or in one .npz file
MAX_FRAMES = 10_000  # of a walk
ENDINGS = ".npz", ".png", ".gif", ".webp"  # of what sample writes
FRAME_SECONDS = 0.06  # of a walk
FRAME_SIDE = 128  # pixels, at least: smaller images are enlarged
MAX_THREADS = 8  # more are slower: the matrices are small


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; `arguments` are those of the process by default.

    What the user can mend is one sentence on stderr, and exit status 2.
    """
    torch.set_num_threads(min(MAX_THREADS, torch.get_num_threads()))
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return
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


def _place(text: str) -> str:
    """A place to write to: "" would be the working folder, by mistake."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a place")
    return text


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        distributed.print_error(f"{message}; {self.prog} --help shows how.")
        self.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ganlib", description="Train a GAN of the book, sample from it, score it."
    )
    parser.set_defaults(command=None)
    parser.add_argument("--version", action="version", version=f"ganlib {__version__}")
    try:
        import shtab
    except ImportError:  # an extra
        pass
    else:
        shtab.add_argument_to(parser, help="print a script that completes commands")
    commands = parser.add_subparsers(
        metavar="train | sample | score | doctor | export | list"
    )
    _add_train(commands.add_parser("train", help="train a recipe in a folder"))
    _add_sample(commands.add_parser("sample", help="draw images into files"))
    _add_score(commands.add_parser("score", help="compare images with real ones"))
    _add_doctor(commands.add_parser("doctor", help="say what is wrong with a run"))
    _add_export(commands.add_parser("export", help="write a generator for others"))
    listing = commands.add_parser("list", help="recipes, data sets, shipped networks")
    listing.set_defaults(command=_list)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.set_defaults(command=_train)
    add("recipe", help=f"{', '.join(RECIPES)}, or own, for --dataset folder:PATH")
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
    add("--out", metavar="DIR", type=_place, help="default: runs/RECIPE")
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
    add(
        "--label",
        help="what a conditional network is to draw, as a number or a name "
        "(default: all classes in turn)",
    )
    add(
        "--out",
        metavar="FILE",
        type=_place,
        help=".npz: an array; .png: a grid; FOLDER/: a .png each; .gif or .webp: a "
        "walk through noise (default: GENERATOR.png, here)",
    )


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
    add("--json", action="store_true", help="print json in the place of the table")
    add("--data", metavar="ROOT", help="torchvision data root (default: GANLIB_DATA)")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.set_defaults(command=_doctor)
    add("run", metavar="RUN", help="folder of a run, or a csv file of its numbers")
    add(
        "--column",
        metavar="NAME=COLUMN",
        action="append",
        default=[],
        help="what the file calls d_loss, g_loss, d_real, d_fake_before, d_fake_after "
        "or images_seen",
    )
    add("--samples", metavar="FILE.npz", help="samples, as ganlib sample writes them")
    add("--json", action="store_true", help="print json in the place of sentences")


def _add_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.set_defaults(command=_export)
    add("generator", help=f"file, folder of a run, or one of: {', '.join(shipped())}")
    add("--to", choices=["onnx"], required=True, help="the format")
    add("--out", metavar="FILE", type=_place, help="default: GENERATOR.onnx, here")


def _check_range(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise GanlibError(
            f"{option} is {value}; it must be a whole number from {low} to {high}."
        )


def _train(options: argparse.Namespace) -> None:
    _check_range("--models-every", options.models_every, 0, 100_000)
    if options.recipe == "own":
        _train_own(options)
        return
    changes = _changes(options)
    config = recipe(options.recipe, **changes)
    out = Path(options.out or f"runs/{config.recipe}")
    with distributed.process_group(options.device) as device:
        if options.resume or distributed.restarted():
            state = resume_run(config, changes, out, device, force=options.force)
            _check_epochs(state, out)
        else:
            state = new_run(config, out, device)
        with distributed.main_first():
            images = _load_for(state.config, changes, options.data)
        pixels, conditions = images.pixels, _conditions_for(state.config, images)
        if not state.history:
            fitting = _fit_to_data(state.config, changes, pixels)
            if fitting != state.config:
                state = new_run(fitting, out, device)
        check_images(state.config, pixels)
        distributed.check_same(
            **vars(state.config), epoch=len(state.history), images=len(pixels)
        )
        sampler = distributed.distribute(state, pixels)
        _train_and_save(state, pixels, conditions, sampler, out, options)


def _train_own(options: argparse.Namespace) -> None:
    """Train on a folder: choose, say what is chosen, train, stop, keep the best."""
    changes = _changes(options)
    dataset, out = changes.get("dataset", ""), Path(options.out or "runs/own")
    if not dataset.startswith("folder:"):
        raise GanlibError(
            "own trains on pictures of your own; add --dataset folder:PATH."
        )
    with distributed.process_group(options.device) as device:
        if distributed.world_size() > 1:
            raise GanlibError(
                "own trains in one process, which measures and stops; start it "
                "without torchrun."
            )
        plan = plan_for(dataset, changes, slow=device.type == "cpu")
        if options.resume:
            state = resume_run(plan.config, changes, out, device, force=options.force)
            _check_epochs(state, out)
            check_images(state.config, plan.training)
        else:
            state = new_run(plan.config, out, device)
            check_images(plan.config, plan.training)
            print(*plan.sentences, sep="\n", flush=True)
            if plan.start:
                start_from(state, plan.start)
        accelerate.set_memory_format(state)  # now: what is measured depends on it
        keeper = Keeper(state, plan, out)
        _train_and_save(
            state, plan.training, None, own_batches, out, options, keeper.after_epoch
        )
    print(*keeper.finish(), sep="\n")


def _check_epochs(state: TrainState, out: Path) -> None:
    epochs, done = state.config.epochs, len(state.history)
    if epochs < done:
        raise GanlibError(
            f"epochs is {epochs}, counted from the first; {out} has {done} already, so "
            "give more."
        )


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of the config that are asked for; GanlibError if one is twice."""
    changes: dict[str, Any] = {}
    for name in ("dataset", "epochs", "batch_size", "seed"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    for text in options.set:
        name, value = parse_field(text)
        if name in changes or name == "recipe":
            raise GanlibError(f"{name} is given twice; give it once.")
        changes[name] = value
    return changes


def _load_for(config: Config, changes: dict[str, Any], root: str | None) -> Images:
    """Images to train on; grey where the config asks or all of them are."""
    own = config.dataset.startswith("folder:")
    any_channels = own and config.channels == 3 and "channels" not in changes
    return load(
        config.dataset,
        root=root,
        fallback=False,
        size=config.image_size,
        channels=None if any_channels else config.channels,
    )


def _conditions_for(config: Config, images: Images) -> Tensor | None:
    """The conditions (N, classes) of images, from their labels; None without classes.

    Raises GanlibError if they have another number of classes than the config.
    """
    if not config.classes:
        return None
    if len(images.classes) != config.classes:
        raise GanlibError(
            f"classes is {config.classes}, but {config.dataset} has "
            f"{len(images.classes)}; --set classes={len(images.classes)}, or choose "
            "another data set."
        )
    return conditions_of(images.labels, config.classes)


def _fit_to_data(config: Config, changes: dict[str, Any], pixels: Tensor) -> Config:
    """`config` with the channels and a batch size that a new run on `pixels` can have.

    What was asked for by name stays; what changes is said.
    """
    channels, most = pixels.shape[1], len(pixels) // distributed.world_size()
    if config.dataset.startswith("folder:") and config.channels == 3 > channels:
        warnings.warn(
            "All pictures are grey, so channels is 1; --set channels=3 keeps 3.",
            stacklevel=2,
        )
        config = replace(config, channels=channels)
    if config.batch_size > most > 0 and "batch_size" not in changes:
        warnings.warn(
            f"There are {len(pixels)} images, so batch_size is {most} and not "
            f"{config.batch_size}.",
            stacklevel=2,
        )
        config = replace(config, batch_size=most)
    return config


def _train_and_save(
    state: TrainState,
    pixels: Tensor,
    conditions: Tensor | None,
    sampler: Sampler,
    out: Path,
    options: argparse.Namespace,
    after_epoch: Callable[[], bool] | None = None,
) -> None:
    """Train to the end; the first process saves each epoch in the folder `out`.

    With `after_epoch` the end is where it returns True; it is asked at the start too.
    """
    config, done = state.config, len(state.history)
    is_main = distributed.is_main()
    if is_main:  # at a resume too: it mends what a kill left out of date
        save_run(state, out)
    if after_epoch and after_epoch():
        return
    tensorboard: Any = nullcontext()
    if options.tensorboard and is_main:
        tensorboard = open_tensorboard(out / "tensorboard", epoch=done)
    with (
        tensorboard as writer,
        tqdm(
            initial=state.history[-1].images_seen if done else 0,
            unit=" images",
            unit_scale=True,
            desc=f"epoch {done}/{config.epochs}",
            disable=not is_main,
        ) as progress,
    ):
        for record in fit(state, pixels, conditions, sampler=sampler):
            if writer:  # first: open_tensorboard mends what a kill leaves between
                log_epoch(writer, record, sample_grid(state))
            if is_main:
                save_run(state, out, models_every=options.models_every)
            losses = {"Loss_D": record.d_loss, "Loss_G": record.g_loss}
            progress.set_postfix(losses, refresh=False)
            progress.set_description(f"epoch {record.epoch}/{config.epochs}", False)
            if after_epoch is None:  # else nobody knows the end
                progress.total = record.images_seen * config.epochs // record.epoch
            progress.update(record.images_seen - progress.n)
            if after_epoch and after_epoch():
                break
    if is_main:
        epochs = len(state.history)
        print(f"{epochs} epochs of {config.recipe} on {config.dataset} are in {out}")


def _sample(options: argparse.Namespace) -> None:
    wanted = options.out or f"{_name_of(options.generator)}.png"
    out, count, seed = Path(wanted), options.count, options.seed
    is_folder = out.is_dir() or wanted.endswith(("/", "\\"))
    kind = "/" if is_folder else out.suffix.lower()
    if kind != "/" and kind not in ENDINGS:
        raise GanlibError(
            f"--out is {wanted}; its name must end in {', '.join(ENDINGS)}, or in "
            "/ for a folder."
        )
    is_walk = kind in (".gif", ".webp")
    pixels = _generate(
        options.generator, count, seed, label=options.label, is_walk=is_walk
    )
    if kind == "/":
        digits = len(str(count - 1))
        for number, image in enumerate(pixels):
            content = _picture_file([image], "png")
            write_atomic(out / f"{number:0{digits}}.png", content)
    elif kind == ".npz":
        packed = io.BytesIO()
        np.savez_compressed(packed, images=pixels.numpy())
        write_atomic(out, packed.getvalue())
    elif kind == ".png":
        save_image_grid(pixels, out, columns=math.ceil(math.sqrt(count)))
    else:
        zoom = math.ceil(FRAME_SIDE / pixels.shape[-1])
        frames = pixels.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
        write_atomic(out, _picture_file(list(frames), kind[1:]))
    shape = tuple(pixels.shape[1:])
    print(f"{len(pixels)} images {shape} are in {wanted}")


def _picture_file(frames: Sequence[Tensor], kind: str) -> bytes:
    """Bytes (C, H, W), each a frame -> the bytes of a png, gif or webp file."""
    from torchvision.transforms.functional import to_pil_image

    first, *others = [to_pil_image(frame) for frame in frames]
    options: dict[str, Any] = {}
    if kind != "png":
        duration = int(1000 * FRAME_SECONDS)
        options = {"save_all": True, "append_images": others, "loop": 0}
        options["duration"] = duration
    file = io.BytesIO()
    first.save(file, kind, **options)
    return file.getvalue()


def _generate(
    source: str,
    count: int,
    seed: int,
    *,
    label: str | None = None,
    is_walk: bool = False,
) -> Tensor:
    """Images of a generator as bytes (count, C, H, W), of a walk or each by itself.

    A conditional one draws the class called `label`, or all in turn; on a walk these
    come one after another.
    """
    _check_range("--count", count, 1, 1_000_000)
    _check_range("--seed", seed, 0, 2**31 - 1)
    G, config = load_generator(source)
    most = MAX_BYTES // math.prod(config.image_shape)
    if is_walk:
        most = min(most, MAX_FRAMES)
    if count > most:
        what = "of a walk" if is_walk else f"of images {config.image_shape}"
        raise GanlibError(f"--count is {count}; {what} it must be at most {most}.")
    make = noise_circle if is_walk else sample_noise
    z = make(count, config.latent_dim, seed=seed)
    classes = config.classes
    if label is not None:
        labels = torch.full((count,), _label_number(label, source, config))
    elif is_walk:
        labels = torch.arange(count) * classes // count
    elif classes:
        labels = labels_in_turn(count, classes)
    condition = conditions_of(labels, classes) if classes else None
    return pixels_of(G, with_condition(z, condition))


def _label_number(label: str, source: str, config: Config) -> int:
    """A class by its number or its name -> its number; GanlibError if there is none."""
    names = CLASSES.get(config.dataset, ())
    known = [str(number) for number in range(config.classes)]
    if not known:
        raise GanlibError(
            f"--label is {label}, but {source} has no classes to choose from; leave "
            "--label out, or take a conditional network."
        )
    if label in known:
        return known.index(label)
    if label in names and len(names) == len(known):
        return names.index(label)
    more = f" ({', '.join(names)})" if names and list(names) != known else ""
    raise GanlibError(
        f"There is no label {label!r}; the labels of {source} are 0 to "
        f"{config.classes - 1}{more}."
    )


def _name_of(generator: str) -> str:
    """The name of a generator: of its file without the ending, or of its folder."""
    source = Path(generator).resolve()
    return source.stem if source.is_file() else source.name  # of a folder, dots and all


def _export(options: argparse.Namespace) -> None:
    out = Path(options.out or f"{_name_of(options.generator)}.onnx")
    if out.suffix.lower() != ".onnx":
        raise GanlibError(f"--out is {out}; its name must end in .onnx.")
    G, config = load_generator(options.generator)
    export_onnx(G, config, out)
    inputs = config.latent_dim + config.classes
    print(f"G is in {out}: z (N, {inputs}) -> images (N, C, H, W) in -1..1")
    if config.classes:
        print(
            f"The last {config.classes} numbers of z are the condition: 1 at the class "
            "to be drawn, else 0."
        )


def _list(options: argparse.Namespace) -> None:
    head = "data", "minutes", "Fréchet", "seeds", "on"
    recipes = {name: _cells(summary(name)) for name in RECIPES}
    networks = {name: _cells(network_summary(name)) for name in shipped()}
    _print_table("Recipes, for train", head, recipes)
    _print_table("Shipped networks, for sample, score and export", head, networks)
    _print_table("Data sets", ("",), {name: [text] for name, text in ABOUT.items()})


def _cells(stored: dict[str, Any] | None) -> list[str]:
    """A row of the list: what is stored of a recipe or a network."""
    if stored is None:
        return ["", "", "not measured"]
    seconds, count = stored["seconds"], len(stored["scores"])
    minutes = "–" if seconds is None else f"{seconds / 60:.1f}"
    cells = [stored["dataset"], minutes, distance_text(stored)]
    return [*cells, str(count or "–"), stored["machine"]]


def _print_table(
    title: str, head: Sequence[str], rows: Mapping[str, Sequence[str]]
) -> None:
    """Columns as wide as they need to be, below a title."""
    table = [(title, *head), *((f"  {name}", *row) for name, row in rows.items())]
    widths = [0] * (1 + len(head))
    for row in table:
        for column, text in enumerate(row):
            widths[column] = max(widths[column], len(text))
    for row in table:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        print("  ".join(cells).rstrip())
    print()


def _score(options: argparse.Namespace) -> None:
    source, against = options.source, options.against
    _check_range("--count", options.count, MIN_IMAGES, 1_000_000)
    is_packed = source.lower().endswith(".npz")
    if not is_packed:
        load_generator(source)  # what is no generator is said before data is read
    feature_extractor = load_feature_extractor(against)
    channels, size, _ = feature_extractor.image_shape
    images = load(
        against,
        root=options.data,
        train=False,
        fallback=False,
        size=size,
        channels=channels,
    )
    real = subsample(images.pixels, options.count)
    if is_packed:
        generated = _read_npz(source)[: options.count]
    else:
        generated = _generate(source, options.count, seed=0)
    if generated.shape[1:] == (1, size, size):  # grey, perhaps for one of colours
        generated = generated.expand(-1, channels, -1, -1)
    scores = score(feature_extractor, real, generated)._asdict()
    split = images.split
    if options.json:
        about = {"source": source, "against": against, "split": split}
        print(json.dumps(about | scores))
        return
    print(f"{source} against {split} images of {against}")
    for name, value in scores.items():
        print(f"{name:12} {_as_text(value):>10}")


def _doctor(options: argparse.Namespace) -> None:
    columns = {}
    for text in options.column:
        name, found, column = text.partition("=")
        if not found or not name or not column:
            raise GanlibError(f"{text!r} maps nothing; it must be NAME=COLUMN.")
        columns[name] = column
    pixels = None if options.samples is None else _read_npz(options.samples)
    report = doctor.examine(options.run, columns=columns, pixels=pixels)
    if options.json:
        print(json.dumps(report.as_dict()))
    else:
        print(report)


def _as_text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _read_npz(path: str) -> Tensor:
    """The array `images` of an .npz file, bytes (N, C, H, W), of at most MAX_BYTES."""
    if not Path(path).is_file():
        raise GanlibError(f"There is no file {path}; ganlib sample writes one.")
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

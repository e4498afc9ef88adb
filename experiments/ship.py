"""Store a trained generator in ganlib/assets: weights, scores, and pictures of epochs.

    python -m experiments.ship mnist               train this recipe, then store it
    python -m experiments.ship runs/faces          store what `python -m ganlib train` left
    python -m experiments.ship --scores mnist      score a shipped network again

A training picture for its card goes to book/figures.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from experiments.common import (
    ROOT,
    bootstrap_spread,
    machine,
    nearest_distances,
    parser,
    provenance,
    score_generator,
    set_facts,
    spread_over_noise,
)
from ganlib import accelerate
from ganlib.checkpoint import (
    ASSETS,
    load_checkpoint,
    load_generator,
    save_generator,
)
from ganlib.config import Config
from ganlib.data import load
from ganlib.data.avatars import common_combinations
from ganlib.data.transforms import denormalize
from ganlib.plotting import save_image_grid
from ganlib.recipes import recipe
from ganlib.sampling import conditions_of, sample_images, sample_inputs
from ganlib.training import TrainState, new_state

FIGURES = ROOT / "book" / "figures"
SHOWN, MOST_EPOCHS = 16, 41  # images of each epoch, and epochs of a long run
# The same for images in colour, of which each has 16 times as many bytes.
SHOWN_LARGE, MOST_EPOCHS_LARGE = 8, 13


def ship(source: str, out: Path, figures: Path) -> None:
    """Train the recipe `source`, or take the run in that folder; write its files."""
    folder = Path(source)
    facts: dict = {}
    if folder.is_dir():
        state, epochs = take(folder)
        facts["scores_by_epoch"] = {
            int(path.stem.removeprefix("epoch-")): scores_of(*load_generator(path))
            for path in sorted((folder / "models").glob("*.safetensors"))
        }
    else:
        state, epochs = train(source)
        facts |= machine()
    store(state.sampling_generator, state, epochs, facts, out, figures)


def store(
    G: nn.Module,
    state: TrainState,
    epochs: dict[int, Tensor],
    facts: dict,
    out: Path,
    figures: Path,
) -> None:
    """Write a generator of a run with its scores, and pictures of the epochs.

    Args:
        G: the generator to sample from.
        state: the run that it comes from.
        epochs: {epoch: bytes (N, C, H, W)} of fixed noise.
        facts: what else to store beside it.
    """
    config = state.config
    facts |= provenance(f"network {config.recipe}") | evaluation(G, config)
    facts["history"] = state.history  # last: the cards show what stands before it
    path = out / f"{config.recipe}.safetensors"
    save_generator(G, config, path, **facts)
    images = torch.stack(list(epochs.values())).numpy()
    np.savez_compressed(
        out / f"{config.recipe}-epochs.npz", epochs=list(epochs), images=images
    )
    save_strip(epochs, figures / f"training-{config.recipe}.png")


def train(name: str) -> tuple[TrainState, dict[int, Tensor]]:
    """Train a recipe -> the run, and {epoch: bytes (SHOWN, C, H, W)} of fixed noise."""
    config = recipe(name)
    images = load(config.dataset, fallback=False, size=config.image_size)
    state = new_state(config)
    z = sample_inputs(SHOWN, config.latent_dim, seed=1, classes=config.classes)
    conditions = None
    if config.classes:
        conditions = conditions_of(images.labels, config.classes)
    epochs = {0: denormalize(sample_images(state.sampling_generator, z))}
    run = accelerate.fit(state, images.pixels, conditions)
    for record in tqdm(run, total=config.epochs, unit="epoch"):
        pictures = sample_images(state.sampling_generator, z)
        epochs[record.epoch] = denormalize(pictures)
    return state, epochs


def take(folder: Path) -> tuple[TrainState, dict[int, Tensor]]:
    """The folder of a run -> the run, and {epoch: bytes (N, C, H, W)} of its samples."""
    newest = max((folder / "checkpoints").glob("epoch-*.pt"))
    last = int(newest.stem.removeprefix("epoch-"))
    state = load_checkpoint(newest, epochs=last)  # a run that was stopped early says so
    shown, most = SHOWN, MOST_EPOCHS
    if state.config.channels > 1:
        shown, most = SHOWN_LARGE, MOST_EPOCHS_LARGE
    kept = {round(place * last / (most - 1)) for place in range(most)}
    epochs = {}
    for epoch in sorted(kept):
        path = folder / "samples" / f"epoch-{epoch:04d}.png"
        epochs[epoch] = cut(path, state.config, shown)
    return state, epochs


def cut(
    path: Path, config: Config, shown: int, *, gap: int = 2, columns: int = 8
) -> Tensor:
    """The first images of a picture that save_image_grid wrote, bytes (shown, C, H, W)."""
    picture = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
    picture = picture.permute(2, 0, 1)[: config.channels]
    side = config.image_size
    images = []
    for number in range(shown):
        row, column = divmod(number, columns)
        top, left = gap + row * (side + gap), gap + column * (side + gap)
        images.append(picture[:, top : top + side, left : left + side])
    return torch.stack(images)


def scores_of(G: nn.Module, config: Config) -> dict:
    """Scores of a generator; for avatars also "covered", as a share of combinations."""
    scores = score_generator(G, config)
    if config.dataset == "avatars":
        return {"covered": scores["classes"] / len(common_combinations()), **scores}
    return scores


def evaluation(G: nn.Module, config: Config) -> dict:
    """Scores of a generator, their spread, and whether it repeats images.

    The spread is that over other noise, of images in colour a bootstrap's.
    """
    spread = spread_over_noise if config.channels == 1 else bootstrap_spread
    return {
        "scores": scores_of(G, config),
        "spread": spread(G, config),
        "nearest": nearest_distances(G, config),
        "scored": {**machine(), **provenance(f"scores of {config.recipe}")},
    }


def score_again(name: str, out: Path) -> None:
    """Put fresh scores beside a shipped network; its weights and other facts stay."""
    path = out / f"{name}.safetensors"
    facts = evaluation(*load_generator(path))
    set_facts(path, facts)
    print(name, facts["scores"], flush=True)


def save_strip(epochs: dict[int, Tensor], path: Path) -> None:
    """{epoch: bytes (N, C, H, W)} -> a picture: rows of images of some epochs."""
    last = max(epochs)
    wanted = [0, 1, 2, 4, 8, last]
    if last > MOST_EPOCHS:
        wanted = [last * place // 5 for place in range(6)]
    rows = {min(epochs, key=lambda epoch: abs(epoch - target)) for target in wanted}
    picture = torch.cat([epochs[epoch] for epoch in sorted(rows)])
    if picture.shape[-1] < 64:
        picture = picture.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3)
    save_image_grid(picture, path, columns=len(epochs[0]))


def main() -> None:
    made = parser(__doc__)
    made.set_defaults(out=ASSETS)
    made.add_argument("sources", nargs="+", metavar="RECIPE|FOLDER")
    made.add_argument(
        "--scores", action="store_true", help="score shipped networks again"
    )
    made.add_argument("--figures", type=Path, default=FIGURES)
    options = made.parse_args()
    for source in options.sources:
        if options.scores:
            score_again(source, options.out)
        else:
            ship(source, options.out, options.figures)


if __name__ == "__main__":
    main()

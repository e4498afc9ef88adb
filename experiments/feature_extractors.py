"""What are the features of a network worth? Spoil real images in known ways, score them.

    python -m experiments.feature_extractors

Tables of scores: drawings and photographs (CelebA) by the avatars' classifier, and the
same photographs by three networks like it that were never trained. The shipped generators
of drawings and of faces are scored with them.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from experiments.common import parser, write_result
from ganlib.checkpoint import load_generator
from ganlib.data import load
from ganlib.data.avatars import draw
from ganlib.data.transforms import denormalize, normalize
from ganlib.metrics import (
    AttributeClassifier,
    Classifier,
    load_feature_extractor,
    score,
    subsample,
)
from ganlib.sampling import sample_pixels

COUNT = 2000
UNTRAINED = 0, 1, 2  # seeds of the networks that were never trained


def spoiled(pixels: Tensor) -> dict[str, Tensor]:
    """Bytes (N, 3, 64, 64) -> {name: the same with one known fault}."""
    images = normalize(pixels)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator)
    blurred = avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    grey = pixels.float().mean(dim=1, keepdim=True).to(torch.uint8)
    order = torch.randperm(16, generator=generator)
    return {
        "faint noise": denormalize((images + 0.1 * noise).clamp(-1, 1)),
        "strong noise": denormalize((images + 0.5 * noise).clamp(-1, 1)),
        "blur": denormalize(blurred),
        "shift": pixels.roll(6, dims=3),
        "mirrored": pixels.flip(3),
        "upside down": pixels.flip(2),
        "grey": grey.expand_as(pixels),
        "pieces shuffled": shuffle_pieces(pixels, order),
        "twenty, repeated": pixels[:20].repeat(len(pixels) // 20, 1, 1, 1),
    }


def shuffle_pieces(pixels: Tensor, order: Tensor) -> Tensor:
    """Images (N, C, 64, 64), cut into 16 squares that change places as `order` says."""
    rows = pixels.unflatten(3, (4, 16)).unflatten(2, (4, 16))  # (N, C, 4, 16, 4, 16)
    pieces = rows.transpose(3, 4).flatten(2, 3)[:, :, order]  # (N, C, 16, 16, 16)
    return pieces.unflatten(2, (4, 4)).transpose(3, 4).flatten(4, 5).flatten(2, 3)


def generated(*names: str) -> dict[str, Tensor]:
    """{name of a shipped generator: COUNT samples of it, bytes (COUNT, C, H, W)}."""
    samples = {}
    for name in names:
        G, config = load_generator(name)
        samples[name] = sample_pixels(G, config.latent_dim, count=COUNT)
    return samples


def scores_of_sets(
    feature_extractor: Classifier, pixels: Tensor, more: dict[str, Tensor]
) -> dict[str, dict]:
    """Scores against the first COUNT images of the others, of these spoiled, and of `more`.

    Args:
        pixels: bytes (2 * COUNT, C, H, W).
    """
    real, other = pixels.split(COUNT)
    table = {}
    for name, images in {"other real images": other, **spoiled(other), **more}.items():
        table[name] = score(feature_extractor, real, images)._asdict()
        print(f"{name:20} {table[name]}", flush=True)
    return table


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    photographs = subsample(load("celeba", fallback=False).pixels, 2 * COUNT)
    drawings, _ = draw(2 * COUNT, seed=1)
    drawn = {**generated("avatars-dcgan", "avatars"), "other kind": photographs[:COUNT]}
    photographed = {**generated("faces-dcgan", "faces"), "other kind": drawings[:COUNT]}
    result = {
        "count": COUNT,
        "tables": {
            "drawings": scores_of_sets(
                load_feature_extractor("avatars"), drawings, drawn
            ),
            "photographs": scores_of_sets(
                load_feature_extractor("celeba"), photographs, photographed
            ),
        },
        "untrained": [],
    }
    for seed in UNTRAINED:
        torch.manual_seed(seed)
        network = AttributeClassifier(features_only=True).eval()
        table = scores_of_sets(network, photographs, photographed)
        result["untrained"].append(table)
    write_result("feature_extractors", result, options.out)


if __name__ == "__main__":
    main()

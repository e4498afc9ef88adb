"""What are the features of a judge worth? Spoil real images in known ways, score them, and store the table.

Writes ganlib/assets/readers/worth.json: scores of drawings, of photographs (CelebA), and of the same photographs
by a judge that was never trained. `judges.py runs/faces/models/*.pt` scores early generators of faces as well.
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn.functional import avg_pool2d

from ganlib.data.avatars import draw
from ganlib.checkpoint import load_generator
from ganlib.data import load
from ganlib.files import write_atomic
from ganlib.metrics import subsample, score
from ganlib.sampling import sample_pixels
from ganlib.data.transforms import denormalize, normalize
from ganlib.metrics.classifiers import READERS, Stranger, load_feature_extractor

COUNT = 2000


def spoiled(pixels):
    """Bytes (N, 3, 64, 64) -> {name: bytes (N, 3, 64, 64)} with one known fault each."""
    images, generator = normalize(pixels), torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator)
    blurred = avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    pieces = pixels.unflatten(3, (4, 16)).unflatten(2, (4, 16)).transpose(3, 4).flatten(2, 3)  # (N, 3, 16, 16, 16)
    pieces = pieces[:, :, torch.randperm(16, generator=generator)]
    return {
        "faint noise": denormalize((images + 0.1 * noise).clamp(-1, 1)),
        "strong noise": denormalize((images + 0.5 * noise).clamp(-1, 1)),
        "blur": denormalize(blurred),
        "shift": pixels.roll(6, dims=3),
        "mirrored": pixels.flip(3),
        "upside down": pixels.flip(2),
        "grey": pixels.float().mean(dim=1, keepdim=True).to(torch.uint8).expand_as(pixels),
        "pieces shuffled": pieces.unflatten(2, (4, 4)).transpose(3, 4).flatten(4, 5).flatten(2, 3),
        "twenty, repeated": pixels[:20].repeat(len(pixels) // 20, 1, 1, 1),
    }


def drawn(weights):
    G, config = load_generator(weights)
    return sample_pixels(G, config.latent_dim, count=COUNT)


def main(early):
    photographs, drawings = subsample(load("celeba", fallback=False).pixels, 2 * COUNT), draw(2 * COUNT, seed=1)[0]
    generated = {name: drawn(name) for name in ("faces", "avatars")}
    epochs = {f"generator, epoch {int(Path(path).stem[6:])}": drawn(path) for path in early}
    torch.manual_seed(0)
    drawn_ones = {"generator": generated["avatars"], "other kind": photographs[:COUNT]}
    photographic = {"generator": generated["faces"], **epochs, "other kind": drawings[:COUNT]}
    cases = {
        "drawings": (load_feature_extractor("avatars"), drawings, drawn_ones),
        "photographs": (load_feature_extractor("celeba"), photographs, photographic),
        "photographs, untrained judge": (Stranger().eval(), photographs, photographic),
    }
    tables = {}
    for title, (judge, pixels, more) in cases.items():
        real, other = pixels.split(COUNT)
        sets = {"other real images": other, **spoiled(other), **more}
        tables[title] = {name: score(judge, real, images)._asdict() for name, images in sets.items()}
        print(title, *(f"\n{name:20} {row}" for name, row in tables[title].items()), flush=True)
    write_atomic(READERS / "worth.json", (json.dumps(tables, indent=1) + "\n").encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])

"""What do real images score against real ones? Six parts of the training images.

    python -m experiments.real_images

Each part of 10,000 training images of MNIST and of Fashion-MNIST is scored as samples of
a generator are, against the 10,000 test images: the mark that a perfect generator would
reach, and how far it moves from part to part.
"""

import torch

from experiments.common import COUNT, parser, references, write_result
from ganlib.data import load
from ganlib.metrics import score

DATASETS = "mnist", "fashion-mnist"


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    scores: dict[str, list[dict]] = {}
    for dataset in DATASETS:
        feature_extractor, real = references(dataset, 28)
        parts = load(dataset, fallback=False).pixels.split(COUNT)
        scores[dataset] = []
        for part in parts:
            scores[dataset].append(score(feature_extractor, real, part)._asdict())
            print(dataset, scores[dataset][-1], flush=True)
    write_result("real_images", {"count": COUNT, "scores": scores}, options.out)


if __name__ == "__main__":
    main()

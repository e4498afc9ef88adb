"""The named configs of the book."""

from typing import Any

from ganlib.config import Config, replace
from ganlib.errors import GanlibError

MNIST = Config(
    recipe="mnist",
    architecture="batchnorm-mlp",
    epochs=17,
    learning_rate_g=1e-3,
    learning_rate_d=1e-3,
    beta1=0.0,
    beta2=0.9,
    real_label=0.9,
    r1_weight=0.3,
    ema_decay=0.999,
)
FACES = Config(
    recipe="faces",
    dataset="celeba",
    architecture="resize-conv",
    epochs=210,
    batch_size=64,
    latent_dim=100,
    base_channels=32,
    channels=3,
    image_size=64,
    learning_rate_g=3e-4,
    learning_rate_d=3e-4,
    beta1=0.0,
    beta2=0.99,
    r1_weight=0.5,
    ema_decay=0.998,
    random_flip=True,
    augment_shift=8,
    bfloat16=True,
    channels_last=True,
)

RECIPES = {
    # yunjey's MNIST GAN of 2017, to the digit: what we measure against.
    "textbook": Config(recipe="textbook", epochs=200),
    # The same networks with larger steps, less memory in Adam, and an average of G.
    "textbook-tuned": Config(
        recipe="textbook-tuned",
        epochs=20,
        learning_rate_g=1e-3,
        learning_rate_d=1e-3,
        beta1=0.5,
        real_label=0.9,
        ema_decay=0.998,
    ),
    "mnist": MNIST,
    # Convolutions in G, for about ten minutes of one CPU core.
    "mnist-conv": replace(
        MNIST,
        recipe="mnist-conv",
        architecture="pixel-shuffle",
        base_channels=32,
        epochs=27,
    ),
    # Which of its epochs to keep, experiments/stopping.py decides.
    "mnist-long": replace(MNIST, recipe="mnist-long", epochs=200),
    # The textbook's with three changes that help in short runs, and drift in this one.
    "mnist-drift": Config(
        recipe="mnist-drift", epochs=200, beta1=0.5, real_label=0.9, ema_decay=0.999
    ),
    "fashion-mnist": replace(MNIST, recipe="fashion-mnist", dataset="fashion-mnist"),
    # The same, asked for a class.
    "mnist-conditional": replace(MNIST, recipe="mnist-conditional", classes=10),
    "fashion-mnist-conditional": replace(
        MNIST, recipe="fashion-mnist-conditional", dataset="fashion-mnist", classes=10
    ),
    # As soon as possible as good as 200 epochs of the textbook recipe.
    "mnist-speedrun": replace(
        MNIST,
        recipe="mnist-speedrun",
        epochs=4,
        batch_size=64,
        latent_dim=10,
        learning_rate_g=1.5e-3,
        learning_rate_d=7e-4,
        ema_decay=0.99,
        matmul_precision="medium",
    ),
    # DCGAN as Radford 2015 has it, at half its width.
    "faces-dcgan": Config(
        recipe="faces-dcgan",
        dataset="celeba",
        architecture="dcgan",
        epochs=69,
        batch_size=64,
        latent_dim=100,
        base_channels=32,
        channels=3,
        image_size=64,
        beta1=0.5,
        real_label=0.9,
        ema_decay=0.999,
        random_flip=True,
        augment_shift=6,
        channels_last=True,
    ),
    "faces": FACES,
    # Of drawings there are 20,000: nothing is flipped or moved to have more.
    "avatars": replace(
        FACES,
        recipe="avatars",
        dataset="avatars",
        epochs=45,
        random_flip=False,
        augment_shift=0,
    ),
}


def recipe(name: str, **changes: Any) -> Config:
    """The recipe called `name`, with some fields changed.

    Raises GanlibError that lists the known names, or the known fields.
    """
    if name not in RECIPES:
        raise GanlibError(
            f"There is no recipe {name!r}; the known ones are {', '.join(RECIPES)}."
        )
    return replace(RECIPES[name], **changes)

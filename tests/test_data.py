"""The porch: a name becomes bytes and labels; the fall-back is never silent and can be refused."""

import warnings

import pytest
import torch

from ganlib.config import RECIPES
from ganlib.data import CLASSES, load, open_torchvision
from ganlib.files import MissingDataError

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(autouse=True)
def no_stray_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_digits_are_the_1797_of_scikit_learn():
    from sklearn.datasets import load_digits

    images, bunch = load("digits"), load_digits()
    assert images.name == "digits" and images.classes == tuple("0123456789")
    assert images.pixels.shape == (1797, 1, 28, 28) and images.pixels.dtype == torch.uint8
    assert images.labels.dtype == torch.int64 and images.labels.tolist() == bunch.target.tolist()
    assert images.pixels.min() == 0 and images.pixels.max() == 255
    margin = images.pixels.clone()
    margin[:, :, 4:-4, 4:-4] = 0
    assert margin.max() == 0, "a margin of 4, as in MNIST"
    # Shrunk back to 8x8, each image is the one that it came from: neither mirrored nor turned nor another's.
    small = torch.nn.functional.interpolate(images.pixels[:, :, 4:-4, 4:-4].float(), size=(8, 8), mode="area")
    original = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    assert (small - original).abs().mean() < 20
    assert (small - original).abs().mean() < 0.3 * (small - original.flip(3)).abs().mean()


def test_digits_are_the_same_each_time():
    assert torch.equal(load("digits").pixels, load("digits").pixels)


def test_train_and_test(tiny_mnist):
    root = tiny_mnist.root()
    for train, part in ((True, "train"), (False, "t10k")):
        images = load("mnist", root=root, train=train)
        assert images.name == "mnist" and images.classes == tuple("0123456789")
        assert torch.equal(images.pixels, tiny_mnist.pixels(f"{part}-images-idx3-ubyte"))
        assert torch.equal(images.labels, tiny_mnist.labels(f"{part}-labels-idx1-ubyte"))
        assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)


def test_gzipped_files_load_too(tiny_mnist):
    images = load("mnist", root=tiny_mnist.root(zipped=True))
    assert torch.equal(images.pixels, tiny_mnist.pixels("train-images-idx3-ubyte"))


def test_fashion(tiny_mnist):
    images = load("fashion-mnist", root=tiny_mnist.root(name="FashionMNIST"))
    assert images.name == "fashion-mnist" and len(images.pixels) == 12
    from torchvision.datasets import FashionMNIST

    assert list(images.classes) == FashionMNIST.classes


def test_as_a_torchvision_dataset(tiny_mnist):
    from torchvision.transforms.functional import to_tensor

    dataset = open_torchvision("mnist", root=tiny_mnist.root(), train=False, transform=to_tensor)
    image, label = dataset[2]
    assert len(dataset) == 5 and label == tiny_mnist.labels("t10k-labels-idx1-ubyte")[2]
    torch.testing.assert_close(image * 255, tiny_mnist.pixels("t10k-images-idx3-ubyte")[2].float())


def test_an_unknown_data_set_lists_the_known_ones(says):
    with says("'minst'", *CLASSES):
        load("minst")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_fall_back_warns_in_one_sentence_that_says_how_to_get_it(name, offline, one_sentence):
    with pytest.warns(UserWarning) as caught:
        images = load(name, root=offline / "data")
    assert images.name == "digits" and len(images.pixels) == 1797
    (warning,) = caught
    one_sentence(str(warning.message), name, offline / "data", "GANLIB_DATA", "1,797 digits")
    assert warning.filename == __file__, "the warning must point at the caller's line"


def test_the_fall_back_can_be_refused(offline, says):
    with says("mnist", "GANLIB_DATA", kind=MissingDataError):
        load("mnist", root=offline / "data", fallback=False)


def test_the_fall_back_covers_a_cache_that_cannot_be_written(offline, monkeypatch, one_sentence):
    (offline / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(offline / "file"))
    with pytest.warns(UserWarning) as caught:
        assert load("mnist").name == "digits"
    one_sentence(str(caught[0].message), offline / "file")


def test_a_broken_file_is_no_reason_to_fall_back(tiny_mnist, says):
    root = tiny_mnist.root()
    path = root / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with says(path) as caught:
        load("mnist", root=root)
    assert not isinstance(caught.value, MissingDataError)


def test_every_recipe_asks_for_a_data_set_that_exists():
    assert {config.dataset for config in RECIPES.values()} <= set(CLASSES)


def test_the_real_mnist(real_mnist):
    """Its well-known numbers: class counts, mean 0.1307 and deviation 0.3081."""
    images = load("mnist", root=real_mnist, fallback=False)
    assert images.pixels.shape == (60_000, 1, 28, 28)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert images.labels.bincount().tolist() == counts
    values = images.pixels.double() / 255
    assert abs(values.mean() - 0.1307) < 1e-4 and abs(values.std() - 0.3081) < 1e-4
    test = load("mnist", root=real_mnist, train=False, fallback=False)
    assert len(test.pixels) == 10_000 and test.labels[:5].tolist() == [7, 2, 1, 0, 4]

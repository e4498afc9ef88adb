"""A name becomes bytes and labels; what stands in for it is never silent."""

import shutil
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from ganlib.data import CLASSES, NAMES, avatars, load, open_torchvision
from ganlib.data.mnist import MissingDataError
from ganlib.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("offline")
TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
TRAIN_LABELS, TEST_LABELS = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def no_stray_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.fixture
def drawn(monkeypatch):
    """A quick avatars.draw -> the list of (count, seed) that were asked for."""
    asked = []

    def draw(count, *, seed=0):
        asked.append((count, seed))
        return torch.zeros(3, 3, 64, 64, dtype=torch.uint8), torch.arange(3)

    monkeypatch.setattr(avatars, "draw", draw)
    return asked


@pytest.fixture
def faces(offline):
    """A folder img_align_celeba with three images of one colour each."""
    folder = offline / "img_align_celeba"
    folder.mkdir()
    for number, colour in enumerate(["red", "lime", "blue"]):
        Image.new("RGB", (89, 109), colour).save(folder / f"{number:06}.png")
    return folder


def test_an_unknown_data_set_lists_the_known_ones(says):
    assert set(CLASSES) < set(NAMES)
    for wrong in ("minst", "folder:", "folder", "", 5):
        with says(repr(wrong), *NAMES):
            load(wrong)


def test_every_recipe_asks_for_a_data_set_that_exists():
    assert {config.dataset for config in RECIPES.values()} <= set(NAMES)


# --- digits, MNIST and Fashion-MNIST --------------------------------------------------


def test_digits_are_the_1797_of_scikit_learn():
    from sklearn.datasets import load_digits

    images, bunch = load("digits"), load_digits()
    assert images.name == "digits" and images.classes == tuple("0123456789")
    assert images.pixels.shape == (1797, 1, 28, 28)
    assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)
    assert images.labels.tolist() == bunch.target.tolist()
    assert images.pixels.min() == 0 and images.pixels.max() == 255
    margin = images.pixels.clone()
    margin[:, :, 4:-4, 4:-4] = 0
    assert margin.max() == 0, "a margin of 4, as in MNIST"
    # Shrunk back to 8x8, each image is the one that it came from.
    inside = images.pixels[:, :, 4:-4, 4:-4].float()
    small = torch.nn.functional.interpolate(inside, size=(8, 8), mode="area")
    original = torch.from_numpy(bunch.images).float().unsqueeze(1) * (255 / 16)
    error = (small - original).abs().mean()
    assert error < 20 and error < 0.3 * (small - original.flip(3)).abs().mean()


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_to_train_and_to_test_in_the_order_of_its_files(tiny_mnist, zipped):
    root = tiny_mnist.root(zipped=zipped)
    for train, file, labels in (
        (True, TRAIN, TRAIN_LABELS),
        (False, TEST, TEST_LABELS),
    ):
        images = load("mnist", root=root, train=train)
        assert images.name == "mnist" and images.classes == tuple("0123456789")
        assert torch.equal(images.pixels, tiny_mnist.pixels(file))
        assert torch.equal(images.labels, tiny_mnist.labels(labels))
        assert (images.pixels.dtype, images.labels.dtype) == (torch.uint8, torch.int64)


def test_fashion_mnist_comes_in_one_order_whatever_that_of_its_files(tiny_mnist):
    from torchvision.datasets import FashionMNIST

    root = tiny_mnist.root(name="FashionMNIST")
    first = load("fashion-mnist", root=root)
    assert list(first.classes) == FashionMNIST.classes
    pixels, labels = tiny_mnist.pixels(TRAIN), tiny_mnist.labels(TRAIN_LABELS)
    images = [image.numpy().tobytes() for image in pixels]
    pairs = dict(zip(images, labels, strict=True))
    for image, label in zip(first.pixels, first.labels, strict=True):
        assert pairs.pop(image.numpy().tobytes()) == label
    assert not pairs
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for file, start, values in (
        (TRAIN, 16, pixels[order]),
        (TRAIN_LABELS, 8, labels[order].byte()),
    ):
        path = root / "FashionMNIST" / "raw" / file
        path.write_bytes(tiny_mnist.plain[file][:start] + values.numpy().tobytes())
    again = load("fashion-mnist", root=root)
    assert torch.equal(again.pixels, first.pixels)
    assert torch.equal(again.labels, first.labels)
    dataset = open_torchvision("fashion-mnist", root=root)
    assert torch.equal(dataset.data, first.pixels.squeeze(1))


def test_the_order_of_fashion_mnist_favours_no_class(real_mnist):
    if not Path(real_mnist, "FashionMNIST").exists():
        pytest.skip("GANLIB_DATA names no folder with Fashion-MNIST")
    images = load("fashion-mnist", root=real_mnist, train=False, fallback=False)
    assert images.labels[:1000].bincount(minlength=10).min() > 60


def test_as_a_torchvision_dataset(tiny_mnist):
    from torchvision.transforms.functional import to_tensor

    root = tiny_mnist.root()
    dataset = open_torchvision("mnist", root=root, train=False, transform=to_tensor)
    image, label = dataset[2]
    assert len(dataset) == 5 and label == tiny_mnist.labels(TEST_LABELS)[2]
    torch.testing.assert_close(image * 255, tiny_mnist.pixels(TEST)[2].float())


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_digits_stand_in_and_it_is_said(name, offline, one_sentence, says):
    with pytest.warns(UserWarning) as caught:
        images = load(name, root=offline / "data")
    assert images.name == "digits" and len(images.pixels) == 1797
    (warning,) = caught
    message = str(warning.message)
    one_sentence(message, name, offline / "data", "GANLIB_DATA", "1,797 digits")
    assert warning.filename == __file__, "the line of the caller"
    with says(name, "GANLIB_DATA", kind=MissingDataError):
        load(name, root=offline / "data", fallback=False)


def test_digits_stand_in_where_nothing_can_be_written(offline, one_sentence):
    (offline / "cache").write_text("in the way")
    with pytest.warns(UserWarning) as caught:
        assert load("mnist").name == "digits"
    one_sentence(str(caught[0].message), offline / "cache")


def test_digits_do_not_stand_in_for_a_broken_file(tiny_mnist, says):
    root = tiny_mnist.root()
    path = root / "MNIST" / "raw" / TEST_LABELS
    path.write_bytes(path.read_bytes()[:-1])
    with says(path) as caught:
        load("mnist", root=root)
    assert not isinstance(caught.value, MissingDataError)


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


# --- faces and folders ----------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("where", ["celeba", "."])
def test_celeba_is_found_where_one_puts_it(faces, where, zipped, offline):
    place = offline / "data" / where
    place.mkdir(parents=True)
    if zipped:
        shutil.make_archive(place / faces.name, "zip", faces.parent, faces.name)
    else:
        shutil.copytree(faces, place / faces.name)
    itself = place / (f"{faces.name}.zip" if zipped else faces.name)
    for root in (offline / "data", place, itself):
        images = load("celeba", root=root, size=8)
        assert images.name == "celeba" and images.classes == ("img_align_celeba",)
        assert images.labels.tolist() == [0, 0, 0]
        assert images.pixels.shape == (3, 3, 8, 8)
        assert images.pixels.dtype == torch.uint8
        colours = images.pixels.float().mean(dim=(2, 3))
        assert torch.equal(colours, 255 * torch.eye(3)), "red, green, blue, in order"


def test_celeba_by_default(faces, monkeypatch):
    monkeypatch.setenv("GANLIB_DATA", str(faces.parent))
    images = load("celeba")
    assert images.pixels.shape == (3, 3, 64, 64)
    assert torch.equal(load("celeba", train=False).pixels, images.pixels)


def test_avatars_stand_in_for_celeba_and_it_is_said(drawn, offline, one_sentence, says):
    with pytest.warns(UserWarning) as caught:
        images = load("celeba", root=offline / "data")
    assert images.name == "avatars" and drawn == [(20_000, 0)]
    (warning,) = caught
    words = offline / "data", "img_align_celeba.zip", "GANLIB_DATA"
    one_sentence(str(warning.message), *words, "avatars")
    assert warning.filename == __file__
    with says(*words, kind=MissingDataError):
        load("celeba", root=offline / "data", fallback=False)


def test_avatars_do_not_stand_in_for_a_web_page(drawn, offline, says):
    page = "<!DOCTYPE html><html>Google Drive: quota exceeded</html>"
    (offline / "img_align_celeba.zip").write_text(page)
    with says(offline / "img_align_celeba.zip", "web page"):
        load("celeba", root=offline)
    assert drawn == []


def test_avatars_to_train_and_others_to_test(drawn):
    images = load("avatars")
    assert images.name == "avatars" and images.classes == avatars.CLASSES
    assert images.labels.tolist() == [0, 1, 2]
    load("avatars", train=False)
    assert drawn == [(20_000, 0), (10_000, 1)]


def test_a_folder_of_ones_own(faces, says):
    (faces / "more").mkdir()
    shutil.copy(faces / "000001.png", faces / "more")
    images = load(f"folder:{faces}", size=16)
    assert images.name == f"folder:{faces}"
    assert images.pixels.shape == (4, 3, 16, 16)
    assert images.classes == ("img_align_celeba", "more")
    assert images.labels.tolist() == [0, 0, 0, 1]
    with says("size", "2", "4"):
        load(f"folder:{faces}", size=2)
    with says(faces / "nowhere"):
        load(f"folder:{faces / 'nowhere'}")


def test_what_stands_behind_the_place_of_a_folder(faces, says):
    wide = faces / "000000.png"
    with Image.open(wide) as image:
        image.resize((40, 10)).save(wide)
    named = faces.rename(faces.with_name("by,the=way"))  # no options, a name
    padded = load(f"folder:{named},square=pad,ground=blue", size=16).pixels[0]
    assert padded[:, 0, 8].tolist() == [0, 0, 255]
    assert padded[:, 8, 8].tolist() == [255, 0, 0]
    assert load(f"folder:{named}", size=16).pixels[0, :, 0, 8].tolist() == [255, 0, 0]
    with says("square is 'round'"):
        load(f"folder:{named},square=round", size=16)
    with says("nowhere"):
        load(f"folder:{faces}/nowhere,square=pad", size=16)


def test_a_divided_folder_says_which_part_it_is(faces):
    for part in ("train", "test"):
        shutil.copytree(faces, faces.with_name("own") / part)
    place = f"folder:{faces.with_name('own')}"
    assert load(place, size=8).split == "train"
    assert load(place, size=8, train=False).split == "test"
    assert load(f"folder:{faces}", size=8, train=False).split == "all"


@pytest.mark.parametrize("name", ["celeba", "folder:{}"])
def test_an_image_that_is_skipped_is_named_at_the_line_of_the_caller(name, faces):
    (faces / "000001.png").write_text("text")
    with pytest.warns(UserWarning, match=r"1 of 3 images .* '000001.png'") as caught:
        images = load(name.format(faces), root=faces, size=8)
    assert len(images.pixels) == 2 and caught[0].filename == __file__


def test_the_real_faces(real_mnist):
    try:
        images = load("celeba", root=real_mnist, fallback=False, size=16)
    except MissingDataError:
        pytest.skip("GANLIB_DATA names no folder with CelebA")
    assert images.pixels.shape[1:] == (3, 16, 16) and len(images.pixels) > 1000
    red, green, blue = images.pixels.float().mean(dim=(0, 2, 3))
    assert red > green > blue, "skin"

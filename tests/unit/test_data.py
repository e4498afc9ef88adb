"""The porch: a name becomes bytes and labels; the fall-back is never silent and can be refused."""

import shutil
import warnings

import pytest
import torch
from PIL import Image

from ganlib import avatars
from ganlib.recipes import RECIPES
from ganlib.data import CLASSES, NAMES, load, open_torchvision
from ganlib.data.mnist import MissingDataError

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(autouse=True)
def no_stray_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.fixture
def drawn(monkeypatch):
    """avatars.draw replaced by a quick one; -> the list of (count, seed) that were asked for."""
    asked = []

    def draw(count, *, seed):
        asked.append((count, seed))
        return torch.full((3, 3, 64, 64), seed, dtype=torch.uint8), torch.arange(3)

    monkeypatch.setattr(avatars, "draw", draw)
    return asked


@pytest.fixture
def faces(offline):
    """A folder img_align_celeba with three pictures of one colour each, as CelebA has them."""
    folder = offline / "img_align_celeba"
    folder.mkdir()
    for number, colour in enumerate(["red", "lime", "blue"]):
        Image.new("RGB", (89, 109), colour).save(folder / f"{number:06}.png")
    return folder


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
    assert set(CLASSES) < set(NAMES)
    for wrong in ("minst", "folder:", "folder", "", 5):
        with says(repr(wrong), *NAMES):
            load(wrong)


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
    assert {config.dataset for config in RECIPES.values()} <= set(NAMES) - {"folder:PATH"}


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("where", ["celeba", "."])
def test_celeba_is_found_where_torchvision_or_a_browser_puts_it(faces, where, zipped, offline):
    place = offline / "data" / where
    place.mkdir(parents=True)
    if zipped:
        shutil.make_archive(place / "img_align_celeba", "zip", faces.parent, faces.name)
    else:
        shutil.copytree(faces, place / "img_align_celeba")
    found = f"img_align_celeba{'.zip' if zipped else ''}"
    for root in (offline / "data", place, place / found):
        images = load("celeba", root=root, size=8)
        assert (images.name, images.classes, images.labels.tolist()) == ("celeba", ("img_align_celeba",), [0, 0, 0])
        assert images.pixels.shape == (3, 3, 8, 8) and images.pixels.dtype == torch.uint8
        assert torch.equal(images.pixels.float().mean(dim=(2, 3)), 255 * torch.eye(3)), "red, green and blue, in order"


def test_celeba_through_the_environment_with_64_pixels_a_side(faces, monkeypatch):
    monkeypatch.setenv("GANLIB_DATA", str(faces.parent))
    assert load("celeba").pixels.shape == (3, 3, 64, 64)
    assert torch.equal(load("celeba", train=False).pixels, load("celeba").pixels)


def test_without_celeba_avatars_are_drawn_and_it_is_said(drawn, offline, one_sentence, says):
    with pytest.warns(UserWarning) as caught:
        images = load("celeba", root=offline / "data")
    assert images.name == "avatars" and drawn == [(20_000, 0)]
    (warning,) = caught
    one_sentence(str(warning.message), offline / "data", "img_align_celeba.zip", "GANLIB_DATA", "avatars")
    assert warning.filename == __file__
    with says(offline / "data", "img_align_celeba.zip", kind=MissingDataError):
        load("celeba", root=offline / "data", fallback=False)


def test_a_celeba_that_is_a_web_page_is_no_reason_to_draw_avatars(drawn, offline, says):
    (offline / "img_align_celeba.zip").write_text("<!DOCTYPE html><html>Google Drive: quota exceeded</html>")
    with says(offline / "img_align_celeba.zip", "web page"):
        load("celeba", root=offline)
    assert drawn == []


def test_avatars_to_train_and_others_to_test(drawn):
    images = load("avatars")
    assert (images.name, images.classes) == ("avatars", avatars.CLASSES) and images.labels.tolist() == [0, 1, 2]
    assert images.pixels.shape == (3, 3, 64, 64)
    load("avatars", train=False)
    assert drawn == [(20_000, 0), (10_000, 1)]


def test_a_folder_of_ones_own(faces, says):
    (faces / "more").mkdir()
    shutil.copy(faces / "000001.png", faces / "more")
    images = load(f"folder:{faces}", size=16)
    assert images.name == f"folder:{faces}" and images.pixels.shape == (4, 3, 16, 16)
    assert images.classes == ("img_align_celeba", "more") and images.labels.tolist() == [0, 0, 0, 1]
    with says("size", "2", "4"):
        load(f"folder:{faces}", size=2)
    with says(faces / "nowhere"):
        load(f"folder:{faces / 'nowhere'}")


@pytest.mark.parametrize("name", ["celeba", "folder:{}"])
def test_a_picture_that_is_skipped_is_named_at_the_line_of_the_caller(name, faces):
    (faces / "000001.png").write_text("text")
    with pytest.warns(UserWarning, match=r"1 of 3 pictures .* skipped: '000001.png'") as caught:
        images = load(name.format(faces), root=faces, size=8)
    assert len(images.pixels) == 2 and caught[0].filename == __file__


def test_the_real_faces(real_mnist, monkeypatch):
    monkeypatch.setenv("GANLIB_DATA", real_mnist)
    try:
        images = load("celeba", fallback=False, size=16)
    except MissingDataError:
        pytest.skip("GANLIB_DATA names no folder with CelebA")
    assert images.pixels.shape[1:] == (3, 16, 16) and len(images.pixels) > 1000
    red, green, blue = images.pixels.float().mean(dim=(0, 2, 3))
    assert red > green > blue, "skin"


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

"""Images of every size and mode come out alike; broken and hostile ones are named."""

import io
import multiprocessing
import os
import shutil
import struct
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError

from ganlib.data import image_folder
from ganlib.data.image_folder import decode_image, read_image_folder
from ganlib.files import cache_folder

pytestmark = pytest.mark.usefixtures("offline")
BLACK, WHITE, GREY = (0, 0, 0), (255, 255, 255), (128, 128, 128)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture(autouse=True)
def no_stray_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def packed(image, ending="png", **options):
    """An image -> the bytes of a file of it."""
    file = io.BytesIO()
    image.save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending), **options)
    return file.getvalue()


def plain(colour, size=(12, 12), ending="png", **options):
    return packed(Image.new("RGB", size, colour), ending, **options)


def noise(seed, size=(9, 7)):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Eight small images in two classes."""
    for number in range(8):
        place = tmp_path / "pets" / ("cats", "dogs")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        noise(number).save(place / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def archive(folder, tmp_path):
    """The images of `folder` in a zip."""
    return Path(shutil.make_archive(tmp_path / "pets", "zip", folder))


def expected(folder, size):
    paths = sorted(folder.rglob("*.png"))
    images = [decode_image(io.BytesIO(path.read_bytes()), size) for path in paths]
    return torch.from_numpy(np.stack(images))


def cached():
    """What lies in the cache, hidden or not."""
    return sorted(path.name for path in cache_folder().glob("*"))


def zip_of(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


# --- every size and mode --------------------------------------------------------------


def grey16(brightest, ending="png"):
    values = np.full((12, 12), brightest, dtype=np.uint16)
    values[:, 6:] //= 2  # the right half has half the light
    return packed(Image.fromarray(values), ending)


def palette(colour, **options):
    image = Image.new("P", (12, 12), 3)
    image.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, *colour])
    return packed(image, **options)


def animation(ending, **options):
    first, *others = (Image.new("RGB", (12, 12), colour) for colour in (RED, BLUE))
    return packed(first, ending, save_all=True, append_images=others, **options)


def floats(*values):
    return packed(Image.fromarray(np.resize(np.float32(values), (12, 12))), "tif")


def new(mode, colour, ending="png", **options):
    return packed(Image.new(mode, (12, 12), colour), ending, **options)


MODES = {
    "RGB": (plain(RED), RED),
    "grey": (new("L", 128), GREY),
    "1-bit": (new("1", 1), WHITE),
    "1-bit fax": (new("1", 0, "tif", compression="group4"), BLACK),
    "16-bit grey": (grey16(65_535), (127,) * 3),
    "12 bits in 16": (grey16(4_095, "tif"), (127,) * 3),
    "black 16-bit grey": (grey16(0), BLACK),
    "32-bit grey": (new("I", 70_000, "tif"), WHITE),
    "float grey": (floats(0.5), WHITE),
    "float grey with NaN": (floats(float("nan"), float("inf"), -1.0), BLACK),
    "palette": (palette(BLUE), BLUE),
    "palette, transparent": (palette(BLUE, transparency=3), WHITE),
    "palette, half": (palette(BLUE, transparency=b"\xff\xff\xff\x7f"), (128, 128, 255)),
    "a transparent grey": (new("L", 7, transparency=7), WHITE),
    "a transparent colour": (plain(RED, transparency=RED), WHITE),
    "RGBA": (new("RGBA", (*GREEN, 127)), (128, 255, 128)),
    "LA": (new("LA", (0, 0)), WHITE),
    "webp with alpha": (new("RGBA", (*RED, 0), "webp", lossless=True), WHITE),
    "CMYK": (new("CMYK", (0, 255, 255, 0), "jpg"), RED),
    "CMYK tiff": (new("CMYK", (255, 255, 0, 0), "tif"), BLUE),
    "bmp": (plain(BLUE, ending="bmp"), BLUE),
    "animated gif": (animation("gif"), RED),
    "animated webp": (animation("webp", lossless=True), RED),
    "animated png": (animation("png"), RED),
    "tiff of two pages": (animation("tif"), RED),
    "one pixel": (plain(GREEN, (1, 1)), GREEN),
    "a line": (plain(GREEN, (1, 5000)), GREEN),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_three_channels_on_white(mode):
    content, colour = MODES[mode]
    image = decode_image(io.BytesIO(content), 8)
    assert image.shape == (3, 8, 8) and image.dtype == np.uint8
    assert np.abs(image[:, 4, 5].astype(int) - colour).max() <= 2


@pytest.mark.parametrize("upright", [False, True])
def test_the_centre_square_is_kept(upright):
    image = Image.new("RGB", (30, 10), RED)
    image.paste(GREEN, (10, 0, 20, 10))
    image.paste(BLUE, (20, 0, 30, 10))
    if upright:
        image = image.transpose(Image.Transpose.ROTATE_90)
    made = decode_image(io.BytesIO(packed(image)), 10)
    assert (made.transpose(1, 2, 0) == GREEN).all()


def test_a_camera_held_sideways():
    image, exif = Image.new("RGB", (16, 16), RED), Image.Exif()
    image.paste(BLUE, (0, 0, 16, 8))  # blue above
    exif[0x0112] = 6  # to be turned to the right: then blue is on the right
    made = decode_image(io.BytesIO(packed(image, "jpg", exif=exif, quality=95)), 16)
    assert made[0, 8, 3] > 200 and made[2, 8, 3] < 50
    assert made[2, 8, 12] > 200 and made[0, 8, 12] < 50


@pytest.mark.parametrize("ending", ["eps", "ppm"])
def test_other_formats_are_not_tried(ending):
    """Pillow hands an EPS file to Ghostscript, whatever its name is."""
    with pytest.raises(UnidentifiedImageError):
        decode_image(io.BytesIO(packed(noise(0, (32, 32)), ending)), 8)


# --- what is asked of a folder --------------------------------------------------------


def stripes(upright):
    """Red, green and blue from left to right, or from top to bottom; (30, 10)."""
    image = Image.new("RGB", (30, 10), RED)
    image.paste(GREEN, (10, 0, 20, 10))
    image.paste(BLUE, (20, 0, 30, 10))
    return image.transpose(Image.Transpose.TRANSPOSE) if upright else image


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize(("ground", "colour"), [("white", WHITE), ("#0000ff", BLUE)])
def test_padding_keeps_all_of_a_picture_on_the_ground(upright, ground, colour):
    content = packed(stripes(upright))
    made = decode_image(io.BytesIO(content), 30, square="pad", ground=ground)
    made = made.transpose(1, 2, 0) if not upright else made.transpose(2, 1, 0)
    assert [tuple(made[15, x]) for x in (5, 15, 25)] == [RED, GREEN, BLUE]
    assert (made[:9] == colour).all() and (made[21:] == colour).all()


@pytest.mark.parametrize("square", ["crop", "pad"])
def test_the_ground_is_behind_what_is_transparent(square):
    image = Image.new("RGBA", (12, 12), (*RED, 0))
    image.paste((*GREEN, 255), (0, 0, 6, 12))
    made = decode_image(
        io.BytesIO(packed(image)), 12, square=square, ground="rgb(0, 0, 255)"
    )
    assert tuple(made[:, 6, 2]) == GREEN and tuple(made[:, 6, 9]) == BLUE


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"square": "round"}, ["square is 'round'", "crop, pad"]),
        ({"ground": "nosuch"}, ["ground is 'nosuch'", "white"]),
        ({"ground": "#ffffff80"}, ["ground is '#ffffff80'", "white"]),
        ({"channels": 2}, ["channels is 2", "1 channel", "3"]),
    ],
)
def test_what_cannot_be_asked_of_a_folder(folder, asked, words, says):
    with says(*words):
        read_image_folder(folder, 8, **asked)


GREYS = {
    "8 bits": new("L", 100),
    "1 bit": new("1", 1),
    "16 bits": grey16(65_535),
    "with alpha": new("LA", (100, 128)),
    "a palette of greys": palette(GREY),
    "three equal channels": plain(GREY),
    "a jpeg": new("L", 100, "jpg"),
    "floats": floats(0.5, 1.0),
}


@pytest.mark.parametrize("kind", GREYS)
def test_a_folder_of_greys_has_one_channel_unless_three_are_asked_for(kind, tmp_path):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(GREYS[kind])  # whatever its name says
    one, three, any_ = (
        read_image_folder(tmp_path, 8, channels=channels)[0]
        for channels in (1, 3, None)
    )
    assert one.shape == any_.shape == (2, 1, 8, 8) and three.shape == (2, 3, 8, 8)
    assert torch.equal(one, any_) and torch.equal(one.expand_as(three), three)


def test_a_little_colour_keeps_three_channels_and_one_makes_it_grey(tmp_path):
    (tmp_path / "0.png").write_bytes(new("L", 100))
    (tmp_path / "1.png").write_bytes(plain(RED))
    assert read_image_folder(tmp_path, 8, channels=None)[0].shape == (2, 3, 8, 8)
    greys = read_image_folder(tmp_path, 8, channels=1)[0]
    assert greys[:, 0, 4, 4].tolist() == [100, 76]  # 0.299 of 255


def test_animations_are_counted_once_and_said(tmp_path, one_sentence):
    for ending in ("gif", "webp", "png", "tif"):
        (tmp_path / f"moves.{ending}").write_bytes(animation(ending))
        (tmp_path / f"still.{ending}").write_bytes(plain(RED, ending=ending))
    for _ in range(2):  # also when it comes from the cache
        with pytest.warns(UserWarning) as caught:
            pixels, *_ = read_image_folder(tmp_path, 8)
        (warning,) = caught
        words = "4 of 8 images", "several pages", "'moves.gif'", "the first image"
        one_sentence(str(warning.message), *words)
        colours = pixels[:, :, 4, 5].int() - torch.tensor(RED)
        assert colours.abs().max() <= 2, "of each the first image"


@pytest.mark.parametrize("zipped", [False, True])
def test_folders_train_and_test_divide_the_images(tmp_path, zipped):
    files = {
        "train/cats/0.png": RED,
        "train/dogs/0.png": GREEN,
        "train/dogs/1.png": GREEN,
        "test/dogs/0.png": BLUE,
    }
    place = tmp_path / "pets"
    for name, colour in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(plain(colour))
    source = shutil.make_archive(place, "zip", place) if zipped else place
    pixels, labels, classes, divided = read_image_folder(source, 8)
    assert divided and classes == ("cats", "dogs") and labels.tolist() == [0, 1, 1]
    assert pixels[:, :, 4, 4].tolist() == [list(RED), list(GREEN), list(GREEN)]
    pixels, labels, classes, divided = read_image_folder(source, 8, train=False)
    assert divided and classes == ("cats", "dogs") and labels.tolist() == [1]
    assert pixels[:, :, 4, 4].tolist() == [list(BLUE)]


def test_a_picture_beside_train_and_test_keeps_them_together(tmp_path):
    for name in ("train/0.png", "test/0.png", "1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(plain(RED))
    pixels, _, classes, divided = read_image_folder(tmp_path, 8, train=False)
    assert len(pixels) == 3 and not divided and {"train", "test"} < set(classes)


def test_avif_is_read_where_pillow_can(tmp_path, says):
    if "AVIF" in image_folder.formats():
        (tmp_path / "0.avif").write_bytes(plain(RED, (64, 64), "avif", quality=100))
        pixels, *_ = read_image_folder(tmp_path, 8)
        assert (pixels[0, :, 4, 4].int() - torch.tensor(RED)).abs().max() <= 4
    else:
        (tmp_path / "0.avif").write_bytes(b"\0\0\0\x1cftypavif" + bytes(99))
        with says("0.avif", "AVIF needs Pillow 11.3"):
            read_image_folder(tmp_path, 8)


def test_heic_is_read_where_its_package_is_there(tmp_path, says):
    if "HEIF" in image_folder.formats():
        (tmp_path / "0.heic").write_bytes(plain(RED, (64, 64), "heif", quality=100))
        pixels, *_ = read_image_folder(tmp_path, 8)
        assert (pixels[0, :, 4, 4].int() - torch.tensor(RED)).abs().max() <= 4
    else:
        (tmp_path / "0.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
        with says("0.heic", "HEIF needs pip install pillow-heif"):
            read_image_folder(tmp_path, 8)


# --- folder, zip and cache ------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
def test_images_come_in_the_order_of_their_names(folder, archive, zipped):
    source = str(archive) if zipped else folder
    pixels, labels, classes, _ = read_image_folder(source, 8)
    assert torch.equal(pixels, expected(folder, 8)) and pixels.dtype == torch.uint8
    assert labels.tolist() == [0] * 4 + [1] * 4 and labels.dtype == torch.int64
    assert classes == ("cats", "dogs")


def test_images_in_no_folder_are_a_class_of_the_name_of_their_folder(tmp_path):
    place = tmp_path / "version 1.2"
    (place / "b" / "deep").mkdir(parents=True)
    for name in ("0.png", "b/deep/0.png"):
        noise(0).save(place / name)
    for source in (place, shutil.make_archive(place, "zip", place)):
        _, labels, classes, _ = read_image_folder(source, 8)
        assert labels.tolist() == [1, 0] and classes == ("b", "version 1.2")


def test_other_files_and_hidden_ones_are_no_images(folder):
    for name in ("notes.txt", ".a.png", "__MACOSX/0.png", ".git/0.png", "c.jpg/notes"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no image")
    (folder / "pointing nowhere.png").symlink_to(folder / "nowhere")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "that never answers.png")
    shutil.copy(folder / "cats" / "0.png", folder / "cats" / "upper.PNG")
    assert len(read_image_folder(folder, 8)[0]) == 9


def test_the_second_time_nothing_is_decoded(folder, archive, monkeypatch):
    first = [read_image_folder(place, 8) for place in (folder, archive)]
    monkeypatch.setattr(image_folder, "decode_image", None)
    for (pixels, labels, classes, _), place in zip(
        first, (folder, archive), strict=True
    ):
        again = read_image_folder(place, 8)
        assert torch.equal(again[0], pixels) and torch.equal(again[1], labels)
        assert again[2] == classes
    assert len(cached()) == 2


def test_pixels_are_mapped_and_what_is_written_to_them_stays_here(folder):
    pixels, *_ = read_image_folder(folder, 8)
    if Path("/proc/self/maps").exists():
        assert cached()[0] in Path("/proc/self/maps").read_text(encoding="utf-8")
    pixels.zero_()
    assert torch.equal(read_image_folder(folder, 8)[0], expected(folder, 8))


@pytest.mark.parametrize("zipped", [False, True])
def test_a_change_is_noticed_and_the_old_cache_replaced(folder, archive, zipped):
    def read():
        if zipped:
            shutil.make_archive(archive.with_suffix(""), "zip", folder)
        return read_image_folder(archive if zipped else folder, 8)[0]

    old = read()
    kept, before = old.clone(), cached()
    noise(99).save(folder / "cats" / "2.png")
    assert torch.equal(read(), expected(folder, 8))
    (folder / "dogs" / "3.png").unlink()
    assert torch.equal(read(), expected(folder, 8))
    noise(98).save(folder / "dogs" / "9.png")
    assert torch.equal(read(), expected(folder, 8))
    assert cached() == before and len(before) == 1
    assert torch.equal(old, kept), "who reads the old cache goes on reading it"


BREAKS = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "cut": lambda content: content[:-1],
    "shifted": lambda content: content[1:],
    "text": lambda content: b"no cache at all",
    "another shape": lambda content: content.replace(b"(8, 3", b"(7, 3"),
    "objects": lambda content: content.replace(b"'|u1'", b"'|O' "),
    "another stamp": lambda content: content.replace(b'["', b'["0'),
    "other json": lambda content: content[: content.index(b'["')] + b"{}",
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_cache_is_made_anew(folder, how):
    read_image_folder(folder, 8)
    path = cache_folder() / cached()[0]
    whole = path.read_bytes()
    path.write_bytes(BREAKS[how](whole))
    assert path.read_bytes() != whole
    assert torch.equal(read_image_folder(folder, 8)[0], expected(folder, 8))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "source", ["nowhere", "~nobody-of-this-name/x", "zero\0byte", "x" * 5000]
)
def test_a_place_that_does_not_exist(source, says):
    with says("no folder or zip"):
        read_image_folder(source, 8)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_place_that_never_answers(tmp_path, says):
    os.mkfifo(tmp_path / "pipe.zip")
    with says("pipe.zip"):
        read_image_folder(tmp_path / "pipe.zip", 8)


@pytest.mark.parametrize("size", [3, -8, 1025, 8.0, True, None, "8"])
def test_a_size_out_of_range(size, folder, says):
    with says(repr(size), "4", "1024"):
        read_image_folder(folder, size)


# --- images that cannot be read -------------------------------------------------------


HUGE = packed(Image.new("1", (10_000, 10_000)))


def test_one_broken_image_among_many_is_named_and_counted(
    tmp_path, one_sentence, capsys
):
    for number in range(1_000):
        image = plain((number % 256, 0, 0), (8, 8), "jpg")
        (tmp_path / f"{number:04}.jpg").write_bytes(image)
    broken = tmp_path / "0345.jpg"
    broken.write_bytes(broken.read_bytes()[:-40])
    for _ in range(2):  # also when it comes from the cache
        with pytest.warns(UserWarning) as caught:
            pixels, labels, *_ = read_image_folder(tmp_path, 4)
        assert len(pixels) == len(labels) == 999 and len(caught) == 1
        one_sentence(
            str(caught[0].message), "1 of 1,000 images", tmp_path, "'0345.jpg'"
        )
    reds = pixels[:, 0].float().mean(dim=(1, 2))
    right = torch.tensor([number % 256 for number in range(1_000) if number != 345])
    assert (reds - right).abs().max() < 3, "each in its place"
    assert "1000/1000" in capsys.readouterr().err, "a progress bar"
    broken.write_bytes(plain(RED, (8, 8), "jpg"))
    assert len(read_image_folder(tmp_path, 4)[0]) == 1_000


def test_of_many_broken_images_the_first_five_are_named(folder, one_sentence, capsys):
    for number in range(7):
        (folder / "cats" / f"x-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n no\n\n")
    with pytest.warns(UserWarning) as caught:
        pixels, labels, *_ = read_image_folder(folder, 8)
    assert len(pixels) == 8 and labels.tolist() == [0] * 4 + [1] * 4
    one_sentence(str(caught[0].message), "7 of 15 images", "'cats/x-4.png'")
    assert "x-5" not in str(caught[0].message)
    assert capsys.readouterr() == ("", "")


REFUSED = {
    "nothing": ({}, "holds no images", ".jpg"),
    "text files": ({"a.txt": b"text", "b.csv": b"1,2"}, "holds no images", ".jpg"),
    "text named .jpg": ({"a.jpg": b"text"}, "None", "'a.jpg' is none of JPEG"),
    "half a jpeg": ({"a.jpg": plain(RED, (99, 99), "jpg")[:-300]}, "None", "runcated"),
    "a wrong checksum": ({"a.png": plain(RED).replace(b"IHDR", b"IHDr", 1)}, "None"),
    "10,000 x 10,000": ({"a.png": HUGE}, "'a.png'", "100000000 pixels"),
    "65,535 x 65,535": ({"a.gif": b"GIF89a\xff\xff\xff\xff\0\0\0;"}, "None"),
    "a name of two lines": ({"a\nb.png": b""}, r"'a\nb.png' is none of"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("what", REFUSED)
def test_nothing_that_can_be_read(what, zipped, tmp_path, says):
    files, *words = REFUSED[what]
    place = tmp_path / "given"
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    if zipped:
        place = zip_of(tmp_path / "given.zip", files)
    with says(place, *words):
        read_image_folder(place, 8)


def test_a_huge_image_is_not_decoded(folder, monkeypatch):
    (folder / "cats" / "huge.png").write_bytes(HUGE)
    tracemalloc.start()
    with pytest.warns(UserWarning, match=r"'cats/huge.png' .*100000000 pixels"):
        assert len(read_image_folder(folder, 8)[0]) == 8
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    with open(folder / "large.png", "wb") as file:
        file.truncate(300_000_001)
    tracemalloc.start()
    with pytest.warns(UserWarning, match=r"'large.png' is larger than 300,000,000"):
        assert len(read_image_folder(folder, 8)[0]) == 8
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


# --- broken and hostile zips ----------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"<!DOCTYPE html>", bytes(9_999)])
def test_a_zip_that_is_no_zip(content, tmp_path, says):
    (tmp_path / "a.zip").write_bytes(content)
    with says(tmp_path / "a.zip", "no whole zip file", "download it again"):
        read_image_folder(tmp_path / "a.zip", 8)
    assert cached() == []


def test_a_zip_cut_short_anywhere(archive, says):
    whole = archive.read_bytes()
    for length in range(0, len(whole), 37):
        archive.write_bytes(whole[:length])
        with says(archive, "no whole zip file"):
            read_image_folder(archive, 8)


@pytest.mark.parametrize(
    "name", ["../a.png", "b/../../a.png", "/etc/a.png", "..\\a.png", "C:\\a.png"]
)
def test_a_zip_with_a_path_that_leads_out(name, tmp_path, says):
    zip_of(tmp_path / "a.zip", {"b.png": plain(RED), name: plain(RED)})
    before = sorted(tmp_path.parent.rglob("*"))
    with says(tmp_path / "a.zip", "leads out of its folder"):
        read_image_folder(tmp_path / "a.zip", 8)
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_two_dots_in_a_name_do_not_lead_out(tmp_path):
    zip_of(tmp_path / "a.zip", {"b..c/e..png": plain(RED)})
    assert len(read_image_folder(tmp_path / "a.zip", 8)[0]) == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_cannot_be_bounded(tmp_path, method, says):
    zip_of(tmp_path / "a.zip", {"a.png": plain(RED)}, compression=method)
    with says("a.zip", "'a.png'", "rare"):
        read_image_folder(tmp_path / "a.zip", 8)


def test_a_wrong_checksum_in_a_zip(tmp_path):
    files = {"a.png": plain(RED) + bytes(9_000) + b"behind", "b.png": plain(BLUE)}
    path = zip_of(tmp_path / "a.zip", files)
    path.write_bytes(path.read_bytes().replace(b"behind", b"BEHIND"))
    with pytest.warns(UserWarning, match=r"1 of 2 images .*'a.png' .*Bad CRC"):
        pixels, *_ = read_image_folder(path, 8)
    assert pixels[:, :, 4, 4].tolist() == [list(BLUE)]


@pytest.mark.parametrize("length", [1_000, 500_000_000])
def test_a_zip_bomb_is_never_unpacked(tmp_path, length):
    """An image of 50 MB, whose length is another in the zip's directory."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("ok.png", plain(RED))
        archive.writestr("bomb.png", bytes(50_000_000))
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\1\2") + 24, length)
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.warns(UserWarning, match=r"1 of 2 images .*'bomb.png' (is larg|.*CRC)"):
        pixels, *_ = read_image_folder(path, 8)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert pixels[:, :, 4, 4].tolist() == [list(RED)]


# --- whole or not at all --------------------------------------------------------------


def test_an_interrupt_leaves_the_old_cache(folder, monkeypatch):
    read_image_folder(folder, 8)
    before, inside = cached(), []
    noise(99).save(folder / "cats" / "2.png")

    def interrupted(reasons, **_):
        next(reasons)
        inside.extend(cached())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(image_folder, "tqdm", interrupted)
        read_image_folder(folder, 8)
    assert len(inside) == 2 and cached() == before
    assert torch.equal(read_image_folder(folder, 8)[0], expected(folder, 8))


def test_what_a_killed_process_left_goes_after_a_day(folder):
    old, fresh = (cache_folder() / f".new-images-{age}" for age in ("old", "fresh"))
    for left in (old, fresh):
        left.mkdir(parents=True)
    os.utime(old, (0, time.time() - 90_000))
    read_image_folder(folder, 8)
    assert not old.exists() and fresh.exists(), "that one may be at work"


def test_a_cache_folder_that_cannot_be_made(folder, tmp_path, says):
    (tmp_path / "cache").write_text("in the way")
    with says(tmp_path / "cache", "XDG_CACHE_HOME"):
        read_image_folder(folder, 8)


def test_a_disk_that_is_full(folder, says):
    """Here no file may have more than 40 kB."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with says(folder, cache_folder(), "too large", "XDG_CACHE_HOME"):
            read_image_folder(folder, 64)
        assert cached() == []
        assert read_image_folder(folder, 8)[0].shape == (8, 3, 8, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def read_all(folder, together):
    for size in range(4, 16):
        together.wait(60)
        pixels, labels, *_ = read_image_folder(folder, size)
        assert torch.equal(pixels, expected(folder, size))
        assert labels.tolist() == [0] * 4 + [1] * 4


def test_two_processes_build_one_cache_at_once(folder):
    context = multiprocessing.get_context("spawn")  # as Windows and macOS start them
    arguments = folder, context.Barrier(2)
    started = [context.Process(target=read_all, args=arguments) for _ in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(240)
        assert process.exitcode == 0
    assert len(cached()) == 12

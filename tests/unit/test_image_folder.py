"""The darkroom: pictures of every size and mode come out alike, once; broken, huge and hostile ones in one sentence."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import pictures
from ganlib.files import cache_folder
from ganlib.data.image_folder import develop, read_pictures

pytestmark = pytest.mark.usefixtures("offline")
WHITE, RED, GREEN, BLUE, GREY = (255,) * 3, (255, 0, 0), (0, 255, 0), (0, 0, 255), (128,) * 3


@pytest.fixture(autouse=True)
def no_stray_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def _packed(picture, ending="png", **options):
    """A picture -> the bytes of a file of it."""
    file = io.BytesIO()
    picture.save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending), **options)
    return file.getvalue()


def _plain(colour, size=(12, 12), ending="png", **options):
    return _packed(Image.new("RGB", size, colour), ending, **options)


def _noise(seed, size=(9, 7)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Eight small pictures in two classes."""
    for number in range(8):
        place = tmp_path / "pets" / ("cats", "dogs")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        _noise(number).save(place / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def archive(folder, tmp_path):
    """The pictures of `folder` in a zip."""
    return Path(shutil.make_archive(tmp_path / "pets", "zip", folder))


def _cache():
    """What lies in the cache folder."""
    return sorted(path.name for path in cache_folder().glob("*")) + list(cache_folder().glob(".*"))


def _zip(path, entries, **options):
    with zipfile.ZipFile(path, "w", **options) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return path


def _middle(content, size=8):
    return tuple(develop(io.BytesIO(content), size)[:, size // 2, size // 2].tolist())


# --- every size and mode ----------------------------------------------------------------------------------------------


def _grey16(bits, ending):
    values = np.full((12, 12), 2**bits - 1, dtype=np.uint16)
    values[:, 6:] //= 2  # the right half has half the light
    return _packed(Image.fromarray(values), ending)


def _palette(colour, **options):
    picture = Image.new("P", (12, 12), 3)
    picture.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, *colour])
    return _packed(picture, **options)


def _film(ending, **options):
    frames = [Image.new("RGB", (12, 12), colour) for colour in (RED, GREEN, BLUE)]
    return _packed(frames[0], ending, save_all=True, append_images=frames[1:], **options)


def _floats(values, ending="tif"):
    return _packed(Image.fromarray(np.resize(np.float32(values), (12, 12))), ending)


MODES = {
    "RGB": (_plain(RED), RED),
    "grey": (_packed(Image.new("L", (12, 12), 128)), GREY),
    "1-bit": (_packed(Image.new("1", (12, 12), 1)), WHITE),
    "1-bit tiff": (_packed(Image.new("1", (12, 12), 0), "tif", compression="group4"), (0, 0, 0)),
    "16-bit grey": (_grey16(16, "png"), (127,) * 3),
    "12 bits in 16": (_grey16(12, "tif"), (127,) * 3),
    "32-bit grey": (_packed(Image.new("I", (12, 12), 70_000), "tif"), WHITE),
    "float grey": (_floats([0.5]), WHITE),
    "float grey with NaN": (_floats([float("nan"), float("inf"), -1.0]), (0, 0, 0)),
    "float grey below 0": (_floats([-5.0, -7.0]), (0, 0, 0)),
    "black 16-bit grey": (_packed(Image.fromarray(np.zeros((12, 12), dtype=np.uint16))), (0, 0, 0)),
    "palette": (_palette(BLUE), BLUE),
    "palette, transparent": (_palette(BLUE, transparency=3), WHITE),
    "palette, half transparent": (_palette(BLUE, transparency=bytes([255, 255, 255, 127])), (128, 128, 255)),
    "grey with a transparent grey": (_packed(Image.new("L", (12, 12), 7), transparency=7), WHITE),
    "RGB with a transparent colour": (_plain(RED, transparency=RED), WHITE),
    "RGBA": (_packed(Image.new("RGBA", (12, 12), (*GREEN, 127))), (128, 255, 128)),
    "LA": (_packed(Image.new("LA", (12, 12), (0, 0))), WHITE),
    "webp with alpha": (_packed(Image.new("RGBA", (12, 12), (*RED, 0)), "webp", lossless=True), WHITE),
    "CMYK": (_packed(Image.new("CMYK", (12, 12), (0, 255, 255, 0)), "jpg"), RED),
    "CMYK tiff": (_packed(Image.new("CMYK", (12, 12), (255, 255, 0, 0)), "tif"), BLUE),
    "bmp": (_plain(BLUE, ending="bmp"), BLUE),
    "first of a gif": (_film("gif"), RED),
    "first of a webp": (_film("webp", lossless=True), RED),
    "first of a png": (_film("png"), RED),
    "first of a tiff": (_film("tif"), RED),
    "one pixel": (_plain(GREEN, (1, 1)), GREEN),
    "a line": (_plain(GREEN, (1, 5000)), GREEN),
    "another line": (_plain(GREEN, (5000, 1)), GREEN),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_three_channels_on_white(mode):
    content, colour = MODES[mode]
    made = develop(io.BytesIO(content), 8)
    assert made.shape == (3, 8, 8) and made.dtype == np.uint8
    assert np.abs(made[:, 4, 5].astype(int) - colour).max() <= 2


def test_of_16_bits_the_brightest_is_white():
    made = develop(io.BytesIO(_grey16(16, "png")), 12)
    assert made[0, 6, 1] == 255 and made[0, 6, 10] == 127


@pytest.mark.parametrize("upright", [False, True])
def test_the_centre_square_is_kept(upright):
    picture = Image.new("RGB", (30, 10), RED)
    picture.paste(GREEN, (10, 0, 20, 10))
    picture.paste(BLUE, (20, 0, 30, 10))
    picture = picture.transpose(Image.Transpose.ROTATE_90) if upright else picture
    made = develop(io.BytesIO(_packed(picture)), 10)
    assert np.array_equal(made, np.broadcast_to(np.array(GREEN, np.uint8)[:, None, None], (3, 10, 10)))


def test_a_camera_held_sideways():
    picture, exif = Image.new("RGB", (16, 16), RED), Image.Exif()
    picture.paste(BLUE, (0, 0, 16, 8))  # blue above
    exif[0x0112] = 6  # to be turned to the right: then blue is on the right
    made = develop(io.BytesIO(_packed(picture, "jpg", exif=exif, quality=95)), 16)
    assert made[0, 8, 3] > 200 and made[2, 8, 3] < 50 and made[2, 8, 12] > 200 and made[0, 8, 12] < 50


def test_large_and_small_jpegs_look_as_they_are():
    """A large one is not decoded in full, which must be hardly visible."""
    slope = np.linspace(0, 255, 1000).astype(np.uint8)
    picture = Image.fromarray(np.stack(np.broadcast_arrays(slope[:, None], slope, np.uint8(99)), axis=2))
    made = develop(io.BytesIO(_packed(picture, "jpg", quality=95)), 20).astype(float)
    exact = np.asarray(picture.resize((20, 20), Image.Resampling.BOX)).transpose(2, 0, 1)
    assert np.abs(made - exact).max() < 6
    assert develop(io.BytesIO(_plain(RED, (3, 2), "jpg")), 64).shape == (3, 64, 64)


def test_only_the_six_formats_are_tried():
    """Pillow hands an EPS file to Ghostscript, whatever its name is."""
    for ending in ("eps", "ppm", "ico"):
        with pytest.raises(pictures.UnidentifiedImageError):
            develop(io.BytesIO(_packed(_noise(0, (32, 32)), ending)), 8)


# --- folder, zip and cache --------------------------------------------------------------------------------------------


def _expected(folder, size):
    paths = sorted(folder.rglob("*.png"), key=str)
    return torch.stack([torch.from_numpy(develop(io.BytesIO(path.read_bytes()), size).copy()) for path in paths])


def test_a_folder_in_the_order_of_its_names(folder):
    pixels, labels, classes = read_pictures(folder, 8)
    assert torch.equal(pixels, _expected(folder, 8)) and pixels.dtype == torch.uint8
    assert labels.tolist() == [0] * 4 + [1] * 4 and labels.dtype == torch.int64 and classes == ("cats", "dogs")


def test_pictures_outside_of_any_class_are_in_one_of_the_name_of_their_folder(folder, tmp_path):
    place = tmp_path / "version 1.2"
    place.mkdir()
    shutil.copy(folder / "cats" / "0.png", place)
    assert read_pictures(place, 8)[2] == ("version 1.2",)
    assert read_pictures(shutil.make_archive(place, "zip", place), 8)[2] == ("version 1.2",)
    (place / "b" / "deep").mkdir(parents=True)
    shutil.copy(folder / "cats" / "0.png", place / "b" / "deep")
    pixels, labels, classes = read_pictures(place, 8)
    assert len(pixels) == 2 and labels.tolist() == [1, 0] and classes == ("b", "version 1.2")


def test_a_zip_is_the_same_as_its_folder(folder, archive):
    one, other = read_pictures(folder, 8), read_pictures(str(archive), 8)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) and one[2] == other[2]


def test_other_files_and_hidden_ones_are_no_pictures(folder):
    for name in ("notes.txt", ".hidden.png", "__MACOSX/0.png", ".git/0.png", "folder.jpg/notes"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("no picture")
    (folder / "pointing nowhere.png").symlink_to(folder / "nowhere")
    assert len(read_pictures(folder, 8)[0]) == 8
    shutil.copy(folder / "cats" / "0.png", folder / "cats" / "upper.PNG")
    assert len(read_pictures(folder, 8)[0]) == 9


def test_the_second_time_nothing_is_decoded(folder, archive, monkeypatch):
    first = [read_pictures(place, 8) for place in (folder, archive)]
    monkeypatch.setattr(pictures, "develop", None)
    for (pixels, labels, classes), place in zip(first, (folder, archive), strict=True):
        again = read_pictures(place, 8)
        assert torch.equal(again[0], pixels) and torch.equal(again[1], labels) and again[2] == classes
    assert len(_cache()) == 2


def test_the_pixels_are_mapped_and_what_is_written_to_them_stays_here(folder):
    pixels = read_pictures(folder, 8)[0]
    if Path("/proc/self/maps").exists():
        assert _cache()[0] in Path("/proc/self/maps").read_text()
    pixels.zero_()
    assert torch.equal(read_pictures(folder, 8)[0], _expected(folder, 8))


@pytest.mark.parametrize("zipped", [False, True])
def test_what_has_changed_is_developed_again_and_the_old_cache_goes(folder, archive, zipped):
    def change():
        if zipped:
            archive.unlink()
            shutil.make_archive(archive.with_suffix(""), "zip", folder)
        return read_pictures(archive if zipped else folder, 8)[0]

    change()
    before = _cache()
    _noise(99).save(folder / "cats" / "2.png")
    assert torch.equal(change(), _expected(folder, 8))
    (folder / "dogs" / "3.png").unlink()
    assert torch.equal(change(), _expected(folder, 8))
    _noise(98).save(folder / "dogs" / "9.png")
    assert torch.equal(change(), _expected(folder, 8)) and _cache() == before and len(before) == 1


def test_who_reads_the_old_cache_goes_on_reading_it(folder):
    old = read_pictures(folder, 8)[0]
    kept = old.clone()
    _noise(99).save(folder / "cats" / "2.png")
    assert not torch.equal(read_pictures(folder, 8)[0], kept) and torch.equal(old, kept)


def test_each_size_has_its_cache(folder):
    assert read_pictures(folder, 8)[0].shape == (8, 3, 8, 8) and read_pictures(folder, 9)[0].shape == (8, 3, 9, 9)
    assert len(_cache()) == 2


BREAKS = {
    "empty": lambda content: b"",
    "7 bytes": lambda content: content[:7],
    "cut": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "without its first byte": lambda content: content[1:],
    "longer": lambda content: content + b"\0",
    "text": lambda content: b"no cache at all",
    "a length beyond it": lambda content: content[:-8] + b"\xff" * 8,
    "no length": lambda content: content[:-8] + bytes(8),
    "no json": lambda content: content[:-30] + b"\xfe" * 22 + content[-8:],
    "another json": lambda content: content + b"[]" + (2).to_bytes(8, "little"),
    "json that lacks all": lambda content: content + b"{}" + (2).to_bytes(8, "little"),
    "json of other types": lambda content: content + b'{"labels": 5}' + (13).to_bytes(8, "little"),
    "another stamp": lambda content: (
        content.replace(b'"stamp": "', b'"stamp": "0')[:-8]
        + (int.from_bytes(content[-8:], "little") + 1).to_bytes(8, "little")
    ),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_cache_is_made_anew(folder, how):
    read_pictures(folder, 8)
    path = cache_folder() / _cache()[0]
    whole = path.read_bytes()
    path.write_bytes(BREAKS[how](whole))
    assert path.read_bytes() != whole
    assert torch.equal(read_pictures(folder, 8)[0], _expected(folder, 8)) and path.read_bytes() == whole


def test_many_pictures_have_a_progress_bar_few_have_none(folder, capsys, monkeypatch):
    read_pictures(folder, 8)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(pictures, "MANY", 8)
    read_pictures(folder, 9)
    assert "8/8" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["nowhere", "", "~nobody-of-this-name/pictures", "zero\0byte", "x" * 5000])
def test_a_place_that_does_not_exist(source, folder, says, monkeypatch):
    monkeypatch.chdir(folder.parent)
    with says("no folder or zip" if source else "holds no pictures", "pictures"):
        shutil.rmtree(folder)
        read_pictures(source, 8)


def test_a_place_that_never_answers(tmp_path, says):
    os.mkfifo(tmp_path / "pipe.zip")
    with says("pipe.zip"):
        read_pictures(tmp_path / "pipe.zip", 8)
    os.mkfifo(tmp_path / "pipe.png")
    with says("holds no pictures"):
        read_pictures(tmp_path, 8)


@pytest.mark.parametrize("size", [0, 3, -8, 1025, 10**9, 8.0, True, None, "8"])
def test_a_size_out_of_range(size, folder, says):
    with says(repr(size), "4", "1024"):
        read_pictures(folder, size)


# --- pictures that cannot be read -------------------------------------------------------------------------------------


def _huge(width, height):
    """A PNG of 1-bit zeros, whose file is small."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes((width // 8 + 2) * height), 1)
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_one_corrupt_jpeg_among_thousands_is_named_skipped_and_counted(tmp_path, one_sentence, capsys):
    for number in range(2_000):
        (tmp_path / f"{number:06}.jpg").write_bytes(_plain((number % 256, 0, 0), (8, 8), "jpg"))
    broken = tmp_path / "001234.jpg"
    broken.write_bytes(broken.read_bytes()[:-40])
    for _ in range(2):  # also when it comes from the cache
        with pytest.warns(UserWarning) as caught:
            pixels, labels, _ = read_pictures(tmp_path, 4)
        assert len(pixels) == len(labels) == 1_999
        one_sentence(str(caught[0].message), "1 of 2,000 pictures", tmp_path, "'001234.jpg' cannot be read (Truncated")
    reds = pixels[:, 0].float().mean(dim=(1, 2))
    right = torch.tensor([number % 256 for number in range(2_000) if number != 1234])
    assert (reds - right).abs().max() < 3, "each in its place"
    assert "2000/2000" in capsys.readouterr().err
    broken.write_bytes(_plain(RED, (8, 8), "jpg"))
    assert len(read_pictures(tmp_path, 4)[0]) == 2_000, "mended, it is taken, and nothing is said"


def test_many_broken_pictures_are_counted_and_the_first_five_named(folder, one_sentence):
    for number in range(7):
        (folder / "cats" / f"broken-{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken\n\n")
    with pytest.warns(UserWarning) as caught:
        assert len(read_pictures(folder, 8)[0]) == 8
    one_sentence(str(caught[0].message), "7 of 15", "'cats/broken-4.png'", "others")
    assert "broken-5" not in str(caught[0].message)


REFUSED = {
    "an empty folder": ({}, "holds no pictures", ".jpg"),
    "a folder of text files": ({"a.txt": b"text", "b.csv": b"1,2"}, "holds no pictures", ".jpg"),
    "text files named .jpg": ({"a.jpg": b"text", "b.jpg": b""}, "None of the pictures", "'a.jpg' is none of JPEG"),
    "a truncated jpeg": ({"a.jpg": _plain(RED, (99, 99), "jpg")[:-300]}, "'a.jpg' cannot be read (Truncated"),
    "a wrong checksum": ({"a.png": _packed(_noise(0)).replace(b"IHDR", b"IHDr", 1)}, "None of the pictures"),
    "30,000 x 30,000": ({"a.png": _huge(30_000, 30_000)}, "'a.png' has more than 90,000,000 pixels"),
    "10,000 x 10,000": ({"a.png": _huge(10_000, 10_000)}, "'a.png' has more than 90,000,000 pixels"),
    "a gif of 65535 x 65535": ({"a.gif": b"GIF89a\xff\xff\xff\xff\0\0\0;"}, "None of the pictures"),
    "a name of two lines": ({"a\n\udcff.png": b""}, r"'a\n\udcff.png' is none of"),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("what", REFUSED)
def test_nothing_that_can_be_read(what, zipped, tmp_path, says):
    entries, *words = REFUSED[what]
    place = tmp_path / "given"
    place.mkdir()
    if zipped and "\udcff" not in "".join(entries):
        place = _zip(tmp_path / "given.zip", entries)
    else:
        for name, content in entries.items():
            (place / name).write_bytes(content)
    with says(place, *words):
        read_pictures(place, 8)
    assert _cache() == []


def test_a_picture_of_30000_pixels_is_not_decoded(folder, monkeypatch):
    (folder / "cats" / "huge.png").write_bytes(_huge(30_000, 30_000))
    upright, widths = pictures.ImageOps.exif_transpose, []
    monkeypatch.setattr(
        pictures.ImageOps, "exif_transpose", lambda picture: widths.append(picture.width) or upright(picture)
    )
    with pytest.warns(UserWarning, match="'cats/huge.png' has more than 90,000,000 pixels"):
        assert len(read_pictures(folder, 8)[0]) == 8
    assert widths == [9] * 8


def test_a_file_that_is_too_large_is_not_even_read(folder, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_BYTES", 10_000)
    (folder / "large.png").write_bytes(bytes(10_001))
    with pytest.warns(UserWarning, match=r"'large.png' is larger than 10,000 bytes\.$"):
        assert len(read_pictures(folder, 8)[0]) == 8


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read(folder):
    (folder / "cats" / "0.png").chmod(0)
    with pytest.warns(UserWarning, match="'cats/0.png' cannot be read"):
        assert len(read_pictures(folder, 8)[0]) == 7


# --- hostile and broken zips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"\n <HTML>", b"\xef\xbb\xbf<!-- --><html>", b"<html>" * 999])
def test_a_zip_that_is_a_web_page(page, tmp_path, says):
    (tmp_path / "img_align_celeba.zip").write_bytes(page)
    with says(tmp_path / "img_align_celeba.zip", "web page", "quota"):
        read_pictures(tmp_path / "img_align_celeba.zip", 8)
    assert _cache() == []


@pytest.mark.parametrize("content", [b"", b"PK\3\4 and no more", b"text", b"Rar!\x1a\x07\x00", bytes(100_000)])
def test_a_zip_that_is_no_zip(content, tmp_path, says):
    (tmp_path / "a.zip").write_bytes(content)
    with says(tmp_path / "a.zip", "no whole zip file"):
        read_pictures(tmp_path / "a.zip", 8)


def test_a_zip_cut_short_anywhere(archive, says):
    whole = archive.read_bytes()
    for length in range(0, len(whole), 37):
        archive.write_bytes(whole[:length])
        with says(archive, "no whole zip file"):
            read_pictures(archive, 8)
    assert _cache() == []


@pytest.mark.parametrize(
    "name", ["../a.png", "b/../../a.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "\\\\host\\a.png", "../notes.txt"]
)
def test_a_zip_with_a_path_that_climbs_out(name, tmp_path, says):
    _zip(tmp_path / "a.zip", {"b.png": _plain(RED), name: _plain(RED)})
    before = sorted(tmp_path.parent.rglob("*"))
    with says(tmp_path / "a.zip", "leads out of its folder"):
        read_pictures(tmp_path / "a.zip", 8)
    assert _cache() == [] and sorted(tmp_path.parent.rglob("*")) == before


def test_two_dots_in_a_name_are_no_climbing(tmp_path):
    _zip(tmp_path / "a.zip", {"b..c/..d.png/e..png": _plain(RED), "f.png": _plain(RED)})
    assert len(read_pictures(tmp_path / "a.zip", 8)[0]) == 1, "..d.png is a hidden folder"


def _each_entry(content, offset, value):
    """A zip with a 16-bit field changed in each of its local headers (offset) and its directory (offset + 2)."""
    for signature, place in ((b"PK\3\4", offset), (b"PK\1\2", offset + 2)):
        at = content.find(signature)
        while at >= 0:
            content = content[: at + place] + struct.pack("<H", value) + content[at + place + 2 :]
            at = content.find(signature, at + 4)
    return content


def test_an_encrypted_zip(archive, says):
    archive.write_bytes(_each_entry(archive.read_bytes(), 6, 1))
    with says(archive, "None of the pictures", "encrypted"):
        read_pictures(archive, 8)
    assert _cache() == []


@pytest.mark.parametrize("method", [9, 97])
def test_a_zip_packed_in_an_unknown_way(archive, method, says):
    archive.write_bytes(_each_entry(archive.read_bytes(), 8, method))
    with says(archive, "None of the pictures", "rare"):
        read_pictures(archive, 8)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_in_a_way_that_cannot_be_bounded(tmp_path, method, says):
    _zip(tmp_path / "a.zip", {"a.png": _plain(RED)}, compression=method)
    with says("None of the pictures", "rare"):
        read_pictures(tmp_path / "a.zip", 8)


def test_a_zip_whose_checksum_is_wrong(tmp_path):
    content = _plain(RED)
    path = _zip(tmp_path / "a.zip", {"a.png": content + bytes(9_000) + b"behind it", "b.png": _plain(BLUE)})
    path.write_bytes(path.read_bytes().replace(b"behind it", b"behind IT"))  # where no decoder looks
    with pytest.warns(UserWarning, match=r"1 of 2 pictures .*'a.png' cannot be read \(Bad CRC"):
        pixels, *_ = read_pictures(path, 8)
    assert pixels[:, :, 4, 4].tolist() == [list(BLUE)]


@pytest.mark.parametrize("forged", [False, True])
def test_a_zip_bomb_is_never_unpacked(tmp_path, forged, folder):
    """A picture that unpacks to 500 MB; `forged`: in whose directory stands that it has 1,000 bytes."""
    path = _zip(tmp_path / "a.zip", {"bomb.png": bytes(500), "ok.png": _plain(RED)}, compression=zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    bomb = b"".join(deflate.compress(bytes(10_000_000)) for _ in range(50)) + deflate.flush()
    with zipfile.ZipFile(path) as packed:
        small = packed.getinfo("bomb.png").compress_size
    head, rest = whole[: 30 + len("bomb.png")], whole[30 + len("bomb.png") + small :]
    shift, directory = len(bomb) - small, rest.index(b"PK\1\2")
    ok = rest.index(b"PK\1\2", directory + 4)
    rest = bytearray(rest)
    struct.pack_into("<2I", rest, directory + 20, len(bomb), 1_000 if forged else 500_000_000)
    struct.pack_into("<I", rest, ok + 42, struct.unpack_from("<I", rest, ok + 42)[0] + shift)
    end = rest.index(b"PK\5\6")
    struct.pack_into("<I", rest, end + 16, struct.unpack_from("<I", rest, end + 16)[0] + shift)
    path.write_bytes(head + bomb + rest)
    tracemalloc.start()
    with pytest.warns(UserWarning, match=r"1 of 2 pictures .*'bomb.png' (is larger than|cannot be read \(Bad CRC)"):
        pixels, *_ = read_pictures(path, 8)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert pixels[:, :, 4, 4].tolist() == [list(RED)]


# --- nothing half-made, bounded, undisturbed --------------------------------------------------------------------------


def test_no_more_than_a_bounded_number_of_pictures_wait(monkeypatch):
    counts, most = {"started": 0, "written": 0}, []
    content = _plain(RED)

    def read(name):
        counts["started"] += 1
        return content

    class Slow(io.BytesIO):
        def write(self, _):
            counts["written"] += 1
            most.append(counts["started"] - counts["written"])
            time.sleep(0.0005)

    found = {f"{number}.png": (100, 0) for number in range(600)}
    assert len(pictures._fill(Slow(), Path("x"), found, read, 4)["labels"]) == 600
    assert max(most) <= 64 and len(most) == 600


def test_an_interrupt_leaves_nothing(folder, monkeypatch):
    before = read_pictures(folder, 8)[0].clone()
    kept, inside = _cache(), []
    _noise(99).save(folder / "cats" / "2.png")

    class Bar:
        def __init__(self, results, **_):
            self.results = results

        def __iter__(self):
            yield next(iter(self.results))
            inside.extend(cache_folder().glob(".new-*"))
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tqdm.auto.tqdm", Bar)
        read_pictures(folder, 8)
    assert len(inside) == 1 and _cache() == kept, "the old cache, and nothing beside it"
    assert not torch.equal(read_pictures(folder, 8)[0], before)


def test_what_a_killed_process_left_goes_after_a_day(folder):
    read_pictures(folder, 8)
    old, new = (cache_folder() / f".new-{_cache()[0]}-{age}" for age in ("old", "new"))
    for left in (old, new):
        left.mkdir()
        (left / "pixels").touch()
    os.utime(old, (0, time.time() - 90_000))
    _noise(99).save(folder / "cats" / "2.png")
    read_pictures(folder, 8)
    assert not old.exists() and new.exists(), "the new one may be another process at work"


def test_a_cache_folder_that_cannot_be_made(folder, tmp_path, monkeypatch, says):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with says(tmp_path / "file", "XDG_CACHE_HOME"):
        read_pictures(folder, 8)


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """The cache on a file system of 40 kB of its own; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)], capture_output=True)
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_is_full(small_disk, folder, says):
    with says(folder, small_disk, "No space left on device", "XDG_CACHE_HOME"):
        read_pictures(folder, 64)
    assert _cache() == []
    assert read_pictures(folder, 8)[0].shape == (8, 3, 8, 8), "where there is room, it works"


def test_a_cache_that_is_read_only_can_be_read(small_disk, folder, says):
    read_pictures(folder, 8)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert torch.equal(read_pictures(folder, 8)[0], _expected(folder, 8))
    with says(folder, small_disk, "Read-only file system", "XDG_CACHE_HOME"):
        read_pictures(folder, 9)


PROGRAM = """
import sys, time, torch
from pathlib import Path
from ganlib import pictures
folder, mine = Path(sys.argv[1]), Path(sys.argv[2])
mine.touch()
while len(list(mine.parent.glob('ready-*'))) < 2: time.sleep(0.001)
for size in list(range(4, 16)) * 2:
    pixels, labels, classes = pictures.read_pictures(folder, size)
    print(size, pixels.long().sum().item(), tuple(pixels.shape), labels.tolist())
"""


def test_two_processes_build_one_cache_at_once(folder):
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(folder.parent / f"ready-{number}")],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]  # fmt: skip
    right = {size: _expected(folder, size).long().sum().item() for size in range(4, 16)}
    lines = [f"{size} {right[size]} {(8, 3, size, size)} {[0] * 4 + [1] * 4}" for size in list(range(4, 16)) * 2]
    for process in started:
        out, err = process.communicate(timeout=240)
        assert (process.returncode, err, out.splitlines()) == (0, "", lines)
    assert len(_cache()) == 12 and all(name.startswith("pictures-") for name in _cache())


def test_a_cache_that_another_process_overwrites_is_made_again(folder, monkeypatch):
    """Two that disagree on what the folder holds, because it has changed between: each gets what it saw."""
    develop_now, seen = pictures._develop, []

    def overtaken(place, found, read, size, stamp, cache):
        seen.append(stamp)
        develop_now(place, found, read, size, "another" if len(seen) == 1 else stamp, cache)

    monkeypatch.setattr(pictures, "_develop", overtaken)
    assert torch.equal(read_pictures(folder, 8)[0], _expected(folder, 8)) and len(seen) == 2


def test_what_stands_in_a_cache(folder):
    """So that a change of the format is noticed: then the version in its stamp has to change too."""
    pixels, *_ = read_pictures(folder, 8)
    content = (cache_folder() / _cache()[0]).read_bytes()
    length = int.from_bytes(content[-8:], "little")
    about = json.loads(content[-8 - length : -8])
    assert content[: -8 - length] == pixels.numpy().tobytes()
    assert set(about) == {"labels", "classes", "skipped", "stamp"}

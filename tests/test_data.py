"""Loaders on files written in the true format, and on the same files damaged: refused, with the byte."""

import gzip
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from relprop.data.cifar import cifar10, cifar100, read_cifar
from relprop.data.documentation import LIBRARIES, documentation, paragraphs, passages
from relprop.data.idx import mnist, read_idx
from relprop.data.imagenet import imagenet, read_boxes, read_photo
from relprop.data.imdb import imdb, imdb_with_words, pad, read_folder, read_keras
from relprop.data.penn_treebank import penn_treebank, read_words

rng = np.random.default_rng(0)


def refused(call, *words):
    with pytest.raises(ValueError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)


# ---- idx ----


def idx(array, kind=0x08):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder, n=7, packed=False):
    images = {part: rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part in ("train", "t10k")}
    labels = {part: rng.integers(0, 10, n, dtype=np.uint8) for part in ("train", "t10k")}
    for part in images:
        for what, array, rank in (("images", images[part], 3), ("labels", labels[part], 1)):
            data = idx(array)
            name = f"{part}-{what}-idx{rank}-ubyte"
            (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return images, labels


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_reads_what_was_written(tmp_path, packed):
    images, labels = write_mnist(tmp_path, packed=packed)
    for (x, y), part in zip(mnist(tmp_path), ("train", "t10k"), strict=True):
        assert x.shape == (7, 1, 28, 28) and np.array_equal(x[:, 0], images[part]) and np.array_equal(y, labels[part])


def test_idx_knows_every_element_type(tmp_path):
    for kind, dtype in ((0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")):
        array = np.arange(6).reshape(2, 3).astype(dtype)
        (tmp_path / "a").write_bytes(idx(array, kind))
        assert np.array_equal(read_idx(tmp_path / "a"), array)


def test_damaged_idx_is_refused_with_its_byte(tmp_path):
    whole, path = idx(rng.integers(0, 256, (2, 3, 4), dtype=np.uint8)), tmp_path / "a"
    for data, words in (
        (b"\0\0", ("byte 2", "ends within the magic number")),
        (b"\x89PNG" + whole[4:], ("byte 0", "89 50", "no idx file")),
        (whole[:2] + b"\x07" + whole[3:], ("byte 2", "element type 07")),
        (whole[:9], ("byte 9", "axis lengths")),
        (whole[:-1], ("byte 39", "ends early", "takes 40 bytes, not 39")),
        (whole + b"x", ("byte 40", "goes on")),
    ):
        path.write_bytes(data)
        refused(lambda: read_idx(path), *words)


def test_damaged_packing_is_refused_with_its_byte(tmp_path):
    path, noise = tmp_path / "a.gz", rng.integers(0, 256, (2000, 2), dtype=np.uint8)
    whole = gzip.compress(idx(noise))
    path.write_bytes(whole + gzip.compress(b""))
    assert np.array_equal(read_idx(path), noise), "gzip files may have several members"
    for data, words in (
        (b"", ("byte 0", "ends early")),
        (whole[:-9], (f"byte {len(whole) - 9}", "ends early")),
        (whole[:1] + b"x" + whole[2:], ("byte 1", "incorrect header check")),
        (whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], (f"byte {len(whole) - 5}", "incorrect data check")),
        (whole + b"left over", (f"byte {len(whole) + 1}", "incorrect header check")),
    ):
        path.write_bytes(data)
        refused(lambda: read_idx(path), *words)


def test_mnist_files_must_belong_together(tmp_path):
    refused(lambda: mnist(tmp_path), "has no train-images-idx3-ubyte")
    write_mnist(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    good = path.read_bytes()
    path.write_bytes(good[:8] + b"\x03\x0b" + good[10:])
    refused(lambda: mnist(tmp_path), "at byte 9", "label 11")
    path.write_bytes(idx(np.zeros(5, np.uint8)))
    refused(lambda: mnist(tmp_path), "at byte 4", "5 labels, but 7 images")


# ---- CIFAR ----


def test_cifar_reads_what_was_written(tmp_path):
    parts = {}
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        labels, images = rng.integers(0, 10, (3, 1), np.uint8), rng.integers(0, 256, (3, 3072), np.uint8)
        parts[name] = labels, images
        (tmp_path / f"{name}.bin").write_bytes(np.hstack([labels, images]).tobytes())
    (x, y), (u, v) = cifar10(tmp_path)
    assert x.shape == (15, 3, 32, 32) and np.array_equal(x[3:6].reshape(3, -1), parts["data_batch_2"][1])
    assert np.array_equal(y[3:6], parts["data_batch_2"][0][:, 0]) and np.array_equal(v, parts["test_batch"][0][:, 0])
    assert u[1, 2, 0, 5] == parts["test_batch"][1][1, 2 * 1024 + 5]  # red, green, then blue, row by row
    labels, images = rng.integers(0, 20, (4, 2), np.uint8), rng.integers(0, 256, (4, 3072), np.uint8)
    for name in ("train", "test"):
        (tmp_path / f"{name}.bin").write_bytes(np.hstack([labels, images]).tobytes())
    assert np.array_equal(cifar100(tmp_path)[0][1], labels[:, 1])


def test_damaged_cifar_is_refused_with_its_byte(tmp_path):
    path = tmp_path / "test_batch.bin"
    records = np.zeros((3, 3073), np.uint8)
    path.write_bytes(records.tobytes()[:-5])
    refused(lambda: read_cifar(path, (10,)), "at byte 6146", "3068 bytes are left over after 2 records")
    path.write_bytes(b"")
    refused(lambda: read_cifar(path, (10,)), "at byte 0")
    records[2, 0] = 10
    path.write_bytes(records.tobytes())
    refused(lambda: read_cifar(path, (10,)), "at byte 6146", "label 10 of record 2")
    refused(lambda: cifar10(tmp_path), "has no data_batch_1.bin")


# ---- IMDB ----


def write_reviews(folder):
    reviews = {
        ("train", "pos"): ["A fine, fine film.<br /><br />It's fine.", "Fine acting"],
        ("train", "neg"): ["A dull film", "dull"],
        ("test", "pos"): ["fine unheard-of film"],
        ("test", "neg"): ["dull"],
    }
    for (part, sign), texts in reviews.items():
        place = folder / part / sign
        place.mkdir(parents=True)
        for k, text in enumerate(texts):
            (place / f"{k}_7.txt").write_text(text)


def test_reviews_are_numbered_by_frequency(tmp_path):
    """fine 4×, then dull, film and a 2× each in alphabetical order: numbers 4, then a 5, dull 6, film 7."""
    write_reviews(tmp_path)
    (train, labels), (test, _) = read_folder(tmp_path)
    assert labels.tolist() == [0, 0, 1, 1]
    assert train[0] == [1, 5, 6, 7] and train[2][:5] == [1, 5, 4, 4, 7]
    assert test[1] == [1, 4, 2, 2, 7]  # unheard and of are in no review of train
    (few, _), _ = imdb(tmp_path, words=6, length=5)
    assert few[0].tolist() == [0, 1, 5, 2, 2] and few.shape == (4, 5)
    assert pad([[1, 2, 3]], 2).tolist() == [[2, 3]]


def test_numbers_have_their_words(tmp_path):
    write_reviews(tmp_path)
    *_, (ids, _), words = imdb_with_words(tmp_path, words=7, length=5)
    assert words == ("<pad>", "<start>", "<unk>", "#3", "fine", "a", "dull")
    assert [words[k] for k in ids[1]] == ["<start>", "fine", "<unk>", "<unk>", "<unk>"]
    keras_file(tmp_path / "imdb.npz", 4, REVIEWS, [1, 0, 1])
    assert imdb_with_words(tmp_path / "imdb.npz", words=7, length=5)[2][3:] == ("#3", "#4", "#5", "#6")


def test_passages_to_train_on_and_held_out_share_no_paragraph():
    (ids, labels), (held_out, held_labels), words = documentation(words=500, length=30)
    assert ids.shape[1] == held_out.shape[1] == 30 and ids.max() == len(words) - 1 == 499
    for given in (labels, held_labels):
        assert given.mean() == 0.5 and len(given) > 100
    assert words[:3] == ("<pad>", "<start>", "<unk>") and (ids[:, 0] == 1).all()
    for library in LIBRARIES:
        train, test = (paragraphs(library, part) for part in ("train", "test"))
        assert not set(train) & set(test) and len(set(train + test)) == len(train + test)
        assert 3 < len(train) / len(test) < 5
    (text, after, *_) = passages("NumPy", "train", 60)
    assert text[10:] == after[:50]  # those to train on overlap
    (text, after, *_) = passages("NumPy", "test", 60)
    assert " ".join(text + after) == " ".join(" ".join(paragraphs("NumPy", "test")).split()[:120])


def keras_file(path, protocol, reviews, labels):
    """As NumPy writes arrays of objects, under any protocol of pickle."""
    array = np.empty(len(reviews), dtype=object)
    array[:] = reviews
    with zipfile.ZipFile(path, "w") as archive:
        for part in ("train", "test"):
            out = io.BytesIO()
            np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
            out.write(pickle.dumps(array, protocol))
            archive.writestr(f"x_{part}.npy", out.getvalue())
            out = io.BytesIO()
            np.save(out, np.array(labels))
            archive.writestr(f"y_{part}.npy", out.getvalue())


REVIEWS = [[1, 14, 22, 70000, 5], [1, 300, 2**31 + 5], [1]]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_kerass_file_is_read_without_pickle(tmp_path, protocol, monkeypatch):
    path = tmp_path / "imdb.npz"
    keras_file(path, protocol, REVIEWS, [1, 0, 1])
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "load", None)
    for reviews, labels in read_keras(path):
        assert reviews == REVIEWS and labels.tolist() == [1, 0, 1]


def test_numpy_wrote_the_file_in_the_same_way(tmp_path):
    array = np.empty(len(REVIEWS), dtype=object)
    array[:] = REVIEWS
    y = np.array([1, 0, 1])
    np.savez(tmp_path / "imdb.npz", x_train=array, y_train=y, x_test=array, y_test=y)
    assert read_keras(tmp_path / "imdb.npz")[0][0] == REVIEWS


class Evil:
    def __reduce__(self):
        return (eval, ("open('/tmp/never', 'w')",))


def test_a_pickle_that_asks_for_more_is_refused_and_not_obeyed(tmp_path):
    path = tmp_path / "imdb.npz"
    keras_file(path, 4, [[1], Evil()], [0, 1])
    refused(lambda: read_keras(path), "at byte", "names 'builtins eval'")
    keras_file(path, 2, [[1], [2.5]], [0, 1])
    refused(lambda: read_keras(path), "at byte", "BINFLOAT")
    keras_file(path, 2, [[1], ["two"]], [0, 1])
    refused(lambda: read_keras(path), "does not hold 2 lists of numbers")
    keras_file(path, 2, [[1], [2]], [0, 2])
    refused(lambda: read_keras(path), "label 2 of review 1")


def test_a_damaged_pickle_is_refused_wherever_it_is_cut(tmp_path):
    path = tmp_path / "imdb.npz"
    keras_file(path, 4, REVIEWS, [1, 0, 1])
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    whole = members["x_train.npy"]
    for cut in range(0, len(whole) - 1, 7):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data[:cut] if name == "x_train.npy" else data)
        refused(lambda: read_keras(path), "at byte")
    path.write_bytes(b"PK no zip")
    refused(lambda: read_keras(path), "is no imdb.npz")


def test_labels_and_members_of_kerass_file_are_refused_with_their_byte(tmp_path):
    path = tmp_path / "imdb.npz"
    head = 128  # bytes of a .npy file before its numbers
    for labels, words in (
        ([1, 2, 1], (f"y_train.npy: at byte {head + 8}", "label 2 of review 1")),
        ([1, 0], (f"y_train.npy: at byte {head}", "shape (2,)")),
    ):
        keras_file(path, 4, REVIEWS, labels)
        refused(lambda: read_keras(path), *words)
    keras_file(path, 4, [[1, -5], *REVIEWS[1:]], [1, 0, 1])
    refused(lambda: read_keras(path), "lists of numbers from 0 on")
    keras_file(path, 4, REVIEWS, [1, 0, 1])
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("y_train.npy").header_offset
    whole = bytearray(path.read_bytes())
    whole[at + 30 + len("y_train.npy") + 60] ^= 255
    path.write_bytes(whole)
    refused(lambda: read_keras(path), f"imdb.npz: at byte {at}", "y_train.npy")


def test_reviews_that_are_missing_or_no_text_are_refused(tmp_path):
    refused(lambda: read_folder(tmp_path), "has no reviews")
    write_reviews(tmp_path)
    (tmp_path / "train" / "pos" / "1_7.txt").write_bytes(b"fine \xff")
    refused(lambda: read_folder(tmp_path), "1_7.txt: at byte 5: ff is no UTF-8")


# ---- ImageNet ----


XML = """<annotation><size><width>{w}</width><height>{h}</height><depth>3</depth></size>
<object><name>n01440764</name><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax>
<ymax>{box[3]}</ymax></bndbox></object></annotation>"""


def write_imagenet(folder):
    from PIL import Image

    for name, size in (("n01440764", (40, 20)), ("n02100000", (20, 30))):
        place = folder / "val" / name
        place.mkdir(parents=True)
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[:, size[0] // 2 :] = 255
        Image.fromarray(pixels).save(place / f"{name}_1.JPEG", quality=95)
        boxes = folder / "Annotations" / "deep"
        boxes.mkdir(parents=True, exist_ok=True)
        (boxes / f"{name}_1.xml").write_text(
            XML.format(w=size[0], h=size[1], box=(10, 0, 30 if size[0] == 40 else 20, 20))
        )


def test_imagenet_reads_classes_images_and_boxes(tmp_path):
    write_imagenet(tmp_path)
    photos, names = imagenet(tmp_path)
    assert names == ("n01440764", "n02100000") and [p.label for p in photos] == [0, 1]
    assert photos[0].boxes == ((10, 0, 30, 20),)
    pixels, mask = read_photo(photos[0], 10)  # 40 × 20 becomes 20 × 10, of which columns 5 … 14 stay
    assert pixels.shape == (3, 10, 10) and pixels[:, :, :3].max() < 60 and pixels[:, :, 7:].min() > 200
    assert mask.all()
    assert read_photo(photos[1], 20)[1].mean() == 0.5 * 15 / 20  # 30 rows lose 5 above and 5 below
    (tmp_path / "classes.txt").write_text("tench\ndog\n")
    assert imagenet(tmp_path)[1] == ("tench", "dog")


def test_damaged_imagenet_is_refused_with_its_place(tmp_path):
    refused(lambda: imagenet(tmp_path), "no folders called as ImageNet's classes")
    write_imagenet(tmp_path)
    photos, _ = imagenet(tmp_path)
    whole = photos[0].path.read_bytes()
    photos[0].path.write_bytes(whole[: len(whole) // 2])
    refused(lambda: read_photo(photos[0], 10), f"at byte {len(whole) // 2}", "cannot be decoded")
    photos[0].path.write_bytes(b"GIF is what this is not")
    refused(lambda: read_photo(photos[0], 10), "at byte 0", "begins like no image")
    box = tmp_path / "box.xml"
    text = XML.format(w=40, h=20, box=(10, 0, 50, 20))
    box.write_text(text)
    refused(lambda: read_boxes(box), f"at byte {text.index('<bndbox')}", "no part of an image of 40 × 20")
    box.write_text(text[:90])
    refused(lambda: read_boxes(box), "is no XML")
    box.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + text)
    refused(lambda: read_boxes(box), "at byte 0", "declares entities")
    box.write_text(XML.format(w="wide", h=20, box=(0, 0, 1, 1)))
    refused(lambda: read_boxes(box), f"at byte {text.index('<width>')}", "size/width is 'wide'")
    two = XML.format(w=40, h=20, box=(0, 0, 1, 1)).replace("</annotation>", "")
    two += "<object><bndbox><xmin>1</xmin><ymin>?</ymin></bndbox></object></annotation>"
    box.write_text(two)
    refused(lambda: read_boxes(box), f"at byte {two.index('<ymin>?')}", "ymin is '?'")


# ---- Penn Treebank ----


def test_words_are_read_with_ends_of_sentences(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text(f" the {part} <unk> N \n\n of it\n")
    words = penn_treebank(tmp_path)
    assert words["valid"] == ["the", "valid", "<unk>", "N", "<eos>", "of", "it", "<eos>"]


def test_damaged_text_is_refused_with_its_byte(tmp_path):
    path = tmp_path / "ptb.train.txt"
    path.write_bytes("é ok \0 x".encode())
    refused(lambda: read_words(path), "at byte 6", "control character 00")
    path.write_bytes(b"ok \xff")
    refused(lambda: read_words(path), "at byte 3", "ff is no UTF-8")
    path.write_bytes(b"\n \n")
    refused(lambda: read_words(path), "holds no words")
    refused(lambda: penn_treebank(tmp_path / "none"), "has no ptb.train.txt")

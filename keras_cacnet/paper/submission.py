"""The archive that a test server takes: predictions of a split, packed, and read back before it gets its name."""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_cacnet.datasets.classes import ClassTable
from keras_cacnet.datasets.palettes import voc_colors
from keras_cacnet.datasets.reading import open_image, read_image, read_mask, shown_size
from keras_cacnet.datasets.source import Example, Source
from keras_cacnet.evaluation.inference import require_tensorflow
from keras_cacnet.evaluation.prediction import ids
from keras_cacnet.evaluation.protocol import Protocol
from keras_cacnet.files import user_path, writable_file, write_atomically
from keras_cacnet.models.interface import require_class_count
from keras_cacnet.progress import ProgressBar

ENDINGS = {"tar": (".tgz", ".tar.gz"), "zip": (".zip",)}
"""How the names of both kinds of archives end."""

SERVERS = ("voc2012", "ade20k")
COMPETITIONS = ("comp6", "comp5")
"""VOC's: comp5 is for methods trained on VOC 2012's own images and masks only, comp6 for all others."""


@dataclass(frozen=True)
class ArchiveForm:
    """What a test server expects of an archive.

    Args:
        data: the data set.
        classes: its classes, with the ids that the server counts by.
        kind: "tar" (gzipped) or "zip".
        folder: what stands before the name of every file in the archive.
        palette: RGB of all 256 ids, for palette PNGs; None for grayscale.
    """

    data: str
    classes: ClassTable
    kind: str
    folder: str = ""
    palette: tuple[tuple[int, int, int], ...] | None = None

    def member(self, example: Example) -> str:
        """The name of an example's file in the archive: that of its image, as PNG."""
        return f"{self.folder}{example.name.rsplit('/', 1)[-1]}.png"

    def encode(self, found: np.ndarray) -> bytes:
        """Class indices (H, W) as the PNG that the server reads."""
        picture = Image.fromarray(self.classes.to_file(found))
        if self.palette is not None:
            picture.putpalette(np.array(self.palette, "uint8").tobytes())
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()


def archive_form(data: str, split: str = "test", competition: str = "comp6") -> ArchiveForm:
    """Look up the form of a data set's test server.

    - `voc2012`: a .tgz with `results/VOC2012/Segmentation/comp6_test_cls/ID.png`, palette PNGs in VOC's colours, ids
      0 to 20. In the folder's name stand the competition and the split, as in the development kit.
    - `ade20k`: a .zip with `ADE_test_00000001.png` and so on, grayscale, ids 1 to 150: 0 is what the benchmark leaves
      out, so nothing is ever predicted as 0.

    Args:
        data: one of `SERVERS`.
        split: "test", or "val", for which the archive goes through one's own copy of the development kit.
        competition: of VOC, one of `COMPETITIONS`; of no meaning to ADE20K.

    Returns:
        The form.

    Raises:
        ValueError: another data set, split or competition.

    Example:
        >>> archive_form("voc2012").member(Example("voc2012/test/2008_000006", b"", None))
        'results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png'

    Reference:
        VOC 2012 development kit, `VOCinit.m` (paths) and `VOCevalseg.m` (which refuses other sizes and ids above
        20). ADE20K: the submission format of the sceneparsing benchmark, and its `demoEvaluation.m`, which wants
        one channel. It does not say whether files stand in a folder; they stand in none here.
    """
    if data not in SERVERS:
        raise ValueError(f"there is a test server for {' and '.join(SERVERS)}, not for {data!r}")
    if split not in ("test", "val"):
        raise ValueError(f"the split must be 'test' or 'val', got {split!r}")
    if competition not in COMPETITIONS:
        raise ValueError(f"the competition must be {' or '.join(COMPETITIONS)}, got {competition!r}")
    # These modules load tensorflow-datasets, which nothing else here needs.
    if data == "voc2012":
        from keras_cacnet.datasets import voc2012

        folder = f"results/VOC2012/Segmentation/{competition}_{split}_cls/"
        return ArchiveForm(data, voc2012.CLASSES, "tar", folder, voc_colors(256))
    from keras_cacnet.datasets import ade20k

    return ArchiveForm(data, ade20k.CLASSES, "zip")


def archive_path(path: str | Path, form: ArchiveForm) -> Path:
    """Take the path of an archive as a user gives it, see `writable_file`; a ValueError where the form has others."""
    endings = ENDINGS[form.kind]
    if not str(path).endswith(endings):
        raise ValueError(f"the server of {form.data} takes {' or '.join(endings)}; {path} does not end so")
    return writable_file(path)


def write_submission(
    model: keras.Model,
    source: Source,
    output: str | Path,
    form: ArchiveForm,
    protocol: Protocol | None = None,
    progress: bool = True,
) -> None:
    """Predict a split and write the archive for its test server.

    The archive is written under another name, read back (see `require_submission`) and renamed at the end: however the
    command ends, there is a whole archive of that name or what was there before.
    Images are predicted one at a time, and memory is that of the largest.

    Args:
        model: gives logits for the form's classes.
        source: the examples; masks are not looked at.
        output: the archive; folders on the way are made.
        form: from `archive_form`.
        protocol: scales, mirror images and windows; by default every image is shown whole, once, at the
            working size of the model.
        progress: show how far it has come.

    Raises:
        ValueError: an empty split, a name that does not end as the form wants, a model of other classes, an image
            that cannot be read or predicted (it is named), or an archive that does not read back as it should.
        OSError: the archive cannot be written.
    """
    require_tensorflow("prediction")
    output = archive_path(output, form)
    if not len(source):
        raise ValueError(f"there are no images to predict in this split of {form.data}")
    require_class_count(model, len(form.classes))
    output.parent.mkdir(parents=True, exist_ok=True)

    def write(path: Path) -> None:
        write_archive(path, form.kind, _predictions(model, source, form, protocol, progress))
        require_submission(path, source, form, str(output))

    write_atomically(output, write)


def require_submission(path: str | Path, source: Source, form: ArchiveForm, origin: str | None = None) -> None:
    """Read an archive as the server will, and hold it against the images.

    Args:
        path: the archive.
        source: the examples of the split, in the archive's order.
        form: from `archive_form`.
        origin: how errors call the archive; its path by default.

    Raises:
        ValueError: a file is missing, too many or of another name than its image, is no PNG of one channel, has
            another size, an id that is no class, or another palette; the message names archive and file.
    """
    origin, files = origin or str(path), read_archive(user_path(path), form.kind)
    for index in range(len(source)):
        example = source[index]
        expected = form.member(example)
        name, content = next(files, (None, b""))
        if name is None:
            raise ValueError(f"{origin}: {expected} is missing, and {len(source) - index - 1} after it")
        if name != expected:
            raise ValueError(f"{origin}: file {index + 1} is {name}, expected {expected}")
        _check_file(f"{origin}: {name}", content, example, form)
    if (more := next(files, None)) is not None:
        raise ValueError(f"{origin}: {more[0]} is no image of the split, which has {len(source)}")


def write_archive(path: Path, kind: str, members: Iterable[tuple[str, bytes]]) -> None:
    """Write files into a new archive, one after the other.

    Args:
        path: the archive.
        kind: "tar" (gzipped) or "zip".
        members: names with slashes, and contents; only one content is held at a time.

    Raises:
        OSError: the archive cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "notes.tgz"
        >>> write_archive(path, "tar", [("a/b.txt", b"note")])
        >>> list(read_archive(path, "tar"))
        [('a/b.txt', b'note')]
    """
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def read_archive(path: Path, kind: str) -> Iterator[tuple[str, bytes]]:
    """Read the files of an archive in their order, one at a time.

    Args:
        path: the archive.
        kind: "tar" (gzipped) or "zip".

    Returns:
        An iterator over names and contents; folders have none and are left out.

    Raises:
        ValueError: it is no such archive, or is damaged; from the iteration.
    """
    try:
        if kind == "zip":
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if not entry.is_dir():
                        yield entry.filename, archive.read(entry)
            return
        with tarfile.open(path, "r:gz") as packed:
            for member in packed:
                if not member.isdir():
                    file = packed.extractfile(member) if member.isfile() else None
                    yield member.name, b"" if file is None else file.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read as {' or '.join(ENDINGS[kind])}: {error}") from error


def _predictions(
    model: keras.Model, source: Source, form: ArchiveForm, protocol: Protocol | None, progress: bool
) -> Iterator[tuple[str, bytes]]:
    bar = ProgressBar("predicting", len(source), "images") if progress else None
    for index in range(len(source)):
        example = source[index]
        image = read_image(example.image, example.image_origin)
        try:
            found = ids(model, image, protocol)
        except ValueError as error:
            raise ValueError(f"{example.image_origin}: {error}") from error
        yield form.member(example), form.encode(found)
        if bar is not None:
            bar.add()


def _check_file(where: str, content: bytes, example: Example, form: ArchiveForm) -> None:
    with open_image(example.image, example.image_origin) as image:
        size = shown_size(image)
    with open_image(content, where) as picture:
        mode = "L" if form.palette is None else "P"
        if picture.format != "PNG" or picture.mode != mode:
            raise ValueError(f"{where} is {picture.format} {picture.mode}, expected PNG {mode}")
        if picture.size != size:
            raise ValueError(f"{where} is {picture.width}x{picture.height} pixels, its image {size[0]}x{size[1]}")
        palette = None if form.palette is None else picture.getpalette()
    if wrong := sorted(set(np.unique(read_mask(content, where)).tolist()) - set(form.classes.ids)):
        known = f"{min(form.classes.ids)} to {max(form.classes.ids)}"
        raise ValueError(f"{where} has the id {wrong[0]}; those of {form.data} are {known}")
    if form.palette is not None and palette != [value for color in form.palette for value in color]:
        raise ValueError(f"{where} has another palette than {form.data}")

"""Archives read by the standard library alone, and twice the same bytes."""

import tarfile
import time
import zipfile

import pytest

from keras_cacnet.paper.archives import read_archive, write_archive

MEMBERS = [("b/two.txt", b"two" * 1000), ("b/one.txt", b""), ("a.txt", bytes(range(256)))]
NAMES = {"tar": "notes.tar.gz", "zip": "notes.zip"}


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_members_keep_names_order_and_content(kind, tmp_path):
    path = tmp_path / NAMES[kind]
    write_archive(path, kind, iter(MEMBERS))
    if kind == "tar":
        with tarfile.open(path, "r:gz") as archive:
            assert [(m.name, archive.extractfile(m).read()) for m in archive] == MEMBERS
            assert {(m.mtime, m.mode, m.uid, m.gid, m.uname) for m in archive} == {(315532800, 0o644, 0, 0, "")}
    else:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert [(name, archive.read(name)) for name in archive.namelist()] == MEMBERS
            stamps = {(entry.date_time, entry.external_attr >> 16) for entry in archive.infolist()}
            assert stamps == {((1980, 1, 1, 0, 0, 0), 0o644)}
    assert list(read_archive(path, kind)) == MEMBERS


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bytes_depend_on_nothing_but_the_content(kind, tmp_path, monkeypatch):
    written = []
    for name, clock in (("one", 1e9), ("another", 1.7e9)):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        path = tmp_path / f"{name}-{NAMES[kind]}"
        write_archive(path, kind, MEMBERS)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    write_archive(path, kind, MEMBERS[::-1])
    assert path.read_bytes() != written[0]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_what_is_damaged_is_told(kind, tmp_path):
    path = tmp_path / NAMES[kind]
    write_archive(path, kind, MEMBERS)
    whole = path.read_bytes()
    for broken in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(
            ValueError, match=f"{path.name} cannot be read as .{path.suffix[1:]}|cannot be read as .tgz"
        ):
            list(read_archive(path, kind))


def test_folders_are_left_out(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        archive.add(tmp_path / "a", "a")
    assert list(read_archive(tmp_path / "x.tgz", "tar")) == [("a/x.txt", b"x")]

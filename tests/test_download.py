"""Fetching and unpacking, against a server on this machine that misbehaves on demand."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshops.data.fetch import archive, download
from workshops.data.fetch.download import DownloadError, RemoteFile

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """``breaks``: bytes after which each of the next answers ends; ``status``: refuse with it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.status = CONTENT, True, 200
        self.breaks: list[int] = []
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/vectors.zip"

    def handle_error(self, *_: object) -> None:
        """Hung up on, as some tests want."""

    def remote(self, **changes: object) -> RemoteFile:
        values = {"name": "vectors.zip", "url": self.url, "sha256": SHA256, "size_bytes": len(CONTENT)}
        return RemoteFile(**(values | changes))  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, content = self.server, self.server.content
        asked = self.headers.get("Range") or ""
        server.asked.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(remote: RemoteFile, folder: Path) -> tuple[Path, str]:
    out = io.StringIO()
    return download.fetch(remote, folder=folder, progress=out, pause=0.001), out.getvalue()


def test_a_file_is_downloaded_once_with_progress(server: Server, tmp_path: Path) -> None:
    path, said = fetch(server.remote(), tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert "downloading vectors.zip, 4.19 MB" in said
    assert "100%" in said
    assert fetch(server.remote(), tmp_path / "cache") == (path, "")
    assert server.asked == [""]
    assert not list(path.parent.glob("*.part"))


def test_default_folder_is_the_users_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert download.fetch(server.remote(), progress=io.StringIO()).parent == tmp_path / "dlbox" / "data"


@pytest.mark.parametrize("size_known", [True, False])
def test_a_download_continues_after_an_interruption(server: Server, tmp_path: Path, size_known: bool) -> None:
    server.breaks = [1_000_000, 2_000_000]
    path, said = fetch(server.remote(size_bytes=len(CONTENT) if size_known else 0), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=1000000-", "bytes=3000000-"]
    assert "continuing at 3.00" in said


def test_a_later_run_continues_the_download(server: Server, tmp_path: Path) -> None:
    server.breaks = [1000] * download.ATTEMPTS
    with pytest.raises(DownloadError, match=r"the connection was interrupted; 0\.00 MB are stored"):
        fetch(server.remote(), tmp_path)
    assert fetch(server.remote(), tmp_path)[0].read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=4000-"


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.breaks, server.ranges = [1_000_000], False
    assert fetch(server.remote(), tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"rubbish", CONTENT + b"more", b"x" * len(CONTENT)])
@pytest.mark.parametrize("size_known", [True, False])
def test_the_partial_file_of_another_file_is_discarded(
    server: Server, tmp_path: Path, left: bytes, size_known: bool
) -> None:
    (tmp_path / "vectors.zip.part").write_bytes(left)
    remote = server.remote(size_bytes=len(CONTENT) if size_known else 0)
    assert fetch(remote, tmp_path)[0].read_bytes() == CONTENT
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    path, _ = fetch(server.remote(), tmp_path)
    with path.open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"!")
    again, said = fetch(server.remote(), tmp_path)
    assert f"{path} is damaged: downloading it again" in said
    assert again.read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["offline", "404", "another file", "broken off", "no room"])
def test_a_damaged_file_stays_until_the_new_one_is_complete(
    server: Server, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that somebody made and that broke off may be most of a large file."""
    path, copied = tmp_path / "vectors.zip", CONTENT[:3_000_000]
    path.write_bytes(copied)
    remote = server.remote()
    if fault == "offline":
        remote = server.remote(url="http://127.0.0.1:1/vectors.zip")
    elif fault == "404":
        server.status = 404
    elif fault == "another file":
        server.content = CONTENT[:-1] + b"!"
    elif fault == "broken off":
        server.breaks = [1000] * download.ATTEMPTS
    else:
        remote = server.remote(size_bytes=9_000_000_000_000_000)
    with pytest.raises(DownloadError) as error:
        fetch(remote, tmp_path)
    assert "\n" not in str(error.value)
    assert fault == "no room" or "the damaged vectors.zip is still there" in str(error.value)
    assert path.read_bytes() == copied


def test_another_file_than_the_published_is_refused_at_once(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match="is not the published one") as error:
        fetch(server.remote(), tmp_path)
    assert "\n" not in str(error.value)
    assert server.asked == [""]
    assert [p.name for p in tmp_path.iterdir()] == [".vectors.zip.lock"]


def test_more_than_was_published_is_cut_off(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT * 20
    with pytest.raises(DownloadError, match="is not the published one"):
        fetch(server.remote(), tmp_path)


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (503, download.ATTEMPTS)])
def test_a_refusal_is_one_sentence(server: Server, tmp_path: Path, status: int, times: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=f"the server answered {status}") as error:
        fetch(server.remote(), tmp_path)
    assert "\n" not in str(error.value)
    assert len(server.asked) == times


def test_without_a_network_the_error_is_one_sentence_with_the_next_step(
    server: Server, tmp_path: Path
) -> None:
    nowhere = server.remote(url="http://127.0.0.1:1/vectors.zip")
    with pytest.raises(DownloadError) as error:
        fetch(nowhere, tmp_path)
    assert str(error.value) == (
        "Cannot download vectors.zip from 127.0.0.1: connection refused. Without a network, put the file "
        f"into {tmp_path} yourself, or omit --data."
    )


def test_too_little_disk_space(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"needs 9,000,000,000 MB more"):
        fetch(server.remote(size_bytes=9_000_000_000_000_000), tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match="Cannot store vectors"):
        fetch(server.remote(), tmp_path / "cache")


def test_a_file_in_the_place_of_the_cache(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("", encoding="utf-8")
    with pytest.raises(DownloadError, match="Cannot store vectors"):
        fetch(server.remote(), tmp_path / "cache" / "data")


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server.remote(), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == [""]


# -- unpacking -----------------------------------------------------------------------------------------


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


def tarred(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as rolled:
        for info, content in members:
            info.size = len(content)
            rolled.addfile(info, io.BytesIO(content))
    return path


def test_zip_and_tar_are_unpacked(tmp_path: Path) -> None:
    members = {"a.txt": b"one", "sub/b.txt": b"two", "sub/": b""}
    archive.unpack(zipped(tmp_path / "a.zip", members), tmp_path / "z")
    tar = tarred(tmp_path / "a.tgz", *((tarfile.TarInfo(n), c) for n, c in members.items() if c))
    archive.unpack(tar, tmp_path / "t")
    for folder in ("z", "t"):
        assert (tmp_path / folder / "a.txt").read_bytes() == b"one"
        assert (tmp_path / folder / "sub" / "b.txt").read_bytes() == b"two"


NAMES = st.sampled_from(["..", "a", "b", ".", "", "/", "C:", "\\", "..\\"])


@given(st.lists(NAMES, min_size=1, max_size=4).map("/".join).filter(len))
def test_no_name_leaves_the_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    top = tmp_path_factory.mktemp("top")
    for made in (
        zipped(top / "a.zip", {name: b"x"}),
        tarred(top / "a.tar.gz", (tarfile.TarInfo(name), b"x")),
    ):
        with contextlib.suppress(archive.ArchiveError):
            archive.unpack(made, top / "inside" / made.stem)
        outside = {p.relative_to(top).parts[0] for p in top.rglob("*")} - {"a.zip", "a.tar.gz", "inside"}
        assert not outside
        assert not list((top / "inside").glob(".*"))


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "..\\out", "C:\\out"])
def test_a_name_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(archive.ArchiveError, match="points outside"):
        archive.unpack(zipped(tmp_path / "a.zip", {"fine": b"x", name: b"x"}), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(archive.ArchiveError, match="a link or device"):
        archive.unpack(tarred(tmp_path / "a.tar.gz", (info, b"")), tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    with pytest.raises(archive.ArchiveError, match="a link or device"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "out")


def test_an_archive_that_is_too_large_is_refused(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "a.zip", {"one": b"0" * 600_000, "two": b"0" * 600_000})
    assert bomb.stat().st_size < 5000
    with pytest.raises(archive.ArchiveError, match=r"than expected|bytes when extracted"):
        archive.unpack(bomb, tmp_path / "out", limit_bytes=1_000_000)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("damage", ["cut", "bytes", "text"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_damaged_archives_are_one_sentence(tmp_path: Path, kind: str, damage: str) -> None:
    path, content = tmp_path / f"a.{kind}", os.urandom(50_000)
    if kind == "zip":
        zipped(path, {"one": content})
    else:
        tarred(path, (tarfile.TarInfo("one"), content))
    whole = path.read_bytes()
    middle = len(whole) // 2
    cut = {"cut": whole[:middle], "bytes": whole[:middle] + b"!!!!" + whole[middle + 4 :], "text": b"hello"}
    path.write_bytes(cut[damage])
    with pytest.raises(archive.ArchiveError) as error:
        archive.unpack(path, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    made = zipped(tmp_path / "a.zip", {"one": b"1"})
    archive.unpack(made, tmp_path / "out")
    with pytest.raises(archive.ArchiveError, match="already exists"):
        archive.unpack(made, tmp_path / "out")

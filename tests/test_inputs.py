"""Files that would cause a hang, a crash or endless output give one sentence, in bounded time and memory."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.file_access import inputs, yaml_lines, yaml_nodes, yaml_values
from inventory.builds import bill
from provision.hosts.inventory_file import HostError, Inventory, count, expand
from tests.conftest import ROOT

CPU_SECONDS = 20
"""Only a hang takes longer, even on a busy computer."""
MEMORY_BYTES = 1 << 30
"""Limit of the address space; half of it are mapped libraries."""


def limited(*arguments: str, folder: Path, command: str = "dlbox.py") -> subprocess.CompletedProcess[str]:
    """The command with resource limits: a hang ends with SIGXCPU, too much memory with MemoryError."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    return subprocess.run(
        [sys.executable, str(ROOT / command), *arguments],
        cwd=folder,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def is_a_sentence(done: subprocess.CompletedProcess[str], codes: tuple[int, ...] = (1, 2)) -> None:
    assert done.returncode in codes, (done.returncode, done.stderr[-500:])
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    assert all(line.startswith("dlbox: ") for line in done.stderr.splitlines())
    assert all(len(word) <= 200 for word in done.stderr.split())


BOX = "{card: RTX 3060, distribution: ubuntu-24.04}"
HOSTILE: dict[str, str | bytes] = {
    "aliases of aliases": "a0: &a0 [x, x]\n"
    + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "one long list many times": "a: &a [" + "x, " * 5000 + "]\nb: [" + "*a, " * 5000 + "]\n",
    "merges of merges": "m0: &m0 {a: 1}\n"
    + "".join(f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}], k{i}: 1}}\n" for i in range(1, 40)),
    "brackets": "[" * 100_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 100_000,
    "a wide list": "[" + "a, " * 1_000_000 + "]",
    "a long key": "? " + "k" * 1_000_000 + "\n: 1\n",
    "a number of many digits": "a: " + "9" * 100_000,
    "a hexadecimal number": "a: 0x" + "f" * 1_000_000,
    "a base 60 number": "a: 1" + ":59" * 100_000,
    "a tag on nothing": "a: !!int ''",
    "a tag on words": "a: !!float abc",
    "a truth that is none": "a: !!bool perhaps",
    "a time that is none": "a: !!timestamp x",
    "a python object": "a: !!python/object/apply:os.system ['id']",
    "an alias in itself": "a: &a {b: *a}",
    "an alias of nothing": "a: *b",
    "a merge of text": "a: {<<: b}",
    "a list for a key": "a: {[1]: 2}",
    "NUL": b"a: b\0c",
    "NUL as an escape": 'all: {hosts: {"a\\0b": }}',
    "half of a pair": 'all: {hosts: {"\\ud800": }}',
    "half of a pair as bytes": b"all: {hosts: {\xed\xa0\x80: }}",
    "Latin-1 after 8 kB": b"# " + b"x" * 9000 + b"\xe9",
    "UTF-16": "all: {}".encode("utf-16"),
    "two documents": "a: 1\n---\nb: 2",
    "two ranges": "all: {hosts: {'d[0:9999][0:9999]': }}",
    "a wide range": "all: {hosts: {'d[0:99999999999999]': }}",
    "many small ranges": "all: {hosts: {'" + "d[0:1]" * 150 + "': }}",
    "the same range often": "".join(f"g{i}: {{hosts: {{'d[0:9999]': }}}}\n" for i in range(100)),
    "a circle": "".join(f"g{i}: {{children: {{g{(i + 1) % 1200}: }}}}\n" for i in range(1200)),
    "a long value": "all: {hosts: {h: {secure_boot: '" + "Z " * 100_000 + "'}}}",
    "a long name": "'" + "g" * 1000 + "': 3",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_inventory_gives_one_sentence(tmp_path: Path, content: str | bytes) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "hosts.yml").write_bytes(raw)
    done = limited("plan", "--inventory", "hosts.yml", folder=tmp_path)
    is_a_sentence(done)
    assert "hosts.yml" in done.stderr or "d[0:" in done.stderr


@pytest.mark.parametrize(
    "name", ["brackets", "a wide list", "aliases of aliases", "a hexadecimal number", "NUL"]
)
@pytest.mark.parametrize("command", [("parts",), ("plan", "--card", "RTX 3060", "--stack")])
def test_the_same_loader_reads_bills_and_stacks(tmp_path: Path, name: str, command: tuple[str, ...]) -> None:
    content = HOSTILE[name]
    (tmp_path / "mine.yml").write_bytes(content if isinstance(content, bytes) else content.encode())
    is_a_sentence(limited(*command, "./mine.yml", folder=tmp_path), codes=(2,))


def test_groups_in_diamonds_and_long_chains_are_walked_once(tmp_path: Path) -> None:
    both = "{children: {a%d: , b%d: }}"
    layers = "".join(f"a{i}: {both % (i + 1, i + 1)}\nb{i}: {both % (i + 1, i + 1)}\n" for i in range(200))
    chain = "".join(f"c{i}: {{children: {{c{i + 1}: }}, vars: {{kernel: '{i}'}}}}\n" for i in range(3000))
    path = tmp_path / "hosts.yml"
    path.write_text(f"{layers}a200: {{hosts: {{deep: }}}}\nb200: \n{chain}c3000: {{hosts: {{last: }}}}\n")
    found = Inventory(path)
    assert found.select("a0") == ("deep",)
    assert found.variables("last")["kernel"].value == "2999", "the innermost group wins"


def test_ten_thousand_hosts_are_planned(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(f"all: {{hosts: {{'d[0:9998]': {BOX}, other: }}}}")
    done = limited("plan", "--inventory", "hosts.yml", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("dlbox: other: ")
    assert "d9998" in done.stdout


@given(
    low=st.integers(0, 30), span=st.integers(0, 40), step=st.integers(1, 7), low2=st.sampled_from("abz"),
)  # fmt: skip
def test_ranges_are_counted_as_they_are_expanded(low: int, span: int, step: int, low2: str) -> None:
    pattern = f"x[{low}:{low + span}:{step}]-[{low2}:z]"
    assert count(pattern) == len(expand(pattern)) == len(set(expand(pattern)))


def test_aliases_and_merges_of_an_inventory_follow_yaml(tmp_path: Path) -> None:
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 5\nw: *x\n"
    found = yaml_values.parse(text, "any.yml")
    assert found["z"] == {"a": 5, "b": 2, "c": 4}
    assert found["z"].lines == {"a": 5, "b": 1, "c": 2}
    assert found["w"] is found["x"]


@given(st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text("abc -:#'[]{}\n", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcd", min_size=1), inner, max_size=4),
    max_leaves=15,
))  # fmt: skip
@settings(deadline=None)
def test_yaml_that_was_written_is_read_unchanged(data: object) -> None:
    text = yaml.safe_dump(data)
    assert yaml_values.parse(text, "any.yml") == data
    if "&" not in text:  # PyYAML writes aliases for empty lists that are one object
        assert yaml_lines.parse(text, "any.yml").data == data


def test_mutated_files_are_refused_with_one_sentence(tmp_path: Path) -> None:
    """One child with resource limits reads thousands of slightly damaged bills and inventories."""
    done = limited(str(tmp_path), folder=ROOT, command="tests/mutate_files.py")
    assert done.returncode == 0, done.stderr[-2000:]


# -- not regular files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/zero", "a device, not a regular file"),
        ("/proc/self/environ", "a file that the kernel generates, not a regular file"),
        ("/proc/kmsg", "not a regular file"),
        ("/sys/kernel/notes", "not a regular file"),
        ("/", "Is a directory, not a regular file"),
    ],
)
def test_only_regular_files_are_read(path: str, why: str) -> None:
    if not Path(path).exists():
        pytest.skip(f"{path} is not on this machine")
    with pytest.raises(inputs.InputError, match=why):
        inputs.open_regular(Path(path))


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "--inventory", "PIPE"),
        ("plan", "--card", "RTX 3060", "--distro", "debian-13", "--stack", "PIPE"),
        ("parts", "PIPE"),
        ("compare", "PIPE", "PIPE"),
        ("report", "PIPE"),
        ("history", "import", "PIPE"),
        ("bench", "--build", "PIPE", "--quick"),
    ],
)
def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path, command: tuple[str, ...]) -> None:
    pipe = tmp_path / "pipe.yml"
    os.mkfifo(pipe)
    done = limited(*(str(pipe) if word == "PIPE" else word for word in command), folder=tmp_path)
    is_a_sentence(done, codes=(2,))
    assert "a pipe, not a regular file" in done.stderr


@pytest.mark.parametrize("kind", ["group_vars/all.yml", "host_vars/box.yml"])
def test_a_pipe_beside_the_inventory_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "hosts.yml").write_text(f"all: {{hosts: {{box: {BOX}}}}}")
    (tmp_path / kind).parent.mkdir()
    os.mkfifo(tmp_path / kind)
    with pytest.raises(HostError, match="a pipe, not a regular file"):
        Inventory(tmp_path / "hosts.yml").variables("box")


@given(st.binary(max_size=300), st.integers(1, 40))
@settings(deadline=None)
def test_decoding_in_pieces_gives_the_same_result(content: bytes, size: int) -> None:
    class Pieces(io.BytesIO):
        def read(self, limit: int | None = -1, /) -> bytes:
            return super().read(size)

    said = []
    for read in (lambda: inputs.text_of(content, "x"), lambda: inputs.check_utf8(Pieces(content), "x")):
        try:
            read()
            said.append("")
        except inputs.InputError as error:
            said.append(str(error))
    assert said[0] == said[1] or "UTF-16" in said[0]


# -- archives and models -------------------------------------------------------------------------------


def test_a_model_whose_configuration_is_huge_is_refused_by_its_directory(tmp_path: Path) -> None:
    folder = tmp_path / "seq2seq"
    folder.mkdir()
    with zipfile.ZipFile(folder / "it.keras", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("metadata.json", "{}")
        packed.writestr("config.json", b" " * (200 << 20))
        packed.writestr("model.weights.h5", b"")
    with zipfile.ZipFile(folder / "larger.keras", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("config.json", b" " * (300 << 20))
    from workshops.data.fetch import archive
    from workshops.player import saved_models

    with pytest.raises(archive.ArchiveError, match="bytes when extracted"):
        saved_models._check_sizes(folder / "larger.keras")
    with pytest.raises(archive.ArchiveError, match=r"config\.json has 209,715,200 bytes"):
        saved_models._check_sizes(folder / "it.keras")


def test_an_archive_with_a_huge_content_is_refused(tmp_path: Path) -> None:
    from workshops.data.fetch import archive

    header = tarfile.TarInfo("train/pos/1.txt")
    header.size = 1 << 45
    (tmp_path / "a.tar").write_bytes(header.tobuf() + b"x" * 10240)
    pax = tarfile.TarInfo("x")
    pax.type, pax.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "b.tar").write_bytes(pax.tobuf() + b"x" * 10240)
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("train/pos/1.txt", b"x" * (5 << 20))
    for name in ("a.tar", "b.tar", "c.zip"):
        with pytest.raises(archive.ArchiveError):
            list(archive.contents(tmp_path / name, lambda name: True, total_bytes=8 << 20))


def test_a_word_that_is_not_utf_8_is_skipped_and_counted(tmp_path: Path) -> None:
    from workshops.data import glove

    path = tmp_path / "v.txt"
    path.write_bytes(b"2 3\nking 1 0 0\nm\xe9n 0 1 0\nman 0 0 1\n")
    odd: list[int] = []
    assert [word for word, _ in glove.stream(path, odd=odd.append)] == ["king", "man"]
    assert odd == [3]
    path.write_bytes(b"king 1 0 0\nman 0 \xff 1\n")
    with pytest.raises(glove.GloveError, match=r"line 2: byte 6 is not UTF-8"):
        list(glove.stream(path))


def test_a_table_is_decoded_to_its_end(tmp_path: Path) -> None:
    from workshops.data import sign_mnist

    path = tmp_path / "train.csv"
    header = ",".join(["label", *(f"pixel{i}" for i in range(1, 785))])
    rows = "\n".join(",".join(["1"] * 785) for _ in range(20))
    path.write_bytes(f"{header}\n{rows}\n".encode() + b"1,\xe9\n")
    with pytest.raises(sign_mnist.SignsError, match=r"not text in UTF-8 \(byte \d+, on line 22\)"):
        sign_mnist.read(path)


def test_a_hostile_reading_of_another_computer_gives_one_sentence(tmp_path: Path) -> None:
    for number, content in enumerate(
        ("[" * 100_000, json.dumps({"schema_version": "9" * 5000}), "9" * 100_000)
    ):
        (tmp_path / f"{number}.json").write_text(content)
        is_a_sentence(limited("report", f"./{number}.json", folder=tmp_path), codes=(2,))


def test_limits_accept_the_files_that_people_write() -> None:
    names = [path.stem for path in bill.builds_folder().glob("*.yml")]
    assert names
    for path in (ROOT / "inventory" / "cards" / "catalogue").glob("*.yml"):
        node = yaml_nodes.compose(path.read_text(), path.name, aliases=False)
        assert node is not None
        assert node.size * 5 < yaml_nodes.MOST_NODES

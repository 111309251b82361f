"""The catalogue: its figures are consistent and plausible, and the usual names of cards find them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.cards import cards, names, page, pci_table
from inventory.cards.cards import Card, CatalogueError, UnknownCard
from inventory.cards.catalogue_file import read
from inventory.cards.names import name_key

ROOT = Path(__file__).parent.parent
ALL = cards.catalogue()
NAMED = pytest.mark.parametrize("card", ALL, ids=lambda c: c.name)

NAMED_OTHERWISE = ("H100 NVL",)
"""Cards that pci.ids lists by another name."""

# Published figures rounded by more than the rest; the difference is stated, not hidden in the tolerance.
BANDWIDTH_EXCEPTIONS = {"H200": 0.03}


@NAMED
def test_bandwidth_follows_from_memory_clock_and_bus_width(card: Card) -> None:
    if card.memory_gbps_per_pin is None or card.memory_bus_bits is None:
        assert card.memory_bandwidth_gb_s is None
        return
    computed = card.memory_gbps_per_pin * card.memory_bus_bits / 8
    tolerance = BANDWIDTH_EXCEPTIONS.get(card.name, 0.003)
    assert card.memory_bandwidth_gb_s == pytest.approx(computed, rel=tolerance)


@NAMED
def test_figures_are_plausible(card: Card) -> None:
    assert card.memory_gib is not None
    assert 2 <= card.memory_gib <= 141
    if card.cores and card.boost_mhz:
        assert card.fp32_tflops == pytest.approx(2 * card.cores * card.boost_mhz / 1e6)
        assert card.cores % (64 if card.compute_capability in ("6.0", "7.0", "7.5", "8.0") else 128) == 0
        assert 750 <= card.boost_mhz <= 3000
    else:
        assert card.fp32_tflops is None
        assert card.fp16_tflops is None
    if card.tdp_w:
        assert 20 <= card.tdp_w <= 700
        assert card.power_supply_w is None or card.power_supply_w >= card.tdp_w + 150
        # Performance a watt: a slip of one digit in cores, clock or power leaves this range.
        assert 12 <= (card.fp32_tflops or 0.1 * card.tdp_w) * 1000 / card.tdp_w <= 430
    assert card.launched is not None
    assert 2013 < card.launched.year < 2027
    if card.l2_bytes:
        assert 0.5 * 2**20 <= card.l2_bytes <= 100 * 2**20


@NAMED
def test_power_connectors_can_carry_the_card(card: Card) -> None:
    """The slot gives 75 W, a 6-pin plug 75 W, an 8-pin plug 150 W, a 16-pin plug 600 W."""
    if card.power_connectors is None or card.tdp_w is None:
        return
    watts = 75 + sum({"6-pin": 75, "8-pin": 150, "16-pin": 600}[c] for c in card.power_connectors)
    assert card.tdp_w <= watts


# Peaks as published with each architecture, to check the multiples that the catalogue computes with.
@pytest.mark.parametrize(
    ("name", "precision", "published"),
    [
        ("TITAN V", "fp16", 110),
        ("RTX 2080 Ti", "fp16", 53.8),
        ("RTX 3090", "tf32", 35.6),
        ("RTX 3090", "fp16", 71),
        ("RTX 4090", "bf16", 165.2),
        ("RTX 5090", "fp16", 209.5),
        ("A100", "tf32", 156),
        ("T4", "fp16", 65),
    ],
)
def test_tensor_peaks(name: str, precision: cards.Precision, published: float) -> None:
    assert cards.find(name).peak_tflops(precision) == pytest.approx(published, rel=0.01)


@NAMED
def test_precisions_belong_to_the_capability(card: Card) -> None:
    major, minor = map(int, card.compute_capability.split("."))
    has_tensor = (major, minor) >= (7, 0) and card.chip not in ("TU116", "TU117")
    assert card.has_tensor_cores is has_tensor
    if card.kind == "consumer":
        assert (card.fp16_tflops is not None) is has_tensor
        assert (card.bf16_tflops is not None) is (major >= 8)
        assert (card.tf32_tflops is not None) is (major >= 8)


CAPABILITIES = {
    "maxwell": {"5.0", "5.2"}, "pascal": {"6.0", "6.1"}, "volta": {"7.0"}, "turing": {"7.5"},
    "ampere": {"8.0", "8.6"}, "ada": {"8.9"}, "hopper": {"9.0"}, "blackwell": {"12.0"},
}  # fmt: skip


@NAMED
def test_driver_and_modules_follow_from_the_capability(card: Card) -> None:
    assert card.compute_capability in CAPABILITIES[card.architecture]
    capability = float(card.compute_capability)
    assert (card.last_driver_branch == 580) is (capability < 7.5)
    assert (card.module_flavour == "closed") is (capability < 7.5)
    assert (card.module_flavour == "open") is (capability >= 10)
    assert card.min_driver_branch >= (570 if capability >= 10 else 0)
    assert card.min_driver_branch <= (card.last_driver_branch or 580)


@NAMED
def test_ids_lie_in_the_range_of_their_architecture(card: Card) -> None:
    for pci_id in card.pci_ids:
        device = int(pci_id.removeprefix("10de:"), 16)
        assert cards.architecture_of(device) == card.architecture
        known = pci_table.table()[device]
        assert card.name in NAMED_OTHERWISE or any(
            name_key(name).words - names.OPTIONAL == name_key(card.name).words - names.OPTIONAL
            for name in known.names
        ), known
        assert not cards.is_laptop_id(device)
        # The one border that decides the driver branch.
        assert (device <= 0x1DF6) is (card.last_driver_branch == 580)


def test_names_and_ids_are_unique() -> None:
    names = [n.lower() for c in ALL for n in (c.name, *c.aliases)]
    assert len(names) == len(set(names))
    owners: dict[str, list[Card]] = {}
    for card in ALL:
        assert len(set(card.pci_ids)) == len(card.pci_ids)
        for pci_id in card.pci_ids:
            owners.setdefault(pci_id, []).append(card)
    shared = {i: c for i, c in owners.items() if len(c) > 1}
    for same in shared.values():
        assert len({c.memory_gib for c in same}) == len(same), "what shares an id must differ in memory"
    assert set(shared) == {"10de:2d04", "10de:17fd", "10de:1e30", "10de:2bb3", "10de:20c2", "10de:2082"}


# --- looking up -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("GTX 1060", "GeForce GTX 1060 6GB"),
        ("1060 3gb", "GeForce GTX 1060 3GB"),
        ("gtx-1060-6gb", "GeForce GTX 1060 6GB"),
        ("NVIDIA GeForce GTX 1060 6GB", "GeForce GTX 1060 6GB"),
        ("rtx 3060 12gb", "GeForce RTX 3060 12GB"),
        ("RTX3060", "GeForce RTX 3060 12GB"),
        ("rtx3060ti", "GeForce RTX 3060 Ti"),
        ("GeForce RTX 4070 Ti SUPER", "GeForce RTX 4070 Ti SUPER"),
        ("rtx4070tisuper", "GeForce RTX 4070 Ti SUPER"),
        ("RTX 4060Ti 16G", "GeForce RTX 4060 Ti 16GB"),
        ("4060 ti", "GeForce RTX 4060 Ti 8GB"),
        ("5060 ti", "GeForce RTX 5060 Ti 8GB"),
        ("3080", "GeForce RTX 3080 10GB"),
        ("rtx 2060", "GeForce RTX 2060 6GB"),
        ("980ti", "GeForce GTX 980 Ti"),
        ("4090", "GeForce RTX 4090"),
        ("4090d", "GeForce RTX 4090 D"),
        ("titan x", "TITAN X (Pascal)"),
        ("gtx titan x", "GeForce GTX TITAN X"),
        ("TITAN RTX", "TITAN RTX"),
        ("GA106 [GeForce RTX 3060 Lite Hash Rate] (rev a1)", "GeForce RTX 3060 12GB"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB HBM3"),
        ("h100 sxm5", "H100 80GB HBM3"),
        ("a100 80gb pcie", "A100 80GB PCIe"),
        ("t4", "Tesla T4"),
        ("10de:1c03", "GeForce GTX 1060 6GB"),
        ("10DE:2503", "GeForce RTX 3060 12GB"),
    ],
)
def test_find_understands_common_spellings(said: str, meant: str) -> None:
    assert cards.find(said).name == meant


@NAMED
def test_every_name_alias_and_id_finds_its_card(card: Card) -> None:
    for name in (card.name, f"NVIDIA {card.name}", *card.aliases):
        assert cards.find(name) == card
    for pci_id in card.pci_ids:
        device = int(pci_id.removeprefix("10de:"), 16)
        assert cards.match(None, device, card.memory_bytes) == card
        assert cards.match(f"NVIDIA {card.name}", device, int(card.memory_bytes * 0.995)) == card


@given(st.sampled_from([n for c in ALL for n in (c.name, *c.aliases)]), st.data())
@settings(max_examples=100, deadline=None)
def test_case_and_space_do_not_matter(name: str, data: st.DataObject) -> None:
    spaced = "".join(data.draw(st.sampled_from([" ", "  ", "-", "\t"])) if c == " " else c for c in name)
    cased = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in spaced)
    assert cards.find(f" {cased} ") == cards.find(name)


@given(
    st.one_of(st.text(max_size=80), st.text("0123456789 gtxriupesabl:-[]()de", max_size=30)),
    st.one_of(st.none(), st.integers(0, 0xFFFF)),
    st.one_of(st.none(), st.integers(0, 2**50)),
)
@settings(max_examples=150, deadline=None)
def test_lookups_never_crash(text: str, device: int | None, memory: int | None) -> None:
    try:
        said = cards.find(text).name
    except UnknownCard as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 400
    found = cards.match(text, device, memory)
    assert found is None or found in ALL or found.cores is None or found.memory_modified
    assert cards.is_laptop_name(text) in (True, False)


def test_an_unknown_card_gives_the_most_similar_names() -> None:
    with pytest.raises(
        UnknownCard, match=r'^no card "RTX 3065" in the catalogue; did you mean .*RTX 30[56]0'
    ):
        cards.find("RTX 3065")
    with pytest.raises(UnknownCard, match=r"did you mean GeForce RTX 3060 12GB"):
        cards.find("gtx 3060")
    with pytest.raises(UnknownCard, match=r"did you mean GeForce GTX 1060 6GB, GeForce GTX 1060 3GB"):
        cards.find("GTX 1060 4GB")
    with pytest.raises(UnknownCard, match=r"10de:2b9f .* Blackwell family; nearest: RTX PRO 6000"):
        cards.find("10de:2b9f")


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 3060 Laptop GPU",
        "NVIDIA GeForce RTX 2080 with Max-Q Design",
        "GeForce GTX 970M",
        "NVIDIA GeForce MX450",
        "NVIDIA GeForce RTX 2050",
    ],
)
def test_laptop_names_never_match_the_desktop_card(name: str) -> None:
    assert cards.is_laptop_name(name)
    found = cards.match(name, None, None)
    assert found is not None
    assert found.laptop
    assert found not in ALL


def test_laptop_gpus_with_desktop_names_are_recognised_by_id() -> None:
    for name, device in (("NVIDIA GeForce GTX 1060", 0x1C20), ("NVIDIA GeForce RTX 2070", 0x1F10)):
        found = cards.match(name, device, 6 * 2**30)
        assert found is not None
        assert found.laptop
        assert found.name == f"{name.removeprefix('NVIDIA ')} Laptop GPU"
        assert found.fp32_tflops is None


@pytest.mark.parametrize(
    ("name", "device", "mib", "card"),
    [
        ("NVIDIA GeForce RTX 5060 Ti", 0x2D04, 16311, "GeForce RTX 5060 Ti 16GB"),
        ("NVIDIA GeForce RTX 5060 Ti", 0x2D04, 8151, "GeForce RTX 5060 Ti 8GB"),
        ("NVIDIA GeForce RTX 3060", 0x2504, 8192, "GeForce RTX 3060 8GB"),
        ("NVIDIA GeForce RTX 3060", 0x2504, 12288, "GeForce RTX 3060 12GB"),
        ("NVIDIA GeForce RTX 4080 SUPER", 0x2702, 16376, "GeForce RTX 4080 SUPER"),
        ("NVIDIA GeForce RTX 5070", 0x2F04, 12227, "GeForce RTX 5070"),
        ("NVIDIA GeForce GTX 1650", 0x2188, 3911, "GeForce GTX 1650 GDDR6"),
        ("NVIDIA GeForce RTX 4060 Ti", None, 16380, "GeForce RTX 4060 Ti 16GB"),
        ("NVIDIA GeForce RTX 2080 Ti", 0x1E07, 22528, "GeForce RTX 2080 Ti"),  # rebuilt with larger memory
        ("NVIDIA GeForce RTX 3070", 0x24BF, 8192, "GeForce RTX 3070"),  # new id, same family
        (None, 0x1C03, None, "GeForce GTX 1060 6GB"),
        ("NVIDIA H200", 0x2335, 143771, "H200"),
    ],
)
def test_match_uses_values_of_nvml_and_the_bus(
    name: str | None, device: int | None, mib: int | None, card: str
) -> None:
    found = cards.match(name, device, mib * 2**20 if mib else None)
    assert found is not None
    assert found.name == card


def test_match_of_an_unlisted_card_is_none() -> None:
    assert cards.match("NVIDIA GeForce RTX 9090", 0x5123, 2**35) is None
    assert cards.match("NVIDIA GeForce GTX 970", 0x2684, None) == cards.find("4090"), "the id decides"
    assert cards.match("NVIDIA GeForce GTX 970", 0x2BFF, None) is None
    assert cards.match(None, None, None) is None


# Border ids named by the compatibility notes.
@pytest.mark.parametrize(
    ("device", "architecture"),
    [
        (0x0FC1, None), (0x133F, None), (0x1340, "maxwell"), (0x13C2, "maxwell"), (0x17FD, "maxwell"),
        (0x15F0, "pascal"),
        (0x172F, "pascal"), (0x1B06, "pascal"), (0x1D56, "pascal"), (0x1D81, "volta"), (0x1DF6, "volta"),
        (0x1E02, "turing"), (0x1FF9, "turing"), (0x2082, "ampere"), (0x2182, "turing"), (0x21D1, "turing"),
        (0x2200, "ampere"), (0x2330, "hopper"), (0x25FB, "ampere"), (0x2681, "ada"), (0x28E1, "ada"),
        (0x2901, "blackwell"), (0x2C58, "blackwell"), (0x2F04, "blackwell"), (0x1AEF, None), (0xFFFF, None),
    ],
)  # fmt: skip
def test_architecture_by_id(device: int, architecture: str | None) -> None:
    assert cards.architecture_of(device) == architecture


# --- the file ---------------------------------------------------------------------------------------------


def _broken(tmp_path: Path, old: str, new: str) -> str:
    shutil.copy(cards.FOLDER / "sources.yml", tmp_path)
    text = (cards.FOLDER / "maxwell.yml").read_text()
    assert old in text
    (tmp_path / "maxwell.yml").write_text(text.replace(old, new, 1))
    with pytest.raises(CatalogueError) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cores: 640", "cores: many", "`cores` is expected to be a whole number, got `many`"),
        ("cores: 640", "cores: -1", "`cores` is expected to be a whole number >= 1, got `-1`"),
        ("cores: 640", "core: 640", "`core` is not a field known here"),
        ("    memory_gib: 2\n", "", "`GeForce GTX 750 Ti` lacks `memory_gib`"),
        ("cores: 640", "cores: 640\n    cores: 641", "`cores` is given twice"),
        ("chip: GM107", "chip: GM999", "`GM999` is not in `chips` of architectures.yml"),
        (
            "wikipedia: [\n",
            "hearsay: [\n",
            "names the source `hearsay`, which sources.yml does not list",
        ),
        ("wikipedia: [\n", "wikipedia: [\n          colour,", "gives a source for `colour`"),
        ('"10de:1380"', '"10DE:1380"', "`pci_ids`"),
        ('name: "GeForce GTX 950"', 'name: "GeForce GTX 750 Ti"', "`GeForce GTX 750 Ti` already names"),
        ("launched: 2014-02-18", "launched: 2014-02-31", "`2014-02-31` looks like a number or date"),
        ("  - name:", "  - name: [", "not valid YAML"),
    ],
)
def test_an_invalid_catalogue_gives_line_and_expected_value(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    message = _broken(tmp_path, old, new)
    assert message.startswith("maxwell.yml, line ")
    assert expected in message


def test_a_file_that_is_not_a_catalogue_is_refused(tmp_path: Path) -> None:
    shutil.copy(cards.FOLDER / "sources.yml", tmp_path)
    path = tmp_path / "cards.yml"
    texts = {"": "a mapping", "- 1": "a mapping", "a: 3\n": "not a field", "cards: 3": "a list", "\0": "YAML"}
    for text, expected in texts.items():
        path.write_text(text)
        with pytest.raises(CatalogueError, match=expected):
            read(tmp_path)
    path.write_bytes(b"cards: \xff\xfe")
    with pytest.raises(CatalogueError, match=r"not text in UTF-8"):
        read(tmp_path)
    (tmp_path / "sources.yml").unlink()
    with pytest.raises(CatalogueError, match=r"sources.yml"):
        read(tmp_path)


def test_the_reference_page_lists_every_card_and_unverified_figure() -> None:
    written = (ROOT / "docs" / "reference" / "cards.md").read_text()
    assert written == page.page(), "run: python -m inventory.cards.page > docs/reference/cards.md"
    for card in ALL:
        assert f"| {card.name} |" in written

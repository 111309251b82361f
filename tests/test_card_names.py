"""Names and PCI ids as lspci, nvidia-smi and shops write them find the card; the table of ids is consistent."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.cards import architectures, cards, families, pci_table
from inventory.cards.cards import AmbiguousCard, Card, UnknownCard
from tests import import_pci_ids

ALL = cards.catalogue()
NAMES = {c.name for c in ALL} | {n for d in pci_table.table().values() for n in d.names}
CHIPS = {device.chip for device in pci_table.table().values()}
DEVICES = [d for d in pci_table.table().values() if d.kind != "function" and d.device_id >= 0x1340]
SUPPORTED = [d for d in DEVICES if cards.architecture_of(d.device_id)]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Device 2d05 (rev a1)", "GeForce RTX 5060"),
        ("NVIDIA Corporation Device 2d05 (rev a1)", "GeForce RTX 5060"),
        ("01:00.0 VGA compatible controller: NVIDIA Corporation Device 2d05 (rev a1)", "GeForce RTX 5060"),
        ("GP102 [GeForce GTX 1080 Ti]", "GeForce GTX 1080 Ti"),
        (
            "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation AD107 [GeForce RTX 4060] [10de:2882]",
            "GeForce RTX 4060",
        ),
        ("VGA compatible controller [0300]: NVIDIA Corporation AD107 [GeForce RTX 4060]", "GeForce RTX 4060"),
        ("NVIDIA GeForce RTX 3060 Lite Hash Rate", "GeForce RTX 3060 12GB"),
        ("Titan Xp Collectors Edition", "TITAN Xp"),
        ("NVIDIA TITAN Xp COLLECTOR'S EDITION", "TITAN Xp"),
        ("RTX 2080 Ti 22GB", "GeForce RTX 2080 Ti"),
        ("0x250310DE", "GeForce RTX 3060 12GB"),
        ("1b07", "P102-100"),
        ("ASUS Dual GeForce RTX 4060 Ti 16GB OC", "GeForce RTX 4060 Ti 16GB"),
        ("MSI RTX3060 12G", "GeForce RTX 3060 12GB"),
        ("MSI GeForce RTX 3060 GAMING X 12G", "GeForce RTX 3060 12GB"),
        ("GIGABYTE GeForce RTX 4070 Ti SUPER WINDFORCE OC 16G", "GeForce RTX 4070 Ti SUPER"),
        ("ASUS TUF-RTX3080-O10G-V2-GAMING", "GeForce RTX 3080 10GB"),
        ("INNO3D GeForce RTX 4070 Twin X2", "GeForce RTX 4070"),
        ("Dell NVIDIA Quadro RTX 4000 8GB GDDR6", "Quadro RTX 4000"),
        ("NVIDIA Tesla M40 24GB GDDR5 PCI-E", "Tesla M40 24GB"),
        ("Tesla P40 24GB", "Tesla P40"),
        ("GTX1080Ti", "GeForce GTX 1080 Ti"),
        ("rtx 4070 ti super", "GeForce RTX 4070 Ti SUPER"),
        ("NVIDIA RTX A2000 12GB", "RTX A2000 12GB"),
        ("NVIDIA RTX A2000", "RTX A2000"),
        ("a4000", "RTX A4000"),
        ("RTX 4000 SFF Ada", "RTX 4000 SFF Ada Generation"),
        ("RTX 6000 Ada", "RTX 6000 Ada Generation"),
        ("RTX PRO 6000", "RTX PRO 6000 Blackwell Workstation Edition"),
        (
            "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
            "RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        ),
        ("CMP50HX", "CMP 50HX"),
        ("NVIDIA CMP 170HX", "CMP 170HX"),
        ("P106 100", "P106-100"),
        ("P102-100 10GB", "P102-100"),
        ("Tesla V100-SXM2-32GB", "Tesla V100-SXM2-32GB"),
        ("GeForce MX450", "GeForce MX450"),
        ("mx 150", "GeForce MX150"),
        ("RTX 3060 Laptop GPU", "GeForce RTX 3060 Laptop GPU"),
        ("NVIDIA GeForce RTX 3050 6GB Laptop GPU", "GeForce RTX 3050 6GB Laptop GPU"),
        ("GeForce RTX 2080 with Max-Q Design", "GeForce RTX 2080 Laptop GPU"),
        ("GTX 970M", "GeForce GTX 970M"),
        ("Quadro T2000", "Quadro T2000 Laptop GPU"),
        ("RTXA2000", "RTX A2000"),
        ("A 4000", "RTX A4000"),
        ("P106-90", "P106-090"),
        ("RTX PRO 6000 Max-Q", "RTX PRO 6000 Blackwell Max-Q Workstation Edition"),
        (
            "GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-3f0c1a52-9d1e-4a55-8a4e-0f6a5c0f1b11)",
            "GeForce RTX 3090",
        ),
        ("EVGA GeForce RTX 3060 XC GAMING, 12G-P5-3657-KR", "GeForce RTX 3060 12GB"),
        ("GT 1030", "GeForce GT 1030"),
        ("GTX 1630", "GeForce GTX 1630"),
        ("RTX 3050 6GB", "GeForce RTX 3050 6GB"),
        ("NVIDIA GB10", "GB10"),
        ("B200", "B200"),
    ],
)
def test_names_of_lspci_nvidia_smi_and_shops_find_the_card(text: str, meant: str) -> None:
    assert cards.find(text).name == meant


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("Tesla M40", "5.2"), ("GTX 750 Ti", "5.0"), ("Tesla P100 PCIe 16GB", "6.0"), ("Quadro GP100", "6.0"),
        ("P106-090", "6.1"), ("Tesla P40", "6.1"), ("Quadro GV100", "7.0"), ("CMP 30HX", "7.5"),
        ("GeForce MX450", "7.5"), ("A30", "8.0"), ("CMP 170HX", "8.0"), ("RTX A2000", "8.6"), ("MX570", "8.6"),
        ("RTX 5000 Ada", "8.9"), ("H100 NVL", "9.0"), ("B200", "10.0"), ("10de:3182", "10.3"), ("RTX 5050", "12.0"),
        ("GB10", "12.1"),
    ],
)  # fmt: skip
def test_the_compute_capability_is_that_of_the_chip(name: str, capability: str) -> None:
    assert cards.find(name).compute_capability == capability


SHOPS = (
    "{}",
    "NVIDIA {}",
    "nvidia corporation {} (rev a1)",
    "ASUS Dual {} OC",
    "{} Graphics Card",
    "ZOTAC {} Twin Edge",
)


@given(st.sampled_from([n for c in ALL for n in (c.name, *c.aliases)]), st.sampled_from(SHOPS), st.data())
@settings(max_examples=300, deadline=None)
def test_every_name_of_the_catalogue_is_found_in_every_spelling(
    name: str, form: str, data: st.DataObject
) -> None:
    found = cards.find(name)
    spelt = re.sub(r"(?<=\d) ?GB", data.draw(st.sampled_from(["GB", " GB", "G", " GiB"])), name)
    spelt = data.draw(st.sampled_from([spelt, spelt.upper(), spelt.lower(), spelt.replace(" ", "-")]))
    if "rev" in form:
        spelt = f"{found.chip} [{spelt}]"
    if spelt.startswith("GeForce RTX ") and data.draw(st.booleans()):
        spelt = spelt.replace("RTX ", "RTX", 1)
    assert cards.find(form.format(spelt)) == found


@given(st.sampled_from(ALL), st.data())
@settings(max_examples=200, deadline=None)
def test_a_name_with_one_wrong_letter_suggests_the_card_or_finds_a_card(
    card: Card, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(card.name) - 1))
    text = card.name[:place] + data.draw(st.sampled_from("xq7o")) + card.name[place + 1 :]
    try:
        message = cards.find(text).name
    except UnknownCard as error:
        message = str(error)
    assert (
        re.search(r"use the full name|did you mean|supports Maxwell and newer", message)
        or message in NAMES | CHIPS
    )


def test_a_typo_suggests_the_intended_card() -> None:
    for typo, meant in (("RTX 306O", "RTX 3060"), ("GTX 180 Ti", "GTX 1080 Ti"), ("RTX A20000", "RTX A2000")):
        with pytest.raises(UnknownCard, match=f"did you mean .*{meant}"):
            cards.find(typo)


def test_a_name_of_cards_with_different_architectures_lists_them() -> None:
    for name in ("RTX 4000", "RTX 6000", "5000"):
        with pytest.raises(AmbiguousCard, match=r"use the full name: Quadro RTX .*Turing.*Ada.*Blackwell"):
            cards.find(name)


def test_a_bare_number_gives_the_list_of_cards() -> None:
    found = [card.name for card in cards.candidates("3060")]
    assert found == ["GeForce RTX 3060 12GB", "GeForce RTX 3060 8GB"]
    assert cards.is_bare_number("3060")
    assert not cards.is_bare_number("RTX 3060")


@pytest.mark.parametrize("device", SUPPORTED, ids=lambda d: d.pci_id)
def test_every_id_of_the_table_finds_chip_architecture_and_capability(device: pci_table.PciDevice) -> None:
    found = cards.find(device.pci_id)
    known = architectures.of_chip(device.chip)
    assert known is not None
    assert (found.architecture, found.compute_capability) == (known[0].name, known[1])
    assert cards.architecture_of(device.device_id) == families.of_id(device.device_id) == found.architecture
    assert found.laptop is (device.kind == "laptop")
    assert found.min_driver_branch == known[0].first_branch_of(device.device_id)
    matched = cards.match(None, device.device_id, None)
    assert matched is not None
    assert matched.compute_capability == found.compute_capability
    for spelling in (f"Device {device.device_id:04x} (rev a1)", f"0x{device.device_id:04X}10DE"):
        assert cards.find(spelling) == found
    for name in device.names:
        assert name not in ("", "-")
        assert cards.find(f"{device.chip} [{name}] [{device.pci_id}]") == found


@pytest.mark.parametrize("device", SUPPORTED, ids=lambda d: d.pci_id)
def test_every_name_of_the_table_finds_a_card_of_its_architecture(device: pci_table.PciDevice) -> None:
    for name in device.names:
        assert device.architecture in {card.architecture for card in cards.candidates(name)}


def test_ids_of_the_table_agree_with_the_ranges_of_their_architecture() -> None:
    for device in SUPPORTED:
        in_range = {
            row.name
            for row in architectures.shipped()
            for first, last in row.id_ranges
            if int(first, 16) <= device.device_id <= int(last, 16)
        }
        assert in_range <= {device.architecture}, device


def test_chips_that_dlbox_does_not_support_give_a_reason() -> None:
    unsupported = [d for d in DEVICES if d not in SUPPORTED]
    assert {d.chip[:2] for d in unsupported} <= {"GR", "GB"}
    for device in unsupported:
        with pytest.raises(UnknownCard, match=rf"has the chip {device.chip}, of which dlbox does not know"):
            cards.find(device.pci_id)
    with pytest.raises(UnknownCard, match=r"10de:128b is a GeForce GT 710 .*Maxwell and newer"):
        cards.find("10de:128b")
    with pytest.raises(UnknownCard, match=r"10de:228e is the sound or USB function .*GA106 High Definition"):
        cards.find("10de:228e")


@given(st.integers(0, 0xFFFF).filter(lambda number: number not in pci_table.table()))
@settings(max_examples=100, deadline=None)
def test_an_unknown_id_gives_one_clear_sentence(number: int) -> None:
    with pytest.raises(UnknownCard) as caught:
        cards.find(f"10de:{number:04x}")
    message = str(caught.value)
    assert message.startswith(f"10de:{number:04x} is not in the table of PCI ids: ")
    assert "\n" not in message
    assert "nearest: " in message


@pytest.mark.parametrize(
    ("name", "device", "mib", "modified"),
    [
        ("NVIDIA GeForce RTX 2080 Ti", 0x1E07, 22528, 22), ("NVIDIA GeForce RTX 2080 Ti", 0x1E07, 11264, None),
        ("NVIDIA GeForce RTX 4090", 0x2684, 49140, 48), ("NVIDIA GeForce RTX 4090", 0x2684, 24564, None),
        ("NVIDIA GeForce RTX 3080", 0x2206, 20480, 20), ("NVIDIA GeForce RTX 3080", 0x220A, 12288, None),
        ("NVIDIA GeForce RTX 3070", 0x2484, 16384, 16), ("NVIDIA P102-100", 0x1B07, 10240, 10),
        ("NVIDIA A10", 0x2236, 23028, None), ("Tesla T4", 0x1EB8, 15109, None),
        ("NVIDIA GeForce RTX 3060", 0x2504, 12288, None), ("NVIDIA GeForce RTX 5060 Ti", 0x2D04, 16311, None),
    ],
)  # fmt: skip
def test_replaced_memory_is_recognised_from_the_memory_that_nvml_reports(
    name: str, device: int, mib: int, modified: int | None
) -> None:
    found = cards.match(name, device, mib * 2**20)
    assert found is not None
    assert found.modified_memory_gib == modified
    assert found.memory_modified is (modified is not None)
    assert found.name.startswith(name.removeprefix("NVIDIA "))


@given(st.sampled_from([c for c in ALL if c.pci_ids]), st.floats(0.85, 1.0))
@settings(max_examples=100, deadline=None)
def test_memory_that_the_driver_reserves_is_no_modification(card: Card, share: float) -> None:
    device = int(card.pci_ids[0][5:], 16)
    found = cards.match(card.name, device, int((card.memory_bytes or 0) * share))
    assert found is not None
    assert not found.memory_modified


def test_a_memory_that_was_never_sold_is_unknown() -> None:
    with pytest.raises(UnknownCard, match=r"did you mean GeForce RTX 4080"):
        cards.find("RTX 4080 24GB")


PCI_IDS = """# Version: 2026.10.24
10dd  Another maker
\t2503  GA999 [No card]
10de  NVIDIA Corporation
\t0020  NV4 [Riva TNT]
\t128b  GK208B [GeForce GT 710]
\t1e30  TU102GL [Quadro RTX 6000/8000]
\t\t10de 129e  Quadro RTX 8000
\t2520  GA106M [GeForce RTX 3060 Mobile / Max-Q]
\t2504  GA106 [GeForce RTX 3060 Lite Hash Rate]
\t228e  GA106 High Definition Audio Controller
\t2bb4  GB202GL [RTX PRO 6000 Blackwell Max-Q Workstation Edition]
\t1ba9  GP104M
ffff  Illegal vendor
\t2505  GA106
"""


def test_the_table_is_made_from_pci_ids() -> None:
    lines = import_pci_ids.table(PCI_IDS).splitlines()
    assert "2026-10-24" in lines[1]
    assert [line.split("\t") for line in lines if not line.startswith("#")] == [
        ["128b", "desktop", "GK208", "GeForce GT 710"],
        ["1e30", "desktop", "TU102", "Quadro RTX 6000|Quadro RTX 8000"],
        ["2520", "laptop", "GA106", "GeForce RTX 3060 Laptop GPU"],
        ["2504", "desktop", "GA106", "GeForce RTX 3060"],
        ["228e", "function", "-", "GA106 High Definition Audio Controller"],
        ["2bb4", "desktop", "GB202", "RTX PRO 6000 Blackwell Max-Q Workstation Edition"],
        ["1ba9", "laptop", "GP104", ""],
    ]

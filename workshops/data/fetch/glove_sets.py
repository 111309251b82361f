"""The published GloVe vector sets: addresses and SHA-256 hashes."""

from __future__ import annotations

from workshops.data.fetch.download import RemoteFile

_STANFORD = "https://nlp.stanford.edu/data"
PUBLISHED: dict[str, RemoteFile] = {
    name: RemoteFile(f"{name}.zip", f"{_STANFORD}/{folder}{name}.zip", sha256, size)
    for name, folder, sha256, size in (
        ("glove.6B", "", "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb", 862_182_613),
        ("glove.42B.300d", "", "03d5d7fa28e58762ace4b85fb71fe86a345ef0b5ff39f5390c14869da0fc1970", 0),
        ("glove.840B.300d", "", "c06db255e65095393609f19a4cfca20bf3a71e20cc53e892aafa490347e3849f", 0),
        ("glove.twitter.27B", "", "792af52f795d1a32c9842a3240f5f3fe5e941a8ff6df5eb0f9d668092ebc019c", 0),
        (
            "glove.2024.wikigiga.50d",
            "wordvecs/",
            "afa5e258ee38272db6394547c4b075ecbb7b2164e98542c8d1237b6029b35a65",
            301_036_094,
        ),
    )
}
"""Stanford's sets (public domain: PDDL 1.0). Several programs publish these hashes."""
UNCHECKED: dict[str, str] = {
    name: f"{_STANFORD}/wordvecs/{name}.zip"
    for name in (
        "glove.2024.wikigiga.100d",
        "glove.2024.wikigiga.200d",
        "glove.2024.wikigiga.300d",
        "glove.2024.dolma.300d",
    )
}
"""Addresses of the other sets by Stanford. Their SHA-256 is not published, so dlbox does not download them."""
REAL = "glove.6B"
"""The set that ``--data real`` uses: 400,000 words. The smallest file of its archive has 50 dimensions."""

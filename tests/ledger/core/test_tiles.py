"""Tiles: paths, bundles, the builder that finishes them, the reader that proves from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.merkle import (
    ProofInvalid,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.core.tiles import (
    TILE_BYTES,
    TileBuilder,
    TileReader,
    decode_bundle,
    decode_index,
    encode_bundle,
    encode_index,
    parse_tile_path,
    tile_path,
    tile_root,
    tiles_of,
    tiles_on_the_way,
)

pytestmark = pytest.mark.unit

# One full tile of level 1, a part of a second, and a part of level 2.
SIZE = 256 * 256 + 3 * 256 + 5
LEAVES = [leaf_hash(str(number).encode()) for number in range(SIZE)]


class Store:
    """Everything a builder handed out, and the open tiles at the end."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.builder = TileBuilder()
        self.full = {(tile.level, tile.index): tile.data for tile in self.builder.extend(leaves)}
        self.partial = {(tile.level, tile.index): tile.data for tile in self.builder.partial_tiles()}
        self.reads = 0

    def read(self, level: int, index: int, width: int) -> bytes:
        self.reads += 1
        data = self.full.get((level, index)) or self.partial[level, index]
        return data[: width * 32]


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(LEAVES)


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (0, "000"),
        (7, "007"),
        (999, "999"),
        (1000, "x001/000"),
        (1234067, "x001/x234/067"),
        (1_000_000, "x001/x000/000"),
    ],
)
def test_index_is_written_in_groups_of_three_digits(index: int, text: str) -> None:
    assert encode_index(index) == text
    assert decode_index(text) == index


@given(st.integers(0, 2**62))
def test_index_survives_the_round_trip(index: int) -> None:
    assert decode_index(encode_index(index)) == index


@pytest.mark.parametrize(
    "text",
    ["", "0", "00", "0000", "x000/001", "001/002", "x01/000", "x001/", "\u0660\u0660\u0661", "-01", "000\n"],
)
def test_other_spellings_of_an_index_are_refused(text: str) -> None:
    with pytest.raises(ProofInvalid):
        decode_index(text)


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ((0, 0, 5), "tile/0/000.p/5"),
        ((0, 0, None), "tile/0/000"),
        ((1, 1234067, 255), "tile/1/x001/x234/067.p/255"),
        (("entries", 2, None), "tile/entries/002"),
        ((63, 1, 1), "tile/63/001.p/1"),
    ],
)
def test_path_and_its_parts(parts: tuple[int, int, int | None], path: str) -> None:
    assert tile_path(*parts) == path
    assert parse_tile_path(path) == parts


def test_full_width_has_the_path_of_the_full_tile() -> None:
    assert tile_path(0, 3, 256) == "tile/0/003"


@pytest.mark.parametrize(
    "path",
    ["tile/64/000", "tile/00/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/05", "tile/0/000.p/",
     "0/000",
     "tile/0/000/", "tile/entry/000", "tile/-1/000", "tile/0/../000", "tile/0/000\n"],
)  # fmt: skip
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(ProofInvalid):
        parse_tile_path(path)


def test_builder_finishes_each_tile_once_with_8192_bytes(store: Store) -> None:
    assert sorted(store.full) == [*((0, index) for index in range(256 + 3)), (1, 0)]
    assert {len(data) for data in store.full.values()} == {TILE_BYTES}
    assert store.full[0, 1] == b"".join(LEAVES[256:512])
    assert store.full[1, 0][32:64] == tile_root(store.full[0, 1]) == root_of(LEAVES[256:512])


def test_builder_gives_the_open_tile_of_each_level(store: Store) -> None:
    assert {key: len(data) // 32 for key, data in store.partial.items()} == {
        (0, 259): 5,
        (1, 1): 3,
        (2, 0): 1,
    }


def test_tiles_of_a_size_are_those_the_builder_made(store: Store) -> None:
    made = {**store.full, **store.partial}
    assert {(level, index): width for level, index, width in tiles_of(SIZE)} == {
        key: len(data) // 32 for key, data in made.items()
    }


def test_root_of_the_builder_is_the_root_of_the_leaves() -> None:
    builder = TileBuilder()
    assert builder.root() == root_of([])
    for size, leaf in enumerate(LEAVES[:1100], 1):
        builder.append(leaf)
        if size % 37 == 0 or size % 256 < 2:
            assert builder.root() == root_of(LEAVES[:size])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 66_000])
def test_restored_builder_goes_on_as_if_never_stopped(store: Store, size: int) -> None:
    builder = TileBuilder.restore(size, store.read)
    later = {(tile.level, tile.index): tile.data for tile in builder.extend(LEAVES[size:])}
    assert builder.root() == store.builder.root() == root_of(LEAVES)
    assert builder.size == SIZE
    assert later.items() <= store.full.items()


def test_proofs_from_tiles_verify(store: Store) -> None:
    reader = TileReader(SIZE, store.read)
    root = tree_root(SIZE, reader)
    assert root == root_of(LEAVES)
    for index in (0, 1, 255, 256, 65_535, 65_536, SIZE - 1):
        proof = inclusion_proof(index, SIZE, reader)
        verify_inclusion(index=index, size=SIZE, leaf=LEAVES[index], proof=proof, root=root)
        growth = consistency_proof(index + 1, SIZE, reader)
        old_root = root_of(LEAVES[: index + 1])
        verify_consistency(old=index + 1, new=SIZE, old_root=old_root, new_root=root, proof=growth)


def test_a_proof_reads_each_tile_once(store: Store) -> None:
    reader = TileReader(SIZE, store.read)
    store.reads = 0
    inclusion_proof(1234, SIZE, reader)
    assert store.reads <= 5


@given(st.integers(1, 1 << 34).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_proofs_read_no_tiles_but_those_on_the_way(sized: tuple[int, int]) -> None:
    size, index = sized
    asked: set[tuple[int, int, int]] = set()

    def read(level: int, index: int, width: int) -> bytes:
        asked.add((level, index, width))
        return bytes(32 * width)

    reader = TileReader(size, read)
    reader.node(0, index)
    tree_root(size, reader)
    inclusion_proof(index, size, reader)
    assert asked <= (way := tiles_on_the_way(size, [index]))
    assert len(way) <= 2 * 5  # two of each level, and five levels reach beyond 2^34
    asked.clear()
    reader, old = TileReader(size, read), index + 1
    consistency_proof(old, size, reader)
    tree_root(old, reader)
    assert asked <= tiles_on_the_way(size, [old - 1, min(old, size - 1)])


def test_reader_forgets_the_oldest_tile_first(store: Store) -> None:
    reader = TileReader(SIZE, store.read, cache=2)
    store.reads = 0
    for index in (0, 1, 0, 2, 0, 1):
        reader.leaf_hashes(index)
    assert store.reads == 4


def test_node_that_the_tree_does_not_have_is_our_own_fault(store: Store) -> None:
    with pytest.raises(AssertionError):
        TileReader(SIZE, store.read).node(3, SIZE >> 3)


@pytest.mark.parametrize("data", [b"", b"x" * 31, b"x" * 64])
def test_tile_of_the_wrong_length_is_refused(data: bytes) -> None:
    with pytest.raises(ProofInvalid):
        TileReader(1, lambda _level, _index, _width: data).node(0, 0)


def test_root_of_a_partial_tile_is_not_final() -> None:
    with pytest.raises(AssertionError):
        tile_root(b"x" * 32)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundle_survives_the_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


def test_largest_entry_fits_into_a_bundle_and_no_larger() -> None:
    assert encode_bundle([b"x" * 65_535]).startswith(b"\xff\xff")
    with pytest.raises(AssertionError):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02x", b"\x00\x01xy"])
def test_torn_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(ProofInvalid):
        decode_bundle(data)

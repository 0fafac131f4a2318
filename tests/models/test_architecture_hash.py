import re
from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.architecture import architecture_hash, to_json
from models.conv_architecture import ConvArchitecture
from models.conv_layers import ConvLayer, Layer, NormLayer, PoolLayer
from models.graph_hash import graph_hash
from models.presets import figure7

KINDS: list[Layer] = [ConvLayer(3, 3, 4), ConvLayer(1, 3, 4), PoolLayer("max", 2, 2), NormLayer("batch")]


@st.composite
def wirings(draw: st.DrawFn) -> ConvArchitecture:
    """Up to seven layers of four kinds with any inputs."""
    layers = []
    for n in range(draw(st.integers(1, 7))):
        kind, mask = draw(st.sampled_from(KINDS)), draw(st.integers(0, 2**n - 1))
        layers.append(replace(kind, inputs=tuple(source for source in range(n) if mask >> source & 1)))
    return ConvArchitecture(tuple(layers))


def renumbered(architecture: ConvArchitecture, random: Random) -> ConvArchitecture:
    """The same layers in another order in which each still comes after its inputs."""
    place: dict[int, int] = {}
    layers: list[Layer] = []
    while len(place) < len(architecture.layers):
        ready = [
            index
            for index, layer in enumerate(architecture.layers)
            if index not in place and all(source in place for source in layer.inputs)
        ]
        index = random.choice(ready)
        inputs = [place[source] for source in architecture.layers[index].inputs]
        random.shuffle(inputs)
        place[index] = len(layers)
        layers.append(replace(architecture.layers[index], inputs=tuple(inputs)))
    return ConvArchitecture(tuple(layers))


@given(wirings(), st.integers(0, 2**32))
def test_the_numbering_of_independent_layers_does_not_matter(architecture: ConvArchitecture, seed: int) -> None:
    assert renumbered(architecture, Random(seed)).canonical_hash() == architecture.canonical_hash()


def test_a_renumbering_by_hand() -> None:
    one = ConvArchitecture((ConvLayer(3, 3, 4), ConvLayer(1, 1, 8), ConvLayer(5, 5, 6, (0,)), ConvLayer(7, 7, 6, (1,))))
    other = ConvArchitecture(
        (ConvLayer(1, 1, 8), ConvLayer(7, 7, 6, (0,)), ConvLayer(3, 3, 4), ConvLayer(5, 5, 6, (2,)))
    )
    crossed = ConvArchitecture((*one.layers[:2], ConvLayer(5, 5, 6, (1,)), ConvLayer(7, 7, 6, (0,))))
    assert one.canonical_hash() == other.canonical_hash() != crossed.canonical_hash()


def test_every_single_change_changes_the_hash() -> None:
    first, second = ConvLayer(3, 3, 4), ConvLayer(3, 3, 4, inputs=(0,))
    pool, norm = PoolLayer("max", 2, 2, inputs=(0,)), NormLayer("batch", inputs=(1, 2))
    base = ConvArchitecture((first, second, pool, norm))

    def changed(index: int, **values: object) -> ConvArchitecture:
        layers = list(base.layers)
        layers[index] = replace(layers[index], **values)  # type: ignore[arg-type]
        return ConvArchitecture(tuple(layers))

    changes = [
        changed(1, filter_height=5), changed(1, filter_width=5), changed(1, num_filters=5), changed(1, inputs=()),
        changed(1, stride_height=2), changed(1, stride_width=2), changed(1, batch_norm=False),
        changed(0, filter_height=5), changed(0, num_filters=5),
        changed(2, kind="average"), changed(2, size=3), changed(2, stride=1), changed(2, inputs=(0, 1)),
        changed(3, kind="local_contrast"), changed(3, inputs=(2,)), changed(3, inputs=(0, 1, 2)),
        ConvArchitecture(base.layers[:3]), ConvArchitecture((*base.layers, first)),
        *(replace(base, pool_after=(point,)) for point in (1, 2, 3, 4)), replace(base, pool_after=(1, 2)),
        replace(base, learning_rate=0.1), replace(base, learning_rate=0.2),
    ]  # fmt: skip
    hashes = [architecture.canonical_hash() for architecture in (base, *changes)]
    assert len(set(hashes)) == len(hashes)


def test_the_numbering_on_one_side_of_a_pooling_point_does_not_matter() -> None:
    stem, left, right = ConvLayer(3, 3, 4), ConvLayer(1, 1, 6, inputs=(0,)), ConvLayer(5, 5, 6, inputs=(0,))
    one, other = (stem, left, right), (stem, right, left)
    for point in (1, 3):
        hashes = {ConvArchitecture(layers, pool_after=(point,)).canonical_hash() for layers in (one, other)}
        assert len(hashes) == 1
    between = {ConvArchitecture(layers, pool_after=(2,)).canonical_hash() for layers in (one, other)}
    assert len(between) == 2


def test_sharing_a_layer_is_not_having_it_twice() -> None:
    leaf, left, right = ConvLayer(3, 3, 4), ConvLayer(1, 1, 6), ConvLayer(5, 5, 6)
    shared = [leaf, leaf, replace(left, inputs=(0,)), replace(right, inputs=(0,)), replace(leaf, inputs=(1,))]
    twins = [leaf, leaf, replace(left, inputs=(0,)), replace(right, inputs=(1,)), replace(leaf, inputs=(0,))]
    alone = [leaf, replace(left, inputs=(0,)), replace(right, inputs=(0,))]
    apart = [leaf, leaf, replace(left, inputs=(0,)), replace(right, inputs=(1,))]
    hashes = {ConvArchitecture(tuple(layers)).canonical_hash() for layers in (shared, twins, alone, apart)}
    assert len(hashes) == 4


def ring(*lengths: int) -> ConvArchitecture:
    """Equal layers on the image, each read by two equal layers that read two of them, in rings."""
    leaves, readers, start = [], [], 0
    for length in lengths:
        leaves += [ConvLayer(3, 3, 4)] * length
        readers += [ConvLayer(1, 1, 4, inputs=(start + n, start + (n + 1) % length)) for n in range(length)]
        start += length
    return ConvArchitecture((*leaves, *readers))


def test_rings_whose_layers_have_equal_neighbours_differ_by_their_length() -> None:
    hashes = [rings.canonical_hash() for rings in (ring(6), ring(3, 3), ring(4, 2), ring(2, 2, 2))]
    assert len(set(hashes)) == len(hashes)
    assert ring(4, 2).canonical_hash() == ring(2, 4).canonical_hash()


def test_hashes_are_the_same_in_every_process() -> None:
    assert figure7().canonical_hash() == "e8cc45b4d8b2ac60"
    assert graph_hash(["a", {"b": 1}], [(0, 1, 0)]) == "28acfd6ea58bb1a1"


def test_an_equal_learning_rate_has_an_equal_hash_however_it_is_written() -> None:
    layers = (ConvLayer(3, 3, 4),)
    assert ConvArchitecture(layers, (), 1).canonical_hash() == ConvArchitecture(layers, (), 1.0).canonical_hash()


@dataclass(frozen=True)
class Mine:
    units: int
    sizes: tuple[int, ...] = (1, 3)


def test_json_of_architectures_of_any_space() -> None:
    assert to_json(figure7()) == figure7().to_json()
    assert to_json(Mine(4)) == {"units": 4, "sizes": (1, 3)}
    assert to_json({"operation": 2}) == {"operation": 2}
    assert to_json(("tanh", "add")) == ("tanh", "add")


def test_hashes_of_architectures_of_any_space() -> None:
    architectures = [figure7(), Mine(4), Mine(5), ("tanh", "add"), ("add", "tanh"), {"a": 1, "b": 2}]
    hashes = [architecture_hash(architecture) for architecture in architectures]
    assert len(set(hashes)) == len(hashes)
    assert all(re.fullmatch("[0-9a-f]{16}", text) for text in hashes)
    assert hashes[0] == figure7().canonical_hash()
    assert hashes[-1] == architecture_hash({"b": 2, "a": 1})
    assert hashes[1] == architecture_hash({"units": 4, "sizes": [1, 3]})


@pytest.mark.parametrize("seed", range(3))
def test_the_hash_of_figure_7_survives_renumbering(seed: int) -> None:
    assert renumbered(figure7(), Random(seed)).canonical_hash() == figure7().canonical_hash()

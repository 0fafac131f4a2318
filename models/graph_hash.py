"""A hash of a labelled graph that does not depend on how its nodes are numbered."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

Edge = tuple[int, int, int]  # from, to, label


def graph_hash(labels: Sequence[Any], edges: Sequence[Edge]) -> str:
    """16 hex digits for a directed graph, by Weisfeiler-Lehman refinement; labels of nodes are JSON data.

    Nodes that refinement cannot tell apart are marked one at a time, so that a ring of eight such nodes is not taken
    for two rings of four.
    """
    colours = _refine([_digest(label) for label in labels], edges)
    counts = Counter(colours)
    marked = []
    for node, colour in enumerate(colours):
        if counts[colour] > 1:
            marked.append(sorted(_refine([*colours[:node], _digest(["marked", colour]), *colours[node + 1 :]], edges)))
    return _digest([sorted(colours), sorted(marked)])


def _refine(colours: list[str], edges: Sequence[Edge]) -> list[str]:
    """Mix into each node's colour those of its predecessors and successors, until that tells no more nodes apart."""
    while True:
        before: list[list[tuple[int, str]]] = [[] for _ in colours]
        after: list[list[tuple[int, str]]] = [[] for _ in colours]
        for source, target, label in edges:
            after[source].append((label, colours[target]))
            before[target].append((label, colours[source]))
        num_colours = len(set(colours))
        mixed = zip(colours, map(sorted, before), map(sorted, after), strict=True)
        colours = [_digest(parts) for parts in mixed]
        if len(set(colours)) == num_colours:
            return colours


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]

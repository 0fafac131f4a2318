from toy_spaces import CONV, LAYERED

from models.evolution import Individual, sample_by_evolution
from models.random_policy import sample_uniformly


def individuals(count: int, depth: int = 3) -> list[Individual]:
    paths = CONV.paths(depth, count)
    sample_uniformly(paths, seed=1)
    return [Individual(tuple(path.tokens), float(number)) for number, path in enumerate(paths)]


def test_as_long_as_the_population_is_small_children_are_drawn_by_chance() -> None:
    paths = CONV.paths(3, 40)
    sample_by_evolution(paths, individuals(9), population_size=10, tournament_size=5, seed=0)
    assert len({tuple(path.tokens) for path in paths}) > 30


def test_a_child_differs_from_the_best_of_a_tournament_in_one_decision() -> None:
    population = individuals(10)
    paths = CONV.paths(3, 60)
    sample_by_evolution(paths, population, population_size=10, tournament_size=10, seed=0)
    best = population[-1].tokens  # a tournament of all is won by the best
    differences = [sum(one != other for one, other in zip(path.tokens, best, strict=True)) for path in paths]
    assert set(differences) == {1}
    changed = {position for path in paths for position, token in enumerate(path.tokens) if token != best[position]}
    assert len(changed) > 8


def test_a_mutated_anchor_differs_in_one_input() -> None:
    best = individuals(10)[-1].tokens
    paths = CONV.paths(3, 200)
    sample_by_evolution(paths, individuals(10), population_size=10, tournament_size=10, seed=0)
    masks = [path.tokens[10] ^ best[10] for path in paths if path.tokens[10] != best[10]]
    assert masks and set(masks) <= {1, 2}


def test_smaller_tournaments_let_others_win() -> None:
    paths = CONV.paths(3, 100)
    population = individuals(10)
    sample_by_evolution(paths, population, population_size=10, tournament_size=2, seed=0)
    best = population[-1].tokens
    far = [sum(one != other for one, other in zip(path.tokens, best, strict=True)) > 1 for path in paths]
    assert sum(far) > 30


def test_what_follows_a_mutated_decision_is_completed_where_it_changed() -> None:
    path = LAYERED.paths(3, 1)[0]
    sample_uniformly([path], seed=4)
    parent = [Individual(tuple(path.tokens), 1.0)]
    children = LAYERED.paths(3, 100)
    sample_by_evolution(children, parent, population_size=1, tournament_size=1, seed=0)
    assert all(child.architecture is not None for child in children)
    assert len({len(child.tokens) for child in children}) > 1


def test_an_architecture_may_have_become_deeper() -> None:
    children = CONV.paths(4, 10)
    sample_by_evolution(children, individuals(5, depth=3), population_size=5, tournament_size=5, seed=0)
    assert all(len(child.architecture.layers) == 4 for child in children)

from tasks.seeds import derive_seed


def test_seeds_differ_by_seed_and_by_name() -> None:
    seeds = {derive_seed(seed, name, number) for seed in range(5) for name in ("wave", "child") for number in range(50)}
    assert len(seeds) == 5 * 2 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_in_every_process() -> None:
    assert derive_seed(0, "child", 7) == 6718653408723123245

import pytest
from toy_spaces import ANCHORS, CONV, LAYERED, STACK, all_tokens

from models.space import Anchor, Choice, Path, SearchSpace, load_function


def test_a_choice_decodes_to_the_value_at_its_index() -> None:
    choice = Choice("size", (1, 3, 5))
    assert [choice.decode(token) for token in range(3)] == [1, 3, 5]


@pytest.mark.parametrize("token", [-1, 3])
def test_a_choice_rejects_tokens_out_of_range(token: int) -> None:
    with pytest.raises(ValueError, match=f"token {token} for size: allowed are 0 to 2"):
        Choice("size", (1, 3, 5)).decode(token)


def test_an_anchor_point_decodes_a_bit_mask() -> None:
    assert [Anchor(2).decode(token) for token in range(4)] == [(), (0,), (1,), (0, 1)]
    assert Anchor(0).decode(0) == ()
    assert Anchor(6).decode(0b101001) == (0, 3, 5)


@pytest.mark.parametrize("token", [-1, 8])
def test_an_anchor_point_rejects_tokens_out_of_range(token: int) -> None:
    with pytest.raises(ValueError, match=f"token {token} for inputs: allowed are 0 to 7"):
        Anchor(3).decode(token)


def test_sequences_of_different_length_decode() -> None:
    assert STACK.decode(3, [0]) == ()
    assert STACK.decode(3, [1, 2, 0]) == ("tanh",)
    assert STACK.decode(3, [1, 2, 1, 0, 1, 1]) == ("tanh", "add", "max")
    assert LAYERED.decode(2, [0, 0, 1, 2, 1]) == (("pool", None, ()), ("conv", 5, (0,)))


def test_every_token_sequence_is_another_architecture() -> None:
    assert len({STACK.decode(3, tokens) for tokens in all_tokens(STACK, 3)}) == 1 + 3 + 9 + 27
    assert len({LAYERED.decode(2, tokens) for tokens in all_tokens(LAYERED, 2)}) == 4 * 1 * 4 * 2


def test_too_few_tokens_are_an_error_that_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="1 tokens, but operation is still to be decided"):
        STACK.decode(3, [1])


def test_too_many_tokens_are_an_error_that_names_where_the_architecture_ends() -> None:
    with pytest.raises(ValueError, match="4 tokens, but the architecture is complete after 3"):
        STACK.decode(3, [1, 2, 0, 0])


def test_a_token_out_of_range_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match="token 7 for kind: allowed are 0 to 1"):
        LAYERED.decode(2, [0, 0, 7])


def test_an_anchor_point_must_count_those_before_it() -> None:
    with pytest.raises(ValueError, match=r"Anchor\(2\) after 1 anchor points"):
        SearchSpace("toy_spaces:skipping_an_anchor", {}).decode(1, [0, 0])


def test_more_anchor_points_than_a_token_has_bits_are_an_error() -> None:
    path = ANCHORS.paths(64, 1)[0]
    with pytest.raises(ValueError, match="at most 62 earlier layers"):
        for _ in range(64):
            path.take(0)
    assert ANCHORS.decode(63, [0] * 62 + [2**62 - 1])[-1] == tuple(range(62))


def test_a_path_knows_its_next_decision_and_what_was_taken() -> None:
    path = Path(iter_choices())
    assert path.decision == Choice("first", ("a", "b"))
    path.take(1)
    assert path.decision == Choice("second", ("b", "c"))
    path.take(0)
    assert (path.decision, path.tokens, path.architecture) == (None, [1, 0], "bb")


def iter_choices():  # type: ignore[no-untyped-def]
    first = yield Choice("first", ("a", "b"))
    second = yield Choice("second", (first, "c"))
    return first + second


def test_paths_are_independent_of_each_other() -> None:
    one, other = STACK.paths(3, 2)
    one.take(0)
    assert one.decision is None
    assert other.decision == Choice("more", (False, True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv_space", "not of the form package.module:function"),
        (":conv_space", "not of the form package.module:function"),
        ("models.conv_space:", "not of the form package.module:function"),
        ("models.nowhere:conv_space", "No module named 'models.nowhere'"),
        ("models.conv_space:nothing", "module models.conv_space has no 'nothing'"),
        ("models.space:MAX_ANCHOR_LAYERS", "is not a function but int"),
    ],
)
def test_bad_function_names_are_errors_that_say_why(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_function(name)


def test_functions_are_found_by_name() -> None:
    assert load_function("models.space:load_function") is load_function


def test_unknown_options_are_listed_with_those_allowed() -> None:
    space = SearchSpace(CONV.function, {"num_filters": (2,), "stride": (1,), "activation": "tanh"})
    allowed = "filter_heights, filter_widths, num_filters, strides, block_size, pool_after"
    with pytest.raises(ValueError, match=f"activation, stride of {CONV.function}; allowed: {allowed}$"):
        space.check_options()


def test_known_options_pass_and_reach_the_generator_function() -> None:
    CONV.check_options()
    layer = CONV.decode(1, [1, 0, 0, 1]).layers[0]
    assert (layer.filter_height, layer.filter_width, layer.num_filters) == (3, 3, 4)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [("a.b", (1,), "without a dot"), ("", (1,), "not empty"), ("a", (), "has no values"), ("a", ([1],), "use tuples")],
)
def test_a_choice_that_cannot_be_one_is_an_error(name: str, values: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Choice(name, values)

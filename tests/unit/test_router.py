"""What nginx says of itself, and whose nginx it is."""

import json
from collections.abc import Callable, Mapping

import pytest

from ondeploy.engine import Docker
from ondeploy.errors import RouterRefused
from ondeploy.model import Weights
from ondeploy.ports import Answer
from ondeploy.render import state
from ondeploy.router import NginxRouter, served
from ondeploy.volume import NginxService, StateVolume
from tests.fakes import BLUE, GREEN, FakeClock, make_settings


class OneAnswer:
    """A control port that gives one answer to everything."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def get(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> Answer:
        return self.answer

    def until(self, problem: Callable[[], str], limit: float) -> str:
        raise NotImplementedError


def untouched() -> str:
    """The engine, which must not be asked."""
    pytest.fail("the engine was asked")


def router(said: object) -> NginxRouter:
    """The router of shop, whose control address answers with this."""
    body = said if isinstance(said, str) else json.dumps(said)
    volume = StateVolume(
        Docker(1, {}), "shop", untouched, lambda: NginxService("nginx", "0:0", "v")
    )
    prober = OneAnswer(Answer(200, 0.01, body))
    return NginxRouter(make_settings(), volume, prober, FakeClock())


def test_a_generation_says_whose_it_is() -> None:
    """Project, number and weights, so that two stacks of one host are never mistaken."""
    facts = state("shop", 12, Weights(5, 95), {BLUE: "v1", GREEN: "v2"})
    assert facts["project"] == "shop"
    assert served(facts) == (12, Weights(5, 95))


@pytest.mark.parametrize(
    ("word", "weights"),
    [("blue", Weights(100, 0)), ("green", Weights(0, 100)), ("none", Weights(0, 0))],
)
def test_an_old_nginx_says_its_color(word: str, weights: Weights) -> None:
    """Where a flag file decides, the color that has it has all the traffic."""
    assert served({"generation": 3, "active": word}) == (3, weights)


def test_the_nginx_of_another_stack_is_refused() -> None:
    """A wrong control_url never moves the traffic of a neighbour: both names are told."""
    foreign = router(state("other", 3, Weights.all_to(BLUE), {BLUE: "v1"}))
    for act in (foreign.observe, lambda: foreign.activate(4, Weights.all_to(GREEN), "L")):
        with pytest.raises(RouterRefused, match="belongs to another stack, 'other'") as caught:
            act()
        assert caught.value.code == 2
        assert "router.control_url" in caught.value.hint


@pytest.mark.parametrize(
    "said",
    [
        "<html>",
        "",
        "[]",
        "null",
        "7",
        '"text"',
        {},
        {"generation": "x", "weights": {}},
        {"generation": 1, "weights": {"blue": 1}},
        {"generation": 1, "weights": {"blue": 60, "green": 60}},
        {"generation": 1, "weights": [100, 0]},
        {"generation": 1, "active": "red"},
        {"generation": 1, "weights": {"blue": 100, "green": 0}},
    ],
)
def test_whatever_answers_at_the_control_address(said: object) -> None:
    """A page of someone else's is refused in a sentence, and is no fault of ondeploy."""
    with pytest.raises(RouterRefused, match=r"control|another stack|ondeploy's nginx"):
        router(said).observe()

"""What is decided from a snapshot: pure, so any state of the world can be tried."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ondeploy.colors import config_hash
from ondeploy.errors import ConfigError, PreflightFailed, UsageError
from ondeploy.model import (
    Color,
    Release,
    Replica,
    Request,
    RouterState,
    RunSummary,
    Slot,
    Snapshot,
    Weights,
)
from ondeploy.plan import (
    Plan,
    choose_rollback,
    plan_deploy,
    plan_prune,
    plan_recovery,
    plan_rollback,
)
from ondeploy.steps import Bake, PrepareImages, RemoveColor, Shift, StageRouter, StartStandby
from tests.fakes import BLUE, EPOCH, GREEN, compose_model, make_settings

SETTINGS = make_settings()
MODEL = compose_model()
HASH = config_hash(MODEL, SETTINGS)
WELL = {"catalog": "healthy", "nginx": "healthy"}
STEPS = [
    "check-platform",
    "prepare-images",
    "stage-router",
    "start-standby",
    "wait-ready",
    "smoke",
    "shift",
    "bake",
    "drain",
    "finish",
]


def slot(color: Color, version: str, state: str = "running", hashed: str = HASH) -> Slot:
    """A color that has one container."""
    replica = Replica(f"{color}1", f"web-{color}", f"web-{color}", "10.0.0.2", state, "", 0)
    release = Release(version, f"example/web:{version}", f"sha256:{version}", hashed)
    return Slot(color, release, (replica,))


def snapshot(
    active: Color | None, *slots: Slot, history: tuple[RunSummary, ...] = (), **router: Any
) -> Snapshot:
    """A healthy platform with traffic on one color."""
    state = RouterState(True, 3, 3, Weights.all_to(active), (1, 29, 0), True)
    return Snapshot({s.color: s for s in slots}, replace(state, **router), WELL, history)


def run(version: str, command: str = "deploy", **more: Any) -> RunSummary:
    """A run of the past that succeeded."""
    images = {"web": f"sha256:{version}"}
    record = RunSummary(
        f"run-{version}", command, version, "succeeded", "", EPOCH, EPOCH, "ada", images=images
    )
    return replace(record, **more)


def deploy(seen: Snapshot, version: str = "v2", **request: Any) -> Plan:
    """The plan of a deploy."""
    return plan_deploy(SETTINGS, MODEL, seen, Request("deploy", version, **request))


def names(plan: Plan) -> list[str]:
    """The names of a plan's steps, in order."""
    return [step.name for step in plan.steps]


def test_a_first_release_starts_the_platform_and_is_not_baked() -> None:
    """On an empty host everything is started, and the notes say why nothing is watched."""
    plan = deploy(Snapshot({}, None, {}), "v1")
    assert names(plan) == ["start-platform", *[n for n in STEPS if n not in ("bake", "drain")]]
    assert (plan.target, plan.previous) == (BLUE, None)
    assert "a first release is not baked: there is nothing to go back to" in plan.notes


def test_the_next_release_takes_the_other_color() -> None:
    """With blue active, green is started, proven, given the traffic, watched."""
    plan = deploy(snapshot(BLUE, slot(BLUE, "v1")))
    assert names(plan) == STEPS
    assert (plan.target, plan.previous) == (GREEN, BLUE)
    assert plan.weights == Weights.all_to(GREEN)
    assert plan.versions == {BLUE: "v1", GREEN: "v2"}
    assert plan.release.image == "example/web:v2"


def test_a_warm_standby_is_told_to_end() -> None:
    """The plan says whose warm release the next one replaces."""
    plan = deploy(snapshot(BLUE, slot(BLUE, "v1"), slot(GREEN, "v0")))
    started = next(step for step in plan.steps if isinstance(step, StartStandby))
    assert started.replaces == "v0"
    assert "ends the warm v0" in started.detail


def test_a_missing_platform_service_is_started_and_no_other() -> None:
    """What runs is not touched."""
    seen = replace(snapshot(BLUE, slot(BLUE, "v1")), platform={"nginx": "healthy"})
    plan = deploy(seen)
    assert plan.steps[0].detail == "start what does not run: catalog"


def test_the_same_version_again_is_nothing_to_do() -> None:
    """Releasing what is active already changes nothing and says how to insist."""
    plan = deploy(snapshot(GREEN, slot(GREEN, "v2")))
    assert plan.steps == ()
    assert plan.unchanged == "v2 is already active in green; --force releases it again"


@pytest.mark.parametrize(
    ("slots", "request_options"),
    [
        ((slot(BLUE, "v2"),), {"force": True}),
        ((slot(BLUE, "v2", hashed="other"),), {}),
        ((slot(BLUE, "v2", state="exited"),), {}),
        ((slot(BLUE, "v2"),), {"image": "example/web:hotfix"}),
        ((slot(BLUE, "v1"), slot(GREEN, "v2")), {}),
        ((), {}),
    ],
    ids=["forced", "changed-config", "dead", "other-image", "only-standby", "gone"],
)
def test_the_same_version_is_released_again_where_it_matters(
    slots: tuple[Slot, ...], request_options: dict[str, Any]
) -> None:
    """By --force, for a changed configuration or image, or since the active color is not well."""
    plan = deploy(snapshot(BLUE, *slots), "v2", **request_options)
    assert plan.target is GREEN
    assert "shift" in names(plan)


def test_the_image_that_runs_already_is_the_same_image() -> None:
    """Naming the active image by reference or by id is no reason to release again."""
    seen = snapshot(BLUE, slot(BLUE, "v2"))
    for image in ("example/web:v2", "sha256:v2"):
        assert deploy(seen, "v2", image=image).unchanged


def test_force_does_not_ask_the_sick_active_color() -> None:
    """A release that mends a sick one must not be stopped by it."""
    seen = snapshot(BLUE, slot(BLUE, "v1"))
    assert "the active color blue healthy" in deploy(seen).steps[0].detail
    assert "active" not in deploy(seen, force=True).steps[0].detail


@pytest.mark.parametrize(
    ("source", "web", "image", "wanted"),
    [
        (None, {}, "", "pull"),
        (None, {"build": {"context": "."}}, "", "build"),
        ("local", {"build": {"context": "."}}, "", "local"),
        (None, {"build": {"context": "."}}, "example/web:x", "pull-if-missing"),
        ("local", {}, "example/web:x", "local"),
    ],
)
def test_where_the_image_comes_from(
    source: str | None, web: dict[str, Any], image: str, wanted: str
) -> None:
    """Built where the compose file builds, else pulled; a named image is never built."""
    options = {"services": ["web"], "port": 8000, "source": source}
    request = Request("deploy", "v2", image=image)
    seen = snapshot(BLUE, slot(BLUE, "v1"))
    plan = plan_deploy(make_settings(release=options), compose_model(**web), seen, request)
    prepared = next(step for step in plan.steps if isinstance(step, PrepareImages))
    assert prepared.source == wanted
    if image:
        assert prepared.images == {"web": image}


def test_an_old_nginx_is_noted() -> None:
    """The plan says that traffic is switched by a flag file, and why."""
    plan = deploy(snapshot(BLUE, slot(BLUE, "v1"), nginx_version=(1, 26, 3), seamless=False))
    assert any("nginx 1.26.3 is older than 1.27.4" in note for note in plan.notes)
    assert any("flag file" in step.detail for step in plan.steps)


def test_without_metrics_the_bake_says_so() -> None:
    """`prometheus: null` leaves a watch of probes and containers, and the plan says that."""
    seen = snapshot(BLUE, slot(BLUE, "v1"))
    request = Request("deploy", "v2")
    plan = plan_deploy(make_settings(prometheus=None), MODEL, seen, request)
    baked = next(step for step in plan.steps if isinstance(step, Bake))
    assert "there are no metrics" in baked.detail


def test_unknown_traffic_is_never_guessed() -> None:
    """Colors that run while nginx does not answer for them: refused, with the command to run."""
    seen = Snapshot({BLUE: slot(BLUE, "v1")}, None, {})
    for decide in (lambda: deploy(seen), lambda: choose_rollback(seen, "")):
        with pytest.raises(PreflightFailed, match="cannot say which color") as caught:
            decide()
        assert "docker compose up -d nginx" in caught.value.hint


def test_a_model_that_cannot_be_released_is_no_plan() -> None:
    """A compose file with host networking is refused before anything is decided."""
    model = compose_model(network_mode="host", networks=None)
    with pytest.raises(ConfigError):
        plan_deploy(SETTINGS, model, snapshot(None), Request("deploy", "v1"))


# rollback


def rollback(seen: Snapshot, version: str = "") -> Plan:
    """The plan of a rollback."""
    return plan_rollback(SETTINGS, MODEL, seen, choose_rollback(seen, version))


def test_a_warm_rollback_is_a_reload() -> None:
    """The previous release still runs: nothing is started and nothing is watched."""
    seen = snapshot(GREEN, slot(BLUE, "v1"), slot(GREEN, "v2"), history=(run("v1"), run("v2")))
    plan = rollback(seen)
    assert names(plan) == ["stage-router", "shift", "finish"]
    assert (plan.target, plan.release.version) == (BLUE, "v1")


def test_a_cold_rollback_starts_from_the_recorded_image() -> None:
    """The previous release was removed: it comes back from the id that its run recorded."""
    plan = rollback(snapshot(GREEN, slot(GREEN, "v2"), history=(run("v1"), run("v2"))))
    assert "bake" not in names(plan)
    prepared = next(step for step in plan.steps if isinstance(step, PrepareImages))
    assert (prepared.source, prepared.images) == ("local", {"web": "sha256:v1"})
    assert (plan.target, plan.release.version) == (BLUE, "v1")


def test_a_standby_that_died_is_not_warm() -> None:
    """Its image is used instead."""
    dead = slot(BLUE, "v1", state="exited")
    plan = rollback(snapshot(GREEN, dead, slot(GREEN, "v2"), history=(run("v1"), run("v2"))))
    assert "start-standby" in names(plan)


def test_rollback_to_a_version_finds_it_in_history() -> None:
    """--to goes back further than the previous release, even past a warm one."""
    history = (run("v1"), run("v2"), run("v3"))
    seen = snapshot(GREEN, slot(BLUE, "v2"), slot(GREEN, "v3"), history=history)
    assert rollback(seen, "v1").release.version == "v1"
    assert "start-standby" in names(rollback(seen, "v1"))
    assert "start-standby" not in names(rollback(seen, "v2"))


def test_a_release_that_was_rolled_back_is_not_gone_back_to() -> None:
    """Only releases that succeeded count as previous."""
    history = (run("v1"), run("v2"), run("v3", outcome="rolled-back"), run("v2", outcome="failed"))
    assert rollback(snapshot(BLUE, slot(BLUE, "v2"), history=history)).release.version == "v1"


BACK = (run("v1"), run("v2"), run("v1", "rollback", images={}, leaves="v2"))


def test_a_second_rollback_does_not_bring_the_bad_release_back() -> None:
    """Without a name it goes further back, or nowhere; the bad one is there for --to only."""
    seen = snapshot(BLUE, slot(BLUE, "v1"), slot(GREEN, "v2"), history=BACK)
    with pytest.raises(UsageError, match="rolled back from"):
        choose_rollback(seen, "")
    assert names(rollback(seen, "v2")) == ["stage-router", "shift", "finish"]
    older = replace(seen, history=(run("v0"), *BACK))
    assert rollback(older).release.version == "v0"


def test_a_standby_that_does_not_answer_is_not_warm() -> None:
    """It runs but is sick: going back to it starts it afresh."""
    seen = snapshot(GREEN, slot(BLUE, "v1"), slot(GREEN, "v2"), history=(run("v1"), run("v2")))
    choice = choose_rollback(seen, "", warm_answers=False)
    assert (choice.version, choice.warm, choice.target) == ("v1", False, BLUE)
    plan = plan_rollback(SETTINGS, MODEL, seen, choice)
    assert names(plan).index("stage-router") < names(plan).index("start-standby")


def test_a_rollback_goes_to_an_older_release_only() -> None:
    """Past v2 to v1 by name: from there the plain rollback leads to v0, not forth to v2."""
    history = (run("v0"), run("v1"), run("v2"), run("v3"), run("v1", "rollback", leaves="v3"))
    seen = snapshot(BLUE, slot(BLUE, "v1"), slot(GREEN, "v3"), history=history)
    assert choose_rollback(seen, "").version == "v0"
    assert choose_rollback(seen, "v2").version == "v2"


def test_going_forth_again_by_name_does_not_condemn_the_older_release() -> None:
    """From v2 to v1 and by name to v2 again: v1 may still be gone back to."""
    history = (*BACK, run("v2", "rollback", images={}, leaves="v1"))
    seen = snapshot(GREEN, slot(BLUE, "v1"), slot(GREEN, "v2"), history=history)
    assert choose_rollback(seen, "").version == "v1"


def test_a_release_whose_recovery_finished_it_counts() -> None:
    """Killed after its commit point and then recovered, it was in production."""
    kept = run("v2", outcome="recovered", committed=True)
    undone = run("v3", outcome="recovered")
    seen = snapshot(BLUE, slot(BLUE, "v4"), history=(run("v1"), kept, undone, run("v4")))
    assert choose_rollback(seen, "").version == "v2"
    with pytest.raises(UsageError, match="v3 was never released"):
        choose_rollback(seen, "v3")


def test_a_release_that_was_mended_counts_again() -> None:
    """Released a second time under its name, it may be gone back to."""
    seen = snapshot(BLUE, slot(BLUE, "v3"), history=(*BACK, run("v2"), run("v3")))
    assert rollback(seen).release.version == "v2"


def test_a_rollback_to_other_services_is_refused() -> None:
    """What was recorded must be what the configuration releases now."""
    history = (run("v1", images={"web": "sha256:1", "worker": "sha256:2"}), run("v2"))
    with pytest.raises(UsageError, match=r"as web, worker, release\.services now says web"):
        rollback(snapshot(BLUE, slot(BLUE, "v2"), history=history))


@pytest.mark.parametrize(
    ("seen", "version", "words"),
    [
        (snapshot(None), "", "nothing is released here"),
        (
            snapshot(BLUE, slot(BLUE, "v1"), history=(run("v1"),)),
            "",
            "there is no earlier release that was not itself rolled back from; released were: v1",
        ),
        (
            snapshot(BLUE, slot(BLUE, "v1"), history=(run("v1"),)),
            "v7",
            "v7 was never released here; released were: v1",
        ),
        (
            snapshot(BLUE, slot(BLUE, "v1"), history=(run("v1"),)),
            "v1",
            "v1 is active already, in blue",
        ),
    ],
)
def test_a_rollback_to_nothing_says_what_there_is(seen: Snapshot, version: str, words: str) -> None:
    """Where there is nothing to go back to, the error lists what was released."""
    with pytest.raises(UsageError) as caught:
        choose_rollback(seen, version)
    assert words in caught.value.message


def test_prune_stops_only_the_standby() -> None:
    """The active color stays; without a standby there is nothing to stop."""
    seen = snapshot(GREEN, slot(BLUE, "v1"), slot(GREEN, "v2"))
    assert [s.color for s in plan_prune(seen).steps if isinstance(s, RemoveColor)] == [BLUE]
    assert plan_prune(snapshot(GREEN, slot(GREEN, "v2"))).steps == ()


def test_a_migration_that_is_done_is_not_started_again() -> None:
    """A service that ran once and ended well is up, as far as a release minds."""
    seen = replace(snapshot(BLUE, slot(BLUE, "v1")), platform={**WELL, "catalog": "completed"})
    assert "start-platform" not in names(deploy(seen))


# recovery


def test_a_first_release_killed_before_nginx_ran_needs_no_nginx() -> None:
    """Its volume was seeded and nothing has traffic: there is no step to carry out."""
    state = RouterState(False, 0, 1, Weights(0, 0), (1, 29, 0), True)
    left = run("v1", outcome="unfinished", color=BLUE, previous=None)
    plan = plan_recovery(Snapshot({}, state, {}), left)
    assert (names(plan), plan.target) == ([], None)


def test_a_color_without_its_routed_service_gets_no_traffic() -> None:
    """Half a release, a worker alone, is never what a recovery gives the traffic to."""
    half = replace(slot(GREEN, "v2"), routed=False)
    left = run("v2", outcome="unfinished", color=GREEN, previous=BLUE, committed=True)
    plan = plan_recovery(snapshot(GREEN, slot(BLUE, "v1"), half), left)
    assert plan.weights == Weights.all_to(BLUE)
    assert (half.running, half.health) == (False, "incomplete")


def test_what_tidies_up_is_never_undone() -> None:
    """A recovery or a prune that fails leaves things as they are for the next one."""
    seen = snapshot(GREEN, slot(BLUE, "v1"), slot(GREEN, "v2"))
    left = run("v2", outcome="unfinished", color=GREEN, previous=BLUE)
    assert not plan_recovery(seen, left).undoable
    assert not plan_prune(seen).undoable
    assert deploy(seen, "v3").undoable


# any world at all


def slots_of(color: Color) -> st.SearchStrategy[Slot | None]:
    """A color that runs, has died, or is not there."""
    states = st.sampled_from(["running", "exited", "restarting", "created"])
    versions = st.sampled_from(["v1", "v2", "v3"])
    return st.none() | st.builds(slot, st.just(color), versions, states)


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    """A snapshot with any colors, traffic, generations and nginx."""
    found = [s for color in Color if (s := draw(slots_of(color)))]
    share = draw(st.sampled_from([0, 30, 50, 100]))
    weights = draw(st.sampled_from([Weights(share, 100 - share), Weights(100 - share, share)]))
    if draw(st.booleans()) and not found:
        weights = Weights(0, 0)
    state = RouterState(
        serving=draw(st.booleans()),
        generation=draw(st.integers(1, 3)),
        intended=draw(st.integers(1, 3)),
        weights=weights,
        nginx_version=(1, 29, 0),
        seamless=draw(st.booleans()),
    )
    states = st.sampled_from(["healthy", "exited", "starting"])
    platform = {name: draw(states) for name in WELL if draw(st.booleans())}
    return Snapshot({s.color: s for s in found}, state, platform)


@st.composite
def unfinished(draw: st.DrawFn) -> RunSummary:
    """A run that ended without a word, after any of its steps."""
    color = draw(st.sampled_from(Color))
    return run(
        draw(st.sampled_from(["v1", "v2", "v3"])),
        draw(st.sampled_from(["deploy", "rollback", "prune"])),
        outcome="unfinished",
        color=color,
        previous=draw(st.sampled_from([color.other, None])),
        started_standby=draw(st.booleans()),
        committed=draw(st.booleans()),
    )


def runs(seen: Snapshot, color: Color) -> bool:
    """A color has containers and all of them run."""
    return color in seen.slots and seen.slots[color].running


@given(worlds(), unfinished())
def test_recovery_never_leaves_traffic_on_a_dead_color(seen: Snapshot, left: RunSummary) -> None:
    """However a run died: afterwards traffic is on a color that runs, if one of the two had any."""
    plan = plan_recovery(seen, left)
    home = plan.weights.active
    if home and any(runs(seen, color) for color in Color):
        assert runs(seen, home)


@given(worlds(), unfinished())
def test_recovery_never_removes_what_has_the_traffic(seen: Snapshot, left: RunSummary) -> None:
    """Nor does it stop a color before its traffic has left it."""
    plan = plan_recovery(seen, left)
    removed = [step.color for step in plan.steps if isinstance(step, RemoveColor)]
    assert plan.weights.active not in removed
    assert seen.router is not None
    carrying = {color for color in removed if seen.router.weights.of(color)}
    if carrying:
        assert names(plan).index("shift") < names(plan).index("remove-color")


@given(worlds(), unfinished())
def test_recovery_settles_nginx(seen: Snapshot, left: RunSummary) -> None:
    """Half of a switch, or one that a running nginx has not applied, is always made whole."""
    plan = plan_recovery(seen, left)
    assert seen.router is not None
    unsettled = seen.router.serving and not seen.router.settled
    whole = seen.router.weights in (Weights.all_to(BLUE), Weights.all_to(GREEN), Weights(0, 0))
    if unsettled or not whole:
        assert "shift" in names(plan)


@given(worlds(), unfinished())
def test_recovery_keeps_a_committed_release(seen: Snapshot, left: RunSummary) -> None:
    """A run that died after its commit point is finished, not undone."""
    plan = plan_recovery(seen, replace(left, committed=True))
    active = seen.active
    if active and runs(seen, active):
        assert plan.weights.active is active
    assert "remove-color" not in names(plan)


@given(worlds(), unfinished())
def test_recovery_undoes_an_uncommitted_release(seen: Snapshot, left: RunSummary) -> None:
    """If the color before it still runs, a release that died half way gives the traffic back."""
    left = replace(left, command="deploy", committed=False)
    if left.previous and runs(seen, left.previous):
        assert plan_recovery(seen, left).weights == Weights.all_to(left.previous)


@given(worlds(), st.booleans())
def test_a_deploy_never_touches_the_active_color(seen: Snapshot, force: bool) -> None:
    """Whatever the world looks like, the new release goes where the traffic is not."""
    plan = deploy(seen, "v9", force=force)
    assert plan.target is not seen.active
    for step in plan.steps:
        if isinstance(step, StartStandby):
            assert step.color is plan.target


@given(worlds(), st.booleans())
def test_the_order_of_a_deploy_is_safe(seen: Snapshot, force: bool) -> None:
    """Nothing shifts before it is ready and smoke-tested; it is baked after, and finish is last."""
    plan = deploy(seen, "v9", force=force)
    order = names(plan)
    assert len(set(order)) == len(order)
    assert order[-1] == "finish"
    for earlier, later in [
        ("check-platform", "start-standby"),
        ("prepare-images", "start-standby"),
        ("start-standby", "wait-ready"),
        ("wait-ready", "smoke"),
        ("stage-router", "start-standby"),
        ("start-platform", "stage-router"),
        ("smoke", "shift"),
    ]:
        if earlier in order:
            assert order.index(earlier) < order.index(later)
    assert {"check-platform", "stage-router", "smoke", "shift"} < set(order)
    if "bake" in order:
        assert order.index("shift") < order.index("bake") < order.index("drain")
    assert ("bake" in order) == (seen.active is not None)


@given(worlds())
def test_a_shift_moves_to_what_was_staged(seen: Snapshot) -> None:
    """What nginx tested is what it is told to serve, and undoing it is a return to now."""
    plan = deploy(seen, "v9")
    staged = next(step for step in plan.steps if isinstance(step, StageRouter))
    shift = next(step for step in plan.steps if isinstance(step, Shift))
    assert staged.weights == shift.after == plan.weights
    assert seen.router is not None
    assert shift.before == seen.router.weights

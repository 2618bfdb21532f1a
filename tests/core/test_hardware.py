"""Threads wait briefly, as many as cores are free or as asked for; a busy machine is told."""

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from cxrtool.core import hardware
from cxrtool.core.hardware import (
    core_waits,
    cores_in_use,
    crowded_hint,
    free_threads,
    longest_wait,
    spin_briefly,
)
from cxrtool.training import learner as learner_module
from cxrtool.workflows.train_dry_run import plan_training
from tests.conftest import TINY, Listening


def loaded(code, **environment):
    """What a fresh process prints, in which no variable says how threads wait."""
    inherited = {key: value for key, value in os.environ.items() if key not in hardware.WAITING}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_any_way_into_the_package_says_how_threads_wait_before_torch_is_there():
    code = (
        "import sys, os; before = 'torch' in sys.modules; import cxrtool.core.errors; "
        "print(os.environ.get('GOMP_SPINCOUNT'), before, 'torch' in sys.modules)"
    )
    assert loaded(code) == f"{hardware.SPINS} False False"


@pytest.mark.parametrize("name", hardware.WAITING)
def test_what_the_user_set_counts(name, monkeypatch):
    for other in hardware.WAITING:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "ACTIVE")
    spin_briefly()
    assert {other: os.environ.get(other) for other in hardware.WAITING if other in os.environ} == {
        name: "ACTIVE"
    }


def test_a_dry_run_tries_with_the_threads_asked_for(prepared_once, monkeypatch):
    seen = []
    original = learner_module.CXRLearner._do_one_batch

    def spy(self):
        seen.append(torch.get_num_threads())
        original(self)

    monkeypatch.setattr(learner_module.CXRLearner, "_do_one_batch", spy)
    before, listening = torch.get_num_threads(), Listening()
    plan_training(replace(TINY, threads=before + 70), prepared_once, seed=1, reporter=listening)
    assert set(seen) == {before + 70}
    assert torch.get_num_threads() == before
    assert any("slower than one thread per core" in text for text in listening.warnings)


# A machine on which others work


def schedstat(folder, thread, waited):
    """A thread's figures as Linux writes them: ran and waited in nanoseconds, and slices."""
    path = folder / "task" / str(thread) / "schedstat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{5_000_000_000} {round(waited * 1e9)} 77\n")


def test_the_thread_that_waits_longest_sets_the_pace(tmp_path):
    for thread, waited in ((10, 1.0), (11, 2.0), (12, 4.0)):
        schedstat(tmp_path, thread, waited)
    before = core_waits(tmp_path)
    assert before == {"10": 1.0, "11": 2.0, "12": 4.0}
    schedstat(tmp_path, 10, 1.5)
    schedstat(tmp_path, 11, 7.0)
    (tmp_path / "task" / "12" / "schedstat").unlink()  # it ended
    schedstat(tmp_path, 13, 99.0)  # and this one began
    assert longest_wait(before, core_waits(tmp_path), 10.0) == 0.5
    assert longest_wait(before, core_waits(tmp_path), 1.0) == 1.0


def test_where_the_system_does_not_say_nothing_is_guessed(tmp_path):
    assert core_waits(tmp_path) == {}
    assert longest_wait({}, {}, 10.0) == 0.0
    assert longest_wait({"1": 0.0}, {"1": 1.0}, 0.0) == 0.0


@pytest.mark.parametrize(
    ("wait", "seconds", "told"),
    [(0.05, 60.0, False), (0.32, 60.0, False), (0.34, 60.0, True), (0.9, 4.0, False)],
)
def test_a_crowded_machine_is_told_once_it_costs_a_third_of_the_time(wait, seconds, told):
    hint = crowded_hint(wait, seconds, threads=2, workers=0, images_per_second=3.0)
    assert (hint is not None) == told
    if hint:
        assert "34%" in hint
        assert "3.0 images/s with 2 threads" in hint
        assert "--threads 1" in hint


def test_one_thread_is_not_advised_to_one_that_has_it_and_own_workers_are_named():
    hint = crowded_hint(0.6, 60.0, threads=1, workers=2, images_per_second=3.0)
    assert "--threads" not in hint
    assert "own 2 workers" in hint


def stat_of(path, idle, waiting=0):
    """A table like Linux's, in which each of this process's cores has been idle for so long."""
    ticks = os.sysconf("SC_CLK_TCK")
    rows = ["cpu  1 2 3 4 5 6 7"]
    for core in sorted(os.sched_getaffinity(0)):
        rows.append(f"cpu{core} 9 9 9 {round(idle * ticks)} {round(waiting * ticks)} 9 9")
    path.write_text("\n".join([*rows, "intr 5 5"]))


@pytest.mark.parametrize(("idle", "used"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)])
def test_a_core_is_used_for_as_long_as_it_was_not_idle(idle, used, tmp_path, monkeypatch):
    stat, now = tmp_path / "stat", 1000.0
    stat_of(stat, idle=50)

    def rest(seconds):
        nonlocal now
        now += seconds
        passed = (now - 1000.0) * idle
        stat_of(stat, idle=50 + passed / 2, waiting=passed / 2)

    monkeypatch.setattr(hardware, "time", SimpleNamespace(sleep=rest, perf_counter=lambda: now))
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setattr(hardware, "WINDOW", 2.0)
    assert cores_in_use(stat) == pytest.approx(used * cores, abs=0.02 * cores)


def test_what_lasts_for_less_than_all_windows_does_not_count(tmp_path, monkeypatch):
    stat, now, turn = tmp_path / "stat", 0.0, 0
    stat_of(stat, idle=0)

    def rest(seconds):
        nonlocal now, turn
        now, turn = now + seconds, turn + 1
        stat_of(stat, idle=0 if turn < hardware.WINDOWS else seconds)

    monkeypatch.setattr(hardware, "time", SimpleNamespace(sleep=rest, perf_counter=lambda: now))
    assert cores_in_use(stat) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("content", [None, "", "nothing of the kind", "cpu0 1\ncpu1 x y z w v"])
def test_where_the_system_does_not_tell_threads_are_the_usual_ones(content, tmp_path):
    stat = tmp_path / "stat"
    if content is not None:
        stat.write_text(content)
    used = cores_in_use(stat)
    assert not used
    assert free_threads(used, cores=4, usual=4) == 4


@pytest.mark.parametrize(
    ("used", "cores", "usual", "expected"),
    [
        (0.0, 2, 2, 2),
        (0.4, 2, 2, 2),
        (1.0, 2, 2, 1),
        (2.0, 2, 2, 1),
        (1.0, 16, 8, 8),
        (9, 16, 8, 7),
    ],
)
def test_threads_are_as_many_as_cores_are_free(used, cores, usual, expected):
    assert free_threads(used, cores=cores, usual=usual) == expected


def test_the_hardware_bf16_is_known_by_its_flags(monkeypatch):
    for flags, native in (("fma avx2", False), ("avx512_bf16", True), ("asimd bf16", True)):
        monkeypatch.setattr(hardware, "_cpu_flags", lambda found=flags: iter(found.split()))
        assert hardware.native_bf16() is native


def test_a_gpu_is_told_by_its_drivers_files(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware.sys, "platform", "linux")
    monkeypatch.setattr(hardware, "GPU_SIGNS", (str(tmp_path / "nvidiactl"),))
    assert not hardware.gpu_seems_there()
    (tmp_path / "nvidiactl").touch()
    assert hardware.gpu_seems_there()

"""Compute: what the run's own files say, and nothing where they do not."""

from cxrtool.core.runs import RunFolder
from cxrtool.reports.compute import compute_used

ENVIRONMENT = {"device": "cuda:0 (NVIDIA H100)", "processes": 2, "threads": 8, "resumed": [{}]}
NAMES = ("hardware of the training", "time of the training", "speed of the training")


def test_time_and_speed_are_those_of_the_history(tmp_path):
    run = RunFolder(tmp_path)
    run.history.write_text(
        "epoch,train_seconds,images_per_second,seconds,Edema\n1,100,30,140,0.7\n2,300,10,360,0.8\n"
    )
    assert compute_used(run, ENVIRONMENT) == dict(
        zip(
            NAMES,
            (
                "cuda:0 (NVIDIA H100), 2 processes, 8 threads",
                "8 min, with 2 validations, resumed 1 time",
                "15 images/s while training",
            ),
            strict=True,
        )
    )


def test_what_is_not_known_is_empty(tmp_path):
    run = RunFolder(tmp_path)
    assert compute_used(run, {}) == dict.fromkeys(NAMES, "")
    run.history.write_text("epoch,seconds\n1,\n2,nonsense\n")
    found = compute_used(run, {"device": "cpu", "processes": 1, "threads": 1})
    assert list(found.values()) == ["cpu, 1 thread", "", ""]

"""The house: a module imports only from rooms before its own; the CLI imports little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cxrtool"
ROOMS = (
    "core",
    "images",
    "data",
    "networks",
    "evaluation",
    "reports",
    "inference",
    "training",
    "search",
    "pacs",
    "gui",
    "workflows",
    "cli",
)
"""In the order in which they stand on each other."""
MOST_SIDEWAYS = 11
"""Imports of one workflow by another: the demo is the chain, a trial is a training,
a certificate is made of a table as another data set is scored."""
HEAVY = (
    *("torch", "torchvision", "fastai", "pandas", "numpy", "wandb", "matplotlib", "sklearn"),
    *("highdicom", "timm", "huggingface_hub"),
)
PRINTING = {"core.console"}
HOMES = {
    "typer": {
        "cli.app",
        "cli.command",
        "cli.config_files",
        "cli.help",
        "cli.options",
        "cli.suggestions",
    },
    "wandb": {"training.tracking"},
    "fastai": {"training.fastai_parts"},
    "timm": {
        "networks.imagenet_files",
        "networks.position_grids",
        "networks.start_networks",
        "networks.start_pixels",
        "networks.timm_networks",
    },
    "openvino": {"inference.engines.openvino_engine"},
    "onnxruntime": {"inference.engines.onnx_engine"},
    "highdicom": {
        "pacs.instances",
        "pacs.presentation_state",
        "pacs.secondary_capture",
        "pacs.structured_report",
    },
    "fastapi": {"gui.app"},
    "uvicorn": {"gui.server"},
    "prometheus_client": {"gui.counters", "pacs.listen_counts"},
    "pynetdicom": {"pacs.c_store", "pacs.peer_server", "pacs.receiver"},
    "requests": {
        "pacs.dicomweb_access",
        "pacs.dicomweb_retrieval",
        "pacs.dicomweb_search",
        "pacs.stow",
        "pacs.web_images",
    },
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imported(name):
    """The modules of ours that a module imports, also inside functions and for types alone."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [one for one in inside if one.removeprefix("cxrtool.") in MODULES]
            names = names or [str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        ours = [one.removeprefix("cxrtool.") for one in names if one.startswith("cxrtool.")]
        found |= {one if one in MODULES else f"{one}.__init__" for one in ours}
    return (found & set(MODULES)) - {name}


IMPORTED = {name: imported(name) for name in MODULES}


def room(name):
    return name.split(".")[0]


def test_every_module_is_in_a_room():
    alone = {"__init__", "__main__"}
    assert {room(name) for name in MODULES} - alone == set(ROOMS)


def test_imports_point_to_rooms_before():
    upward = {
        (name, other)
        for name, others in IMPORTED.items()
        for other in others
        if room(name) in ROOMS and ROOMS.index(room(other)) > ROOMS.index(room(name))
    }
    assert upward == set()


def test_no_module_imports_itself_by_way_of_others():
    done, on_the_way = set(), []

    def follow(name):
        assert name not in on_the_way, " -> ".join([*on_the_way[on_the_way.index(name) :], name])
        if name not in done:
            on_the_way.append(name)
            for other in sorted(IMPORTED[name]):
                follow(other)
            on_the_way.pop()
            done.add(name)

    for name in MODULES:
        follow(name)


def test_few_workflows_import_each_other():
    sideways = [
        (name, other)
        for name, others in IMPORTED.items()
        for other in others
        if room(name) == room(other) == "workflows"
    ]
    assert len(sideways) <= MOST_SIDEWAYS, sideways


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_the_console_prints(name):
    calls = [
        node.lineno
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write")
    ]
    assert name in PRINTING or calls == []


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_its_homes(library):
    users = set()
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            if any(found.split(".")[0] == library for found in names):
                users.add(name)
    assert users == HOMES[library]


def loaded_after(code):
    """Which of the heavy libraries are in memory after some code, in a process of its own."""
    listing = f"import sys\n{code}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


def test_the_command_line_imports_nothing_heavy():
    shown = ", ".join(f"cxrtool.cli.show.{name}" for name in ("data", "results", "scores"))
    code = f"import cxrtool.cli.app, {shown}"
    assert loaded_after(code) == set()


@pytest.mark.parametrize("name", ["prepare", "split", "evaluate"])
def test_prepare_split_and_evaluate_start_without_torch(name):
    assert "torch" not in loaded_after(f"import cxrtool.workflows.{name}")


def test_runs_starts_with_nothing_heavy():
    assert loaded_after("import cxrtool.workflows.runs") == set()


def test_models_starts_with_nothing_heavy():
    assert loaded_after("import cxrtool.workflows.models as m; m.list_starts()") == set()


def test_predict_starts_with_nothing_but_numpy():
    assert loaded_after("import cxrtool.workflows.predict") == {"numpy"}


TESTED_BY = {
    "pacs.predict_parts": "workflows/test_predict_dicom.py",
    "cli.show": "cli/test_app.py",  # what commands print
    "core.config": "core/config/test_option.py",  # all options of all commands
    "data.external_data": "workflows/test_external.py",
    "data.image_checks": "workflows/test_prepare.py",
    "data.phantoms": "data/phantoms/test_findings.py",  # what is drawn is seen in the picture
    "data.provenance": "core/test_origin.py",
    "data.published": "core/test_origin.py",
    "data.run_predictions": "core/test_schemas.py",
    "data.summary": "workflows/test_prepare.py",
    "evaluation.tables.samples": "workflows/test_evaluate_tables.py",
    "networks.head": "networks/test_architectures.py",
    "gui.about": "gui/test_app.py",
    "gui.answering": "gui/test_app.py",
    "gui.answers": "gui/test_app.py",
    "gui.counters": "gui/test_app.py",
    "images.formats.deep": "images/formats/test_tiff.py",
    "images.formats.dicom": "images/dicom/test_reading.py",
    "inference.engines.onnx_engine": "inference/engines/test_base.py",  # all engines alike
    "inference.sources": "pacs/test_web_images.py",
    "inference.part_scores": "workflows/test_evaluate.py",
    "inference.study_sink": "workflows/test_predict_dicom.py",
    "networks.imagenet_files": "networks/test_pretrained.py",
    "networks.position_grids": "networks/test_adapters.py",
    "networks.start_networks": "networks/test_adapters.py",
    "pacs.listen_counts": "pacs/test_monitor.py",
    "pacs.peer_server": "pacs/test_receiver.py",  # what peers may do
    "pacs.spooled_study": "pacs/test_spool.py",
    "reports.card": "reports/test_page.py",
    "reports.cohort": "reports/test_flow.py",
    "reports.figures.series": "reports/figures/test_curves.py",
    "reports.files": "workflows/test_evaluate.py",
    "reports.flow_picture": "reports/test_flow.py",
    "reports.group_rows": "reports/test_page.py",
    "reports.pictures": "reports/test_page.py",
    "reports.published": "reports/test_page.py",
    "reports.summary": "reports/test_page.py",
    "reports.truth_words": "reports/test_page.py",
    "search.figures": "search/test_trials.py",
    "training.continuation": "training/test_resume.py",
    "training.fastai_parts": "training/test_learner.py",
    "training.machine": "workflows/test_train.py",
    "training.pictures": "training/test_learner.py",
    "training.recorder": "workflows/test_train.py",
    "workflows.tune_trial": "search/test_trial_process.py",  # the process of a trial
}
"""Modules, or all of a package, without a test file of their name: which one tests them."""


def test_every_module_has_a_test_file_of_its_name_or_is_said_to_be_tested_by_another():
    tests = Path(__file__).parent
    alone = {
        name
        for name, path in MODULES.items()
        if path.name not in ("__init__.py", "__main__.py")
        and not (tests / path.relative_to(PACKAGE).with_name(f"test_{path.name}")).is_file()
    }
    said = {one for one in alone for part in TESTED_BY if one == part or one.startswith(f"{part}.")}
    assert alone == said
    for part, file in TESTED_BY.items():
        assert (tests / file).is_file(), part
        assert any(one == part or one.startswith(f"{part}.") for one in alone), part

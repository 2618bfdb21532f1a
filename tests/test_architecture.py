"""The house: a module imports only from the layers below its own, and the CLI imports little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cxrtool"
LAYERS = {
    "base": {
        "blanks",
        "called",
        "config",
        "errors",
        "escapes",
        "files",
        "labels",
        "logits",
        "names",
        "numbers",
        "plotting",
        "processors",
        "signals",
        "threads",
        "streams",
        "unicode_forms",
    },
    "schemas": {"schemas"},
    "tables": {"findings", "origin", "published", "references", "shares", "tables", "trials"},
    "pictures": {"apart", "depth", "dicom", "dicom.*", "formats", "formats.*", "looks"},
    "io": {
        "cache",
        "cells",
        "curves",
        "decisions",
        "images",
        "manifest",
        "new_cache",
        "new_runs",
        "page",
        "paper",
        "journal",
        "prediction_rows",
        "predictions",
        "report",
        "runs",
        "paper_tables",
        "pictures",
        "score_figures",
        "starts",
        "score_figures.*",
        "tracking",
        "figures",
        "heatmap_figures",
        "workspace",
        "yaml_files",
    },
    "others' tables": {"given.*"},
    "sources": {"sources.*"},
    "domain": {
        "apart_process",
        "augmentation",
        "sampling",
        "averaging",
        "balance",
        "dataloaders",
        "decoding",
        "devices",
        "distributed",
        "explain",
        "fastai_parts",
        "feature_maps",
        "losses",
        "metrics",
        "networks",
        "phantoms",
        "phantoms.*",
        "provenance",
        "ancestry",
        "seen",
        "run_predictions",
        "schedules",
        "splits",
        "state_dicts",
        "trained",
        "weights",
    },
    "measures": {"bootstrap", "calibration", "intervals", "operating", "reliability", "saturation"},
    "search": {"sampler", "search_space", "studies", "study_figures", "study_storage"},
    "scoring": {"comparison", "points", "score_curves", "scoring", "subgroups"},
    "engines": {"engines", "engines.*"},
    "models": {"ensemble", "scorer"},
    "training": {"checkpoints", "control", "learner"},
    "page": {"gui", "gui.*"},
    "workflows": {"workflows.*"},
    "commands": {
        "cli",
        "commands",
        "option_values",
        "options",
        "prediction_options",
        "suggestions",
        "show",
        "show_export",
        "show_gui",
        "show_predict",
        "show_scores",
        "show_tune",
        "__main__",
    },
}
SIDEWAYS = {
    ("comparison", "scoring"),
    ("dicom.reading", "formats.dicom"),
    ("dicom.stored", "formats.jpeg"),
    ("points", "scoring"),
    ("score_curves", "scoring"),
    ("figures", "score_figures.writing"),
    ("subgroups", "scoring"),
    ("__main__", "cli"),
    ("cli", "commands"),
    ("cli", "options"),
    ("cli", "show"),
    ("cli", "show_gui"),
    ("cli", "show_export"),
    ("cli", "show_predict"),
    ("cli", "show_scores"),
    ("cli", "show_tune"),
    ("sampler", "search_space"),
    ("studies", "sampler"),
    ("studies", "search_space"),
    ("study_storage", "studies"),
    ("study_figures", "search_space"),
    ("workflows.tune", "workflows.tune_record"),
    ("workflows.tune", "workflows.tune_setup"),
    ("workflows.tune", "workflows.tune_wandb"),
    ("workflows.tune", "workflows.tune_worker"),
    ("workflows.tune_record", "workflows.train_record"),
    ("workflows.tune_record", "workflows.tune_setup"),
    ("workflows.tune_record", "workflows.tune_worker"),
    ("workflows.tune_setup", "workflows.train_record"),
    ("workflows.tune_setup", "workflows.train_resume"),
    ("workflows.tune_setup", "workflows.train_setup"),
    ("workflows.tune_trial", "workflows.train"),
    ("workflows.tune_wandb", "workflows.tune_worker"),
    ("workflows.tune_worker", "workflows.tune_record"),
    ("workflows.tune_worker", "workflows.tune_setup"),
    ("workflows.tune_worker", "workflows.tune_trial"),
    ("commands", "options"),
    ("options", "option_values"),
    ("options", "prediction_options"),
    ("cli", "prediction_options"),
    ("cli", "suggestions"),
    ("commands", "option_values"),
    ("commands", "suggestions"),
    ("option_values", "suggestions"),
    ("ensemble", "scorer"),
    ("runs", "workspace"),
    ("decisions", "prediction_rows"),
    ("decisions", "report"),
    ("starts", "runs"),
    ("runs", "yaml_files"),
    ("journal", "prediction_rows"),
    ("predictions", "prediction_rows"),
    ("show", "show_predict"),
    ("show", "show_scores"),
    ("paper_tables", "paper"),
    ("reliability", "calibration"),
    ("seen", "ancestry"),
    ("augmentation", "fastai_parts"),
    ("augmentation", "networks"),
    ("checkpoints", "control"),
    ("checkpoints", "learner"),
    ("dataloaders", "distributed"),
    ("dataloaders", "augmentation"),
    ("dataloaders", "fastai_parts"),
    ("explain", "devices"),
    ("explain", "feature_maps"),
    ("explain", "networks"),
    ("explain", "trained"),
    ("feature_maps", "networks"),
    ("files", "errors"),
    ("called", "config"),
    ("heatmap_figures", "cells"),
    ("heatmap_figures", "score_figures.writing"),
    ("labels", "config"),
    ("labels", "errors"),
    ("labels", "unicode_forms"),
    ("names", "config"),
    ("learner", "control"),
    ("networks", "devices"),
    ("pictures", "images"),
    ("published", "origin"),
    ("new_cache", "cache"),
    ("new_cache", "images"),
    ("new_runs", "runs"),
    ("splits", "balance"),
    ("tracking", "report"),
    ("trained", "networks"),
    ("weights", "networks"),
    ("weights", "state_dicts"),
    ("workflows.compare", "workflows.evaluate"),
    ("workflows.compare", "workflows.evaluate_tables"),
    ("workflows.compare", "workflows.score"),
    ("workflows.demo", "workflows.evaluate"),
    ("workflows.demo", "workflows.predict"),
    ("workflows.demo", "workflows.predict_work"),
    ("workflows.demo", "workflows.prepare"),
    ("workflows.demo", "workflows.split"),
    ("workflows.demo", "workflows.train"),
    ("workflows.evaluate", "workflows.evaluate_points"),
    ("workflows.list_runs", "workflows.clear_runs"),
    ("workflows.evaluate", "workflows.evaluate_report"),
    ("workflows.evaluate", "workflows.evaluate_truth"),
    ("workflows.evaluate", "workflows.score"),
    ("workflows.evaluate_points", "workflows.evaluate_truth"),
    ("workflows.evaluate_report", "workflows.score"),
    ("workflows.evaluate_tables", "workflows.evaluate"),
    ("workflows.evaluate_tables", "workflows.evaluate_report"),
    ("workflows.evaluate_tables", "workflows.evaluate_truth"),
    ("workflows.evaluate_tables", "workflows.score"),
    ("workflows.export", "workflows.predict_inputs"),
    ("workflows.predict", "workflows.predict_inputs"),
    ("workflows.predict", "workflows.predict_table"),
    ("workflows.predict", "workflows.predict_work"),
    ("workflows.predict_table", "workflows.predict_work"),
    ("workflows.predict_work", "workflows.predict_heatmaps"),
    ("workflows.predict_work", "workflows.predict_inputs"),
    ("workflows.prepare", "workflows.prepare_checks"),
    ("workflows.prepare", "workflows.prepare_images"),
    ("workflows.prepare", "workflows.prepare_record"),
    ("workflows.split", "workflows.split_checks"),
    ("workflows.train", "workflows.train_record"),
    ("workflows.train", "workflows.train_resume"),
    ("workflows.train", "workflows.train_setup"),
    ("workflows.train_plan", "workflows.train_setup"),
    ("workflows.train_rates", "workflows.train_setup"),
    ("workflows.train_record", "workflows.train_resume"),
    ("workflows.train_record", "workflows.train_setup"),
    ("workflows.train_resume", "workflows.train_data"),
    ("workflows.train_setup", "workflows.train_data"),
}
HEAVY = ("torch", "torchvision", "fastai", "pandas", "numpy", "wandb", "matplotlib", "sklearn")
PRINTING = {"report"}
INSIDE = {"dicom", "engines", "formats", "given", "gui", "phantoms", "score_figures", "sources"}
"""Packages of one room: their modules import each other."""


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if parts:
            yield ".".join(parts), path


MODULES = dict(modules())


def layer(name):
    for rank, (_, names) in enumerate(LAYERS.items()):
        if name in names or f"{name.rpartition('.')[0]}.*" in names:
            return rank
    return None


def imported(path):
    """The modules of ours that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "cxrtool":
                names = [f"cxrtool.{alias.name}" for alias in node.names]
            else:
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                modules_inside = [n for n in inside if n.removeprefix("cxrtool.") in MODULES]
                names = modules_inside or [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.removeprefix("cxrtool.") for name in names if name.startswith("cxrtool.")}
    return found & set(MODULES)


def test_every_module_has_a_layer():
    packages = {"given", "workflows", "sources"}
    assert [name for name in MODULES if name not in packages and layer(name) is None] == []


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"given", "workflows", "sources"}))
def test_imports_point_down(name):
    inside = name.split(".")[0]
    upward = {
        other
        for other in imported(MODULES[name])
        if other != name
        and layer(other) >= layer(name)
        and (name, other) not in SIDEWAYS
        and not (inside in INSIDE and other.startswith(inside))
    }
    assert upward == set()


def test_no_sideways_edge_is_left_over():
    used = {(name, other) for name in MODULES for other in imported(MODULES[name])}
    assert SIDEWAYS - used == set()


def imported_at_once(name):
    """What importing a module imports of ours before its own names are there."""
    found = set()
    for node in ast.parse(MODULES[name].read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxrtool"):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {one for one in inside if one.removeprefix("cxrtool.") in MODULES}
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("cxrtool.")}
    # A module's packages are imported before it.
    for one in list(found):
        parts = one.split(".")
        found |= {".".join(parts[:end]) for end in range(2, len(parts))}
    own = name.split(".")
    within = {".".join(own[:end]) for end in range(1, len(own) + 1)}
    return {one.removeprefix("cxrtool.") for one in found} & set(MODULES) - within


def test_each_module_can_be_imported_first():
    done, way = set(), []

    def follow(name):
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            way.append(name)
            for other in sorted(imported_at_once(name)):
                follow(other)
            way.pop()
            done.add(name)

    for name in MODULES:
        follow(name)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_only_report_prints(name):
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(MODULES[name].read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write")
    ]
    assert name in PRINTING or calls == []


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        (
            "typer",
            {"cli", "commands", "option_values", "options", "prediction_options", "suggestions"},
        ),
        ("wandb", {"tracking"}),
        ("fastai", {"fastai_parts"}),
        ("openvino", {"engines.openvino_engine"}),
        ("onnxruntime", {"engines.onnx_engine"}),
        ("gradio", {"gui.blocks"}),
    ],
)
def test_a_library_has_its_homes(library, homes):
    users = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            if any(found.split(".")[0] == library for found in names):
                users.add(name)
    assert users == homes


def loaded_after(code):
    """Which of the heavy libraries are in memory after some code, in a process of its own."""
    listing = f"import sys\n{code}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


def test_the_command_line_imports_nothing_heavy():
    assert loaded_after("import cxrtool.cli, cxrtool.show, cxrtool.show_scores") == set()


@pytest.mark.parametrize("name", ["prepare", "split", "evaluate"])
def test_prepare_split_and_evaluate_start_without_torch(name):
    assert "torch" not in loaded_after(f"import cxrtool.workflows.{name}")


def test_runs_starts_with_nothing_heavy():
    assert loaded_after("import cxrtool.workflows.list_runs") == set()


def test_predict_starts_with_nothing_but_numpy():
    assert loaded_after("import cxrtool.workflows.predict") == {"numpy"}

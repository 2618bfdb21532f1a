"""`compare`: runs, or tables of predictions, side by side and beside published scores."""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxrtool.core.config import CompareConfig
from cxrtool.core.console import SILENT, Reporter
from cxrtool.core.errors import UsageError, counted, first_few
from cxrtool.core.files import claimed_folder, write_text
from cxrtool.core.json_files import plain, write_json
from cxrtool.core.workspace import Workspace
from cxrtool.evaluation.comparison import APART, differences_of, unused_policies, why_apart
from cxrtool.evaluation.result import EvaluationResult, PairedDifferences
from cxrtool.evaluation.run_part import choose_part
from cxrtool.evaluation.scoring import Scored, tell_warnings
from cxrtool.inference.part_scores import score_part
from cxrtool.networks.published_runs import run_of
from cxrtool.reports.figures.forest import comparison_figure
from cxrtool.reports.figures.panels import save_figure
from cxrtool.reports.markup import PaperTable, to_csv, to_latex, to_markdown
from cxrtool.reports.paper_tables import auroc_table, delong_table, differences_table
from cxrtool.reports.reference_tables import count_published, references_tables
from cxrtool.workflows.evaluate_tables import score_files_alone

WRITERS: dict[str, Callable[[PaperTable], str]] = {
    ".csv": to_csv,
    ".md": to_markdown,
    ".tex": to_latex,
}
"""How a table is written, by the suffix of its file."""


@dataclass(frozen=True)
class CompareResult:
    """Each one's scores, the differences of those that have one truth, and the tables."""

    results: list[EvaluationResult]
    differences: list[PairedDifferences]
    tables: dict[str, PaperTable]
    """By the names that their files have: aurocs, differences, delong, references,
    other_references."""
    published: int = 0
    """How many published results stand in the last two."""
    written: tuple[Path, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The result as `--json` prints it."""
        return {"results": plain(self.results), "differences": plain(self.differences)}


def compare_runs(
    config: CompareConfig,
    names: Sequence[str],
    workspace: Workspace,
    *,
    seed: int,
    reporter: Reporter = SILENT,
) -> CompareResult:
    """Score runs of a workspace on one part, or tables of predictions, and set them side by side.

    Each run is compared with the truth of its own policy, unless `config.uncertainty` names one
    for all; differences are taken where the truth is the same. Nothing of a run is changed but
    that scores which are missing are made; tables and the picture go to `config.output`.

    Raises:
        UsageError: a name twice, runs beside tables, or tables without --truth.
        RunError, DataError: as for `evaluate`.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise UsageError(f"{first_few(twice)} is named twice")
    files = [Path(name) for name in names if name.lower().endswith((".csv", ".csv.gz"))]
    if files and len(files) < len(names):
        raise UsageError("runs and tables of predictions cannot be mixed: name one kind")
    if not files and (config.truth is not None or config.key is not None):
        raise UsageError("--truth and --key belong to tables of predictions, not to runs")
    if files:
        scored = score_files_alone(files, config, seed=seed, reporter=reporter)
    else:
        # All are found before the first is scored: that may take long.
        runs = [run_of(workspace.runs, name, reporter) for name in names]
        parts = [choose_part(run, config, workspace, reporter) for run in runs]
        scored = [score_part(part, config, seed=seed, reporter=reporter) for part in parts]
    tell_warnings(scored, reporter)
    _tell_pairs_apart(scored, reporter)
    results, differences = [one.result for one in scored], differences_of(scored)
    result = CompareResult(
        results, differences, _tables(results, differences), count_published(results)
    )
    if config.output is None:
        return result
    return replace(result, written=tuple(_write(result, config.output, force=config.force)))


def _tell_pairs_apart(scored: Sequence[Scored], reporter: Reporter) -> None:
    """Say of which pairs no difference is taken, why, and what to do; and of which one is although
    their policies have other names."""
    pairs = list(itertools.combinations(scored, 2))
    apart = Counter(why for pair in pairs if (why := why_apart(*pair)))
    alike = Counter(what for pair in pairs if (what := unused_policies(*pair)))
    for what, count in alike.items():
        reporter.note(
            f"{counted(count, 'pair')} of {len(pairs)} differ in policies ({what}) that nothing in "
            "these images meets: the truth is the same, and the difference is taken"
        )
    for why, count in apart.items():
        reporter.note(
            f"no difference is taken of {counted(count, 'pair')} of {len(pairs)}: {APART[why]}"
        )


def _tables(
    results: Sequence[EvaluationResult], differences: Sequence[PairedDifferences]
) -> dict[str, PaperTable]:
    """The tables there are something for: one's own, and then published ones."""
    same, other = references_tables(results)
    found = {
        "aurocs": auroc_table(results, digits=3),
        "differences": differences_table(differences) if differences else None,
        "delong": delong_table(differences) if differences else None,
        "references": same,
        "other_references": other,
    }
    return {name: table for name, table in found.items() if table is not None}


def _write(result: CompareResult, folder: Path, *, force: bool) -> list[Path]:
    written = [folder / "compare.json", folder / "aurocs.png"]
    aurocs = {
        one.run: {label: scores.auroc for label, scores in one.labels.items()}
        for one in result.results
    }
    with claimed_folder(folder, force=force):
        write_json(written[0], result.as_json())
        save_figure(comparison_figure(aurocs), written[1])
        for name, table in result.tables.items():
            for suffix, write in WRITERS.items():
                written.append(folder / f"{name}{suffix}")
                write_text(written[-1], write(table))
    return written

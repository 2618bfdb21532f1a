"""The test AUROCs of some runs as a Markdown table.

python examples/auroc_table.py cxr resnet101-ones densenet121-ones

It reads the JSON files that `cxrtool evaluate` wrote and imports nothing of cxrtool, as any script
of yours can. Each run is compared with the truth under its own policy, as in the student report;
`cxrtool evaluate --uncertainty ones` uses another policy for the truth.
"""

import json
import sys
from pathlib import Path


def read_scores(workspace: Path, run: str) -> dict[str, float | None]:
    """A run's AUROC for each label, their mean, and over how many labels it is."""
    metrics = json.loads((workspace / "runs" / run / "metrics" / "test.json").read_text())
    scores = {label: figures["auroc"] for label, figures in metrics["labels"].items()}
    return {**scores, "mean": metrics["mean_auroc"], "labels": metrics["defined"]}


def main(workspace: str, *runs: str) -> None:
    """Print the table."""
    columns = [read_scores(Path(workspace), run) for run in runs]
    labels = list(dict.fromkeys(label for column in columns for label in column))
    print("| label |", " | ".join(runs), "|")
    print("|---|" + "---:|" * len(runs))
    for label in labels:
        values = [column.get(label) for column in columns]
        cells = ["n/a" if value is None else f"{value:.4g}" for value in values]
        print(f"| {label} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main(*sys.argv[1:])

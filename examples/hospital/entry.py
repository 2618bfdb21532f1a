"""What a container starts: a folder in and a folder out where their names are given, else cxrtool.

mercure gives MERCURE_IN_DIR and MERCURE_OUT_DIR and takes the *.dcm that lie in the latter, and
result.json; MONAI Deploy and Holoscan give variables of their own. CXRTOOL_MODEL is the model,
CXRTOOL_SR_CLASS the class of the report (comprehensive-3d, comprehensive, enhanced).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDERS = (
    ("MERCURE_IN_DIR", "MERCURE_OUT_DIR"),
    ("MONAI_INPUTPATH", "MONAI_OUTPUTPATH"),
    ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"),
)
KEPT = ("status", "run", "engine", "images", "failed", "seconds", "error")
"""What result.json has of the command's own: no names of files."""


def folders() -> tuple[Path, Path] | None:
    """The folder of images and the one of results, where they are given."""
    for given, wanted in FOLDERS:
        if os.environ.get(given) and os.environ.get(wanted):
            return Path(os.environ[given]), Path(os.environ[wanted])
    return None


def score(images: Path, results: Path) -> int:
    """Write the results of all studies in a folder side by side; the exit code.

    It is 0 where each study has a report, though some of its images may not have been scored: the
    report says why.
    """
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / "studies"
        command = ["cxrtool", "predict", str(images), "--dicom", str(made), "--json"]
        if model := os.environ.get("CXRTOOL_MODEL"):
            command += ["--run", model]
        if sr_class := os.environ.get("CXRTOOL_SR_CLASS"):
            command += ["--sr-class", sr_class]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout or "{}")
        files = sorted(made.glob("*/*.dcm"))
        for file in files:
            shutil.copyfile(file, results / f"{file.parent.name}-{file.name}")
    reports = sum(file.name == "report.dcm" for file in files)
    failed = len(told.get("dicom", {}).get("failed", []))
    text = f"cxrtool: {reports} reports, {len(files) - reports} pictures, research only"
    if failed or not reports:
        text += f"; {failed or 'all'} studies without a report"
    result = {key: told[key] for key in KEPT if key in told}
    result |= {"reports": reports, "files": len(files), "studies_without_report": failed}
    result["__mercure_notification"] = {"text": text}
    (results / "result.json").write_text(json.dumps(result, indent=1))
    if reports and not failed:
        return 0
    return done.returncode or 1


def main() -> None:
    """Score a folder, or become cxrtool."""
    found = folders()
    if found is None:
        os.execvp("cxrtool", ["cxrtool", *sys.argv[1:]])
    sys.exit(score(*found))


if __name__ == "__main__":
    main()

"""A scoring process that does what the images of a study tell it to, in their StudyDescription."""

import os
import signal
import sys
import time
from pathlib import Path

from cxrtool.images.apart import read_message, write_message

READY = {"model": "scripted", "engine": "none", "warnings": ["it is scripted"]}


def answer(question):
    content = b"".join(Path(file).read_bytes() for file in question["files"])
    made = {"images": len(question["files"]), "scored": 1, "why_not": ["a lateral"], "results": 1}
    if question["given_up"]:
        (Path(question["into"]) / "report.dcm").write_text(question["given_up"])
        return made
    if b"DIES" in content:
        os.kill(os.getpid(), signal.SIGKILL)
    if b"FAILS" in content:
        return {"failed": "scoring failed (ValueError)"}
    if b"MIXED" in content:
        return {"refused": "of several patients"}
    if b"FULL" in content:
        return {"delayed": "the spool's disk is full"}
    if b"SLOW" in content:
        time.sleep(600)
    (Path(question["into"]) / "report.dcm").write_bytes(b"report")
    return made


def main():
    asked, answers = os.fdopen(0, "rb", 0), os.fdopen(1, "wb")
    model = read_message(asked)[0]
    if model["models"] == ["none"]:
        write_message(answers, {"error": "no run 'none'"})
        return
    if model["models"] == ["dies"]:
        sys.exit(3)
    write_message(answers, {"ready": READY})
    while True:
        write_message(answers, answer(read_message(asked)[0]))


if __name__ == "__main__":
    main()

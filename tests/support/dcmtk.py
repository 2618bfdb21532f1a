"""DCMTK's programs: pynetdicom installs some of the same names, which are others."""

import shutil

FOLDERS = "/usr/bin:/usr/local/bin:/opt/homebrew/bin"
STORESCU, ECHOSCU = (shutil.which(name, path=FOLDERS) for name in ("storescu", "echoscu"))
WHY_NONE = "" if STORESCU and ECHOSCU else "dcmtk is not installed: apt-get install dcmtk"

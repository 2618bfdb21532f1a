"""`python -m cxrtool`, for machines where the script is not on the path."""

from cxrtool.cli.app import main

main()

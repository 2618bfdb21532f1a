"""What the tests of the drawings share."""

from cxrtool.data.labels import CHEXPERT_LABELS, NO_FINDING

FINDINGS = [label for label in CHEXPERT_LABELS if label != NO_FINDING]

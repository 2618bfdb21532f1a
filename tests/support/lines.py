"""What a command says while it works, kept line by line."""

from cxrtool.core.console import Reporter


class Lines(Reporter):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(progress=False)
        self.lines = []

    def note(self, text):
        self.lines.append(text)

    def warn(self, text):
        self.lines.append(text)

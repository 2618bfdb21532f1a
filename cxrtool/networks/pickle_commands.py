"""Which names in a pickled file are commands, which no file of weights has a use for."""

COMMANDS = frozenset(
    (
        *("os", "posix", "nt", "subprocess", "commands", "popen2", "pty", "shutil", "tempfile"),
        *("sys", "importlib", "imp", "runpy", "zipimport", "pkgutil", "inspect", "gc"),
        *("ctypes", "io", "_io", "pickle", "_pickle", "cPickle", "marshal", "operator", "code"),
        *("codeop", "pdb", "bdb", "timeit", "profile", "cProfile", "signal", "atexit", "asyncio"),
        *("threading", "_thread", "thread", "multiprocessing", "socket", "ssl", "ftplib"),
        *("smtplib", "telnetlib", "urllib", "urllib2", "http", "httplib", "requests", "pip"),
        "webbrowser",
    )
)
"""Modules that no description of a network needs, and every attack does."""
BUILTINS = frozenset(
    (
        *("eval", "exec", "execfile", "compile", "__import__", "open", "file", "getattr"),
        *("setattr", "delattr", "input", "breakpoint", "globals", "locals", "vars", "apply"),
        "reload",
    )
)
"""The same of Python's own functions."""
OTHERS = (
    *("torch.hub", "torch.utils.cpp_extension", "torch.load", "torch.serialization.load"),
    *("numpy.testing", "numpy.f2py", "numpy.load", "types.FunctionType", "types.CodeType"),
)
"""What else runs or fetches what it is given."""


def is_command(module: str, name: str) -> bool:
    """Whether a name of a module, as a pickle has the two, would run, fetch or look up something.

    >>> is_command("os", "system"), is_command("builtins", "reload")
    (True, True)
    >>> is_command("torch.nn.modules.conv", "Conv2d"), is_command("builtins", "r")
    (False, False)
    """
    # Of a dotted name all but the last part are modules too: `torch` and `os.system`.
    modules = [module.split(".")[0], *name.split(".")[:-1]]
    if any(one in COMMANDS for one in modules):
        return True
    if module in ("builtins", "__builtin__", "__builtins__"):
        return name.split(".")[0] in BUILTINS
    return any(f"{module}.{name}.".startswith(f"{one}.") for one in OTHERS)

"""Names in pickles: those that run something, and those of networks."""

import pytest

from cxrtool.networks.pickle_commands import is_command


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("os.path", "join")),
        *(("builtins", "eval"), ("builtins", "reload"), ("__builtin__", "getattr")),
        *(("torch", "os.system"), ("torch", "load"), ("torch.hub", "load"), ("numpy", "load")),
        *(("builtins", "eval.__call__"), ("types", "FunctionType")),
    ],
)
def test_what_runs_something_is_a_command(module, name):
    assert is_command(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("torch.nn.modules.conv", "Conv2d"), ("torch._utils", "_rebuild_tensor_v2")),
        *(("collections", "OrderedDict"), ("builtins", "set"), ("builtins", "r")),
        *(("torchxrayvision.models", "DenseNet"), ("numpy.core.multiarray", "scalar")),
        *(("argparse", "Namespace"), ("torch", "loader"), ("osteo.nets", "system")),
    ],
)
def test_what_a_network_is_made_of_is_none(module, name):
    assert not is_command(module, name)

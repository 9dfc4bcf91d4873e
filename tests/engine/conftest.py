import pytest

from kraken_l3.engine.choose import make_engine
from kraken_l3.engine.port import EngineOptions
from kraken_l3.errors import UsageError


@pytest.fixture(params=["python", "native"])
def engine(request):
    """Makes engines: both kinds must pass the same tests."""

    def make(**options):
        return make_engine(EngineOptions(**options), request.param)

    try:
        make()
    except UsageError:
        pytest.skip("the native engine is not installed")
    return make

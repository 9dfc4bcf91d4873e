import pytest

from kraken_l3.errors import UsageError
from kraken_l3.rebuild.engine import EngineOptions
from kraken_l3.rebuild.engines import make_engine


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

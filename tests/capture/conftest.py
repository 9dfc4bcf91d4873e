import pytest


@pytest.fixture(autouse=True)
def own_state_directory(tmp_path, monkeypatch):
    """Nonces and refusals of a test are its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

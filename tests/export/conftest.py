"""What the export's tests share; without the research libraries they are skipped."""

import pytest

pytest.importorskip("numpy", reason="needs the extra 'research'")
pytest.importorskip("pyarrow", reason="needs the extra 'research'")

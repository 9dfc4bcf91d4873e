"""`kraken-l3 audit` as a person types it, beside a recorder."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from kraken_l3.exchange.server import Exchange, made_up_keys
from recording import Recording, flow, run

KEY, SECRET = list(made_up_keys(2).items())[1]


async def audit(recording: Recording, *arguments: str, **environment: str) -> tuple[int, str, str]:
    settings = recording.settings
    given = {
        "KRAKEN_AUDIT_API_KEY": KEY,
        "KRAKEN_AUDIT_API_SECRET": SECRET,
        "KRAKEN_L3_REST_URL": settings.rest_url,
        "KRAKEN_L3_OUTPUT_DIR": str(settings.output_dir),
        "KRAKEN_API_KEY": settings.api_key.get_secret_value(),
        "XDG_STATE_HOME": str(settings.output_dir.parent),
        "PYTHONPATH": ":".join(sys.path),
        **environment,
    }
    command = (sys.executable, "-m", "kraken_l3", "audit", *arguments)
    pipes: Any = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*command, env=given, cwd=settings.output_dir.parent, **pipes)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def test_the_command_and_its_refusals(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Exchange(flow(("BTC/USD",)), keys=made_up_keys(2)) as exchange,
            Recording(tmp_path / "data", exchange, symbols=["BTC/USD"], depth=100) as recording,
        ):
            await recording.until_acknowledged()
            code, out, err = await audit(recording, "--symbols", "ETH/USD", "--json")
            assert (code, err) == (3, "")
            told = json.loads(out)
            assert (told["command"], told["exit_code"], told["result"]["not_compared"]) == ("audit", 3, 1)
            assert told["result"]["last"][0]["outcome"] == "not_compared"
            exchange.tokens.permissions = ("create-ws-token",)
            code, out, err = await audit(recording)
            assert (code, out) == (4, "")
            assert "'Query open orders & trades'" in err
            code, out, err = await audit(recording, "--symbols", "BTC/USD", KRAKEN_AUDIT_API_KEY=exchange.api_key)
            assert (code, out) == (1, "")
            assert "this is the recorder's key" in err
            assert exchange.api_key not in err

    run(main())

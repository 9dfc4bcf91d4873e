"""Run in ob-analytics' environment: its LOBSTER loader over an exported day.

Arguments: message file, date, price scale. Prints counts by action, and what rests at the end by id, as JSON.
"""

import json
import sys

from ob_analytics.config import PipelineConfig
from ob_analytics.lobster import LobsterLoader


def main() -> None:
    path, date, scale = sys.argv[1], sys.argv[2], int(sys.argv[3])
    config = PipelineConfig(price_divisor=10**scale, price_decimals=scale, volume_decimals=0)
    loader = LobsterLoader(config, trading_date=date)
    events = loader.load(path)
    last = events.groupby("id").tail(1)
    rests = last[(last["action"] != "deleted") & (last["volume"] > 0)]
    print(
        json.dumps(
            {
                "counts": events["raw_event_type"].value_counts().to_dict(),
                "rests": {str(i): [p, v] for i, p, v in zip(rests["id"], rests["price"], rests["volume"])},
            }
        )
    )


main()

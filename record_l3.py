"""Record Kraken's level3 channel as config.yaml says: the same as `kraken-l3 record`."""

import sys

from kraken_l3.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["record"]
    main()

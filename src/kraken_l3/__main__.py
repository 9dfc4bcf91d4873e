"""`python -m kraken_l3` is the same as `kraken-l3`."""

from kraken_l3.cli import main

if __name__ == "__main__":
    main()

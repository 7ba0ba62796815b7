"""How much protection costs. `make bench` prints one table and writes one JSON file beside it."""

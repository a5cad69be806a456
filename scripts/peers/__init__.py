"""The parts of `scripts/bench_peers.py`: the peers, each run in its own process, and the report."""

"""What `scripts/bench_peers.py` runs: the peers, each in a process of its own, and the report."""

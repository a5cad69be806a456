"""The parts of ``bench_defaults.py``: open data sets, contenders, scores and tables."""

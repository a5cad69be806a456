"""Settings: schema, rules, TOML and ``--set``, shipped configs."""

"""What networks are measured for beside the measures of ``proxies``: the time of a pass."""

"""Every setting once: typed, validated, documented."""

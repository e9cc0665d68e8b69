"""From reports to trust: windows of what is known of each served model and ranker version."""

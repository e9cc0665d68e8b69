"""Making rankers. Offline: the daemon never imports it."""

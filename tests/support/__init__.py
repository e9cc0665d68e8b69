"""What tests stand on: daemons, rankers, engines, messages. tests/README.md says which is for what."""

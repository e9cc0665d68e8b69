"""What rankd does on a GPU, in one command for a host without a network: ``make gpu``."""

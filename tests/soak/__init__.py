"""Scripts of some minutes each, which `make test` leaves out."""

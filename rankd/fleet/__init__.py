"""Several replicas as one: what they exchange, who of them decides, and on what evidence."""

"""What replicas exchange, who of them decides, and on what evidence."""

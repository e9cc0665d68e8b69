"""What replicas tell each other, who of them decides, and on what evidence."""

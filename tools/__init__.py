"""What writes chart, dashboard, rules and reference pages, and what counts how the code is laid out."""

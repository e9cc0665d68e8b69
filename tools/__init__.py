"""What writes chart, dashboard, rules and reference pages."""

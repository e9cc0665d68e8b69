"""Pages for people: self-contained HTML with pictures, for a desk and a phone, light and dark."""

"""What the HTML pages of status, evaluation and replay are drawn from: parts, SVG pictures, styles."""

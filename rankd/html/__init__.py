"""Pieces of the pages that rankd draws: parts, pictures, styles."""

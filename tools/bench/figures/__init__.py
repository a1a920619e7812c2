"""From the saved figures of suite.py to ratios, tables, charts and the section of the README."""

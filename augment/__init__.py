"""What a view is (`spec`), the numbers drawn for it (`draw`), and the programs that make its pixels (`renderers`)."""

"""What a view is (`spec`), the numbers drawn for it (`draw`), and the renderers that execute them."""

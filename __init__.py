"""viewstream, checked out: makes the folder a package for editors and type checkers; not part of the wheel."""

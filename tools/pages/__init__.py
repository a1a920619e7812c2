"""Pages of HTML that hold all they show, so that a file can be sent and kept."""

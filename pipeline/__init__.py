"""What the driver does: configuration, run folders, tables, waves, reports and the command line."""

"""Commands with a module of their own; `pipeline.command_line` registers them."""

"""Scripts for other libraries' own environment: they import none of ours."""

"""Networks from files, from other libraries, and those that ship inside the package."""

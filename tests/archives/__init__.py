"""Archives that no package may be, built here, and what runs them on any interpreter."""

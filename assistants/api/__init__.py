"""REST of the assistants layer: assistants, squads, stored resources and files."""

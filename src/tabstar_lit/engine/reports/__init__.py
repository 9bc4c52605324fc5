"""What a run tells people: the report, as Markdown and as a page, and the card of a model."""

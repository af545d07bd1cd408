"""What a run keeps in the data root's `.migrator/`, and how it is published and taken back."""

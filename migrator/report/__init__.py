"""What commands say: summaries, previews, problems, the model of time; as lines and as JSON."""

"""Training and measuring of what learns from captures of people."""

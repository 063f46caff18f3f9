"""`avatar demo`: a whole shot, made and rendered without a hand on it."""

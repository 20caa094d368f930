"""Teaches a trained model something new from little: few labels, a few pictures, one task after the other."""

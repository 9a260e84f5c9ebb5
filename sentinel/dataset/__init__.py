"""Data sets: a part of the archive, frozen under a name and a number, that can be cited and checked byte for byte."""

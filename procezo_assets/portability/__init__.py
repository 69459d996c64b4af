"""A dataset as one file: written, restored on another machine; and its removal."""

"""A pipeline for sensor files that loses nothing and can prove where every value came from."""

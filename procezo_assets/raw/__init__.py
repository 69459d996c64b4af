"""Raw files to rows: lines, timestamps, dialects, the days they touch, and quarantine."""

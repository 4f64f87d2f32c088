"""People who use Falcon in tests of whole systems, and what they know of the answers."""

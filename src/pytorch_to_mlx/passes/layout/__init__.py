"""Layout passes: channels-last and the permutations it saves."""

"""Tests of the overload suite's judgement. Nothing here overloads anything."""

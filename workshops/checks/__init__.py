"""The tests of the exercises: every ``check_*`` gets the learner's module and fails with a hint."""

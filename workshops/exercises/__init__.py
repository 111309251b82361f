"""What the learner mends: one file a lesson, each function with a real mistake or a choice to make."""

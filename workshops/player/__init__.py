"""Running a lesson: page, progress, figures, exercises, notebooks."""

"""The settings with which a lesson trains: the defaults, and those that `dlbox tune` stored."""

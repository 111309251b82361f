"""Files made or downloaded on the controller before an installation: lock files, wheels, bundles."""

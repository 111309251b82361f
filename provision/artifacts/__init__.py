"""Lock files, wheels and bundles, which the controller makes or downloads before an installation."""

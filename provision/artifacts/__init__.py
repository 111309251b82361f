"""What is made or fetched on the controller before a box is touched: lock files, wheels, bundles."""

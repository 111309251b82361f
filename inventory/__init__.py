"""Facts about a computer: its hardware, its sensor readings, the catalogue of graphics cards, bills of materials.

This package imports only ``common``.
"""

"""Word vectors"""

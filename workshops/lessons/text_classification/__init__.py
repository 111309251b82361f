"""Text classification"""

"""Text generation"""

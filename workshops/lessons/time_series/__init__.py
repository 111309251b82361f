"""Time series"""

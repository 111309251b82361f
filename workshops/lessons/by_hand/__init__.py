"""By hand"""

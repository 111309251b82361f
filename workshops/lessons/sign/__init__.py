"""Sign"""

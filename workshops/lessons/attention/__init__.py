"""Attention"""

"""Seq2seq"""

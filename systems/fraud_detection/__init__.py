"""Fraud detection: is this payment the card holder's own, and should it be approved, reviewed or declined?"""

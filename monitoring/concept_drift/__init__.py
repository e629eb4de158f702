"""Concept drift from labels as they mature: an e-detector, whose average time between false alarms is proved.

`detector.start`, `update` and `alarm` are all that a caller needs; `bound` says what is normal, from the hold-out, and
`predictions` makes one bounded value of each prediction's rows.
"""

"""Concept drift from labels as they mature: an e-detector, whose average time between false alarms is proved.

`overstatement` gives each row a bounded value that the base rate does not move, `predictions` makes one of each
prediction's rows, `bound` says what is normal, from the hold-out, `detector` judges (`start`, `update`, `alarm`), and
`watch` joins them for one champion.
"""

"""Data drift: has what comes in changed? A verdict on each window of the log whose rate of false alarms is calibrated.

columns → sketch → contrasts ─┬─ season: what is expected at this hour of the week
                              ├─ spread: how far past windows lay from what was expected of them
                              └─ evidence → calibration: the threshold → reference, verdict
"""

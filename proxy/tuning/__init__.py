"""Judging by the thousand: labelled pairs scored with the very parts the proxy decides with, calibration, and what to report of it.

`scoring` asks the models and gates, `calibrate` turns scores into a calibration, `core.confidence` holds what a calibration means.
"""

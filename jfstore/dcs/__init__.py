"""Files of the Detector Calibration Store."""

"""Training of the mannequin's weights, run by `tuner build-mannequin`."""

"""The figure: the part of a picture that is the person, and its limbs and posture."""

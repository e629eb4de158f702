"""The paths beside that of a prediction: training sets, materialisation, the recorder, the way to a first answer."""

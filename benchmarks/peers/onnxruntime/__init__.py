"""The naive networks in onnxruntime, timed from outside."""

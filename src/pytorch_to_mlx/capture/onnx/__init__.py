"""ONNX models: reading them safely, and what lowering and validation need of them."""

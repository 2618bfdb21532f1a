"""What a network runs on: torch, OpenVINO or ONNX Runtime, behind one small interface."""

"""A trained design as files that anyone can load: source, weights, programs, and a card.

Nothing is imported here: the package imports this subpackage early, but torch late.
"""

FORMATS = {"source": "model.py", "program": "model.pt2", "onnx": "model.onnx"}
DESIGN, WEIGHTS, CARD, CARD_VALUES = "design.yaml", "model.safetensors", "card.md", "card.json"

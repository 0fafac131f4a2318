"""The fixed text of an export: parts of model.py, and the README beside it."""

MODULE = '''\
"""{heading}.

{usage}
"""

{imports}


{body}'''

LOAD = '''\
def load(path: str | Path = Path(__file__).parent / "weights.safetensors") -> {network}:
    """The network with the weights of a safetensors file, in evaluation mode."""
    model = {made}
    model.load_state_dict(read_safetensors(Path(path)){tie})
    return model.eval()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name. The file has the length of a header in 8 bytes, the header in JSON, and then the values."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    types = {{"F32": torch.float32, "I64": torch.int64}}
    tensors = {{}}
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            first, last = (start + offset for offset in entry["data_offsets"])
            values = torch.frombuffer(content[first:last], dtype=types[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    return tensors
'''

TIE = ' | {"softmax.weight": model.embedding.weight}'

PREPARE = '''\
def prepare(images: Tensor) -> Tensor:
    """Images (batch, channels, height, width) of values from 0 to 255 as the network was made for them.

    Whitened, scaled to {side}×{side} pixels, and of those the middle {crop}×{crop}.
    """
    images = functional.interpolate(whiten(images), size=({side}, {side}), mode="bilinear", align_corners=False)
    return images[:, :, {first}:{last}, {first}:{last}]
'''

IMAGE_USAGE = """\
model = load()  # with the weights beside this file
logits = model(prepare(images))  # images [batch, {channels}, height, width], values 0 to 255"""

LANGUAGE_USAGE = """\
model = load()  # with the weights beside this file
logits, state = model(tokens)  # tokens [time, batch], numbers of words in vocabulary.json
logits, state = model(more_tokens, state)  # goes on where the text stopped"""

CELL_USAGE = """\
cell = Cell(input_size=100, hidden_size=200, num_layers=2)  # as nn.LSTM is used; its weights are drawn at random
outputs, (h, c) = cell(inputs)  # inputs [time, batch, 100], outputs [time, batch, 200]"""

LAYERS_USAGE = """\
model = load()  # with the weights beside this file
outputs, (h, c) = model(inputs)  # inputs [time, batch, {inputs}], outputs [time, batch, {units}]
outputs, (h, c) = model(more_inputs, (h, c))  # goes on where the sequence stopped"""

README = """\
# {heading}

{facts}

## Use

With Python 3.11 or later and torch, and nothing else:

```python
from model import {names}

{usage}
```

## Files

{files}

## Architecture

```
{architecture}
```
"""

FILES = {
    "model.py": "the network as code, to be read and changed",
    "weights.safetensors": "its weights",
    "architecture.json": "the architecture as data",
    "vocabulary.json": "the words by number",
    "model.pt2": "network and weights as a graph, for `torch.export.load`; of sequences it reads one step at a time",
    "model.onnx": "the same graph for ONNX runtimes",
}

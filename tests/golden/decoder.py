"""Decoders that keep keys and values of the tokens before, as Hugging Face's exporters write them, with random weights:
decoder/NAME.onnx, its card and decoder/NAME.npz with the tokens, and onnxruntime's logits for each as the past grows."""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from graph import Graph

FOLDER = pathlib.Path(__file__).parent / "decoder"
WORDS = "the a cat dog bird fish sees hears eats likes big small red green and or not is was here there now then . ?".split()
VOCABULARY = len(WORDS) + 2
WIDTH, LAYERS, LENGTH, WINDOW, PROMPT, TOKENS = 32, 2, 24, 8, 5, 23
LEAST = np.float32(np.finfo(np.float32).min)


def ints(*values):
    return np.array(values, np.int64)


class Decoder(Graph):
    """Inputs and outputs as optimum names them; `past` tokens are an open axis."""

    def __init__(self, name, heads, kept_heads, positions):
        super().__init__("decoder", name, "float", 17)
        self.heads, self.kept_heads, self.size = heads, kept_heads, WIDTH // heads
        self.ports = [("input_ids", ["batch", "sequence"]), ("attention_mask", ["batch", "past + sequence"])]
        self.ports += [("position_ids", ["batch", "sequence"])] if positions else []

    def weights(self, *shape):
        return self.real(shape, -1.0, 1.0) * np.float32(1.5 / np.sqrt(shape[0]))

    def extent(self, x, axis):
        return self.op("Gather", self.op("Shape", x), ints(axis)[0], axis=0)

    def split(self, x, heads):
        """`[batch, sequence, width]` as `[batch, heads, sequence, size]`."""
        return self.op("Transpose", self.op("Reshape", x, ints(0, 0, heads, self.size)), perm=[0, 2, 1, 3])

    def kept(self, layer, what, new):
        return self.op("Concat", f"past_key_values.{layer}.{what}", new, axis=2, out=f"present.{layer}.{what}")

    def merged(self, x, weights):
        flat = self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 1, 3]), ints(0, 0, WIDTH))
        return self.op("MatMul", flat, weights)

    def model(self):
        past = [f"{kind}.{layer}.{what}" for kind in ("past_key_values", "present")
                for layer in range(LAYERS) for what in ("key", "value")]

        def tensor(name):
            axis = "past" if name.startswith("past") else "past + sequence"
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", self.kept_heads, axis, self.size])

        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in self.ports]
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", VOCABULARY])
        graph = helper.make_graph(self.nodes, self.name, inputs + [tensor(n) for n in past if n.startswith("past")],
                                  [logits] + [tensor(n) for n in past if n.startswith("present")], self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rms_norm(g, x):
    mean = g.op("ReduceMean", g.op("Pow", x, np.float32(2)), axes=[-1])
    root = g.op("Sqrt", g.op("Add", mean, np.float32(1e-6)))
    return g.op("Mul", g.real([WIDTH], 0.5, 1.5), g.op("Mul", x, g.op("Div", np.float32(1), root)))


def turned(g, x, cos, sin):
    """Rotary positions: x cos + (-x2, x1) sin."""
    half = g.size // 2
    first, second = g.op("Slice", x, ints(0), ints(half), ints(3)), g.op("Slice", x, ints(half), ints(2**62), ints(3))
    swapped = g.op("Concat", g.op("Neg", second), first, axis=-1)
    return g.op("Add", g.op("Mul", x, cos), g.op("Mul", swapped, sin))


def repeated(g, x):
    """Keys and values of one head for all heads that share it."""
    batch, length = g.extent(x, 0), g.extent(x, 2)
    numbers = [g.op("Unsqueeze", n, ints(0)) for n in (batch, length)]
    wide = g.op("Concat", numbers[0], ints(g.kept_heads), ints(g.heads // g.kept_heads), numbers[1], ints(g.size), axis=0)
    flat = g.op("Concat", numbers[0], ints(g.heads), numbers[1], ints(g.size), axis=0)
    return g.op("Reshape", g.op("Expand", g.op("Unsqueeze", x, ints(2)), wide), flat)


def rotary():
    """RMSNorm, rotary positions, heads that share keys, SwiGLU; products scaled on both sides, an additive mask."""
    g = Decoder("rotary", heads=4, kept_heads=2, positions=True)
    x = g.op("Gather", g.const(g.weights(VOCABULARY, WIDTH), name="embedding"), "input_ids")
    shape = g.op("Concat", g.op("Unsqueeze", g.extent("position_ids", 0), ints(0)), ints(-1), ints(1), axis=0)
    rates = (10000.0 ** (-np.arange(0, g.size, 2) / g.size)).astype(np.float32).reshape(1, -1, 1)
    rates = g.op("Expand", rates, g.op("Where", g.op("Equal", shape, ints(-1, -1, -1)), ints(1, 1, 1), shape))
    angles = g.op("MatMul", rates, g.op("Cast", g.op("Unsqueeze", "position_ids", ints(1)), to=TensorProto.FLOAT))
    angles = g.op("Transpose", angles, perm=[0, 2, 1])
    angles = g.op("Concat", angles, angles, axis=-1)
    cos, sin = (g.op("Unsqueeze", g.op(kind, angles), ints(1)) for kind in ("Cos", "Sin"))
    # Queries see the keys up to their own position, as far as these are no padding.
    past = g.extent("past_key_values.0.key", 2)
    end = g.op("Add", past, g.extent("input_ids", 1))
    rows = g.op("Reshape", g.op("Range", past, end, ints(1)[0]), ints(-1, 1))
    columns = g.op("Range", ints(0)[0], end, ints(1)[0])
    hidden = g.op("Mul", g.op("Cast", g.op("Greater", columns, rows), to=TensorProto.FLOAT), LEAST)
    padding = g.op("Cast", g.op("Unsqueeze", "attention_mask", ints(1, 2)), to=TensorProto.FLOAT)
    mask = g.op("Where", g.op("Equal", padding, np.float32(0)), LEAST, g.op("Unsqueeze", hidden, ints(0, 1)))
    for layer in range(LAYERS):
        y = rms_norm(g, x)
        kept = g.kept_heads * g.size
        q = g.split(g.op("MatMul", y, g.weights(WIDTH, WIDTH)), g.heads)
        k = g.split(g.op("MatMul", y, g.weights(WIDTH, kept)), g.kept_heads)
        v = g.split(g.op("MatMul", y, g.weights(WIDTH, kept)), g.kept_heads)
        k = g.kept(layer, "key", turned(g, k, cos, sin))
        v = g.kept(layer, "value", v)
        root = g.op("Sqrt", g.op("Div", np.float32(1), g.op("Sqrt", g.op("Cast", g.extent(q, 3), to=TensorProto.FLOAT))))
        q = g.op("Mul", turned(g, q, cos, sin), root)
        k = g.op("Mul", g.op("Transpose", repeated(g, k), perm=[0, 1, 3, 2]), root)
        weights = g.op("Softmax", g.op("Add", g.op("MatMul", q, k), mask), axis=-1)
        x = g.op("Add", x, g.merged(g.op("MatMul", weights, repeated(g, v)), g.weights(WIDTH, WIDTH)))
        y = rms_norm(g, x)
        gate = g.op("MatMul", y, g.weights(WIDTH, 2 * WIDTH))
        gate = g.op("Mul", gate, g.op("Sigmoid", gate))
        x = g.op("Add", x, g.op("MatMul", g.op("Mul", gate, g.op("MatMul", y, g.weights(WIDTH, 2 * WIDTH))),
                                g.weights(2 * WIDTH, WIDTH)))
    g.op("MatMul", rms_norm(g, x), g.weights(WIDTH, VOCABULARY), out="logits")
    return g


def learned():
    """As GPT-2: positions from the length of the past, learned; a causal mask by Where; GELU by tanh."""
    g = Decoder("learned", heads=2, kept_heads=2, positions=False)
    past = g.extent("past_key_values.0.key", 2)
    end = g.op("Add", past, g.extent("input_ids", 1))
    positions = g.op("Unsqueeze", g.op("Range", past, end, ints(1)[0]), ints(0))
    x = g.op("Add", g.op("Gather", g.weights(VOCABULARY, WIDTH), "input_ids"),
             g.op("Gather", g.weights(2 * LENGTH, WIDTH), positions))
    padding = g.op("Cast", g.op("Unsqueeze", "attention_mask", ints(1, 2)), to=TensorProto.FLOAT)
    mask = g.op("Mul", g.op("Sub", np.float32(1), padding), LEAST)
    triangle = np.tril(np.ones((1, 1, 2 * LENGTH, 2 * LENGTH), bool))
    for layer in range(LAYERS):
        y = g.op("LayerNormalization", x, g.real([WIDTH], 0.5, 1.5), g.real([WIDTH], -0.5, 0.5), axis=-1)
        both = g.op("Add", g.op("MatMul", y, g.weights(WIDTH, 3 * WIDTH)), g.real([3 * WIDTH], -0.5, 0.5))
        q, k, v = (g.split(part, g.heads) for part in g.op("Split", both, ints(WIDTH, WIDTH, WIDTH), axis=2, count=3))
        k, v = g.kept(layer, "key", k), g.kept(layer, "value", v)
        scores = g.op("Div", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), np.float32(np.sqrt(g.size)))
        lines = [g.op("Unsqueeze", n, ints(0)) for n in (past, end)]
        rows = g.op("Slice", triangle, lines[0], lines[1], ints(2))
        scores = g.op("Where", g.op("Slice", rows, ints(0), lines[1], ints(3)), scores, LEAST)
        weights = g.op("Softmax", g.op("Add", scores, mask), axis=-1)
        x = g.op("Add", x, g.merged(g.op("MatMul", weights, v), g.weights(WIDTH, WIDTH)))
        y = g.op("LayerNormalization", x, g.real([WIDTH], 0.5, 1.5), g.real([WIDTH], -0.5, 0.5), axis=-1)
        y = g.op("MatMul", y, g.weights(WIDTH, 4 * WIDTH))
        inner = g.op("Tanh", g.op("Mul", np.float32(np.sqrt(2 / np.pi)), g.op("Add", y, g.op(
            "Mul", np.float32(0.044715), g.op("Pow", y, np.float32(3))))))
        y = g.op("Mul", g.op("Mul", np.float32(0.5), y), g.op("Add", np.float32(1), inner))
        x = g.op("Add", x, g.op("MatMul", y, g.weights(4 * WIDTH, WIDTH)))
    g.op("MatMul", g.op("LayerNormalization", x, g.real([WIDTH], 0.5, 1.5), g.real([WIDTH], -0.5, 0.5), axis=-1),
         g.weights(WIDTH, VOCABULARY), out="logits")
    return g


def answers(g, model, window=LENGTH, tokens=None):
    """Greedy tokens behind a prompt, one by one, and the logits of each; the last `window` tokens are seen."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    past = {f"past_key_values.{layer}.{what}": np.zeros([1, g.kept_heads, 0, g.size], np.float32)
            for layer in range(LAYERS) for what in ("key", "value")}
    given, rows = tokens, []
    tokens = [int(t) for t in g.rng.integers(2, VOCABULARY, PROMPT)] if given is None else given
    for place in range(TOKENS):
        feeds = {"input_ids": ints([tokens[place]]), "attention_mask": np.ones([1, min(place + 1, window)], np.int64)}
        feeds |= {"position_ids": ints([place])} if len(g.ports) == 3 else {}
        names = [output.name for output in session.get_outputs()]
        results = dict(zip(names, session.run(names, feeds | past)))
        past = {name: results[name.replace("past_key_values", "present")][:, :, -(window - 1):] for name in past}
        rows.append(results["logits"][0, 0])
        if place + 1 >= PROMPT and given is None:
            tokens.append(int(rows[-1].argmax()))
    return np.array(tokens, np.int64), np.array(rows)


def tokenizer():
    vocabulary = {word: number for number, word in enumerate(["[UNK]", "[END]", *WORDS])}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}}


def main():
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer(), indent=1) + "\n")
    for g in (rotary(), learned()):
        model = g.model()
        tokens, logits = answers(g, model)
        (FOLDER / f"{g.name}.onnx").write_bytes(model.SerializeToString())
        card = f'name = "{g.name}"\ntask = "generation"\n\n[input]\nkind = "text"\ntokenizer = "tokenizer.json"\n\n' \
               f"[cache]\nlength = {LENGTH}\n"
        (FOLDER / f"{g.name}.toml").write_text(card)
        arrays = {"tokens": tokens, "logits": logits}
        if len(g.ports) == 3:
            arrays["windowed"] = answers(g, model, WINDOW, [int(token) for token in tokens])[1]
        np.savez_compressed(FOLDER / f"{g.name}.npz", **arrays)
        print(g.name, len(model.SerializeToString()), "bytes", *tokens, file=sys.stderr)


if __name__ == "__main__":
    main()
